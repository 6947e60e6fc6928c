"""Puts a conversation into the order that upstreams require: alternating turns, and each call answered in the next.

Clients abort calls, retry them, and put system texts anywhere. Only repeated results of one call are dropped
here. The same beginning of a conversation always gives the same beginning, so that prompt caches match as the
conversation grows (docs/wire/conversation.md#system-and-developer-text, docs/wire/conversation.md#turn-order).
"""

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence

from attrs import evolve

from gateway.wire.neutral import Block, Role, Text, ToolCall, ToolResult, Turn
from gateway.wire.translation.memo import Drops

SYSTEM_ROLES = (Role.SYSTEM, Role.DEVELOPER)
# Begins the text of a failed call's result, for a dialect that has no flag for failure.
ERROR_MARK = "[tool error] "
# Begins Claude Code's first system text, which only Anthropic's servers remove again
# (docs/wire/conversation.md#system-and-developer-text).
ATTRIBUTION = "x-anthropic-billing-header:"
# Begins a system text that had to become a user turn.
SYSTEM_MARK = "[system message]\n"
INTERRUPTED = ToolResult("", (Text("[no result: the call was interrupted]"),), is_error=True)


def shape(turns: Sequence[Turn], drops: Drops) -> list[Turn]:
    """Merge neighbouring turns of one role, answer each call in the next turn, make text of results without a call."""
    if any(turn.name for turn in turns):
        drops.add("messages.name")
    return _paired(_merged(_behind_results(_merged(turns))), drops)


def system_as_user(turns: Sequence[Turn], may_stay: bool) -> list[Turn]:
    """Make user turns of system turns in the middle; if `may_stay`, except where Messages takes system turns.

    Messages takes a system turn directly after a user turn if it is the last turn or an assistant turn follows
    (SDK type SystemMessageParam).
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
    """Join the texts of all Text blocks."""
    return between.join(block.text for block in blocks if isinstance(block, Text))


def _behind_results(turns: Sequence[Turn]) -> Iterator[Turn]:
    """Move each system turn between calls and their results to after the results."""
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
    return [turn if len(blocks) == len(turn.blocks) else evolve(turn, blocks=tuple(blocks)) for turn, blocks in sides]


def _paired(turns: Sequence[Turn], drops: Drops) -> list[Turn]:
    """Answer each call exactly once, in the user turn right after it; results without a call become text."""
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
    """Give a new id to each call whose id an earlier call has; return also the (old, new) ids of all calls."""
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
    """Make a user turn: first one result per awaited call, in the order of the calls, then all other blocks.

    If one call has several results, the last counts, and the others are noted as a loss. A call without a result gets
    INTERRUPTED.
    """
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
        if len(given) > 1 and not wanted[old]:
            drops.add("tool_result")
    for block in payload:
        if not isinstance(block, ToolResult):
            blocks.append(block)
        elif block.call_id not in wanted:
            drops.add("tool_result")
            blocks += _orphan(block)
    return Turn(Role.USER, tuple(blocks))


def _orphan(result: ToolResult) -> Iterator[Block]:
    """Make text of a result that answers no call, and keep its other blocks: the user's content is never dropped."""
    yield Text(f"[tool result {result.call_id}] {text_of(result.blocks)}".rstrip())
    yield from (block for block in result.blocks if not isinstance(block, Text))
