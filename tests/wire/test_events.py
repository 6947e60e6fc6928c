"""Events and whole replies are two forms of the same reply.

`unfold` turns a whole reply into events, so that it can be streamed; `fold` turns events into a whole reply, so that a
stream can be stored or returned whole. The law `fold(unfold(reply)) == reply` says that neither loses anything. The
other tests here are about filters of events: BlockSequencer lets one block be open at a time, StopFilter cuts texts at
stop sequences, and ThinkFilter takes think tags out of texts.
"""

from collections.abc import Iterable
from itertools import pairwise

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gateway.wire.codec.json_prefix import is_half
from gateway.wire.events import (
    BlockDelta,
    BlockEnded,
    BlockStarted,
    Event,
    Finished,
    Started,
    UsageSeen,
    fold,
    unfold,
)
from gateway.wire.neutral import (
    Block,
    Citation,
    Opaque,
    Reasoning,
    Refusal,
    Reply,
    Stop,
    StopReason,
    Text,
    ToolCall,
    Usage,
)
from gateway.wire.translation.sequence import BlockSequencer
from gateway.wire.translation.stops import StopFilter
from gateway.wire.translation.think_tags import ThinkFilter
from tests.wire.crossings import CHAT, MESSAGES, memo_of
from tests.wire.grammar import Told, check_once, read_chat, read_messages

WORDS = st.text(max_size=12)
SAID = st.text(min_size=1, max_size=12)
COUNTS = st.none() | st.integers(0, 10_000)
CITATIONS = st.builds(Citation, origin=st.just("x"), raw=st.just({}), url=SAID, title=SAID)
TEXTS = st.builds(Text, text=SAID, citations=st.lists(CITATIONS, max_size=2).map(tuple))
CALLS = st.builds(ToolCall, id=SAID, name=SAID, arguments=WORDS)
THOUGHTS = st.builds(
    Reasoning,
    parts=st.lists(SAID, max_size=3).map(tuple),
    is_summary=st.booleans(),
    signature=st.none() | SAID,
    sealed=st.none() | SAID,
    origin=st.sampled_from(["anthropic_messages", "openai_responses", ""]),
    id=st.none() | SAID,
)
OPAQUE = st.builds(Opaque, origin=SAID, kind=SAID, raw=st.just(msgspec.Raw(b'{"type":"x"}')))
BLOCKS: st.SearchStrategy[list[Block]] = st.lists(
    TEXTS | CALLS | THOUGHTS | OPAQUE | st.builds(Refusal, text=SAID), max_size=6
)
STOPS = st.builds(Stop, reason=st.sampled_from(StopReason), sequence=st.none() | SAID, explanation=st.none() | SAID)
USAGES = st.none() | st.builds(Usage, COUNTS, COUNTS, COUNTS, COUNTS, COUNTS)
REPLIES = st.builds(
    Reply, id=SAID, model=SAID, blocks=BLOCKS.map(tuple), stop=STOPS, usage=USAGES, tier=st.none() | SAID
)


@given(REPLIES)
def test_folding_is_unfolding_backwards(reply: Reply) -> None:
    """Folding the events of a reply gives the same reply (docs/design.md#the-fold-law)."""
    assert fold(unfold(reply)) == reply


@pytest.mark.parametrize("parts", [("",), ("", ""), ("", "a"), ("a", ""), ()], ids=str)
def test_empty_parts_are_kept(parts: tuple[str, ...]) -> None:
    """A thought keeps its parts, the empty ones too."""
    for block in (Reasoning(parts), Reasoning(parts, sealed="S", origin="x")):
        reply = Reply("i", "m", (block,), Stop(StopReason.END))
        assert fold(unfold(reply)) == reply


def in_order(events: Iterable[Event]) -> list[Event]:
    sequencer = BlockSequencer()
    return [told for event in events for told in sequencer.feed(event)]


@given(BLOCKS, st.randoms(use_true_random=False))
def test_blocks_are_put_in_order_without_a_loss(blocks: list[Block], dice: "object") -> None:
    """However blocks are interleaved, one is open at a time, indices are dense, and none is lost."""
    reply = Reply("i", "m", tuple(blocks), Stop(StopReason.END))
    started, *middle, finished = unfold(reply)
    queues: dict[int, list[Event]] = {}
    for event in middle:
        if not isinstance(event, Started | UsageSeen | Finished):
            queues.setdefault(event.index, []).append(event)
    shuffled = []
    while queues:
        index = dice.choice(sorted(queues))  # type: ignore[attr-defined]
        shuffled.append(queues[index].pop(0))
        if not queues[index]:
            del queues[index]
    told = in_order([started, *shuffled, finished])
    opened, expected = None, 0
    for event in told:
        if isinstance(event, BlockStarted):
            assert opened is None and event.index == expected
            opened = event.index
        elif isinstance(event, BlockEnded):
            assert event.index == opened
            opened, expected = None, expected + 1
        elif not isinstance(event, Started | UsageSeen | Finished):
            assert event.index == opened
    wanted = [block for block in blocks if not isinstance(block, Reasoning) or block.parts or block.has_state]
    assert sorted(map(repr, fold(told).blocks)) == sorted(map(repr, wanted))


def _says_once(reply: Reply) -> bool:
    """Whether the model itself repeats nothing that the grammar would take for told twice."""
    texts = [block.text for block in reply.blocks if isinstance(block, Text | Refusal)]
    thoughts = ["\n\n".join(block.parts) for block in reply.blocks if isinstance(block, Reasoning)]
    calls = [(block.id, block.name, block.arguments) for block in reply.blocks if isinstance(block, ToolCall)]
    plain = "".join(block.text for block in reply.blocks if isinstance(block, Text))
    refused = "".join(block.text for block in reply.blocks if isinstance(block, Refusal))
    try:
        check_once(Told("".join(texts), "".join(thoughts), calls=calls, texts=[*texts, *thoughts]))
        check_once(Told(plain, refusal=refused))
    except AssertionError:
        return False
    return True


@given(REPLIES)
def test_both_writers_stay_within_their_grammar(reply: Reply) -> None:
    """The strictest client can read the stream of any reply."""
    assume(not any(is_half(block.arguments) for block in reply.blocks if isinstance(block, ToolCall)))
    assume(_says_once(reply))
    for dialect, read in ((CHAT, read_chat), (MESSAGES, read_messages)):
        assert dialect.client is not None
        memo = memo_of(dialect.name)
        writer = dialect.client.stream_writer(memo)
        events = in_order(unfold(reply)) if dialect.client.is_sequential else unfold(reply)
        said = b"".join([*(writer.feed(event) for event in events), writer.end()])
        told = read(said)
        texts = "".join(block.text for block in reply.blocks if isinstance(block, Text))
        assert texts.replace("\n\n", "") in told.text.replace("\n\n", "") or dialect is MESSAGES
        assert msgspec.json.decode(dialect.client.write_reply(reply, memo))


@given(st.lists(st.text("abx", max_size=4)), st.lists(st.text("abx", min_size=1, max_size=3), min_size=1, max_size=3))
def test_stop_sequences_cut_wherever_the_deltas_are_cut(pieces: list[str], stops: list[str]) -> None:
    """The text ends before the first stop sequence, and without one nothing is held back."""
    filtered = StopFilter(tuple(stops))
    events: list[Event] = [BlockStarted(0, Text("")), *(BlockDelta(0, one) for one in pieces), BlockEnded(0)]
    told = [out for event in events for out in filtered.feed(event)]
    whole = "".join(pieces)
    places = [whole.find(stop) for stop in stops if stop in whole]
    said = "".join(event.text for event in told if isinstance(event, BlockDelta))
    assert filtered.is_cut is bool(places)
    if not places:
        assert said == whole
    else:
        # The earliest sequence to be complete wins; one that begins before it may not be complete yet.
        assert whole.startswith(said) and len(said) <= max(places)
        assert isinstance(told[-1], Finished)


def test_stops_leave_everything_else_alone() -> None:
    """The stop filter leaves calls and their deltas as they are."""
    filtered = StopFilter(("S",))
    call = BlockStarted(1, ToolCall("i", "n", ""))
    for event in (call, BlockDelta(1, "S"), BlockEnded(1)):
        assert filtered.feed(event) == [event]
    assert filtered.feed(BlockStarted(2, Text(""))) and not filtered.is_cut


@given(st.text("<think>/ab\n", max_size=40), st.lists(st.integers(0, 40)))
def test_think_tags_come_out_the_same_however_they_are_cut(text: str, cuts: list[int]) -> None:
    """Thoughts and text do not depend on where the deltas are cut."""

    def split(pieces: list[str]) -> tuple[str, str]:
        thinking = ThinkFilter()
        told = [one for piece in pieces for one in thinking.feed(piece)] + list(thinking.end())
        return "".join(t for is_, t in told if is_), "".join(t for is_, t in told if not is_)

    places = sorted({min(cut, len(text)) for cut in cuts} | {0, len(text)})
    pieces = [text[start:stop] for start, stop in pairwise(places)]
    thought, said = split(pieces)
    wanted_thought, wanted = split([text])
    assert thought == wanted_thought and said.lstrip("\n") == wanted.lstrip("\n")


def test_a_thought_in_tags() -> None:
    """A text that begins with <think> is a thought until the closing tag; a later or partial tag is text."""
    thinking = ThinkFilter()
    told = [*thinking.feed(" <think>\nhm</think>\n\nyes"), *thinking.end()]
    assert told == [(True, "hm"), (False, "yes")]
    later = ThinkFilter()
    assert [*later.feed("a <think>"), *later.end()] == [(False, "a <think>")]
    cut = ThinkFilter()
    assert [*cut.feed("<thi"), *cut.end()] == [(False, "<thi")]
