"""Heads that two servers may read in two ways are refused, and the connection is closed behind them."""

import asyncio

import pytest

from tests.conftest import Running

LIVE = b"GET /livez HTTP/1.1\r\n%s\r\n\r\n"
CHAT = b"POST /v1/chat/completions HTTP/1.%d\r\nHost: localhost\r\nContent-Type: application/json\r\n%s\r\n\r\n{}"
NEXT = b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


async def send(running: Running, data: bytes) -> list[bytes]:
    """Send bytes and one more request; return the replies until the gateway closes the connection."""
    host, port = running.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(data + NEXT)
    try:
        async with asyncio.timeout(4):
            return [b"HTTP/1." + one for one in (await reader.read()).split(b"HTTP/1.")[1:]]
    finally:
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize(
    "host",
    [
        b"user@localhost",
        b"user:word@localhost:80",
        b"@localhost",
        b"localhost/path",
        b"localhost/",
        b"localhost, other",
        b"localhost,other",
        b"localhost?x",
        b"localhost#x",
        b"local host",
        b"localhost\\x",
        b"localhost:port",
        b"localhost:80:80",
        b"localhost:999999",
        b"http://localhost",
        b"[::1",
        b"[::1]x",
        b"::1",
        b"caf\xc3\xa9.example",
    ],
)
async def test_a_host_that_is_none_is_refused(running: Running, host: bytes) -> None:
    """A user name, a path, a list or anything else that is no host is a 400, and what follows is not read."""
    replies = await send(running, LIVE % (b"Host: " + host))
    assert len(replies) == 1 and b" 400 " in replies[0].partition(b"\r\n")[0]
    assert b'"code":"invalid_http"' in replies[0] and b"connection: close" in replies[0].lower()


@pytest.mark.parametrize(
    "host", [b"localhost", b"LOCALHOST:8080", b"my_host.example.", b"10.0.0.1:1", b"[::1]:80", b"[fe80::1%25eth0]", b""]
)
async def test_a_host_that_is_one_passes(running: Running, host: bytes) -> None:
    """Names, addresses and ports pass, and so does an empty Host, which HTTP allows."""
    replies = await send(running, LIVE % (b"Host: " + host))
    assert [one.split(b" ")[1] for one in replies] == [b"200", b"200"]


@pytest.mark.parametrize(
    "data",
    [
        CHAT % (1, b"Transfer-Encoding: "),
        CHAT % (1, b"Transfer-Encoding:\r\nContent-Length: 2"),
        CHAT % (1, b"Content-Length: 2\r\nTransfer-Encoding: \t "),
        CHAT % (1, b"Transfer-Encoding: ,\r\nContent-Length: 2"),
        CHAT % (1, b"Transfer-Encoding: \r\nTransfer-Encoding: chunked"),
        CHAT % (1, b"Transfer-Encoding: identity\r\nContent-Length: 2"),
        CHAT % (0, b"Transfer-Encoding: chunked"),
    ],
)
async def test_a_body_without_a_clear_end_is_refused(running: Running, data: bytes) -> None:
    """A Transfer-Encoding that says nothing, or that HTTP/1.0 does not have, is a 400 and the end of the connection."""
    replies = await send(running, data)
    assert len(replies) == 1 and b" 400 " in replies[0].partition(b"\r\n")[0]
    assert b'"code":"invalid_http"' in replies[0]


@pytest.mark.parametrize("target", [b"localhost:443", b"/livez", b"/v1/chat/completions", b"/nothing"])
async def test_no_tunnel_is_opened(running: Running, target: bytes) -> None:
    """CONNECT is a 405 that says what is allowed, and nothing that follows is answered."""
    replies = await send(running, b"CONNECT %s HTTP/1.1\r\nHost: localhost:443\r\n\r\n" % target)
    head = replies[0].partition(b"\r\n\r\n")[0].lower()
    assert len(replies) == 1 and head.split(b" ")[1] == b"405" and b"allow: get, head, post" in head
