"""Unpacks compressed bodies in steps, within a bound and a ratio: a small body may unpack into gigabytes.

A step makes at most 64 KiB, so that a thread which unpacks lets go of the interpreter some thousand times a second,
and a reader can look at what came out before it takes more.
"""

import sys
import zlib
from collections.abc import Iterator

from gateway.errors import BadRequest, TooLarge, Unreadable, UnsupportedMedia

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

__all__ = ["StreamUnpacker", "unpack", "zstd"]
STEP = 65536  # bytes, of input and of output
# 2 to the 23 is 8 MiB, the window of level 19. A larger window would be allocated before the first byte of output.
_WINDOW_LOG_MAX = 23
_GZIP = 16 + zlib.MAX_WBITS
_EITHER = 0  # zlib's format, or the bare stream that some servers send under the same name
_ZSTD_OPTIONS: dict[int, int] = {zstd.DecompressionParameter.window_log_max: _WINDOW_LOG_MAX}
# Real text shrinks to a tenth, and rarely to a fiftieth. The first mebibyte may be anything.
MAX_RATIO, FREE = 100, 1024 * 1024


class _Inflate:
    """zlib behind the interface of the loop below."""

    def __init__(self, window: int) -> None:
        self._window = window
        self._engine = zlib.decompressobj(zlib.MAX_WBITS if window == _EITHER else window)

    @property
    def eof(self) -> bool:
        return self._engine.eof

    @property
    def unused_data(self) -> bytes:
        return self._engine.unused_data

    def steps(self, piece: bytes) -> Iterator[bytes]:
        """Yield what a piece of at most STEP bytes unpacks to, in pieces of at most STEP bytes."""
        if self._window == _EITHER and piece:
            if piece[0] & 15 != zlib.DEFLATED:  # not the first byte of the zlib format, which RFC 9110 8.4.1.2 means
                self._engine = zlib.decompressobj(-zlib.MAX_WBITS)
            self._window = zlib.MAX_WBITS
        while not self._engine.eof:
            out = self._engine.decompress(piece, STEP)
            piece = self._engine.unconsumed_tail
            if out:
                yield out
            if not piece and len(out) < STEP:
                return


class _Unzstd:
    """zstd behind the interface of the loop below."""

    def __init__(self) -> None:
        self._engine = zstd.ZstdDecompressor(options=_ZSTD_OPTIONS)

    @property
    def eof(self) -> bool:
        return self._engine.eof

    @property
    def unused_data(self) -> bytes:
        return self._engine.unused_data

    def steps(self, piece: bytes) -> Iterator[bytes]:
        """Yield what a piece of at most STEP bytes unpacks to, in pieces of at most STEP bytes."""
        while not self._engine.eof:
            out = self._engine.decompress(piece, max_length=STEP)
            piece = b""
            if out:
                yield out
            if self._engine.needs_input:
                return


def unpack(data: bytes, encoding: str, limit: int) -> bytes:
    """Undo a `Content-Encoding`.

    Raises TooLarge beyond `limit` bytes or MAX_RATIO, UnsupportedMedia for an unknown encoding, BadRequest for
    damaged data.
    """
    match encoding.strip().lower():
        case "" | "identity":
            return data
        case "gzip" | "x-gzip":
            return _unpacked(_Inflate(_GZIP), data, limit)
        case "deflate":
            try:
                return _unpacked(_Inflate(zlib.MAX_WBITS), data, limit)
            except BadRequest:  # RFC 9110 8.4.1.2 means the zlib format; some clients send the bare stream
                return _unpacked(_Inflate(-zlib.MAX_WBITS), data, limit)
        case "zstd":
            return _unpacked(_Unzstd(), data, limit)
        case other:
            raise UnsupportedMedia(
                f"Content-Encoding '{other[:50]}' is not supported: use gzip, deflate, zstd or none",
                code="unsupported_content_encoding",
            )


MAX_LAYERS = 3  # of a Content-Encoding: `gzip, gzip` has two


class StreamUnpacker:
    """Undoes the Content-Encoding of a provider that compresses although the request did not allow it."""

    def __init__(self, encoding: str) -> None:
        """Raises Unreadable for an encoding other than gzip, deflate and zstd, or for too many of them."""
        words = [
            word for word in (part.strip().lower() for part in encoding.split(",")) if word not in ("", "identity")
        ]
        if len(words) > MAX_LAYERS:
            raise Unreadable("The provider's reply has too many Content-Encodings")
        self._engines = [_engine(word) for word in reversed(words)]  # what was applied last is undone first
        self._taken = self._given = 0

    @property
    def is_over(self) -> bool:
        """Whether the compressed data has ended; what follows it is no part of the reply."""
        return any(engine.eof for engine in self._engines)

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Yield the plain bytes of a chunk in pieces of at most STEP bytes.

        Raises Unreadable for damaged data and for more than MAX_RATIO times what has come.
        """
        try:
            for at in range(0, len(chunk), STEP):
                piece = chunk[at : at + STEP]
                self._taken += len(piece)
                for out in self._steps(piece, 0):
                    self._given += len(out)
                    if self._given > FREE and self._given > MAX_RATIO * self._taken:
                        raise Unreadable("The provider's compressed reply unpacks into too much")
                    yield out
        except (zlib.error, zstd.ZstdError, EOFError):
            raise Unreadable("The provider's compressed reply is damaged") from None

    def _steps(self, piece: bytes, layer: int) -> Iterator[bytes]:
        if layer == len(self._engines):
            yield piece
            return
        for out in self._engines[layer].steps(piece):
            yield from self._steps(out, layer + 1)


def _engine(encoding: str) -> "_Inflate | _Unzstd":
    match encoding:
        case "gzip" | "x-gzip":
            return _Inflate(_GZIP)
        case "deflate":
            return _Inflate(_EITHER)
        case "zstd":
            return _Unzstd()
        case _:
            raise Unreadable("The provider's reply has a Content-Encoding other than gzip, deflate and zstd")


def _unpacked(engine: _Inflate | _Unzstd, data: bytes, limit: int) -> bytes:
    allowed = max(FREE, MAX_RATIO * len(data))
    parts: list[bytes] = []
    size = 0
    try:
        for at in range(0, len(data), STEP):
            if engine.eof:
                raise _trailing()
            for out in engine.steps(data[at : at + STEP]):
                size += len(out)
                if size > limit:
                    raise TooLarge(f"The body is larger than {limit} bytes")
                if size > allowed:
                    raise TooLarge(f"The body unpacks to more than {MAX_RATIO} times its size")
                parts.append(out)
    except (zlib.error, zstd.ZstdError, EOFError):
        raise BadRequest("The compressed body is damaged", code="invalid_encoding") from None
    if not engine.eof:
        raise BadRequest("The compressed body is truncated", code="invalid_encoding")
    if engine.unused_data:
        raise _trailing()
    return b"".join(parts)


def _trailing() -> BadRequest:
    return BadRequest("The compressed body has trailing data", code="invalid_encoding")
