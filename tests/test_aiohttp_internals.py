"""What the gateway uses of aiohttp beyond its documentation is still there, and still means the same.

CI runs this file against the newest release of aiohttp, too.
"""

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web
from aiohttp.client_proto import ResponseHandler
from yarl import URL

from gateway import aiohttp_internals as internals


@pytest.fixture
async def connector() -> AsyncIterator[aiohttp.TCPConnector]:
    made = aiohttp.TCPConnector()
    yield made
    await made.close()


async def serve(script: bytes) -> tuple[asyncio.Server, URL]:
    """Answer every connection with the same bytes, then close it."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(script)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    return server, URL(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/")


async def connect(connector: aiohttp.TCPConnector, url: URL) -> tuple[aiohttp.connector.Connection, ResponseHandler]:
    connection = await connector.connect(internals.connection_key(url), [], aiohttp.ClientTimeout())
    assert connection.protocol is not None
    return connection, connection.protocol


async def test_a_reply_is_read_past_the_session(connector: aiohttp.TCPConnector) -> None:
    """A head and its body come through the connection's own parser; a 204 has no body to wait for."""
    for script, status, has_body in (
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, True),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, False),
    ):
        server, url = await serve(script)
        connection, protocol = await connect(connector, url)
        assert internals.mark_used(protocol) and not internals.mark_used(protocol)
        internals.expect_reply(protocol, 65536)
        assert connection.transport is not None
        connection.transport.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        message, content = await protocol.read()
        assert message.code == status and internals.has_body(content) is has_body
        assert not has_body or await content.read() == b"ok"
        connection.close()
        server.close()


@pytest.mark.parametrize(("script", "silent"), [(b"", True), (b"HTTP/1.1 200 OK\r\nA: b\r\n", False)])
async def test_a_broken_connection_says_whether_anything_came(
    connector: aiohttp.TCPConnector, script: bytes, silent: bool
) -> None:
    """A connection that closes before its first byte is told apart from one that closes inside a head."""
    server, url = await serve(script)
    connection, protocol = await connect(connector, url)
    internals.expect_reply(protocol, 65536)
    assert connection.transport is not None
    connection.transport.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
    with pytest.raises(aiohttp.ServerDisconnectedError) as raised:
        await protocol.read()
    assert internals.is_silent(raised.value) is silent
    connection.close()
    server.close()


async def test_what_the_server_side_uses_is_there() -> None:
    """Keep-alive is settled once, open connections are counted, an interim response is forgotten."""
    seen: list[tuple[bool, int, int]] = []

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        response = web.Response()
        internals.forget_output(request)
        kept = internals.keeps_alive(response, request)
        seen.append((kept, internals.open_connections(request.protocol), request.writer.output_size))
        return response

    runner = web.ServerRunner(web.Server(handler))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{runner.addresses[0][1]}/") as answer:
        assert answer.status == 200
    await runner.cleanup()
    assert seen == [(True, 1, 0)]


def test_the_compiled_parser_is_in_use() -> None:
    """The wheel that is installed has the compiled parser, without which the daemon does not start."""
    assert internals.has_compiled_parser()
