"""Names what a conversation says besides its content where the upstream's dialect has no member for it."""

from collections.abc import Iterable, Mapping

from gateway.wire.neutral import Block, Document, Request, Text, ToolResult
from gateway.wire.translation.memo import Memo

# How a client's dialect calls the member that holds its conversation.
_PLACES = {"openai_responses": "input"}
_SPEAKING = (Text, Document)  # the blocks that say more than their content


def note_unwritten(request: Request, memo: Memo, unwritten: Mapping[str, str]) -> None:
    """Note each attribute of the blocks that the upstream's dialect cannot write.

    `unwritten` maps an attribute to the member from which it was read: `has_citations` to `citations`.
    """
    place = _PLACES.get(request.origin, "messages")
    found: set[str] = set()
    for turn in request.turns:
        _find(turn.blocks, unwritten, found)
    for attribute, member in unwritten.items():
        if attribute in found:
            memo.drops.add(f"{place}.{member}")


def _find(blocks: Iterable[Block], attributes: Iterable[str], found: set[str]) -> None:
    """Put into `found` the names of the attributes that a block has, or one inside a result."""
    for block in blocks:
        if isinstance(block, ToolResult):
            _find(block.blocks, attributes, found)
        elif isinstance(block, _SPEAKING):
            found.update(name for name in attributes if getattr(block, name, None))
