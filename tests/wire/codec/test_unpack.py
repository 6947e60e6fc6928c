"""Compressed bodies are unpacked within a bound, whatever is in them."""

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import BadRequest, TooLarge, Unreadable, UnsupportedMedia
from gateway.wire.codec.unpack import STEP, StreamUnpacker, unpack, zstd

PACKERS = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
    "DEFLATE": lambda data: zlib.compress(data, wbits=-15),
    "zstd": zstd.compress,
    "identity": bytes,
    "": bytes,
}


@given(st.binary(max_size=500), st.sampled_from(sorted(PACKERS)))
def test_what_was_packed_is_unpacked(data: bytes, encoding: str) -> None:
    """Every accepted encoding is unpacked, with both forms of deflate."""
    assert unpack(PACKERS[encoding](data), encoding, 1000) == data


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd"])
def test_a_bomb_is_too_large(encoding: str) -> None:
    """A body beyond the bound raises TooLarge: the bound is on the unpacked size. (EC-11)"""
    with pytest.raises(TooLarge):
        unpack(PACKERS[encoding](b"a" * 20_000_000), encoding, 2_000_000)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd"])
@pytest.mark.parametrize("damage", [lambda data: data[:-3], lambda data: data + b"x", lambda data: b"\x00garbage" * 3])
def test_damage_is_a_bad_request(encoding: str, damage: object) -> None:
    """A truncated body, trailing bytes and garbage raise BadRequest. (EC-10)"""
    assert callable(damage)
    with pytest.raises(BadRequest):
        unpack(damage(PACKERS[encoding](b"hello" * 50)), encoding, 1000)


def test_a_large_window_is_refused() -> None:
    """A frame whose window is larger than 8 MiB raises BadRequest before it is allocated."""
    options: dict[int, int] = {zstd.CompressionParameter.window_log: 27}
    packed = zstd.ZstdCompressor(options=options).compress(b"x" * 100) + b""
    engine = zstd.ZstdCompressor(options=options)
    packed = engine.compress(b"x" * 100) + engine.flush()
    with pytest.raises(BadRequest):
        unpack(packed, "zstd", 1000)


@pytest.mark.parametrize("encoding", ["br", "foo", "gzip, zstd"])
def test_an_unknown_encoding_is_415(encoding: str) -> None:
    """An unknown encoding, or a list of them, raises UnsupportedMedia. (EC-12)"""
    with pytest.raises(UnsupportedMedia):
        unpack(b"{}", encoding, 100)


@given(st.binary(max_size=2000), st.sampled_from(["gzip", "deflate", "zstd"]), st.integers(1, 50))
def test_a_stream_is_unpacked_in_any_pieces(data: bytes, encoding: str, step: int) -> None:
    """A compressed stream is unpacked in chunks of any size."""
    packed = PACKERS[encoding](data)
    engine = StreamUnpacker(encoding)
    assert b"".join(out for at in range(0, len(packed), step) for out in engine.feed(packed[at : at + step])) == data


def test_a_damaged_or_unknown_stream_is_unreadable() -> None:
    """A provider's stream that is damaged, too large or in an unknown encoding raises Unreadable."""
    with pytest.raises(Unreadable):
        StreamUnpacker("br")
    with pytest.raises(Unreadable):
        list(StreamUnpacker("gzip").feed(b"garbage that is no gzip"))
    with pytest.raises(Unreadable, match="too much"):
        list(StreamUnpacker("gzip").feed(gzip.compress(b"a" * 70_000_000)))


def test_what_follows_the_end_of_the_data_is_no_reply() -> None:
    """After the end of the compressed data nothing more is returned."""
    engine = StreamUnpacker("gzip")
    assert b"".join(engine.feed(gzip.compress(b"text") + b"rest")) == b"text"
    assert engine.is_over and list(engine.feed(gzip.compress(b"more"))) == []


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd"])
def test_a_step_is_bounded_and_so_is_the_ratio(encoding: str) -> None:
    """No step is larger than STEP, and nothing may unpack to more than a hundred times its size."""
    packed = PACKERS[encoding](b"a" * 900_000)
    assert max(map(len, StreamUnpacker(encoding).feed(packed))) <= STEP
    assert len(unpack(packed, encoding, 10_000_000)) == 900_000
    with pytest.raises(TooLarge, match="100 times"):
        unpack(PACKERS[encoding](b"a" * 5_000_000), encoding, 10_000_000)
