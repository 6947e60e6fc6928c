"""Carries a streamed reply from the provider to the client, through the lane between them.

**Hold, speak, look.** A reply is *held* until it has said something: a role, a ping, a comment, an empty delta
decide nothing, and as long as the client has seen none of it another target may still answer in its place. With
the first content the relay *speaks*: the head goes out, then what was held, and from then on each chunk goes out
as it comes. A fault before that moment is raised to dispatch and the client never hears of it; a fault after it
ends the stream with the error event of the client's dialect.

One task reads and writes, and nothing is queued between: a client that reads slowly makes the relay read slowly.
Only whole frames are written, so that a keep-alive may stand between any two writes. While no chunk comes the
relay *looks* at the clock: is a keep-alive due, has the provider been silent for too long, is the deadline past?
One timer serves all of these; it is set again only if it fires, never for each chunk.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any, Protocol

from aiohttp import web
from attrs import define, field

from gateway.errors import GatewayError, Held, SaidNothing, Unreadable, UpstreamFault
from gateway.faults import Fault
from gateway.proxy.client_stream import ClientGone, ClientStream
from gateway.proxy.exchange import Step
from gateway.proxy.foreign_bytes import ForeignBytes
from gateway.upstream.client import Deadline, UpstreamReply
from gateway.wire.codec.bounds import check_reply
from gateway.wire.codec.sse import MAX_FRAME_BYTES, FrameCutter, is_whole, looks_like
from gateway.wire.lane import Lane

# Seconds. After the finish reason only the usage and the end can follow (docs/wire/streaming.md#ending-a-stream).
AFTER_FINISH_S = 5.0
# Seconds to wait for the end of a body whose last frame has come: without it the connection cannot be used again.
FOR_END_S = 0.05
# Before the first content: a role, a ping, some comments. Beyond this the stream is no reply.
MAX_SILENT_FRAMES, MAX_SILENT_BYTES = 20_000, MAX_FRAME_BYTES + 1024 * 1024
# Frames, and seconds, for which the lane is fed before the loop serves others.
MAX_AT_ONCE, MAX_AT_ONCE_S = 100, 0.01
# Bytes. A larger frame is counted and read in a thread: the arguments of a call are looked at letter by letter.
LARGE_FRAME = 32 * 1024
# Below this a write never waits (a transport's high-water mark is 64 KiB), so it needs no timer.
LOW_WATER = 60_000
Store = Callable[[bytes], Coroutine[Any, Any, bytes]]


class NotAStream(Exception):
    """The body that was labelled as a stream is whole JSON; it was put back, and can be read whole."""


class Cutter(Protocol):
    """Cuts the chunks of a socket into pieces that may be written one by one."""

    @property
    def is_between(self) -> bool: ...

    def feed(self, chunk: bytes) -> list[bytes]: ...

    def end(self) -> bytes: ...


@define(kw_only=True)
class Relay:
    """One upstream reply on its way through a lane to the client.

    `clean` takes the provider's credential out of a frame; `reading` stands around what reads it; `on_content` is
    called with the first content; `reopen` asks the target to go on with a reply that has paused; `store_final` stores
    the response that the last frames complete, and returns what may be sent of them.
    """

    reply: UpstreamReply
    lane: Lane
    client: ClientStream
    deadline: Deadline
    accepts_empty: bool
    accepts_refusal: bool
    reply_headers: Callable[[], dict[str, str]]  # called at the first content: by then more may be lost
    cutter: Cutter
    clean: Callable[[bytes], bytes]
    reading: ForeignBytes
    on_content: Callable[[], None]
    reopen: Callable[[bytes], Coroutine[Any, Any, UpstreamReply]]
    store_final: Store | None = None
    may_be_whole: bool = False  # whether the body may turn out to be JSON, whatever its label
    _begin: bytearray = field(factory=bytearray, init=False)  # of the body, as long as it may
    _held: bytearray = field(factory=bytearray, init=False)
    _heard: float = field(default=0.0, init=False)  # loop time of the last chunk
    _silent_frames: int = field(default=0, init=False)  # before the first content
    _silent_bytes: int = field(default=0, init=False)
    size: int = field(default=0, init=False)  # bytes that have come
    chunks: int = field(default=0, init=False)
    last: bytes = field(default=b"", init=False)  # the last chunk

    async def run(self) -> web.StreamResponse:
        """Relay until the end. Raises UpstreamFault; before content the client has seen nothing of it."""
        await self._run_segment()
        while (body := self.lane.proceed()) is not None:
            self.reply.close()
            self.reply = await self.client.keep_alive_during(self.reopen(body))
            self.cutter = FrameCutter()
            await self._run_segment()
        return await self._finish()

    async def _run_segment(self) -> None:
        """Read one upstream reply to its end; a reply that pauses has several."""
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
        """Read chunks and write their whole frames: the hot loop. It is flat because it runs for every token."""
        lane, client = self.lane, self.client
        read, cutter, now = self.reply.chunk, self.cutter, loop.time
        fault: UpstreamFault | None = None
        buffered = client.buffered
        passes, is_between, clean = lane.passes, cutter.is_between, self.clean
        was_finished = lane.is_finished
        send = client.send if client.exchange.is_spoken else None
        with self.reply.faults():
            chunk = self.reply.unread() or await read()
            while chunk:
                self._heard = heard = now()
                self.size += len(chunk)
                self.chunks += 1
                self.last = chunk
                if is_between and passes(chunk):
                    out = clean(chunk)
                else:
                    out, fault = await self._feed(chunk)
                    is_between = cutter.is_between
                if send is None:
                    if fault is None and out and await self._hold(out):
                        send = client.send
                        timer.reschedule(self._next_look(self._heard))  # patience and keep-alives are others now
                elif out:
                    if buffered() + len(out) > LOW_WATER:
                        await self._write_slowly(out, timer)
                    else:
                        try:
                            await send(out)
                        except ConnectionError:
                            raise ClientGone from None
                        client.wrote = heard
                if fault is not None:
                    raise fault
                if lane.is_enough:
                    return await self._read_end(read)
                if lane.is_finished and not was_finished:
                    was_finished = True
                    timer.reschedule(self._next_look(self._heard))
                chunk = await read()
        return True

    async def _read_end(self, read: Callable[[], Awaitable[bytes]]) -> bool:
        """Wait a moment for the end of a body that has nothing left to say. Return True: the reply is over."""
        if self.lane.is_finished:
            with suppress(UpstreamFault), self.reply.faults(), suppress(TimeoutError):
                async with asyncio.timeout(FOR_END_S):
                    await read()
        return True

    async def _write_slowly(self, out: bytes, timer: asyncio.Timeout) -> None:
        """Write to a client that reads slowly: this write may wait, and no timer of ours may cancel it.

        (aiohttp's drain cannot be waited for again once such a wait was cancelled.)
        """
        timer.reschedule(None)
        await self.client.write(out)
        self._heard = asyncio.get_running_loop().time()  # we did not listen while the client did not read
        timer.reschedule(self._next_look(self._heard))

    async def _feed(self, chunk: bytes) -> tuple[bytes, UpstreamFault | None]:
        """Return what a chunk's frames become for the client, up to the first frame that is a fault."""
        out: list[bytes] = []
        if self.may_be_whole:
            self._look_at(chunk)
        try:
            with self.reading:
                frames = self.cutter.feed(chunk)
                pause_at = time.monotonic() + MAX_AT_ONCE_S
                for number, frame in enumerate(frames):
                    if number % MAX_AT_ONCE == MAX_AT_ONCE - 1 or time.monotonic() > pause_at:
                        await asyncio.sleep(0)  # a chunk of ten thousand tiny frames must not stop the others' streams
                        pause_at = time.monotonic() + MAX_AT_ONCE_S
                    if len(frame) > LARGE_FRAME:
                        await asyncio.to_thread(check_reply, frame)
                        out.append(await asyncio.to_thread(self.lane.feed, self.clean(frame)))
                    else:
                        out.append(self.lane.feed(self.clean(frame)))
                if not self.lane.has_content:
                    self._count_silence(len(frames), len(chunk))
        except UpstreamFault as fault:
            return b"".join(out), fault
        return b"".join(out), None

    def _look_at(self, chunk: bytes) -> None:
        """Look at the beginning of the body. Raises NotAStream if it is JSON; nothing was sent of it then."""
        self._begin += chunk
        begin = bytes(self._begin)
        if is_whole(begin):
            self.reply.put_back(begin)
            raise NotAStream
        self.may_be_whole = looks_like(begin) is None

    def _count_silence(self, frames: int, size: int) -> None:
        """Count what came before the first content. Raises Unreadable if it is too much for a reply's beginning."""
        self._silent_frames += frames
        self._silent_bytes += size
        if self._silent_frames > MAX_SILENT_FRAMES or self._silent_bytes > MAX_SILENT_BYTES:
            raise Unreadable("The provider's stream says nothing")

    async def _hold(self, out: bytes) -> bool:
        """Keep back what has no content yet; send it with the first content. Return whether that has come."""
        if self.lane.has_content:
            await self._speak(bytes(self._held) + out)
            return True
        self._held += out
        return False

    async def _speak(self, out: bytes) -> None:
        """Send the first content: from here on there is no other target."""
        self.on_content()
        await self.client.open(self.reply_headers())
        self.client.exchange.step(Step.SPEAK)
        self._held.clear()
        await self.client.write(out)

    async def _finish(self) -> web.StreamResponse:
        """Write what is left, store the response if it is to be stored, and end the body."""
        with self.reading:
            if tail := self.cutter.end():
                self._held += self.lane.feed(self.clean(tail))
            out = bytes(self._held) + self.lane.end()
        self._held.clear()
        is_spoken = self.client.exchange.is_spoken
        if not is_spoken and self.lane.is_empty and not self.accepts_empty:
            raise SaidNothing(Held(out, self.reply_headers(), is_stream=True))
        if not is_spoken and self.lane.is_refusal and not self.accepts_refusal:
            raise SaidNothing(Held(out, self.reply_headers(), is_stream=True), Fault.FILTERED)
        if self.store_final is not None:
            out = await self.store_final(out)
        if is_spoken:
            if out:
                await self.client.write(out)
        else:
            await self._speak(out)
        self.client.exchange.step(Step.END)
        return await self.client.close()

    def _next_look(self, now: float) -> float:
        return min(self._heard + self._patience, self.deadline.at, self.client.next_beat(now))

    @property
    def _patience(self) -> float:
        """Seconds of silence that are allowed now."""
        allowed = self.reply.patience(has_spoken=self.client.exchange.is_spoken)
        return min(allowed, AFTER_FINISH_S) if self.lane.is_finished else allowed

    async def _look(self, now: float) -> bool:
        """Do what is due when the timer fires. Return whether the reply is as good as ended."""
        if now >= self.deadline.at:
            raise self.deadline.passed()
        if now - self._heard >= self._patience:
            if self.lane.is_finished:
                return True
            raise self.reply.silence(has_spoken=self.client.exchange.is_spoken)
        await self.client.beat(now)
        return False


async def end_with_error(
    client: ClientStream, lane: Lane, error: GatewayError, store_final: Store | None = None
) -> web.StreamResponse:
    """Write an error inside a reply whose head is out.

    A lane that has no words for an error gets its connection cut, never a clean end.
    """
    frames = lane.fail(error, client.exchange.id)
    if store_final is not None:
        frames = await store_final(frames)
    if not frames:
        client.cut()
        raise ClientGone
    await client.write(frames)
    return await client.close()
