"""Sends bytes to one handler on a real socket, and returns the bytes that come back."""

import asyncio
from collections.abc import Awaitable, Callable

from aiohttp import web

Ask = Callable[..., Awaitable[bytes]]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def serve_once(
    handler: Handler, expect: Callable[[web.Request], Awaitable[web.StreamResponse | None]] | None = None
) -> tuple[Ask, Callable[[], Awaitable[None]]]:
    """Start a server; return (what sends it bytes and reads until it closes or falls silent, what stops it).

    Of several pieces of bytes, each but the first is sent after something has come back.
    """
    app = web.Application()
    app.router.add_route("*", "/", handler, expect_handler=expect)
    runner = web.AppRunner(app, access_log=None, auto_decompress=False)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]

    async def ask(data: bytes, *more: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(data)
        got = b""
        for piece in more:
            got += await reader.read(65536)
            writer.write(piece)
        try:
            async with asyncio.timeout(0.2):
                while part := await reader.read(65536):
                    got += part
        except TimeoutError:
            pass  # the connection was kept
        writer.close()
        await writer.wait_closed()
        return got

    return ask, runner.cleanup
