"""One request to a provider: sends it, returns the reply, turns aiohttp's exceptions into UpstreamFault.

The only place that knows aiohttp's client exceptions. Decides nothing about other targets.
"""

import asyncio
import math
import os
import ssl
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import aiohttp
import msgspec
from aiohttp.http import HttpProcessingError
from attrs import define, field, frozen
from multidict import CIMultiDictProxy
from yarl import URL

from gateway.config.provider_schema import Timeouts
from gateway.errors import Broke, Busy, CannotConnect, TimedOut, Unreadable, UpstreamFault
from gateway.faults import Fault
from gateway.policy.shares import Divided, Full, Shared
from gateway.upstream.http1 import DIRECT, HttpClient, HttpReply, ProxyRefused
from gateway.upstream.outbound import Outbound
from gateway.wire.codec.text import media_type
from gateway.wire.codec.unpack import StreamUnpacker

MAX_ERROR_BYTES = 1024 * 1024  # of a body that is no reply: an error, or a token endpoint's answer
# What OpenSSL says of a server that answers its hello in plain text.
_PLAIN = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE"})
CLOCK_S = 0.002  # the resolution of the loop's timers
# Seconds that a client's patience lies behind its own timeout. The client gives up by itself, and we see it leave; an
# answer at the same moment would be an error of the server, which its SDK repeats.
BEHIND = 1.0
TOKEN_SECONDS, MAX_TOKEN_CALLS = 30.0, 10  # a request to a token endpoint; how many at the same time


def ignore(body: bytes) -> None:
    """Do nothing with a body that was written."""


@frozen
class UpstreamRequest:
    """One request to one provider. `timeouts` are the provider's, overridden by the target's.

    `client_patience`: seconds that the client itself waits for the first byte; `gives_way`: seconds after which
    another target is asked in place of a silent one. `on_sent` is told the body when it is written. `owner` is the
    client's key, which may hold a `share` of `max_connections`.
    """

    provider: str
    url: URL
    headers: Mapping[str, str]
    body: bytes
    timeouts: Timeouts
    is_stream: bool
    max_connections: int
    method: str = "POST"
    on_sent: Callable[[bytes], None] = ignore
    client_patience: float = math.inf
    gives_way: float = math.inf
    owner: str = ""
    share: float = 1.0
    outbound: Outbound = DIRECT

    @property
    def patience(self) -> float:
        """Most seconds to wait for the headers of the reply.

        A client that gives up at about the same moment as we do gives up first: as its own timeout it is no error of
        the server, which its SDK would repeat.
        """
        own, clients = self.own_patience, self.client_patience
        return min(self.gives_way, clients if abs(clients - BEHIND - own) < BEHIND else min(own, clients))

    @property
    def own_patience(self) -> float:
        """Most seconds that the provider's settings allow."""
        return self.timeouts.first_byte if self.is_stream else self.timeouts.whole


@frozen
class Deadline:
    """When an exchange with all its attempts must be over.

    `at` is in loop time; `after` is the whole span in seconds and `setting` its key in the file, for the message.
    `is_clients`: the client has set it, so that its end says nothing about a target.
    """

    at: float
    after: float
    setting: str = "server.timeouts.total"
    is_clients: bool = False

    def passed(self) -> TimedOut:
        """Make the fault of an exchange that took too long."""
        return TimedOut("total", self.after, self.setting, Fault.IMPATIENT if self.is_clients else Fault.SLOW)


@define
class UpstreamReply:
    """A reply whose head has arrived. The caller closes it, however the reading ends."""

    provider: str
    owner: str
    timeouts: Timeouts
    _reply: HttpReply
    _upstream: "Upstream"
    _unpacker: StreamUnpacker | None = None
    _pieces: Iterator[bytes] = field(factory=lambda: iter(()), init=False)  # of the last chunk, unpacked
    _is_closed: bool = False
    _unread: bytes = field(default=b"", init=False)  # of the body, looked at and put back

    @property
    def status(self) -> int:
        return self._reply.status

    @property
    def headers(self) -> CIMultiDictProxy[str]:
        return self._reply.headers

    @property
    def content_type(self) -> str:
        """The media type without parameters, in lower case; empty when the provider sent none."""
        return media_type(self._reply.headers.get("Content-Type", ""))

    @property
    def chunk(self) -> Callable[[], Awaitable[bytes]]:
        """A function that waits for the next bytes of the body, unpacked, and returns them; b"" at the end.

        It has no timeout, and it raises aiohttp's exceptions: the caller sets one and calls it under `faults()`. It
        is the stream's own method where possible: a stream reads thousands of chunks.
        """
        return self._reply.content.readany if self._unpacker is None else self._unpacked

    def put_back(self, data: bytes) -> None:
        """Put bytes back that were read to look at them: `unread` or `read` returns them next."""
        self._unread = data

    def unread(self) -> bytes:
        """Return what was put back, once."""
        data, self._unread = self._unread, b""
        return data

    async def begin(self, is_enough: Callable[[bytes], bool], deadline: Deadline) -> bytes:
        """Read until `is_enough` of the body is here or it ends, and put it back; return it."""
        loop = asyncio.get_running_loop()
        begin, read = self.unread(), self.chunk
        try:
            with self.faults():
                async with asyncio.timeout_at(min(deadline.at, loop.time() + self.timeouts.first_byte)):
                    while not is_enough(begin) and (piece := await read()):
                        begin += piece
        except TimeoutError:
            raise deadline.passed() if loop.time() >= deadline.at else self.silence(has_spoken=False) from None
        self.put_back(begin)
        return begin

    @contextmanager
    def faults(self) -> Iterator[None]:
        """Turn aiohttp's exceptions from reading into UpstreamFault."""
        try:
            yield
        except aiohttp.ClientPayloadError:
            raise Broke("The provider closed the connection in the middle of its reply") from None
        except aiohttp.ClientError as error:
            raise _fault_of(error, self.timeouts.connect, self.provider) from None

    async def _unpacked(self) -> bytes:
        unpacker = self._unpacker
        assert unpacker is not None
        while (piece := next(self._pieces, None)) is None:
            data = b"" if unpacker.is_over else await self._reply.content.readany()
            if not data:
                return b""
            self._pieces = unpacker.feed(data)
        await asyncio.sleep(0)  # one chunk may unpack to a hundred pieces
        return piece

    async def read(self, limit: int, deadline: Deadline) -> bytes:
        """Read the whole body. Raises Unreadable beyond `limit` bytes, TimedOut on silence or at the deadline."""
        if (ready := self._ready()) is not None:  # most replies arrive together with their head: no timer needed
            if len(ready) > limit:
                raise _too_large(limit)
            return ready
        with self.faults():
            return await self._read_slowly(limit, deadline)

    async def _read_slowly(self, limit: int, deadline: Deadline) -> bytes:
        loop = asyncio.get_running_loop()
        patience, until = self.timeouts.first_byte, deadline.at  # nobody has seen anything of it yet
        parts = [begun] if (begun := self.unread()) else []
        size = len(begun)
        read = self.chunk
        try:
            async with asyncio.timeout_at(min(until, loop.time() + patience)) as timer:
                while part := await read():
                    size += len(part)
                    if size > limit:
                        raise _too_large(limit)
                    parts.append(part)
                    timer.reschedule(min(until, loop.time() + patience))
        except TimeoutError:
            raise deadline.passed() if loop.time() >= until else self.silence(has_spoken=False) from None
        if size > limit:
            raise _too_large(limit)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _ready(self) -> bytes | None:
        """Return the whole body if it has arrived and needs no unpacking, else None."""
        content = self._reply.content
        if self._unread or self._unpacker is not None or not content.is_eof() or content.exception() is not None:
            return None
        return content.read_nowait()

    def patience(self, *, has_spoken: bool) -> float:
        """Most seconds of silence: a model may think for longer before it speaks than it pauses between two words."""
        return self.timeouts.idle if has_spoken else self.timeouts.first_byte

    def silence(self, *, has_spoken: bool) -> TimedOut:
        """Make the fault of a provider that stopped in the middle of its reply."""
        phase, setting = ("idle", "idle") if has_spoken else ("first content", "first_byte")
        after = self.patience(has_spoken=has_spoken)
        return TimedOut(phase, after, f"providers.{self.provider}.timeouts.{setting}")

    def close(self) -> None:
        """Cut the connection unless the reply has ended, and count the request as over. May be called twice."""
        if not self._is_closed:
            self._is_closed = True
            self._reply.close()
            self._upstream.leave(self.provider, self.owner)


@define
class Upstream:
    """Opens requests to providers, and counts those in flight at each of them."""

    client: HttpClient
    divide: Callable[[str], Divided] = lambda name: Shared()  # makes what is divided at a provider
    _in_use: dict[str, Divided] = field(factory=dict, init=False)  # by provider

    async def open(self, request: UpstreamRequest, deadline: Deadline) -> UpstreamReply:
        """Send `request` and wait for the head of its reply. Raises UpstreamFault."""
        if (connections := self._in_use.get(request.provider)) is None:
            connections = self._in_use[request.provider] = self.divide(f"to:{request.provider}")
        if (full := connections.take(request.owner, request.max_connections, request.share)) is not None:
            raise Busy(request.max_connections, is_share=full is Full.OWNER)
        limit = min(deadline.at, asyncio.get_running_loop().time() + request.patience)
        try:
            return _reply_of(request, await self._send(request, limit), self)
        except BaseException as error:
            connections.give_back(request.owner)
            is_late = asyncio.get_running_loop().time() >= limit - CLOCK_S
            if isinstance(error, TimeoutError) and (is_late or not isinstance(error, aiohttp.ClientError)):
                raise _late(request, deadline, limit) from None
            if isinstance(error, aiohttp.ClientError):
                raise _fault_of(error, request.timeouts.connect, request.provider) from None
            if isinstance(error, OSError) and not isinstance(error, aiohttp.ClientError | TimeoutError):
                raise CannotConnect(f"its TLS settings cannot be used: {error.strerror or 'not PEM'}") from None
            if isinstance(error, UnicodeError):
                raise CannotConnect("its address cannot be the name of a host") from None
            if isinstance(error, HttpProcessingError):
                raise Unreadable("The provider's reply is not valid HTTP") from None
            raise

    async def post_form(self, name: str, outbound: Outbound, url: str, form: Mapping[str, str]) -> dict[str, Any]:
        """Post `form` to a token endpoint, as JSON; return the JSON object of the reply. Raises UpstreamFault.

        `outbound` is the way to the provider whose tokens they are.
        """
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        deadline = Deadline(asyncio.get_running_loop().time() + TOKEN_SECONDS, TOKEN_SECONDS, "nothing")
        request = UpstreamRequest(
            name, URL(url), headers, msgspec.json.encode(form), Timeouts(), False, MAX_TOKEN_CALLS, outbound=outbound
        )
        reply = await self.open(request, deadline)
        try:
            body = await reply.read(MAX_ERROR_BYTES, deadline)
        finally:
            reply.close()
        if reply.status != 200:
            raise UpstreamFault(f"The token endpoint answered with status {reply.status}", Fault.CREDENTIALS)
        try:
            found: dict[str, Any] = msgspec.json.decode(body, type=dict[str, Any])
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise Unreadable("The token endpoint's answer is not a JSON object") from None
        return found

    def in_use(self, provider: str) -> int:
        """Return the number of requests in flight at a provider."""
        found = self._in_use.get(provider)
        return found.total if found is not None else 0

    def leave(self, provider: str, owner: str) -> None:
        """Count an owner's request to `provider` as over."""
        self._in_use[provider].give_back(owner)

    async def _send(self, request: UpstreamRequest, until: float) -> HttpReply:
        send = self.client.request
        reply = None
        while reply is None:
            # The provider may close a kept-alive connection just as we use it. No byte of a reply has come back, so
            # the request is sent again, once: on a fresh connection.
            reply = await send(
                request.method,
                request.url,
                request.headers,
                request.body,
                request.timeouts.connect,
                until,
                request.outbound,
                request.on_sent,
            )
        return reply


def _late(request: UpstreamRequest, deadline: Deadline, limit: float) -> TimedOut:
    """Make the fault of a head that has not come by `limit` (loop time)."""
    if limit == deadline.at:
        return deadline.passed()
    if request.patience == request.gives_way:
        return TimedOut("first byte", round(request.gives_way, 1), "retry.within")
    if request.patience == request.client_patience:
        return TimedOut("first byte", request.patience, "the client's own timeout", Fault.IMPATIENT)
    setting = "first_byte" if request.is_stream else "whole"
    return TimedOut("first byte", request.patience, f"providers.{request.provider}.timeouts.{setting}")


def _too_large(limit: int) -> Unreadable:
    return Unreadable(f"The provider's reply is larger than {limit} bytes")


def _reply_of(request: UpstreamRequest, reply: HttpReply, upstream: Upstream) -> UpstreamReply:
    encoding = ", ".join(reply.headers.getall("Content-Encoding", ()))
    if not encoding or encoding.strip().lower() == "identity":
        return UpstreamReply(request.provider, request.owner, request.timeouts, reply, upstream)
    try:
        return UpstreamReply(
            request.provider, request.owner, request.timeouts, reply, upstream, StreamUnpacker(encoding)
        )
    except UpstreamFault:
        reply.close()
        raise


def _fault_of(error: aiohttp.ClientError, connect: float, provider: str) -> UpstreamFault:
    match error:
        case aiohttp.ServerTimeoutError():
            return TimedOut("connect", connect, f"providers.{provider}.timeouts.connect")
        case aiohttp.ClientConnectorCertificateError():
            return CannotConnect("its certificate cannot be verified")
        case aiohttp.ClientConnectorSSLError(os_error=ssl.SSLError(reason=str(reason))):
            plain = reason in _PLAIN
            return CannotConnect("its port does not speak TLS: http in base_url?" if plain else "TLS failed")
        case aiohttp.ClientConnectorSSLError():
            return CannotConnect("TLS failed")
        case ProxyRefused() | aiohttp.ClientHttpProxyError(status=407):
            return CannotConnect("its proxy refuses the gateway's credential (407)")
        case aiohttp.ClientHttpProxyError(status=status):
            return CannotConnect(f"its proxy answers with status {status}")
        case aiohttp.ClientProxyConnectionError():
            number = error.os_error.errno
            return CannotConnect(f"its proxy: {os.strerror(number).lower() if number else 'unreachable'}")
        case aiohttp.ClientConnectorDNSError():
            return CannotConnect("its name cannot be resolved")
        case aiohttp.ClientConnectorError():
            # The text of the errno: asyncio's own message names the address, which a client must not see.
            number = error.os_error.errno
            return CannotConnect(os.strerror(number).lower() if number else type(error.os_error).__name__)
        case aiohttp.ClientOSError() | aiohttp.ServerDisconnectedError():
            return Broke("The provider closed the connection before it answered")
        case _:
            return Broke("The connection to the provider failed")
