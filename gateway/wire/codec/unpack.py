"""Unpacks compressed bodies, up to a limit: a small body may unpack into gigabytes (a compression bomb)."""

import sys
import zlib

from gateway.errors import BadRequest, TooLarge, Unreadable, UnsupportedMedia

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

__all__ = ["StreamUnpacker", "unpack", "zstd"]
_STEP = 65536
# 2 to the 23 is 8 MiB, the window of level 19. A larger window would be allocated before the first byte of output.
_WINDOW_LOG_MAX = 23
_GZIP = 16 + zlib.MAX_WBITS
_ZSTD_OPTIONS: dict[int, int] = {zstd.DecompressionParameter.window_log_max: _WINDOW_LOG_MAX}
# Bytes. A chunk of a socket is at most 256 KiB, and real text does not shrink to less than 1/256 of its size.
_MAX_PER_CHUNK = 64 * 1024 * 1024


def unpack(data: bytes, encoding: str, limit: int) -> bytes:
    """Undo a `Content-Encoding`.

    Raises TooLarge beyond `limit` bytes, UnsupportedMedia for an unknown encoding, BadRequest for damaged data.
    """
    match encoding.strip().lower():
        case "" | "identity":
            return data
        case "gzip" | "x-gzip":
            return _inflate(data, _GZIP, limit)
        case "deflate":
            try:
                return _inflate(data, zlib.MAX_WBITS, limit)
            except BadRequest:  # RFC 9110 8.4.1.2 means the zlib format; some clients send the bare stream
                return _inflate(data, -zlib.MAX_WBITS, limit)
        case "zstd":
            return _unzstd(data, limit)
        case other:
            raise UnsupportedMedia(
                f"Content-Encoding '{other}' is not supported: use gzip, deflate, zstd or none",
                code="unsupported_content_encoding",
            )


class StreamUnpacker:
    """Undoes the Content-Encoding of a provider that compresses although the request did not allow it."""

    def __init__(self, encoding: str) -> None:
        """Raises Unreadable for an encoding other than gzip, deflate and zstd."""
        match encoding.strip().lower():
            case "gzip" | "x-gzip":
                self._engine: zlib._Decompress | zstd.ZstdDecompressor = zlib.decompressobj(_GZIP)
            case "deflate":
                self._engine = zlib.decompressobj()
            case "zstd":
                self._engine = zstd.ZstdDecompressor(options=_ZSTD_OPTIONS)
            case other:
                raise Unreadable(f"The provider's reply has the Content-Encoding '{other}'")

    def feed(self, chunk: bytes) -> bytes:
        """Return the plain bytes of a chunk. Raises Unreadable for damaged data, and for too much output."""
        try:
            plain = self._engine.decompress(chunk, _MAX_PER_CHUNK)
        except (zlib.error, zstd.ZstdError, EOFError):
            raise Unreadable("The provider's compressed reply is damaged") from None
        if len(plain) >= _MAX_PER_CHUNK:
            raise Unreadable("The provider's compressed reply unpacks into too much")
        return plain


def _inflate(data: bytes, window: int, limit: int) -> bytes:
    engine = zlib.decompressobj(window)
    try:
        out = engine.decompress(data, limit + 1)
    except zlib.error:
        raise BadRequest("The compressed body is damaged", code="invalid_encoding") from None
    if len(out) > limit:
        raise _too_large(limit)
    if not engine.eof or engine.unused_data:
        raise BadRequest("The compressed body is truncated or has trailing data", code="invalid_encoding")
    return out


def _unzstd(data: bytes, limit: int) -> bytes:
    engine = zstd.ZstdDecompressor(options=_ZSTD_OPTIONS)
    parts: list[bytes] = []
    size = 0
    try:
        while not engine.eof:
            out = engine.decompress(data, max_length=_STEP)
            data = b""
            size += len(out)
            if size > limit:
                raise _too_large(limit)
            parts.append(out)
            if not engine.eof and engine.needs_input:
                raise BadRequest("The compressed body is truncated", code="invalid_encoding")
    except zstd.ZstdError:
        raise BadRequest("The compressed body is damaged", code="invalid_encoding") from None
    if engine.unused_data:
        raise BadRequest("The compressed body has trailing data", code="invalid_encoding")
    return b"".join(parts)


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"The body is larger than {limit} bytes")
