"""Compactions of Messages: how a request asks for one, and how one stands in the history (docs/wire/compaction.md).

Anthropic has two ways. The member `compaction` (beta compact-2026-09-04) asks for a summary in place of a reply. The
edit `compact_20260112` of `context_management` (beta compact-2026-01-12) has the conversation summarised before the
reply, once it is long enough. Either gives a block `compaction`, whose `content` everybody can read.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from attrs import evolve

from gateway.wire.anthropic_messages.read_messages import COMPACTION, NAME
from gateway.wire.codec.json_body import JsonBody, to_json
from gateway.wire.codec.node import Node
from gateway.wire.dialect import Compactions
from gateway.wire.neutral import Compaction, Opaque
from gateway.wire.translation.compaction import summary_text
from gateway.wire.translation.envelope import Sealer, is_envelope
from gateway.wire.translation.memo import Drops, Memo

EDIT = "compact_20260112"
DEFAULT_TRIGGER = 150_000  # input tokens (SDK type BetaCompact20260112EditParam)
_QUOTED = b'"compaction"'


def read_compaction(node: Node) -> Compaction | None:
    """Read what a request asks for; None if it asks for no compaction. Raises BadRequest with the place."""
    if (config := node.node(COMPACTION)) is not None:
        return Compaction(instructions=config.text("instructions") or "", replaces=True)
    for edit in _edits(node):
        if edit.text("type") == EDIT:
            trigger = edit.node("trigger")
            most = trigger.whole("value") if trigger is not None else None
            return Compaction(
                DEFAULT_TRIGGER if most is None else most,
                edit.text("instructions") or "",
                pauses=bool(edit.flag("pause_after_compaction")),
            )
    return None


def lost_edits(node: Node) -> list[str]:
    """Name `context_management` if it holds more than compactions: no other dialect has its other edits."""
    given = node.node("context_management")
    if given is None:
        return []
    is_all = set(given.members) <= {"edits"} and all(edit.text("type") == EDIT for edit in _edits(node))
    return [] if is_all else ["context_management"]


def _edits(node: Node) -> Sequence[Node]:
    given = node.node("context_management")
    return list(given.nodes("edits")) if given is not None else []


def is_asked(body: JsonBody) -> bool:
    """Whether a request asks for a compaction: a look at two members."""
    edits = body.members.get("context_management")
    return body.has(COMPACTION) or (edits is not None and EDIT.encode() in bytes(edits))


def without(body: JsonBody) -> JsonBody:
    """Return the body without what asks for a compaction; other edits of the context stay."""
    kept = body.without({COMPACTION})
    given = body.get("context_management", dict[str, Any], "an object")
    if given is None:
        return kept
    edits = [edit for edit in given.get("edits") or () if not (isinstance(edit, dict) and edit.get("type") == EDIT)]
    if not edits and set(given) <= {"edits"}:
        return kept.without({"context_management"})
    more = JsonBody.of({"context_management": to_json(given | {"edits": edits})}).members
    return evolve(kept, members=kept.members | more)


def readable(body: JsonBody, sealer: Sealer, drops: Drops, *, keeps: bool) -> JsonBody:
    """Return the body with its compactions as text: those of the gateway, and unless it `keeps` them, all others.

    What a compaction stands for goes, except the last turn. A compaction that has failed stays, or is left out.
    """
    given = body.members.get("messages")
    if given is None or bytes(given).rfind(_QUOTED) < 0:
        return body
    messages = body.get("messages", list[dict[str, Any]], "an array of objects") or []
    written = _readable(messages, keeps=keeps)
    if written == messages:
        return body
    return evolve(body, members=body.members | JsonBody.of({"messages": to_json(written)}).members)


def _readable(messages: Sequence[dict[str, Any]], *, keeps: bool) -> list[dict[str, Any]]:
    out: list[dict[str, Any]] = []
    for message in messages:
        content = message.get("content")
        if not isinstance(content, list) or not any(_is_replaced(block, keeps=keeps) for block in content):
            out.append(message)
            continue
        rest: list[Any] = []
        for block in content:
            if not _is_replaced(block, keeps=keeps):
                rest.append(block)
            elif isinstance(summary := block.get("content"), str) and summary:
                told = {"role": "user", "content": [{"type": "text", "text": summary_text(summary)}]}
                out, rest = [told, *_tail([*out, *([message | {"content": rest}] if rest else [])])], []
        if rest:
            out.append(message | {"content": rest})
    return out


def _is_replaced(block: Any, *, keeps: bool) -> bool:
    if not isinstance(block, dict) or block.get("type") != COMPACTION:
        return False
    mark = block.get("encrypted_content")
    return not keeps or (isinstance(mark, str) and is_envelope(mark))


def _tail(messages: Sequence[dict[str, Any]]) -> Sequence[dict[str, Any]]:
    """Return the last message if it is the user's, with the message whose calls it answers."""
    if not messages or messages[-1].get("role") != "user":
        return ()
    answers = {block.get("tool_use_id") for block in _blocks(messages[-1])} - {None}
    calls = len(messages) > 1 and any(block.get("id") in answers for block in _blocks(messages[-2]))
    return messages[-2:] if calls else messages[-1:]


def _blocks(message: dict[str, Any]) -> Iterator[dict[str, Any]]:
    content = message.get("content")
    yield from (block for block in content if isinstance(block, dict)) if isinstance(content, list) else ()


def write_summary(summary: str, memo: Memo, *, is_whole: bool) -> Opaque:
    """Write a summary as the block that stands for it. Its mark tells it from Anthropic's own."""
    block = {"type": COMPACTION, "content": summary, "encrypted_content": memo.sealer.seal_summary("")}
    return Opaque(NAME, COMPACTION, msgspec.Raw(to_json(block)))


COMPACTIONS = Compactions(is_asked, without, readable, write_summary)
