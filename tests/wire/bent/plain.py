"""Reads replies in the plainest way: no lane, no event, no codec of the gateway. For what clients get.

A reader here joins what stands in the frames, and trusts the writer: the strict rules are those of `grammar.py`.
"""

import json
from collections.abc import Iterator
from typing import Any

from attrs import define, field

ENDS = {
    "stop": "end", "tool_calls": "tools", "length": "length", "content_filter": "filtered",
    "end_turn": "end", "tool_use": "tools", "max_tokens": "length", "refusal": "filtered", "stop_sequence": "end",
}  # fmt: skip

CALLS = ("function_call", "custom_tool_call")


@define
class Said:
    """What a reply says. `calls` are [id, name, arguments]; `end` is end, tools, length or filtered."""

    text: str = ""
    thought: str = ""
    calls: list[list[str]] = field(factory=list)
    end: str = ""
    error: str = ""
    open: str = ""  # the type of the open block of a Messages stream

    @property
    def content(self) -> tuple[str, str, list[tuple[str, str]]]:
        """What must be the same in every dialect: paragraph breaks between blocks and the ids of calls may differ."""
        calls = [(name, json.dumps(loads(arguments), sort_keys=True)) for _, name, arguments in self.calls]
        return whole(self.text), whole(self.thought), sorted(calls)


def loads(arguments: str) -> Any:
    try:
        return json.loads(arguments or "{}")
    except ValueError:
        return f"not JSON: {arguments}"


def whole(text: str) -> str:
    """Join the halves of surrogate pairs, and drop the breaks that stand between blocks."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").replace("\n\n", "")


def payloads(stream: bytes, *, may_be_cut: bool = False) -> Iterator[dict[str, Any]]:
    """Yield the JSON of each frame; of a stream that may be cut without its last frame if that is not whole."""
    text = stream.decode(errors="replace" if may_be_cut else "strict").removeprefix("\ufeff").replace("\r\n", "\n")
    for frame in text.split("\n\n"):
        lines = [line[5:].removeprefix(" ") for line in frame.split("\n") if line.startswith("data:")]
        if lines and lines != ["[DONE]"]:
            try:
                yield json.loads("\n".join(lines))
            except ValueError:
                if not (may_be_cut and text.endswith(frame)):
                    raise


def read_stream(dialect: str, stream: bytes) -> Said:
    said = Said()
    for payload in payloads(stream):
        _STREAMS[dialect](payload, said)
    return said


def read_body(dialect: str, body: bytes) -> Said:
    said = Said()
    _BODIES[dialect](json.loads(body), said)
    return said


def _chat(payload: dict[str, Any], said: Said) -> None:
    said.error = str(payload["error"]) if payload.get("error") else said.error
    for choice in payload.get("choices") or ():
        delta = choice.get("delta") or choice.get("message") or {}
        said.text += (delta.get("content") or "") + (delta.get("refusal") or "")
        said.thought += delta.get("reasoning_content") or ""
        for number, call in enumerate(delta.get("tool_calls") or ()):
            inner = call.get("function") or call["custom"]
            if call.get("index", number) == len(said.calls):
                said.calls.append([call["id"], inner["name"], ""])
            said.calls[call.get("index", number)][2] += inner.get("arguments") or inner.get("input") or ""
        if choice.get("finish_reason"):
            said.end = ENDS.get(choice["finish_reason"], choice["finish_reason"])


def _block(block: dict[str, Any], said: Said) -> None:
    if block["type"] == "tool_use":
        said.calls.append([block["id"], block["name"], json.dumps(block["input"]) if block["input"] else ""])
    said.text += block.get("text", "")
    said.thought += block.get("thinking", "")


def _messages(payload: dict[str, Any], said: Said) -> None:
    delta = payload.get("delta") or {}
    if payload["type"] == "content_block_start":
        _block(payload["content_block"], said)
        said.open = payload["content_block"]["type"]
    elif payload["type"] == "error":
        said.error = str(payload["error"])
    said.text += delta.get("text", "")
    said.thought += delta.get("thinking", "")
    if "partial_json" in delta and said.open == "tool_use":
        said.calls[-1][2] += delta["partial_json"]
    if delta.get("stop_reason"):
        said.end = ENDS[delta["stop_reason"]]


def _message(body: dict[str, Any], said: Said) -> None:
    for block in body["content"]:
        _block(block, said)
    said.end = ENDS[body["stop_reason"]]


def _responses(payload: dict[str, Any], said: Said) -> None:
    kind = payload["type"]
    if kind in ("response.output_text.delta", "response.refusal.delta"):
        said.text += payload["delta"]
    elif kind in ("response.reasoning_summary_text.delta", "response.reasoning_text.delta"):
        said.thought += payload["delta"]
    elif kind == "response.output_item.added" and payload["item"]["type"] in CALLS:
        item = payload["item"]
        said.calls.append([item["call_id"], item["name"], item.get("arguments") or item.get("input") or ""])
    elif kind in ("response.function_call_arguments.delta", "response.custom_tool_call_input.delta"):
        said.calls[-1][2] += payload["delta"]
    elif kind in ("response.completed", "response.incomplete"):
        final = Said()
        _response(payload["response"], final)
        said.end = final.end
        if (final.content, ids(final)) != (said.content, ids(said)):
            said.error = f"the deltas say {said}, the final object says {final}"


def _response(body: dict[str, Any], said: Said) -> None:
    for item in body.get("output") or ():
        if item["type"] == "message":
            said.text += "".join(part.get("text") or part.get("refusal") or "" for part in item["content"])
        elif item["type"] == "reasoning":
            said.thought += "".join(part["text"] for part in (*item["summary"], *item.get("content", ())))
        elif item["type"] in CALLS:
            said.calls.append([item.get("call_id", ""), item["name"], item.get("arguments", item.get("input", ""))])
    why = (body.get("incomplete_details") or {}).get("reason", "")
    ends = {"max_output_tokens": "length", "content_filter": "filtered"}
    said.end = ends.get(why, "tools" if said.calls else "end")


def ids(said: Said) -> list[str]:
    return [call[0] for call in said.calls]


_STREAMS = {"openai_chat": _chat, "anthropic_messages": _messages, "openai_responses": _responses}
_BODIES = {"openai_chat": _chat, "anthropic_messages": _message, "openai_responses": _response}
