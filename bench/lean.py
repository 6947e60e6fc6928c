"""The yardstick: a bare, tuned aiohttp proxy that only forwards.

It knows no keys, no routes, no limits, no log and no errors; what it costs is what aiohttp costs.
Everything the gateway costs more than this file is the gateway's own doing.
Run as `python bench/lean.py LISTEN_PORT UPSTREAM_BASE_URL`.
"""

import asyncio
import gc
import sys

import aiohttp
import uvloop
from aiohttp import web

SESSION = web.AppKey("session", aiohttp.ClientSession)
UPSTREAM = web.AppKey("upstream", str)


async def forward(request: web.Request) -> web.StreamResponse:
    """Read the whole body, send it as it came, and write the answer: a stream chunk by chunk, anything else at once."""
    body = await request.read()
    session, upstream = request.app[SESSION], request.app[UPSTREAM]
    headers = {"Content-Type": request.content_type, "Authorization": "Bearer upstream"}
    async with session.post(upstream + request.path, data=body, headers=headers) as answer:
        if answer.content_type != "text/event-stream":
            return web.Response(status=answer.status, body=await answer.read(), content_type=answer.content_type)
        reply = web.StreamResponse(status=answer.status, headers={"Content-Type": "text/event-stream"})
        await reply.prepare(request)
        while chunk := await answer.content.readany():
            await reply.write(chunk)
        await reply.write_eof()
        return reply


async def main(port: int, upstream: str) -> None:
    """Serve on loopback until killed."""
    app = web.Application(client_max_size=64 * 1024 * 1024)
    app[UPSTREAM] = upstream
    app[SESSION] = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding"),
        timeout=aiohttp.ClientTimeout(total=None),
    )
    app.router.add_post("/v1/{rest:.+}", forward)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), sys.argv[2]))
