"""Blocks that an upstream interleaves reach the client one after the other, and nothing of them is lost."""

from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.events import (
    BlockDelta,
    BlockEnded,
    BlockStarted,
    CitationAdded,
    Event,
    Finished,
    PartStarted,
    Started,
    StateSeen,
    UsageSeen,
    fold,
)
from gateway.wire.neutral import (
    Block,
    Citation,
    Opaque,
    Reasoning,
    Refusal,
    Stop,
    StopReason,
    Text,
    ToolCall,
    Usage,
)
from gateway.wire.translation.sequence import BlockSequencer

pytestmark = pytest.mark.slow

END = Finished(Stop(StopReason.END))
CALL = ToolCall("c", "f", "")
OPAQUE = Opaque("x", "y", b"{}")  # type: ignore[arg-type]


def sequenced(events: list[Event]) -> list[Event]:
    sequencer = BlockSequencer()
    return [found for event in events for found in sequencer.feed(event)]


def is_sequential(events: list[Event]) -> bool:
    """Whether the blocks have the indices 0, 1, 2…, and each ends before the next begins."""
    number, is_open = 0, False
    for event in events:
        match event:
            case BlockStarted():
                if is_open or event.index != number:
                    return False
                is_open = True
            case BlockEnded():
                if not is_open or event.index != number:
                    return False
                is_open, number = False, number + 1
            case Finished():
                return not is_open and event is events[-1]
            case Started() | UsageSeen():
                pass
            case _:
                if not is_open or event.index != number:
                    return False
    return False


ARGUMENTS = st.sampled_from(["", "{}", '{"a":1}', '{"a":{"b":"}"}}', "no JSON", '{"a":'])
WORDS = st.sampled_from(["", "a", "words"])
STATE = st.builds(StateSeen, st.just(0), st.just("sig"))


def letters(text: str) -> list[Event]:
    return [BlockDelta(0, letter) for letter in text]


# What happens in one block, with the index 0.
BLOCKS = st.one_of(
    st.builds(lambda text: [BlockStarted(0, Text("")), *letters(text)], WORDS),
    st.builds(lambda text: [BlockStarted(0, Text(text)), *letters(text)], WORDS),
    st.builds(lambda text: [BlockStarted(0, Refusal("")), *letters(text)], WORDS),
    st.builds(lambda text: [BlockStarted(0, CALL), *letters(text)], ARGUMENTS),
    st.builds(
        lambda text, state: [BlockStarted(0, Reasoning()), *letters(text), PartStarted(0), *letters(text), *state],
        WORDS,
        st.lists(STATE, max_size=1),
    ),
    st.just([BlockStarted(0, OPAQUE)]),
)


@st.composite
def replies(draw: Any) -> list[Event]:
    """Blocks whose events are interleaved at random; some of the blocks never end."""
    waiting: list[list[Event]] = []
    for index, events in enumerate(draw(st.lists(BLOCKS, max_size=4))):
        ended = [*events, BlockEnded(0)] if draw(st.booleans()) else events
        waiting.append([evolve(event, index=index) for event in ended])
    out: list[Event] = [Started("id", "m")]
    started = 0  # blocks begin in the order of their index
    while any(waiting):
        ready = [index for index, events in enumerate(waiting) if events and index <= started]
        chosen = draw(st.sampled_from(ready))
        started = max(started, chosen + 1)
        out.append(waiting[chosen].pop(0))
    return [*out, END]


def has_content(block: Block) -> bool:
    match block:
        case Text() | Refusal():
            return bool(block.text)
        case Reasoning():
            return bool(block.parts) or block.has_state
        case _:
            return True


@given(replies())
def test_any_interleaving_becomes_a_sequence(events: list[Event]) -> None:
    """However blocks interleave, the client sees one after the other, with the content and order of all of them."""
    out = sequenced(events)
    assert is_sequential(out)
    assert list(fold(out).blocks) == [block for block in fold(events).blocks if has_content(block)]


def test_the_first_block_is_not_held_back() -> None:
    """The events of the open block pass at once, those of another wait until the open one ends."""
    sequencer = BlockSequencer()
    steps: list[tuple[Event, list[Event]]] = [
        (BlockStarted(7, Text("")), []),
        (BlockDelta(7, "a"), [BlockStarted(0, Text("")), BlockDelta(0, "a")]),
        (BlockStarted(9, CALL), []),
        (BlockDelta(9, "{"), []),
        (BlockDelta(7, "b"), [BlockDelta(0, "b")]),
        (BlockEnded(7), [BlockEnded(0), BlockStarted(1, CALL), BlockDelta(1, "{")]),
        (BlockDelta(9, "}"), [BlockDelta(1, "}")]),
        (END, [BlockEnded(1), END]),
    ]
    for event, wanted in steps:
        assert sequencer.feed(event) == wanted


def test_a_complete_call_makes_way() -> None:
    """A call whose arguments are whole ends when another block waits; one whose arguments are not, does not."""
    sequencer = BlockSequencer()
    other = ToolCall("d", "g", "{}")
    sequencer.feed(BlockStarted(0, CALL))
    assert sequencer.feed(BlockDelta(0, '{"a":')) == [BlockDelta(0, '{"a":')]
    assert sequencer.feed(BlockStarted(1, other)) == []
    wanted = [BlockDelta(0, "1}"), BlockEnded(0), BlockStarted(1, other)]
    assert sequencer.feed(BlockDelta(0, "1}")) == wanted
    assert sequencer.feed(BlockStarted(2, Text("x"))) == [BlockEnded(1), BlockStarted(2, Text("x"))]


def test_calls_that_completed_while_they_waited_follow_at_once() -> None:
    """When the open block ends, every waiting call that is whole is written and closed, up to the last."""
    sequencer = BlockSequencer()
    for event in (BlockStarted(0, Text("x")), BlockStarted(1, CALL), BlockStarted(2, CALL)):
        sequencer.feed(event)
    sequencer.feed(BlockDelta(1, "{}"))
    wanted = [BlockEnded(0), BlockStarted(1, CALL), BlockDelta(1, "{}"), BlockEnded(1), BlockStarted(2, CALL)]
    assert sequencer.feed(BlockEnded(0)) == wanted


def test_what_comes_for_a_closed_call_is_left_out() -> None:
    """A delta or an end that comes after a call was closed is not written into another block."""
    sequencer = BlockSequencer()
    for event in (BlockStarted(0, ToolCall("c", "f", "{}")), BlockStarted(1, Text("x"))):
        sequencer.feed(event)
    assert sequencer.feed(BlockDelta(0, " ")) == sequencer.feed(BlockEnded(0)) == []
    assert sequencer.feed(BlockDelta(1, "y")) == [BlockDelta(1, "y")]


@pytest.mark.parametrize("block", [Text(""), Refusal(""), Reasoning(), Reasoning(id="rs_1")])
def test_a_block_without_content_is_left_out(block: Block) -> None:
    """An empty block is not written and uses no index, whether it ends or not."""
    empty: list[Event] = [BlockStarted(0, block), BlockDelta(0, "")]
    for end in ([], [BlockEnded(0)]):
        out = sequenced([*empty, *end, BlockStarted(1, CALL), END])
        assert out == [BlockStarted(0, CALL), BlockEnded(0), END]


@pytest.mark.parametrize(
    ("block", "event"),
    [
        (Text(""), CitationAdded(3, Citation("x", {}))),
        (Reasoning(), PartStarted(3)),
        (Reasoning(), StateSeen(3, sealed="s")),
    ],
)
def test_content_need_not_be_text(block: Block, event: Any) -> None:
    """A citation, a part or the provider's state opens a block as text does."""
    wanted = [BlockStarted(0, block), evolve(event, index=0), BlockEnded(0), END]
    assert sequenced([BlockStarted(3, block), event, BlockEnded(3), END]) == wanted


def test_an_opaque_block_takes_its_last_form() -> None:
    """The block that an end brings along is passed on with it."""
    events: list[Event] = [BlockStarted(4, OPAQUE), BlockEnded(4, OPAQUE), END]
    assert sequenced(events) == [BlockStarted(0, OPAQUE), BlockEnded(0, OPAQUE), END]


def test_what_belongs_to_no_block_passes_at_once() -> None:
    """The beginning and the usage of a reply wait for no block."""
    sequencer = BlockSequencer()
    sequencer.feed(BlockStarted(0, Text("x")))
    for event in (Started("id", "m"), UsageSeen(Usage(output=3))):
        assert sequencer.feed(event) == [event]


def test_many_calls_with_many_deltas() -> None:
    """A hundred calls of a thousand deltas each, in turns, come out whole and in order."""
    numbers = range(100)
    events: list[Event] = [BlockStarted(number, ToolCall(f"c{number}", "f", "")) for number in numbers]
    for letter in ['{"a":"', *["x"] * 1000, '"}']:
        events += [BlockDelta(number, letter) for number in numbers]
    out = sequenced([*events, END])
    assert is_sequential(out)
    arguments = '{"a":"' + "x" * 1000 + '"}'
    assert list(fold(out).blocks) == [ToolCall(f"c{number}", "f", arguments) for number in numbers]
