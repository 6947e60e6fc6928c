"""The tokens of a text on their way through events, stop sequences and the order of blocks."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.events import BlockDelta, BlockEnded, BlockStarted, Event, Finished, LogprobsSeen, fold, unfold
from gateway.wire.neutral import Logprob, Reply, Stop, StopReason, Text, ToolCall
from gateway.wire.translation.logprobs import Logprobs, Unsaid, ending
from gateway.wire.translation.sequence import BlockSequencer
from gateway.wire.translation.stops import StopFilter
from tests.wire.logprobs import token

PIECES = st.lists(st.lists(st.text("ab😀", min_size=1, max_size=3), max_size=3), max_size=8)
STOPS = st.lists(st.text("ab😀", min_size=1, max_size=3), min_size=1, max_size=3).map(tuple)
END = Finished(Stop(StopReason.END))


def tokens_of(*texts: str) -> tuple[Logprob, ...]:
    return Logprobs(is_asked=True).read([token(text) for text in texts])


def told(events: list[Event]) -> tuple[str, list[str]]:
    """Return the text and the tokens of a block's events."""
    said = "".join(event.text for event in events if isinstance(event, BlockDelta))
    return said, [one.text.decode() for event in events if isinstance(event, LogprobsSeen) for one in event.tokens]


@given(STOPS, PIECES)
def test_a_stop_sequence_takes_the_tokens_along(stops: tuple[str, ...], pieces: list[list[str]]) -> None:
    """Of a text that is cut, the tokens that lie before the cut are told, in order; of any other text all are."""
    filtered, out = StopFilter(stops), []
    events: list[Event] = [BlockStarted(0, Text(""))]
    for piece in pieces:
        events += [LogprobsSeen(0, tokens_of(*piece)), BlockDelta(0, "".join(piece))]
    for event in [*events, BlockEnded(0), END]:
        out += filtered.feed(event)
        said, tokens = told(out)
        assert said.startswith("".join(tokens)) or not filtered.is_cut, "a token never comes before its text is sure"
    texts = [text for piece in pieces for text in piece]
    ends = itertools.accumulate(map(len, texts))
    assert tokens == [text for text, end in zip(texts, ends, strict=True) if end <= len(said)]
    assert filtered.is_cut or said == "".join(texts)


@given(st.lists(st.tuples(st.text("ab", min_size=1, max_size=4), st.lists(st.text("ab", max_size=2), max_size=3))))
def test_streaming_a_whole_reply_keeps_its_tokens(blocks: list[tuple[str, list[str]]]) -> None:
    """fold(unfold(reply)) is the reply, also through the sequencer."""
    texts = tuple(Text(text, logprobs=tokens_of(*tokens)) for text, tokens in blocks)
    reply = Reply("r", "m", texts, Stop(StopReason.END))
    sequencer = BlockSequencer()
    assert fold(unfold(reply)) == reply
    assert fold(ordered for event in unfold(reply) for ordered in sequencer.feed(event)) == reply


def test_tokens_wait_with_their_block() -> None:
    """The tokens of a text that waits for an open call come with it, under its new index."""
    sequencer = BlockSequencer()
    events: list[Event] = [BlockStarted(4, ToolCall("c", "f", "")), BlockDelta(4, '{"a'), BlockStarted(7, Text(""))]
    events += [LogprobsSeen(7, tokens_of("a")), BlockDelta(7, "a"), BlockEnded(7), END]
    out = [ordered for event in events for ordered in sequencer.feed(event)]
    assert out[3:-2] == [BlockStarted(1, Text("")), LogprobsSeen(1, tokens_of("a")), BlockDelta(1, "a")]


@pytest.mark.parametrize(
    ("before", "text", "found"),
    [
        (["a", "b"], "ab", ["a", "b"]),
        (["x", "a", "b"], "ab", ["a", "b"]),
        (["a", "x", "a"], "a", ["a", "x", "a"]),
        (["xa", "b", "<end>"], "ab", ["xa", "b", "<end>"]),
        (["ab", "x", "ab"], "xab", ["x", "ab"]),
        (["", "a"], "a", ["", "a"]),
        (["x", "", "a"], "a", ["a"]),
        (["Ġa"], " a", ["Ġa"]),
        ([], "a", []),
    ],
)
def test_the_tokens_at_the_end(before: list[str], text: str, found: list[str]) -> None:
    """The text is looked for in what the tokens say; where it is not there, all are its."""
    assert [one.text.decode() for one in ending(tokens_of(*before), text)] == found


def test_a_token_is_told_when_all_of_it_is_said() -> None:
    """A token that is said in two pieces comes with the second."""
    unsaid = Unsaid()
    unsaid.add(tokens_of("ab", "c", "d"))
    assert unsaid.take("a") == ()
    assert unsaid.take("bc") == tokens_of("ab", "c")
    assert unsaid.take_all() == tokens_of("d") and unsaid.take_all() == ()
