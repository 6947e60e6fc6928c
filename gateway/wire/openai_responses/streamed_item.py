"""Builds an item from the events that streamed it, where its stream has no finished one."""

from typing import Any

import msgspec

from gateway.wire.codec.json_prefix import is_object
from gateway.wire.codec.odd_json import REFUSED, Halves
from gateway.wire.codec.sse import FrameCutter, read_frame

# The member of a call that its deltas write.
_ARGUMENTS = {"function_call": "arguments", "custom_tool_call": "input"}
_Place = tuple[int, str]  # the number of a part, and its kind
_SUMMARY = "reasoning_summary_text"


class _Said(msgspec.Struct):
    type: str = ""
    delta: Any = None
    text: Any = None
    refusal: Any = None
    arguments: Any = None
    input: Any = None
    content_index: int = 0
    summary_index: int = 0
    item_id: Any = None
    logprobs: Any = None


def build_item(added: msgspec.Raw | None, payload: bytes, status: str) -> dict[str, Any] | None:
    """Return an item as it was `added`, with what `payload` (whole frames) says of it; None if that is nothing.

    Without `added` it is a message, as some servers send text only. A call and reasoning are built only for a
    `completed` response, a call only whole: half of them is of no use to anybody.
    """
    item: Any = msgspec.json.decode(added) if added is not None else {"type": "message", "role": "assistant"}
    if not isinstance(item, dict):
        return None
    texts, logprobs, arguments, name = _read(payload)
    kind = item.get("type")
    if kind == "message" and texts:
        named = {"id": name, **item} if name else item
        content = [_part(place[1], texts[place], logprobs.get(place, [])) for place in sorted(texts)]
        return named | {"status": status, "content": content}
    if kind == "reasoning" and texts and status == "completed":
        parts: dict[str, list[dict[str, Any]]] = {"summary": [], "content": []}
        for index, said in sorted(texts):
            parts["summary" if said == _SUMMARY else "content"].append(_part(said, texts[index, said], []))
        return item | {member: found for member, found in parts.items() if found or member == "summary"}
    if kind in _ARGUMENTS and status == "completed" and item.get("name"):
        member = _ARGUMENTS[kind]
        told = arguments or str(item.get(member) or ("{}" if member == "arguments" else ""))
        if member == "input" or is_object(told):
            return item | {"status": status, member: told}
    return None


def _part(kind: str, text: str, logprobs: list[Any]) -> dict[str, Any]:
    match kind:
        case "refusal":
            return {"type": "refusal", "refusal": text}
        case "output_text":
            return {"type": "output_text", "text": text, "annotations": [], "logprobs": logprobs}
        case _:
            return {"type": "summary_text" if kind == _SUMMARY else kind, "text": text}


def _read(payload: bytes) -> tuple[dict[_Place, str], dict[_Place, list[Any]], str, str]:
    """Return the texts of a message and their logprobs by place, the arguments of a call, and the item's id."""
    texts: dict[_Place, str] = {}
    logprobs: dict[_Place, list[Any]] = {}
    arguments = name = ""
    halves = Halves()
    for frame in FrameCutter().feed(payload):
        try:
            said = msgspec.convert(halves.decode(read_frame(frame).data or b"{}"), _Said)
        except REFUSED:
            continue
        name = said.item_id if isinstance(said.item_id, str) else name
        match said.type.removeprefix("response.").rpartition("."):
            case ("output_text" | "refusal" | "reasoning_summary_text" | "reasoning_text" as kind, _, "delta") if (
                isinstance(said.delta, str)
            ):
                place = (said.summary_index if kind == _SUMMARY else said.content_index), kind
                texts[place] = texts.get(place, "") + said.delta
                if isinstance(said.logprobs, list) and said.logprobs:
                    logprobs.setdefault(place, []).extend(said.logprobs)
            case ("output_text" | "refusal" as kind, _, "done"):
                whole = said.text if kind == "output_text" else said.refusal
                if isinstance(whole, str) and whole:
                    texts[said.content_index, kind] = whole
                if isinstance(said.logprobs, list) and said.logprobs:
                    logprobs[said.content_index, kind] = said.logprobs
            case ("function_call_arguments" | "custom_tool_call_input", _, "delta") if isinstance(said.delta, str):
                arguments += said.delta
            case ("function_call_arguments" | "custom_tool_call_input", _, "done"):
                whole = said.arguments if said.arguments is not None else said.input
                arguments = whole if isinstance(whole, str) and whole else arguments
    return texts, logprobs, arguments, name
