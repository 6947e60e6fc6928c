"""Carries a reply to the client: whole or as a stream, raw or translated.

One task reads and writes; nothing is queued between. Only whole frames are written, so that a
keep-alive may stand between any two writes. Chooses no target: a fault before the first content
goes up to dispatch, and the client never hears of it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any, Protocol

from aiohttp import web
from attrs import define, field

from gateway.errors import GatewayError, Held, SaidNothing, Unreadable, UpstreamFault
from gateway.proxy.client_stream import ClientGone, ClientStream
from gateway.proxy.exchange import Step
from gateway.upstream.client import Deadline, UpstreamReply
from gateway.wire.codec.sse import FrameCutter
from gateway.wire.lane import Lane

# Once the model has finished only the usage and the end can follow (TRANSLATION.md 7.7).
AFTER_FINISH = 5.0
# For so long the end of a body is waited for that has nothing left to say.
LAST_WORD = 0.05
# Held back before the first content: a role, a ping, a few comments. More than this is no beginning.
MAX_HELD = 1024 * 1024
# Below this a write never waits (a transport's high-water mark is 64 KiB), so it needs no timer.
LOW_WATER = 60_000


class Cutter(Protocol):
    """Cuts what the socket gave into pieces that may be written one by one."""

    @property
    def is_between(self) -> bool: ...

    def feed(self, chunk: bytes) -> list[bytes]: ...

    def end(self) -> bytes: ...


@define
class Stream:
    """One upstream reply on its way through a lane to the outlet."""

    reply: UpstreamReply
    lane: Lane
    client_stream: ClientStream
    deadline: Deadline
    accept_empty: bool
    on_content: Callable[[], None]
    reply_headers: dict[str, str]
    cutter: Cutter = field(factory=FrameCutter)
    reopen: Callable[[bytes], Coroutine[Any, Any, UpstreamReply]] | None = None  # asks again, for a reply that paused
    ending: Callable[[bytes], Coroutine[Any, Any, bytes]] | None = None  # what has to be done before the end is told
    _held: bytes = field(default=b"", init=False)
    _heard: float = field(default=0.0, init=False)

    async def run(self) -> web.StreamResponse:
        """Relay until the end. Raises UpstreamFault; before content the client has seen nothing of it."""
        await self._run_segment()
        while (body := self.lane.proceed()) is not None and self.reopen is not None:
            self.reply.close()
            self.reply = await self.client_stream.patiently(self.reopen(body))
            self.cutter = FrameCutter()
            await self._run_segment()
        return await self._finish()

    async def _run_segment(self) -> None:
        """Read one upstream reply to its end."""
        loop = asyncio.get_running_loop()
        self._heard = loop.time()
        is_over = False
        while not is_over:
            try:
                async with asyncio.timeout_at(self._next_look(loop.time())) as timer:
                    is_over = await self._read(loop, timer)
            except TimeoutError:
                is_over = await self._look(loop.time())

    async def _read(self, loop: asyncio.AbstractEventLoop, timer: asyncio.Timeout) -> bool:
        """The hot loop: one chunk in, its whole frames out. Flat, because it runs for every token."""
        lane, client_stream = self.lane, self.client_stream
        read, cutter, now = self.reply.chunk, self.cutter, loop.time
        fault: UpstreamFault | None = None
        buffered = client_stream.buffered
        passes, is_between = lane.passes, cutter.is_between
        was_finished = lane.is_finished
        send = client_stream.send if client_stream.exchange.is_spoken else None
        with self.reply.faults():
            while chunk := await read():
                self._heard = heard = now()
                if is_between and passes(chunk):
                    out = chunk
                else:
                    out, fault = self._feed(chunk)
                    is_between = cutter.is_between
                if send is None:
                    if fault is None and out and await self._hold(out):
                        send = client_stream.send
                elif out:
                    if buffered() + len(out) > LOW_WATER:
                        await self._write_slowly(out, timer)
                    else:
                        try:
                            await send(out)
                        except ConnectionError:
                            raise ClientGone from None
                        client_stream.wrote = heard
                if fault is not None:
                    raise fault
                if lane.is_enough:
                    if lane.is_finished:
                        await self._hear_out(read)
                    return True
                if lane.is_finished and not was_finished:
                    was_finished = True
                    timer.reschedule(self._next_look(self._heard))
        return True

    async def _hear_out(self, read: Callable[[], Awaitable[bytes]]) -> None:
        """Nothing that may still come is wanted but the end, without which the connection cannot be used again."""
        with suppress(UpstreamFault), self.reply.faults(), suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORD):
                await read()

    async def _write_slowly(self, out: bytes, timer: asyncio.Timeout) -> None:
        """Write to a client that reads slowly: this write may wait, and no timer of ours may cancel it.

        (aiohttp's drain cannot be waited for again once such a wait was cancelled.)
        """
        timer.reschedule(None)
        await self.client_stream.write(out)
        self._heard = asyncio.get_running_loop().time()  # we did not listen while the client did not read
        timer.reschedule(self._next_look(self._heard))

    def _feed(self, chunk: bytes) -> tuple[bytes, UpstreamFault | None]:
        """What a chunk's frames say to the client, up to the one that is a fault."""
        out = []
        try:
            for frame in self.cutter.feed(chunk):
                out.append(self.lane.feed(frame))  # noqa: PERF401 - what came before a fault is kept
        except UpstreamFault as fault:
            return b"".join(out), fault
        return b"".join(out), None

    async def _hold(self, out: bytes) -> bool:
        """Keep back what says nothing yet; send it with the first content. Return whether that has come."""
        if self.lane.has_content:
            await self._speak(self._held + out)
            return True
        self._held += out
        if len(self._held) > MAX_HELD:
            raise Unreadable("The provider's stream says nothing")
        return False

    async def _speak(self, out: bytes) -> None:
        """The first content: from here on there is no other target."""
        self.on_content()
        await self.client_stream.open(self.reply_headers)
        self.client_stream.exchange.step(Step.SPEAK)
        self._held = b""
        await self.client_stream.write(out)

    async def _finish(self) -> web.StreamResponse:
        tail = self.cutter.end()
        if tail:
            self._held += self.lane.feed(tail)
        out = self._held + self.lane.end()
        self._held = b""
        is_spoken = self.client_stream.exchange.is_spoken
        if not is_spoken and self.lane.is_empty and not self.accept_empty:
            raise SaidNothing(Held(out, self.reply_headers, is_stream=True))
        if self.ending is not None:
            out = await self.ending(out)
        if is_spoken:
            if out:
                await self.client_stream.write(out)
        else:
            await self._speak(out)
        self.client_stream.exchange.step(Step.END)
        return await self.client_stream.close()

    def _next_look(self, now: float) -> float:
        return min(self._heard + self._patience, self.deadline.at, self.client_stream.next_beat(now))

    @property
    def _patience(self) -> float:
        idle = self.reply.timeouts.idle
        return min(idle, AFTER_FINISH) if self.lane.is_finished else idle

    async def _look(self, now: float) -> bool:
        """The timer has fired: is anything due? Return whether the reply is as good as ended."""
        if now >= self.deadline.at:
            raise self.deadline.passed()
        if now - self._heard >= self._patience:
            if self.lane.is_finished:
                return True
            raise self.reply.silence()
        await self.client_stream.beat(now)
        return False


async def end_with_error(
    client_stream: ClientStream,
    lane: Lane,
    error: GatewayError,
    ending: Callable[[bytes], Coroutine[Any, Any, bytes]] | None = None,
) -> web.StreamResponse:
    """Say an error inside a reply whose head is out. What has no words for it is cut off, never ended cleanly."""
    said = lane.fail(error, client_stream.exchange.id)
    if ending is not None:
        said = await ending(said)
    if not said:
        client_stream.cut()
        raise ClientGone
    await client_stream.write(said)
    return await client_stream.close()
