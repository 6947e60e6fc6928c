"""Reads a request body: bounded in bytes and in time, decompressed, and only after the middlewares let it in."""

import asyncio

from aiohttp import hdrs, web

from gateway.aiohttp_internals import forget_output
from gateway.errors import BadRequest, ClientTooSlow, TooLarge, UnsupportedMedia
from gateway.proxy.client_stream import ClientGone
from gateway.proxy.context import CONTEXT
from gateway.proxy.state import GATEWAY
from gateway.wire.codec.bounds import MAX_VALUES, check_bounds
from gateway.wire.codec.json_body import Body, JsonBody
from gateway.wire.codec.multipart_body import MultipartBody
from gateway.wire.codec.unpack import unpack

# Bytes. Larger bodies are read in a thread.
LARGE = 256 * 1024
# The bodies that may be in memory at the same time, as a multiple of the largest allowed one.
MAX_BODIES = 8
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


async def hold_continue(request: web.Request) -> web.StreamResponse | None:
    """Send no `100 Continue` yet. This is the expect handler of every route; `read_raw` sends the 100 later.

    aiohttp's own handler would send it before any check, and so invite a body that is refused
    (docs/reliability.md P19).
    """
    return None


async def read_body(request: web.Request, limit: int, seconds: float) -> Body:
    """Read a JSON or multipart body. Raises TooLarge, ClientTooSlow, UnsupportedMedia, BadRequest.

    Raises Unavailable or RateLimited if too much of other requests' bodies is in memory.
    """
    kind = request.headers.get(hdrs.CONTENT_TYPE, "")
    media = kind.partition(";")[0].strip().lower()
    if media not in ("application/json", "multipart/form-data", "text/plain", "") and not media.endswith("+json"):
        raise UnsupportedMedia(f"Content-Type '{media[:100]}' is not supported: send application/json")
    data = await read_raw(request, limit, seconds)
    if encoding := request.headers.get(hdrs.CONTENT_ENCODING, ""):
        data = await asyncio.to_thread(unpack, data, encoding, limit)
        hold_bytes(request, len(data))
    form = kind if media == "multipart/form-data" else ""
    if len(data) <= LARGE:
        return MultipartBody.read(data, form) if form else JsonBody.read(data)
    # Off the loop: it must not stand still for one client's sixty megabytes.
    return await asyncio.to_thread(_parse, data, form, has_many_values=request[CONTEXT].endpoint.dialect.client is None)


def hold_bytes(request: web.Request, count: int) -> None:
    """Note that bytes of a body are in memory until the exchange ends. Raises Unavailable, RateLimited."""
    context, gateway = request[CONTEXT], request.app[GATEWAY]
    config = context.snapshot.config
    owner = context.owner.name if context.owner is not None else ""
    total = MAX_BODIES * config.server.max_body
    gateway.lifecycle.bodies.take(owner, count, total, total * 3 // 4 if len(config.keys) > 1 else total)
    context.held_bytes += count


async def read_json_body(request: web.Request, limit: int, seconds: float) -> JsonBody:
    """Read a body where only JSON makes sense. Raises like read_body."""
    body = await read_body(request, limit, seconds)
    if not isinstance(body, JsonBody):
        raise UnsupportedMedia("multipart/form-data is not taken here: send application/json")
    return body


async def read_raw(request: web.Request, limit: int, seconds: float) -> bytes:
    """Read the bytes as they came. Raises TooLarge, ClientTooSlow, BadRequest (for `Expect`), ClientGone."""
    if (request.content_length or 0) > limit:
        raise _too_large(limit)
    content = request.content
    if content.is_eof():
        data = content.read_nowait()  # the body came with the head, as most do: no timer needed
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
                hold_bytes(request, len(part))
                parts.append(part)
    except TimeoutError:
        raise ClientTooSlow(f"The body did not arrive within {seconds:g} s") from None
    except (web.RequestPayloadError, ConnectionError):
        raise ClientGone from None
    return b"".join(parts)


def _parse(data: bytes, form: str, *, has_many_values: bool) -> Body:
    if form:
        return MultipartBody.read(data, form)
    check_bounds(data, None if has_many_values else MAX_VALUES)
    return JsonBody.read(data)


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"The body is larger than {limit} bytes")
