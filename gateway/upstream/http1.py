"""One HTTP/1.1 request over a pooled connection: aiohttp's connector and C parser, without its ClientSession.

The connector brings the pool, DNS, happy eyeballs and TLS; the parser is strict. ClientSession is left out because
it does what a proxy must not do (redirects, cookies, proxies from the environment, retries, decompression), and
because it costs half of an exchange's CPU here (docs/design.md, "How is the client side built?"); `bench/lean.py`
measures it. This file raises aiohttp's exceptions as they are; `client.py` turns them into ours.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping
from functools import lru_cache

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.streams import StreamReader
from attrs import define, field
from multidict import CIMultiDictProxy
from yarl import URL

from gateway.aiohttp_internals import drop_idle, expect_reply, has_body, is_silent, mark_used
from gateway.upstream.outbound import Outbound, Way, Ways

READ_BUFFER = 65536
# Bytes of a body. A larger one is written apart from its head: a second write is cheaper than the copy.
_JOIN_UP_TO = 65536
MAX_INTERIM = 5  # responses 1xx before the real one: a 100, some 103
PROXY_AUTHENTICATION = 407
DIRECT = Outbound()
NO_HEADERS: Mapping[str, str] = {}
_FORBIDDEN = str.maketrans("", "", "\r\n\0")


@define(eq=False)
class HttpReply:
    """A reply whose head has arrived. The caller reads `content`, and then always calls `close`."""

    status: int
    headers: CIMultiDictProxy[str]
    content: StreamReader
    _connection: Connection | None

    def release(self) -> None:
        """Give the connection back to the pool. The stream calls this when the body has ended."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        transport = connection.transport
        if transport is not None and transport.get_write_buffer_size():
            connection.close()  # answered early: the unsent rest of our body would be read as the next request
        else:
            connection.release()

    def close(self) -> None:
        """Cut the connection, unless the body has ended and `release` has given it back."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


class ProxyRefused(aiohttp.ClientError):
    """The proxy wants another credential (407)."""


class _Timer:
    """Cuts the connection when the head is late. Costs a third of asyncio.timeout, and cancels no task."""

    __slots__ = ("_connection", "handle", "is_late")

    def __init__(self, loop: asyncio.AbstractEventLoop, until: float, connection: Connection) -> None:
        self._connection = connection
        self.is_late = False
        self.handle = loop.call_at(until, self._cut)

    def _cut(self) -> None:
        self.is_late = True
        if self._connection.transport is not None:
            self._connection.transport.abort()


@define(eq=False)
class HttpClient:
    """The connections of one process. Has no limit on them: `client.py` counts the requests of each provider."""

    _ways: Ways = field(factory=Ways, init=False)

    async def close(self) -> None:
        """Close every connection."""
        await self._ways.close()

    async def close_unused(self, current: Collection[Outbound]) -> None:
        """Close the connections of ways that are not `current` any more."""
        await self._ways.close_unused(current)

    async def request(
        self,
        method: str,
        url: URL,
        headers: Mapping[str, str],
        body: bytes,
        connect_timeout: float,
        until: float,
        outbound: Outbound = DIRECT,
        on_sent: Callable[[bytes], None] | None = None,
    ) -> HttpReply | None:
        """Send a request and wait until `until` (loop time) for the head of its reply.

        `connect_timeout` is in seconds; `on_sent` is told the body when it is written. Returns None when a reused
        connection closed without a byte of a reply: the
        caller may then send the same request again (RFC 9110 9.2.2). Raises TimeoutError when the head is late,
        HttpProcessingError when the reply is not valid HTTP, OSError when a file of `outbound` cannot be used,
        aiohttp.ClientError for everything else.
        """
        way = self._ways.to(outbound)
        head = _write_head(method, url, headers, len(body), way)
        loop = asyncio.get_running_loop()
        patience = min(connect_timeout, max(0.001, round(until - loop.time(), 3)))
        try:
            connection = await way.connector.connect(way.address(url), [], _timeout(patience))
        except TimeoutError:
            raise aiohttp.ConnectionTimeoutError from None
        protocol, transport = connection.protocol, connection.transport
        is_fresh = mark_used(protocol)
        timer = _Timer(loop, until, connection)
        try:
            if protocol is None or transport is None:
                raise aiohttp.ServerDisconnectedError
            expect_reply(protocol, READ_BUFFER)
            if len(body) <= _JOIN_UP_TO:
                transport.write(head + body)
            else:
                transport.write(head)
                transport.write(body)
            if on_sent is not None:
                on_sent(body)
            reply = await _read_head(connection, protocol)
            if reply.status == PROXY_AUTHENTICATION and way.proxy is not None:
                reply.close()
                raise ProxyRefused
            return reply
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
            connection.close()
            if timer.is_late:
                raise TimeoutError from None
            if is_fresh or not is_silent(error):
                raise
            drop_idle(way.connector, way.address(url))  # as old as this one, and from before the same restart
            return None
        except BaseException:
            connection.close()
            raise
        finally:
            timer.handle.cancel()


async def _read_head(connection: Connection, protocol: ResponseHandler) -> HttpReply:
    message, content = await protocol.read()
    interim = 0
    while 100 <= message.code < 200 and message.code != 101:
        interim += 1
        if interim > MAX_INTERIM:
            raise aiohttp.ClientPayloadError("too many interim responses")
        message, content = await protocol.read()
    if message.code == 101:
        raise aiohttp.ClientPayloadError("switching protocols was not asked for")
    reply = HttpReply(message.code, message.headers, content, connection)
    if has_body(content):
        content.on_eof(reply.release)
    else:
        reply.release()
    return reply


def _write_head(method: str, url: URL, headers: Mapping[str, str], length: int, way: Way) -> bytes:
    target, more = (url.raw_path_qs, NO_HEADERS) if way.proxy is None else way.head_of(url)
    lines = [f"{method} {target} HTTP/1.1\r\nHost: {_host(url)}\r\nContent-Length: {length}"]
    for name, value in {**headers, **more}.items() if more else headers.items():
        is_clean = "\r" not in value and "\n" not in value and "\0" not in value
        lines.append(f"{name}: {value if is_clean else value.translate(_FORBIDDEN)}")  # a value cannot add a header
    lines.append("\r\n")
    return "\r\n".join(lines).encode("utf-8", "surrogateescape")


@lru_cache(256)
def _host(url: URL) -> str:
    return url.host_port_subcomponent or ""


@lru_cache(64)
def _timeout(connect: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=None, connect=connect, sock_connect=connect)
