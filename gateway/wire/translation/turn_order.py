"""Puts a conversation into the order that upstreams insist on: each call answered at once, sides in turns.

Clients abort calls, retry them, and say system texts wherever they like. Nothing of it is lost here, and the
same beginning of a conversation always gives the same beginning (TRANSLATION.md 4.1 and 4.2).
"""

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence

from attrs import evolve

from gateway.wire.neutral import Block, Role, Text, ToolCall, ToolResult, Turn
from gateway.wire.translation.memo import Drops

SYSTEM_ROLES = (Role.SYSTEM, Role.DEVELOPER)
# Stands before the text of a failed call's result, where a dialect has no flag for it.
ERROR_MARK = "[tool error] "
# Claude Code's first system text, which only Anthropic takes out again (TRANSLATION.md 4.1).
ATTRIBUTION = "x-anthropic-billing-header:"
# Stands before a system text that had to become the user's.
SYSTEM_MARK = "[system message]\n"
INTERRUPTED = ToolResult("", (Text("[no result: the call was interrupted]"),), is_error=True)


def shape(turns: Sequence[Turn], drops: Drops) -> list[Turn]:
    """Merge neighbours of one side, answer every call in the next turn, keep what answers nothing as text."""
    return _paired(_merged(_behind_results(turns)), drops)


def system_as_user(turns: Sequence[Turn], may_stay: bool) -> list[Turn]:
    """Turn system texts in the middle into the user's, except where Messages takes them.

    That is directly behind a user turn, at the end or before an assistant turn (SDK type SystemMessageParam).
    """
    out: list[Turn] = []
    for index, turn in enumerate(turns):
        behind_user = bool(out) and out[-1].role is Role.USER
        before_assistant = index + 1 == len(turns) or turns[index + 1].role is Role.ASSISTANT
        is_plain = all(isinstance(block, Text) for block in turn.blocks)
        stays = may_stay and behind_user and before_assistant and is_plain
        out.append(
            turn if stays or turn.role not in SYSTEM_ROLES else Turn(Role.USER, tuple(map(_marked, turn.blocks)))
        )
    return _merged(out)


def _marked(block: Block) -> Block:
    return evolve(block, text=SYSTEM_MARK + block.text) if isinstance(block, Text) else block


def text_of(blocks: Iterable[Block], between: str = "\n") -> str:
    """All plain text of some blocks."""
    return between.join(block.text for block in blocks if isinstance(block, Text))


def _behind_results(turns: Sequence[Turn]) -> Iterator[Turn]:
    """Move a system text that stands between calls and their results behind the results."""
    held: list[Turn] = []
    unanswered: set[str] = set()
    for turn in turns:
        if turn.role in SYSTEM_ROLES and unanswered:
            held.append(turn)
            continue
        if turn.role is Role.ASSISTANT:
            yield from held
            held.clear()
            unanswered = {block.id for block in turn.blocks if isinstance(block, ToolCall)}
        yield turn
        unanswered -= {block.call_id for block in turn.blocks if isinstance(block, ToolResult)}
        if held and not unanswered:
            yield from held
            held.clear()
    yield from held


def _merged(turns: Iterable[Turn]) -> list[Turn]:
    """Join neighbouring turns of one role."""
    sides: list[tuple[Turn, list[Block]]] = []
    for turn in turns:
        if sides and sides[-1][0].role is turn.role:
            sides[-1][1].extend(turn.blocks)
        elif turn.blocks:
            sides.append((turn, list(turn.blocks)))
    return [evolve(turn, blocks=tuple(blocks)) for turn, blocks in sides]


def _paired(turns: Sequence[Turn], drops: Drops) -> list[Turn]:
    """Answer each call in the very next user turn, once; results of no call become text."""
    out: list[Turn] = []
    used: dict[str, int] = {}  # id -> the number that its next use gets
    awaited: list[tuple[str, str]] = []  # (id in the history, id that is sent) of the last assistant turn
    for turn in turns:
        if turn.role is Role.USER:
            out.append(_answers(awaited, turn.blocks, drops))
            awaited = []
            continue
        if awaited:
            out.append(_answers(awaited, (), drops))
            awaited = []
        if turn.role is Role.ASSISTANT:
            renumbered, awaited = _renumbered(turn, used)
            out.append(renumbered)
        else:
            out.append(turn)
    if awaited:
        out.append(_answers(awaited, (), drops))
    return out


def _renumbered(turn: Turn, used: dict[str, int]) -> tuple[Turn, list[tuple[str, str]]]:
    """Give calls whose id was used before another one."""
    blocks: list[Block] = []
    calls: list[tuple[str, str]] = []
    for block in turn.blocks:
        if not isinstance(block, ToolCall):
            blocks.append(block)
            continue
        found, number = block.id, used.get(block.id, 1)
        while found in used:
            number += 1
            found = f"{block.id}_{number}"
        used[block.id] = number
        used.setdefault(found, 1)
        calls.append((block.id, found))
        blocks.append(block if found == block.id else evolve(block, id=found))
    return evolve(turn, blocks=tuple(blocks)), calls


def _answers(awaited: Sequence[tuple[str, str]], payload: Sequence[Block], drops: Drops) -> Turn:
    """A user turn with the results first, in the order of the calls; the last result of an id counts."""
    results: dict[str, deque[ToolResult]] = {}
    for block in payload:
        if isinstance(block, ToolResult):
            results.setdefault(block.call_id, deque()).append(block)
    wanted = Counter(old for old, _ in awaited)
    blocks: list[Block] = []
    for old, new in awaited:
        given = results.get(old)
        if not given:
            blocks.append(evolve(INTERRUPTED, call_id=new))
            continue
        wanted[old] -= 1
        chosen = given.popleft() if len(given) > 1 and wanted[old] else given[-1]
        blocks.append(evolve(chosen, call_id=new))
    for block in payload:
        if not isinstance(block, ToolResult):
            blocks.append(block)
        elif block.call_id not in wanted:
            drops.add("tool_result")
            blocks += _orphan(block)
    return Turn(Role.USER, tuple(blocks))


def _orphan(result: ToolResult) -> Iterator[Block]:
    """A result that answers no call, as plain words: what the user gave is never dropped."""
    yield Text(f"[tool result {result.call_id}] {text_of(result.blocks)}".rstrip())
    yield from (block for block in result.blocks if not isinstance(block, Text))
