"""Reads a request body: bounded in bytes and in time, unpacked, and only after the caller was let in."""

import asyncio

from aiohttp import hdrs, web

from gateway.aiohttp_internals import forget_output
from gateway.errors import BadRequest, ClientTooSlow, TooLarge, UnsupportedMedia
from gateway.proxy.client_stream import ClientGone
from gateway.wire.codec.json_body import Body, JsonBody
from gateway.wire.codec.multipart_body import MultipartBody
from gateway.wire.codec.unpack import unpack

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


async def hold_continue(request: web.Request) -> web.StreamResponse | None:
    """Expect handler of every route: says nothing yet. `read_raw` says 100 when the body is wanted.

    aiohttp's own would invite the body before any check (docs/reliability.md P19).
    """
    return None


async def read_body(request: web.Request, limit: int, seconds: float) -> Body:
    """Read a JSON or multipart body. Raises TooLarge, ClientTooSlow, UnsupportedMedia, BadRequest."""
    kind = request.headers.get(hdrs.CONTENT_TYPE, "")
    media = kind.partition(";")[0].strip().lower()
    if media not in ("application/json", "multipart/form-data", "text/plain", "") and not media.endswith("+json"):
        raise UnsupportedMedia(f"Content-Type '{media[:100]}' is not supported: send application/json")
    data = await read_raw(request, limit, seconds)
    if encoding := request.headers.get(hdrs.CONTENT_ENCODING, ""):
        data = unpack(data, encoding, limit)
    if media == "multipart/form-data":
        return MultipartBody.read(data, kind)
    return JsonBody.read(data)


async def read_json_body(request: web.Request, limit: int, seconds: float) -> JsonBody:
    """Read a body where only JSON makes sense. Raises like read_body."""
    body = await read_body(request, limit, seconds)
    if not isinstance(body, JsonBody):
        raise UnsupportedMedia("multipart/form-data is not taken here: send application/json")
    return body


async def read_raw(request: web.Request, limit: int, seconds: float) -> bytes:
    """Read the bytes as they came."""
    if (request.content_length or 0) > limit:
        raise _too_large(limit)
    content = request.content
    if content.is_eof():
        data = content.read_nowait()  # it came with the head, as most do: no timer needed
        if len(data) > limit:
            raise _too_large(limit)
        return data
    expects = request.headers.get(hdrs.EXPECT, "").lower()
    if expects == "100-continue":
        await request.writer.write(CONTINUE)
        forget_output(request)
    elif expects:
        raise BadRequest(f"Expect: {expects[:50]} cannot be met")
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(seconds):
            async for part in content.iter_any():
                size += len(part)
                if size > limit:
                    raise _too_large(limit)
                parts.append(part)
    except TimeoutError:
        raise ClientTooSlow(f"The body did not arrive within {seconds:g} s") from None
    except (web.RequestPayloadError, ConnectionError):
        raise ClientGone from None
    return b"".join(parts)


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"The body is larger than {limit} bytes")
