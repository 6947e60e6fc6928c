"""Stop sequences end a reply at the same place, however its text was cut."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gateway.errors import BadRequest
from gateway.wire.events import BlockDelta, BlockEnded, BlockStarted, Event, Finished, Started, StateSeen, UsageSeen
from gateway.wire.neutral import Block, Reasoning, Stop, StopReason, Text, ToolCall, Usage
from gateway.wire.translation.stops import MAX_STOP_LENGTH, MAX_STOPS, StopFilter, check_stops
from tests.wire.cuts import pieces

STOPS = st.lists(st.text(alphabet="ab\n", min_size=1, max_size=5), min_size=1, max_size=3).map(tuple)
CUTS = st.lists(st.integers(0, 60), max_size=8)
END = Finished(Stop(StopReason.END))


def filtered(stops: tuple[str, ...], parts: list[str]) -> tuple[str, str | None]:
    """Return (the text that is written, the sequence that ended it) of a reply with one text block."""
    stop_filter = StopFilter(stops)
    events: list[Event] = [BlockStarted(0, Text("")), *(BlockDelta(0, part) for part in parts), BlockEnded(0), END]
    out = [found for event in events for found in stop_filter.feed(event)]
    last = out[-1]
    assert isinstance(last, Finished) and sum(isinstance(event, Finished) for event in out) == 1
    assert out[0] == BlockStarted(0, Text("")) and out[-2] == BlockEnded(0)
    assert stop_filter.is_cut is (last != END)
    return "".join(event.text for event in out if isinstance(event, BlockDelta)), last.stop.sequence


def in_whole(stops: tuple[str, ...], text: str) -> tuple[str, str | None]:
    """Find the stop sequence that is complete first; of two that end at one place the longer."""
    places = [(text.find(stop), stop) for stop in stops if stop in text]
    found = min(places, key=lambda place: (place[0] + len(place[1]), place[0]), default=None)
    return (text, None) if found is None else (text[: found[0]], found[1])


@given(STOPS, st.text(alphabet="ab\n", max_size=40), CUTS)
def test_the_cut_of_the_text_does_not_matter(stops: tuple[str, ...], text: str, cuts: list[int]) -> None:
    """A reply cut into any pieces ends as the whole text does."""
    assert filtered(stops, pieces(text, cuts)) == in_whole(stops, text)


@given(STOPS, st.text(alphabet="ab\n", max_size=40))
def test_no_more_is_held_back_than_must_be(stops: tuple[str, ...], text: str) -> None:
    """Only an end that may be the beginning of a sequence waits for the next delta."""
    assume(not any(stop in text for stop in stops))
    beginnings = {stop[:length] for stop in stops for length in range(1, len(stop))}
    held = max((length for length in range(len(text) + 1) if text[len(text) - length :] in beginnings), default=0)
    stop_filter = StopFilter(stops)
    stop_filter.feed(BlockStarted(0, Text("")))
    safe = text[: len(text) - held]
    assert stop_filter.feed(BlockDelta(0, text)) == ([BlockDelta(0, safe)] if safe else [])


@pytest.mark.parametrize(
    ("stops", "text", "wanted"),
    [
        (("END",), "all ENDED", ("all ", "END")),
        (("END",), "all EN", ("all EN", None)),
        (("aab",), "aaab", ("a", "aab")),
        (("ab", "abc"), "xabc", ("x", "ab")),
        (("b", "ab"), "xab", ("x", "ab")),
        ((".*", "(?i)x"), "x.* ", ("x", ".*")),
        (("\n\n",), "a\nb\n\nc", ("a\nb", "\n\n")),
        (("x",), "x", ("", "x")),
    ],
)
def test_where_a_reply_ends(stops: tuple[str, ...], text: str, wanted: tuple[str, str | None]) -> None:
    """A sequence is plain text, is itself not written, and also ends a reply that came letter by letter."""
    assert filtered(stops, [text]) == filtered(stops, list(text)) == wanted


def test_each_block_is_searched_alone() -> None:
    """A sequence does not reach from one text block into the next, and two open blocks do not mix."""
    stop_filter = StopFilter(("ab",))
    events: list[Event] = [
        BlockStarted(0, Text("")),
        BlockStarted(1, Text("")),
        BlockDelta(0, "xa"),
        BlockDelta(1, "b"),
    ]
    assert [stop_filter.feed(event) for event in events][2:] == [[BlockDelta(0, "x")], [BlockDelta(1, "b")]]
    assert stop_filter.feed(BlockEnded(0)) == [BlockDelta(0, "a"), BlockEnded(0)]
    assert not stop_filter.is_cut


def test_only_text_is_searched() -> None:
    """Reasoning, arguments, usage and state pass as they are, even with the sequence inside."""
    stop_filter = StopFilter(("ab",))
    events: list[Event] = [
        Started("id", "m"),
        BlockStarted(0, Reasoning()),
        BlockDelta(0, "ab"),
        StateSeen(0, "sig"),
        BlockEnded(0),
        BlockStarted(1, ToolCall("c", "f", "")),
        BlockDelta(1, '"ab"'),
        BlockEnded(1),
        UsageSeen(Usage(output=1)),
        END,
    ]
    assert [found for event in events for found in stop_filter.feed(event)] == events


def test_all_open_blocks_end_and_nothing_follows() -> None:
    """At a sequence every block still open is ended, the reply finishes, and later events are swallowed."""
    stop_filter = StopFilter(("ab",))
    blocks: list[Block] = [Reasoning(), Text(""), ToolCall("c", "f", "")]
    for index in (2, 0, 1):
        stop_filter.feed(BlockStarted(index, blocks[index]))
    stop_filter.feed(BlockEnded(0))
    wanted = [BlockDelta(1, "x"), BlockEnded(1), BlockEnded(2), Finished(Stop(StopReason.STOP_SEQUENCE, "ab"))]
    assert stop_filter.feed(BlockDelta(1, "xab")) == wanted
    assert stop_filter.feed(BlockDelta(1, "more")) == stop_filter.feed(END) == []


def test_long_replies_and_long_sequences() -> None:
    """The most and longest sequences are found behind a hundred thousand letters, in one delta or in many."""
    stops = tuple("a" * (MAX_STOP_LENGTH - 2) + chr(0x4E00 + number) * 2 for number in range(MAX_STOPS))
    text = "a" * 100_000 + stops[-1][-2:] + "rest"
    wanted = "a" * (100_000 - MAX_STOP_LENGTH + 2), stops[-1]
    assert filtered(stops, [text]) == filtered(stops, pieces(text, range(0, 100_000, 97))) == wanted


def test_more_than_is_searched_for_is_refused() -> None:
    """As many and as long sequences as are searched for pass; one more, or one letter more, names the member."""
    check_stops(["x" * MAX_STOP_LENGTH] * MAX_STOPS, "stop")
    for stops in (["x"] * (MAX_STOPS + 1), ["x" * (MAX_STOP_LENGTH + 1)]):
        with pytest.raises(BadRequest) as caught:
            check_stops(stops, "stop_sequences")
        assert (caught.value.param, caught.value.code) == ("stop_sequences", "invalid_value")
