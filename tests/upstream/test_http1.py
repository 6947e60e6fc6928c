"""The HTTP/1 client: pooled connections, stale ones, heads that are late, early or odd."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import aiohttp
import pytest
from aiohttp.http import HttpProcessingError
from yarl import URL

from gateway.upstream.http1 import HttpClient, HttpReply

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter, int], Awaitable[None]]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture
async def client() -> AsyncIterator[HttpClient]:
    made = HttpClient()
    yield made
    await made.close()


@pytest.fixture
async def serve() -> AsyncIterator[Callable[[Script], Awaitable[URL]]]:
    """Start a server of raw sockets: the script gets (reader, writer, number of the connection)."""
    servers: list[asyncio.Server] = []
    count = 0

    async def start(script: Script) -> URL:
        async def run(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal count
            count += 1
            try:
                await script(reader, writer, count)
            except (ConnectionError, asyncio.IncompleteReadError):
                pass
            finally:
                writer.close()

        server = await asyncio.start_server(run, "127.0.0.1", 0)
        servers.append(server)
        return URL(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/p?q=1")

    yield start
    for server in servers:
        server.close()


async def read_request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    return head + await reader.readexactly(length)


async def ask(
    client: HttpClient, url: URL, body: bytes = b"hello", seconds: float = 2.0, **headers: str
) -> HttpReply | None:
    until = asyncio.get_running_loop().time() + seconds
    return await client.request("POST", url, headers, body, 1.0, until)


async def body_of(reply: HttpReply | None) -> bytes:
    assert reply is not None
    data = await reply.content.read()
    reply.close()
    return data


async def test_a_request_is_written_exactly_and_the_connection_is_used_again(
    client: HttpClient, serve: Callable[[Script], Awaitable[URL]]
) -> None:
    """The request's bytes are exact, header values cannot inject lines, and the next one reuses the connection."""
    seen = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        while True:
            seen.append((number, await read_request(reader)))
            writer.write(OK)

    url = await serve(script)
    assert await body_of(await ask(client, url, X="a\r\nInjected: b")) == b"ok"
    assert await body_of(await ask(client, url, b"")) == b"ok"
    assert seen[0] == (
        1,
        f"POST /p?q=1 HTTP/1.1\r\nHost: 127.0.0.1:{url.port}\r\nContent-Length: 5\r\nX: aInjected: b\r\n\r\nhello".encode(),
    )
    assert seen[1][0] == 1


async def test_a_stale_connection_is_told_apart_from_a_fresh_one(
    client: HttpClient, serve: Callable[[Script], Awaitable[URL]]
) -> None:
    """A reused connection that closes without a byte gives None, so that the request may be sent again.

    A fresh connection that does so raises ServerDisconnectedError.
    """

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        await read_request(reader)
        writer.write(OK)
        await read_request(reader)  # the second request on this connection is not answered

    url = await serve(script)
    await body_of(await ask(client, url))
    assert await ask(client, url) is None
    assert await body_of(await ask(client, url)) == b"ok"

    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        await read_request(reader)

    with pytest.raises(aiohttp.ServerDisconnectedError):
        await ask(client, await serve(mute))


async def test_a_part_of_a_head_is_no_stale_connection(
    client: HttpClient, serve: Callable[[Script], Awaitable[URL]]
) -> None:
    """A reused connection that closes inside a head raises: the provider had begun to answer."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        await read_request(reader)
        writer.write(OK)
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 O")
        await writer.drain()

    url = await serve(script)
    await body_of(await ask(client, url))
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await ask(client, url)


async def test_a_late_head_is_a_timeout(client: HttpClient, serve: Callable[[Script], Awaitable[URL]]) -> None:
    """A late head raises TimeoutError, and its connection is not used again."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        await read_request(reader)
        if number == 1:
            await reader.read()  # until the client has closed the connection
        writer.write(OK)

    url = await serve(script)
    with pytest.raises(TimeoutError):
        await ask(client, url, seconds=0.05)
    assert await body_of(await ask(client, url)) == b"ok"


async def test_a_connection_that_cannot_be_made_in_time(client: HttpClient) -> None:
    """A refused connection and an unknown host raise aiohttp's connector errors."""
    with pytest.raises(aiohttp.ClientConnectorError):
        await ask(client, URL("http://127.0.0.1:9/"))
    with pytest.raises(aiohttp.ClientConnectorDNSError):
        await ask(client, URL("http://nobody.invalid/"))


async def test_a_listener_that_never_accepts(client: HttpClient) -> None:
    """A listener with a full backlog ends in the connect timeout."""
    import socket

    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen(0)
        url = URL(f"http://127.0.0.1:{sock.getsockname()[1]}/")
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(sock.getsockname())
        with pytest.raises((aiohttp.ConnectionTimeoutError, TimeoutError)):
            until = asyncio.get_running_loop().time() + 2
            await client.request("POST", url, {}, b"", 0.1, until)
        for filler in fillers:
            filler.close()


async def test_interim_answers_are_skipped_and_switching_is_refused(
    client: HttpClient, serve: Callable[[Script], Awaitable[URL]]
) -> None:
    """Interim replies 100 and 103 are skipped; 101, which nobody requested, raises ClientPayloadError."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK)

    assert await body_of(await ask(client, await serve(script))) == b"ok"

    async def switch(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n")

    with pytest.raises(aiohttp.ClientPayloadError):
        await ask(client, await serve(switch))


async def test_no_http_is_said_to_be_none(client: HttpClient, serve: Callable[[Script], Awaitable[URL]]) -> None:
    """Bytes that are not HTTP raise an error."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        await read_request(reader)
        writer.write(b"SSH-2.0-OpenSSH\r\n\r\n")
        await writer.drain()

    with pytest.raises((HttpProcessingError, aiohttp.ServerDisconnectedError)):
        await ask(client, await serve(script))


async def test_bodies_end_by_length_by_chunks_or_by_the_connection(
    client: HttpClient, serve: Callable[[Script], Awaitable[URL]]
) -> None:
    """A body ends by its chunks or by the connection's close, and a 204 has an empty body."""
    answers = [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\nok",
    ]

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        while answers:
            await read_request(reader)
            writer.write(answers.pop(0))
            if not answers:
                return

    url = await serve(script)
    assert [await body_of(await ask(client, url)) for _ in range(3)] == [b"ok", b"", b"ok"]


async def test_an_answer_before_the_request_was_sent_ends_the_connection(
    client: HttpClient, serve: Callable[[Script], Awaitable[URL]]
) -> None:
    """A reply before the whole request was sent is read, and its connection is closed.

    The rest of the body must not become the next request.
    """

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
        await writer.drain()
        await asyncio.sleep(0.05)

    url = await serve(script)
    reply = await ask(client, url, b"x" * 30_000_000)
    assert reply is not None and reply.status == 413
    assert await body_of(reply) == b"no"
    again = await ask(client, url, b"")
    assert again is not None and again.status == 413
    again.close()


async def test_cancelling_closes_the_connection(client: HttpClient, serve: Callable[[Script], Awaitable[URL]]) -> None:
    """Cancelling a call before its head closes the connection, and the provider sees the end at once."""
    gone = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        await read_request(reader)
        await reader.read()
        gone.set()

    task = asyncio.create_task(ask(client, await serve(script), seconds=9))
    await asyncio.sleep(0.05)
    task.cancel()
    async with asyncio.timeout(0.5):
        await gone.wait()
