"""Frames are the same wherever the socket cuts the bytes, and keep their bytes."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import Unreadable
from gateway.wire.codec.sse import Frame, FrameCutter, read_frame, write_data, write_event

LINE_ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])
LINES = st.one_of(
    st.sampled_from([b"data: {}", b"data:x", b": comment", b"event: e", b"", b"data: \xf0\x9f\x8e\x89", b"id: 7"]),
    st.binary(max_size=12).map(lambda raw: raw.replace(b"\r", b"").replace(b"\n", b"")),
)
STREAMS = st.lists(st.tuples(LINES, LINE_ENDS), max_size=25).map(lambda parts: b"".join(a + b for a, b in parts))


def cut_at(stream: bytes, cuts: list[int]) -> tuple[list[bytes], bytes]:
    """Feed a stream cut at these places; return (the frames, what `end` returns)."""
    cutter = FrameCutter()
    frames = []
    places = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    for start, stop in pairwise(places):
        if stop > start:
            frames += cutter.feed(stream[start:stop])
    return frames, cutter.end()


@given(STREAMS, st.lists(st.integers(0, 400), max_size=8))
def test_any_chunking_gives_the_same_frames(stream: bytes, cuts: list[int]) -> None:
    """The frames of a stream do not depend on where the socket cuts it."""
    assert cut_at(stream, cuts) == cut_at(stream, list(range(len(stream))))


@given(STREAMS)
def test_the_frames_joined_are_the_stream(stream: bytes) -> None:
    """No byte is lost or made up; only an unfinished last frame is completed."""
    frames, end = cut_at(stream, [])
    whole = b"".join(frames)
    assert stream.removeprefix(b"\xef\xbb\xbf").startswith(whole)
    rest = stream.removeprefix(b"\xef\xbb\xbf")[len(whole) :].strip(b"\r\n")
    assert end == (rest + b"\n\n" if rest else b"")


@pytest.mark.parametrize("gap", [b"\n\n", b"\r\n\r\n", b"\r\r", b"\n\r\n", b"\r\n\n"])
def test_an_empty_line_ends_a_frame_whatever_ends_a_line(gap: bytes) -> None:
    """An empty line ends a frame, with LF, CRLF or CR, also mixed."""
    assert cut_at(b"data: a" + gap + b"data: b" + gap + b"x", [])[0] == [b"data: a" + gap, b"data: b" + gap]


def test_a_carriage_return_at_the_end_of_a_chunk_waits_for_its_line_feed() -> None:
    """A CR at the end of a chunk waits for its LF: half of a CRLF is not a line end."""
    cutter = FrameCutter()
    assert cutter.feed(b"data: a\r\n\r") == []
    assert cutter.feed(b"\ndata: b") == [b"data: a\r\n\r\n"]
    assert not cutter.is_between


def test_a_byte_order_mark_is_ignored_even_in_pieces() -> None:
    """A byte order mark at the start is dropped, even in pieces; anywhere else it stays."""
    cutter = FrameCutter()
    assert cutter.feed(b"\xef") == []
    assert cutter.feed(b"\xbb\xbfdata: a\n\n") == [b"data: a\n\n"]
    assert cutter.feed(b"\xef\xbb\xbf\n\n") == [b"\xef\xbb\xbf\n\n"]


def test_a_line_of_three_megabytes_is_a_frame_like_any_other() -> None:
    """A line of three megabytes is one frame: `response.completed` repeats the whole reply. (EC-169)"""
    big = b"data: " + b"x" * 3_000_000 + b"\n\n"
    cutter = FrameCutter()
    frames = [frame for start in range(0, len(big), 65536) for frame in cutter.feed(big[start : start + 65536])]
    assert frames == [big]


def test_an_endless_frame_is_refused() -> None:
    """A frame beyond the bound raises Unreadable, so that a provider cannot fill the memory."""
    cutter = FrameCutter(most=1000)
    with pytest.raises(Unreadable, match="larger than 1000"):
        for _ in range(100):
            cutter.feed(b"data: xxxxxxxxxxxxxxxxxxxxxxx")


@pytest.mark.parametrize(
    ("frame", "event", "data"),
    [
        (b'data: {"a":1}\n\n', "", b'{"a":1}'),
        (b'data:{"a":1}\n\n', "", b'{"a":1}'),
        (b"data: a\ndata: b\n\n", "", b"a\nb"),
        (b"event: x\r\ndata: a\r\n\r\n", "x", b"a"),
        (b": comment\n\n", "", None),
        (b"event: ping\n\n", "ping", None),
        (b"data\n\n", "", b""),
        (b"id: 1\nretry: 5\nfoo: bar\ndata: a\n\n", "", b"a"),
        (b"data:  a\n\n", "", b" a"),
    ],
)
def test_fields_are_read_as_the_standard_says(frame: bytes, event: str, data: bytes | None) -> None:
    """One space after the colon is dropped, data lines are joined, other fields are ignored."""
    assert read_frame(frame) == Frame(event, data)


def test_what_is_written_is_read_back() -> None:
    """A written frame is read back as its event and data."""
    assert read_frame(write_data(b'{"a":1}')) == Frame("", b'{"a":1}')
    assert read_frame(write_event("ping", b"{}")) == Frame("ping", b"{}")
