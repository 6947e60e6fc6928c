"""Streams that unpack into much: memory stays within the event cap, whatever the encoding."""

import gzip
import tracemalloc
import zlib
from collections.abc import Callable

import pytest

from gateway.errors import Unreadable
from gateway.wire import DIALECTS
from gateway.wire.codec.sse import FrameCutter
from gateway.wire.codec.unpack import STEP, StreamUnpacker, zstd
from gateway.wire.dialect import Asked
from gateway.wire.lane import Lane
from tests.wire.crossings import chunk, crossing
from tests.wire.odd_streams import NAMES

pytestmark = pytest.mark.slow

MIB = 1024 * 1024
Pack = Callable[[bytes], bytes]


def bare(data: bytes) -> bytes:
    engine = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return engine.compress(data) + engine.flush()


PACKERS: dict[str, Pack] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "zstd": lambda data: zstd.compress(data) + b"",
    "gzip, gzip": lambda data: gzip.compress(gzip.compress(data)),
    "gzip, zstd": lambda data: zstd.compress(gzip.compress(data)) + b"",
    "deflate, gzip, zstd": lambda data: zstd.compress(gzip.compress(zlib.compress(data))) + b"",
    "identity, gzip": gzip.compress,
}
LINES = [b"id:\n", b"id:", b"a\n", b"data:\n", b"data: a\r", b":\n", b"event: x\n"]


@pytest.mark.parametrize("line", LINES)
@pytest.mark.parametrize("dialect", NAMES)
@pytest.mark.parametrize("lane", ["raw", "tidy", "crossed"])
def test_a_frame_of_many_lines_makes_no_objects(line: bytes, dialect: str, lane: str) -> None:
    """A frame of a million lines is refused or passed on, but never taken apart line by line."""
    found = DIALECTS[dialect]
    if lane == "crossed":
        made: Lane = crossing("openai_chat", dialect)
    else:
        made = found.watch(Asked()) if lane == "raw" else found.normalise(Asked())
    if dialect == "openai_chat":
        made.feed(chunk(content="a"))
    frame = line * (4 * MIB // len(line)) + b"\n\n"
    tracemalloc.start()
    try:
        made.feed(frame)
    except Unreadable:
        pass
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 3 * len(frame)


@pytest.mark.parametrize("encoding", PACKERS)
@pytest.mark.parametrize("step", [1, 7, STEP])
def test_streams_are_unpacked(encoding: str, step: int) -> None:
    """A stream is unpacked whatever its encoding and however the socket cuts it."""
    data = b"".join(chunk(content=f"text {number}") for number in range(20))
    packed = PACKERS[encoding](data)
    engine = StreamUnpacker(encoding)
    assert b"".join(out for at in range(0, len(packed), step) for out in engine.feed(packed[at : at + step])) == data
    assert engine.is_over


@pytest.mark.parametrize("step", [1, 100])
def test_deflate_without_its_head(step: int) -> None:
    """Some servers send the bare stream under the name `deflate`, as browsers have always read it."""
    packed = bare(b"data: {}\n\n" * 100)
    engine = StreamUnpacker("deflate")
    assert (
        b"".join(out for at in range(0, len(packed), step) for out in engine.feed(packed[at : at + step]))
        == b"data: {}\n\n" * 100
    )


@pytest.mark.parametrize("encoding", PACKERS)
def test_a_bomb_is_refused_in_small_steps(encoding: str) -> None:
    """A bomb of one endless event is refused while no more than the event cap is held."""
    packed = PACKERS[encoding](b"data: " + b"a" * (40 * MIB))
    cutter, engine = FrameCutter(4 * MIB), StreamUnpacker(encoding)
    tracemalloc.start()
    try:
        with pytest.raises(Unreadable):
            for at in range(0, len(packed), STEP):
                for piece in engine.feed(packed[at : at + STEP]):
                    assert len(piece) <= STEP
                    cutter.feed(piece)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 12 * MIB


@pytest.mark.parametrize("encoding", ["br", "gzip, br", "compress", "gzip, gzip, gzip, gzip"])
def test_other_encodings_are_refused_at_once(encoding: str) -> None:
    """An encoding that cannot be undone within bounds is refused before a byte is read."""
    with pytest.raises(Unreadable):
        StreamUnpacker(encoding)
