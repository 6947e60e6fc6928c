"""Writes what a provider's own tools have done, in a history, as text: no other provider takes their blocks.

The model has to know what a search or a program has found, or it asks again. What another provider could read is
kept: names, inputs, and results that are text. Ids, encrypted content and pictures inside are left out, so the block
stays named as lost.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from attrs import evolve

from gateway.wire.neutral import Block, Opaque, Text, ToolResult, Turn
from gateway.wire.translation.memo import Drops

# Members that say what was done, and those that say what came of it, in the order in which they are written.
_ASKED = ("server_label", "server_name", "name", "arguments", "input", "action", "actions", "queries", "code")
_FOUND = (
    "title", "url", "filename", "source", "text", "content", "results", "output", "outputs", "result", "logs", "stdout",
    "stderr", "return_code", "error", "error_code", "error_message", "message", "outcome",
)  # fmt: skip
# Blocks that hold nothing to read: what they do is done elsewhere, or is no part of the conversation.
_MUTE = frozenset({"tool_addition", "tool_removal", "container_upload", "image_generation_call", "fallback"})
_LONGEST = 100_000  # letters of one block's text


def foreign_as_text(turns: Sequence[Turn], own: str, drops: Drops) -> list[Turn]:
    """Replace the blocks that only another dialect than `own` knows by their text, and note each kind in `drops`.

    A block without any text stays as it is.
    """
    return [_spoken(turn, own, drops) for turn in turns]


def _spoken(turn: Turn, own: str, drops: Drops) -> Turn:
    if not any(map(_is_foreign, turn.blocks)):
        return turn
    return evolve(turn, blocks=tuple(_as_text(block, own, drops) for block in turn.blocks))


def _is_foreign(block: Block) -> bool:
    """Whether a block, or one inside a result, may be of another dialect only."""
    return isinstance(block, Opaque) or (isinstance(block, ToolResult) and any(map(_is_foreign, block.blocks)))


def _as_text(block: Block, own: str, drops: Drops) -> Block:
    if isinstance(block, ToolResult):
        return evolve(block, blocks=tuple(_as_text(inner, own, drops) for inner in block.blocks))
    if not isinstance(block, Opaque) or block.origin == own or not (text := text_of(block)):
        return block
    drops.note(f"messages.{block.kind}")
    return Text(text)


def text_of(block: Opaque) -> str:
    """Return what another model can read of a block: its kind, what was asked, what was found; empty for nothing."""
    found = msgspec.json.decode(block.raw)
    if block.kind in _MUTE or not isinstance(found, dict):
        return ""
    asked = " ".join(_word(found[name]) for name in _ASKED if found.get(name))
    lines = list(_lines({name: value for name, value in found.items() if name not in _ASKED}))
    if not asked and not lines:
        return ""
    return "\n".join([f"[{block.kind}{': ' if asked else ''}{asked}]", *lines])[:_LONGEST]


def _word(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _lines(value: Any) -> Iterator[str]:
    """Yield the texts in a result, however deep; a title and its address share a line."""
    if isinstance(value, str):
        yield from [value] if value.strip() else []
    elif isinstance(value, list):
        for one in value:
            yield from _lines(one)
    elif isinstance(value, dict):
        if value.get("type") == "base64":
            return
        head = " — ".join(value[name] for name in ("title", "url") if isinstance(value.get(name), str))
        yield from [head] if head else []
        for name in _FOUND:
            inner = value.get(name)
            if isinstance(inner, bool | None):
                continue
            if isinstance(inner, int | float):
                yield f"{name}: {inner}"
            elif name not in ("title", "url") or not isinstance(inner, str):
                yield from _lines(inner)
        if value.get("type") == "text" and isinstance(data := value.get("data"), str):  # the source of a document
            yield data
