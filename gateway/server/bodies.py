"""Reads a request body: bounded in bytes and in time, decompressed, and only after the middlewares let it in."""

import asyncio
from collections.abc import Callable

from aiohttp import hdrs, web

from gateway.aiohttp_internals import forget_output
from gateway.errors import (
    BadRequest,
    ClientTooSlow,
    RateLimited,
    TooLarge,
    Unavailable,
    UnsupportedMedia,
)
from gateway.policy.shares import RETRY_S, Full
from gateway.proxy.client_stream import ClientGone
from gateway.proxy.context import CONTEXT
from gateway.proxy.state import GATEWAY
from gateway.wire.codec.bounds import LARGE_BODY, MAX_VALUES, check_bounds
from gateway.wire.codec.json_body import Body, JsonBody
from gateway.wire.codec.multipart_body import MultipartBody
from gateway.wire.codec.text import media_type
from gateway.wire.codec.unpack import unpack

# The bodies that may be in memory at the same time, as a multiple of the largest allowed one.
MAX_BODIES = 8
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
Hold = Callable[[int], None]


def _ignore(count: int) -> None:
    """Count nothing."""


async def hold_continue(request: web.Request) -> web.StreamResponse | None:
    """Send no `100 Continue` yet. This is the expect handler of every route; `read_raw` sends the 100 later.

    aiohttp's own handler would send it before any check, and so invite a body that is refused
    (docs/reliability.md P19).
    """
    return None


async def client_body(request: web.Request) -> Body:
    """Read the body of a model call within the bounds of its path and of the configuration.

    Raises as `read_body` does, and Unavailable or RateLimited if too much of other bodies is in memory.
    """
    context = request[CONTEXT]
    endpoint, server = context.endpoint, context.snapshot.config.server

    def hold(count: int) -> None:
        hold_bytes(request, count)

    limit = min(endpoint.max_body or server.max_body, server.max_body)
    may_translate = endpoint.dialect.client is not None
    return await read_body(request, limit, server.timeouts.body, hold, MAX_VALUES if may_translate else None)


async def client_json(request: web.Request) -> JsonBody:
    """Read a body where only JSON makes sense. Raises like client_body."""
    body = await client_body(request)
    if not isinstance(body, JsonBody):
        raise UnsupportedMedia("multipart/form-data is not taken here: send application/json")
    return body


def hold_bytes(request: web.Request, count: int) -> None:
    """Note that bytes of a body are in memory until the exchange ends. Raises Unavailable, RateLimited."""
    context, gateway = request[CONTEXT], request.app[GATEWAY]
    most = MAX_BODIES * context.snapshot.config.server.max_body
    match gateway.lifecycle.bodies.take(context.owner_name, most, context.share, count):
        case Full.OWNER:
            raise RateLimited("This key has too many bytes of requests in flight", retry_after=RETRY_S)
        case Full.ALL:
            raise Unavailable("The gateway holds too many bytes of requests: try again", retry_after=RETRY_S)
    context.held_bytes += count


async def read_body(
    request: web.Request, limit: int, seconds: float, hold: Hold = _ignore, max_values: int | None = MAX_VALUES
) -> Body:
    """Read a JSON or multipart body. `hold` is called with the bytes that are now in memory, as they come.

    Raises TooLarge, ClientTooSlow, UnsupportedMedia, BadRequest.
    """
    kind = request.headers.get(hdrs.CONTENT_TYPE, "")
    media = media_type(kind)
    if media not in ("application/json", "multipart/form-data", "text/plain", "") and not media.endswith("+json"):
        raise UnsupportedMedia(f"Content-Type '{media[:100]}' is not supported: send application/json")
    data = await read_raw(request, limit, seconds, hold)
    if encoding := ", ".join(request.headers.getall(hdrs.CONTENT_ENCODING, ())):
        data = await asyncio.to_thread(unpack, data, encoding, limit)
        hold(len(data))
    form = kind if media == "multipart/form-data" else ""
    if len(data) <= LARGE_BODY:
        return MultipartBody.read(data, form) if form else JsonBody.read(data)
    # Off the loop: it must not stand still for one client's sixty megabytes.
    return await asyncio.to_thread(_parse, data, form, max_values)


async def read_raw(request: web.Request, limit: int, seconds: float, hold: Hold = _ignore) -> bytes:
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
                hold(len(part))
                parts.append(part)
    except TimeoutError:
        raise ClientTooSlow(f"The body did not arrive within {seconds:g} s") from None
    except (web.RequestPayloadError, ConnectionError):
        raise ClientGone from None
    return b"".join(parts)


def _parse(data: bytes, form: str, max_values: int | None) -> Body:
    if form:
        return MultipartBody.read(data, form)
    check_bounds(data, max_values)
    return JsonBody.read(data)


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"The body is larger than {limit} bytes")
