"""The client's end of a streamed reply: opened late, written in whole frames, kept alive."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from aiohttp import web
from attrs import define, field

from gateway.proxy.exchange import Exchange, Step

Answered = TypeVar("Answered")
STREAM_HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-cache, no-transform",
    "X-Accel-Buffering": "no",
}


class ClientGone(Exception):
    """The client closed its connection, or stopped reading for too long."""


@define
class ClientStream:
    """The client's end of a stream.

    `headers` go out with every head; `ping` is the keep-alive of the client's dialect, due after `keepalive`
    seconds of silence. `commit_at` is the loop time at which the head goes out, whatever the upstream does. `is_last`
    tells whether the gateway is about to stop, so that the head announces the end of the connection.
    """

    request: web.Request
    exchange: Exchange
    headers: dict[str, str]
    ping: bytes
    keepalive: float
    write_timeout: float
    commit_at: float | None
    status: int = 200
    is_last: Callable[[], bool] = field(default=lambda: False)
    is_shared: bool = field(default=False, init=False)  # by attempts of which none may write: `race` keeps it alive
    send: Callable[[bytes], Awaitable[None]] | None = field(default=None, init=False)  # once it is open
    wrote: float = field(default=0.0, init=False)  # loop time of the last write
    _response: web.StreamResponse | None = field(default=None, init=False)

    async def open(self, headers: dict[str, str]) -> None:
        """Send the status and `headers`, once; the way back to another status is closed."""
        if self._response is None:
            self._response = web.StreamResponse(status=self.status, headers=headers | self.headers)
            if self.is_last():
                self._response.force_close()
            await self._response.prepare(self.request)
            self.exchange.step(Step.OPEN)
            self.send = self._response.write

    async def write(self, data: bytes) -> None:
        """Write whole frames. Raises ClientGone if the client has left, or has stopped reading."""
        assert self._response is not None
        try:
            async with asyncio.timeout(self.write_timeout):
                await self._response.write(data)
        except (ConnectionError, TimeoutError):
            raise ClientGone from None
        self.wrote = asyncio.get_running_loop().time()

    async def beat(self, now: float, *, of_all: bool = False) -> None:
        """Do what is due in silence: open the stream, or send a keep-alive. `of_all`: for all who share it."""
        if self.is_shared and not of_all:
            return
        if self._response is None and self.commit_at is not None and now >= self.commit_at:
            await self.open(STREAM_HEADERS)
            await self.write(self.ping)
        elif self._response is not None and now - self.wrote >= self.keepalive:
            await self.write(self.ping)

    def next_beat(self, now: float, *, of_all: bool = False) -> float:
        """Return the loop time at which `beat` should be called next."""
        if self.is_shared and not of_all:
            return math.inf
        if self._response is None:
            return self.commit_at if self.commit_at is not None else now + self.keepalive
        return self.wrote + self.keepalive

    def stop_keepalive(self) -> None:
        """Send no keep-alive: the body is no event stream."""
        self.keepalive = float("inf")

    async def keep_alive_during(self, answer: Coroutine[Any, Any, Answered]) -> Answered:
        """Await an upstream, sending the client keep-alives meanwhile."""
        loop = asyncio.get_running_loop()
        task = asyncio.create_task(answer)
        try:
            while not task.done():
                wait = self.next_beat(loop.time()) - loop.time()
                await asyncio.wait({task}, timeout=None if wait == math.inf else max(0.0, wait))
                if not task.done():
                    await self.beat(loop.time())
            return task.result()
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait({task})

    def buffered(self) -> int:
        """Return the bytes that wait in this process until the client reads on."""
        transport = self.request.transport
        return transport.get_write_buffer_size() if transport is not None else 0

    async def close(self) -> web.StreamResponse:
        """End the body cleanly."""
        assert self._response is not None
        try:
            await self._response.write_eof()
        except ConnectionError:
            raise ClientGone from None
        return self._response

    def cut(self) -> None:
        """Close the connection in the middle of the body."""
        if self.request.transport is not None:
            self.request.transport.abort()
