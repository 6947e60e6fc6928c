"""Compactions of Responses: how a request asks for one, and how one stands in the history (docs/wire/compaction.md).

The last item `compaction_trigger`, or the path `/responses/compact`, asks for a compaction in place of a reply;
`context_management` has the conversation compacted before the reply, once it is long enough. The item `compaction` is
sealed: OpenAI's can be read by OpenAI only, and ours, an envelope, by the gateway only.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from attrs import evolve

from gateway.wire.codec.json_body import JsonBody, to_json
from gateway.wire.codec.node import Node
from gateway.wire.codec.odd_json import REFUSED, decode_as
from gateway.wire.codec.sse import read_frame
from gateway.wire.dialect import Compactions
from gateway.wire.neutral import Compaction, Opaque
from gateway.wire.openai_responses.read_items import COMPACTIONS as KINDS
from gateway.wire.openai_responses.read_items import TRIGGER
from gateway.wire.openai_responses.write_items import NAME
from gateway.wire.translation.compaction import LOST, UNREADABLE, summary_text
from gateway.wire.translation.envelope import Sealer, is_envelope
from gateway.wire.translation.memo import Drops, Memo
from gateway.wire.translation.names import mint

KIND = "compaction"
# Tokens from which a conversation is compacted if the client has named no number. OpenAI's own is not documented;
# this is what Anthropic documents for its own.
DEFAULT_THRESHOLD = 150_000
_END = 4096  # bytes of the input in which its last item is looked for: a trigger holds an id at most
_WORD = b"compaction"
# Items that no summary stands for: they bring the tools that the model may call.
_BRINGING = frozenset({"additional_tools", "tool_search_call", "tool_search_output"})
_TRIGGER = b'"%s"' % TRIGGER.encode()


class _Item(msgspec.Struct):
    type: Any = None
    encrypted_content: Any = None


class _Said(msgspec.Struct):
    type: Any = None
    item: _Item | None = None
    output: list[Any] | None = None


_SAID = msgspec.json.Decoder(_Said)


def read_threshold(node: Node) -> Compaction | None:
    """Read `context_management`; None if it asks for no compaction. Raises BadRequest with the place."""
    for entry in node.nodes("context_management"):
        if entry.text("type") == KIND:
            given = entry.whole("compact_threshold")
            return Compaction(DEFAULT_THRESHOLD if given is None else given)
    return None


def lost_management(node: Node) -> list[str]:
    """Name `context_management` if it holds anything but compactions."""
    kinds = {entry.text("type") for entry in node.nodes("context_management")}
    return ["context_management"] if kinds - {KIND} else []


def is_asked(body: JsonBody) -> bool:
    """Whether a request asks for a compaction: a look at one member, and at the end of another."""
    given, managed = body.members.get("input"), body.members.get("context_management")
    is_triggered = given is not None and _TRIGGER in bytes(memoryview(given)[-_END:])
    return is_triggered or (managed is not None and _WORD in bytes(managed))


def without(body: JsonBody) -> JsonBody:
    """Return the body without what asks for a compaction; other entries of `context_management` stay."""
    given = body.get("context_management", list[Any], "an array") or []
    kept = [entry for entry in given if not (isinstance(entry, dict) and entry.get("type") == KIND)]
    if not kept:
        return body.without({"context_management"})
    return _with(body, "context_management", kept)


def readable(body: JsonBody, sealer: Sealer, drops: Drops, *, keeps: bool) -> JsonBody:
    """Return the body with its compactions as messages: those of the gateway, and unless it `keeps` them, all others.

    What the summary stands for goes, except the last turn. A compaction that nobody can read here is told, in its place
    and in `drops`, unless all that it stands for is still there.
    """
    given = body.members.get("input")
    if given is None or bytes(given).rfind(_WORD) < 0 or not bytes(given).startswith(b"["):
        return body
    items = body.get("input", list[Any], "an array") or []
    written = _readable(items, sealer, drops, keeps=keeps)
    return body if written == items else _with(body, "input", written)


def _with(body: JsonBody, name: str, value: list[Any]) -> JsonBody:
    return evolve(body, members=body.members | JsonBody.of({name: to_json(value)}).members)


def _readable(items: Sequence[Any], sealer: Sealer, drops: Drops, *, keeps: bool) -> list[Any]:
    out: list[Any] = []
    was_triggered = False
    for item in items:
        kind = item.get("type") if isinstance(item, dict) else None
        content = item.get("encrypted_content") if kind in KINDS else None
        if not isinstance(content, str) or (keeps and not is_envelope(content)):
            if keeps or kind not in (TRIGGER, *KINDS):
                out.append(item)
        elif (found := sealer.open_summary(content)) is not None:
            summary, is_whole = found
            told = _message(summary_text(summary))
            before = out[:-1] if was_triggered and keeps else out  # without the trigger, which has had its answer
            out = _behind(before, told) if is_whole or was_triggered else [*out, told]
        elif not was_triggered:
            drops.add(LOST)
            out.append(_message(UNREADABLE))
        was_triggered = kind == TRIGGER
    return out


def _message(text: str) -> dict[str, Any]:
    return {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}


def _behind(items: Sequence[Any], told: dict[str, Any]) -> list[Any]:
    """Return a summary and what is kept beside it: the items that bring tools, and what the user has said last."""
    tail = _tail(items)
    earlier = items[: len(items) - len(tail)]
    return [*(item for item in earlier if isinstance(item, dict) and item.get("type") in _BRINGING), told, *tail]


def _tail(items: Sequence[Any]) -> Sequence[Any]:
    """Return what the user has said last: messages and results, with the calls that these answer."""
    start, open_calls = len(items), set[str]()
    for index in range(len(items) - 1, -1, -1):
        item = items[index] if isinstance(items[index], dict) else {}
        kind, call_id = str(item.get("type") or "message"), item.get("call_id")
        if kind.endswith("_output") and isinstance(call_id, str):
            open_calls.add(call_id)
        elif call_id in open_calls and isinstance(call_id, str):
            open_calls.discard(call_id)
        elif (kind != "message" or item.get("role") == "assistant") and not open_calls:
            break
        start = index
    return items[start:]


def sealed(body: JsonBody) -> Sequence[str]:
    """Return the contents of the compactions in a history that only the provider that made them can read."""
    given = body.members.get("input")
    if given is None or bytes(given).rfind(_WORD) < 0 or not bytes(given).startswith(b"["):
        return ()
    return list(_contents(body.get("input", list[Any], "an array") or []))


def made(data: bytes) -> Sequence[str]:
    """Return the contents of the sealed compactions in a frame or in a whole reply."""
    if data.rfind(_WORD) < 0:
        return ()
    try:
        said = decode_as(_SAID, data if data.lstrip().startswith(b"{") else read_frame(data).data or b"{}")
    except REFUSED:
        return ()
    if said.item is not None:
        return list(_contents([{"type": said.item.type, "encrypted_content": said.item.encrypted_content}]))
    return list(_contents(said.output or ()))


def _contents(items: Sequence[Any]) -> Iterator[str]:
    for item in items:
        content = item.get("encrypted_content") if isinstance(item, dict) and item.get("type") in KINDS else None
        if isinstance(content, str) and content and not is_envelope(content):
            yield content


def write_summary(summary: str, memo: Memo, *, is_whole: bool) -> Opaque:
    """Write a summary as the item that stands for it (SDK type ResponseCompactionItem)."""
    content = memo.sealer.seal_summary(summary, is_whole=is_whole)
    item = {"id": mint("cmp_", memo.seed), "type": KIND, "encrypted_content": content}
    return Opaque(NAME, KIND, msgspec.Raw(to_json(item)))


COMPACTIONS = Compactions(is_asked, without, readable, write_summary, sealed, made)
