"""Compaction: a summary that stands for the earlier conversation, made and read by the gateway.

A provider that makes compactions itself seals what it has kept, and only that provider can read it. Everywhere else the
gateway asks the target for a summary in plain words. The client gets the summary in an envelope, sends it back in its
history, and any target reads it there as text. There are two kinds. At once (`Compaction.threshold` is None) the
summary is all that the client gets. At a threshold the target is asked twice: for the summary, and then for the reply
to the summary and the last turn (docs/wire/compaction.md).
"""

from collections.abc import Sequence

from attrs import evolve

from gateway.wire.neutral import (
    Block,
    Compacted,
    Compaction,
    Format,
    Request,
    Role,
    Text,
    ToolCall,
    ToolChoice,
    ToolResult,
    Turn,
)
from gateway.wire.profile import Profile
from gateway.wire.translation.envelope import Sealer
from gateway.wire.translation.tokens import countable

# Where compactions stand in `x-gateway-dropped`.
LOST = "input.compaction"
# Sent in place of a compaction that only the provider that made it can read. The model can tell its user.
UNREADABLE = (
    "(The conversation before this point was compacted by another provider, and its summary cannot be read here. "
    "If the task needs what was said there, say so and ask for it.)"
)
SUMMARY_HEAD = "Summary of the conversation before this point:\n\n"
ASK = (
    "The conversation has become too long. Write a summary of everything above that lets you go on with the work "
    "without it. Call no tool. Keep: what the user wants, with the latest request word for word; every constraint and "
    "preference that was stated; decisions and their reasons; files, names, commands, numbers and errors that matter, "
    "exactly; what is done, what is under way, and the next step. If the conversation begins with an earlier summary, "
    "keep what still matters of it. Answer with the summary alone."
)


def summary_text(summary: str) -> str:
    """Return the text that stands for the earlier conversation in a request."""
    return SUMMARY_HEAD + summary


def question(compaction: Compaction) -> str:
    """Return the text that asks for the summary."""
    own = compaction.instructions.strip()
    if not own:
        return ASK
    return own if compaction.replaces else f"{ASK}\n\n{own}"


def is_due(request: Request, token_factor: float) -> bool:
    """Whether a conversation is to be summarised now: at once, or because it has reached the threshold."""
    wanted = request.compaction
    if wanted is None or wanted.threshold is None:
        return wanted is not None
    return countable(request).tokens(token_factor) >= wanted.threshold


def asking(request: Request, profile: Profile) -> Request:
    """Return the request for the summary: the same beginning, for the prompt cache, and the question at its end.

    What the client wants of its reply does not hold for the summary.
    """
    assert request.compaction is not None
    turns = [*request.turns, Turn(Role.USER, (Text(question(request.compaction)),))]
    choice = ToolChoice("none") if request.tools and "none" in profile.tool_choice else None
    most = request.max_output if request.compaction.threshold is None else None
    plain = evolve(request, turns=turns, format=Format(), stops=[], n=1, verbosity=None)
    return evolve(plain, choice=choice, max_output=most)


def continued(request: Request, summary: str) -> Request:
    """Return the request for the reply, in which the summary stands for everything but the last turn."""
    return evolve(request, turns=_behind(request.turns, summary), compaction=None)


def placed(turns: Sequence[Turn]) -> list[Turn]:
    """Put the summaries that can be read in the place of what they stand for; sealed ones stay."""
    out: list[Turn] = []
    for turn in turns:
        rest: list[Block] = []
        for block in turn.blocks:
            if not isinstance(block, Compacted) or block.summary is None:
                rest.append(block)
                continue
            if rest:
                out.append(evolve(turn, blocks=tuple(rest)))
                rest = []
            out = _behind(out, block.summary) if block.is_whole else [*out, _told(block.summary)]
        if rest or not turn.blocks:
            out.append(evolve(turn, blocks=tuple(rest)))
    return out


def open_summaries(request: Request, sealer: Sealer) -> None:
    """Open the sealed summaries of a request's history, in place; one that does not open is noted as lost."""
    if not any(isinstance(block, Compacted) for turn in request.turns for block in turn.blocks):
        return
    opened = [_opened(turn, sealer) for turn in request.turns]
    if any(block is _LOST_TEXT for turn in opened for block in turn.blocks):
        request.extra = request.extra | {LOST: None}
    request.turns = placed(opened)


_LOST_TEXT = Text(UNREADABLE)


def _opened(turn: Turn, sealer: Sealer) -> Turn:
    if not any(isinstance(block, Compacted) for block in turn.blocks):
        return turn
    return evolve(turn, blocks=tuple(_block(block, sealer) for block in turn.blocks))


def _block(block: Block, sealer: Sealer) -> Block:
    if not isinstance(block, Compacted) or block.sealed is None:
        return block
    found = sealer.open_summary(block.sealed)
    if found is None:
        return _LOST_TEXT
    summary, is_whole = found
    return Compacted(summary, is_whole=is_whole or block.is_whole)


def _told(summary: str) -> Turn:
    return Turn(Role.USER, (Text(summary_text(summary)),))


def _behind(turns: Sequence[Turn], summary: str) -> list[Turn]:
    """Return a summary and what is kept beside it: the last turn, if it is the user's, with the calls it answers."""
    return [_told(summary), *_tail(turns)]


def _tail(turns: Sequence[Turn]) -> Sequence[Turn]:
    if not turns or turns[-1].role is not Role.USER:
        return ()
    answers = {block.call_id for block in turns[-1].blocks if isinstance(block, ToolResult)}
    before = turns[-2] if len(turns) > 1 else None
    calls = before is not None and any(isinstance(block, ToolCall) and block.id in answers for block in before.blocks)
    return turns[-2:] if calls else turns[-1:]
