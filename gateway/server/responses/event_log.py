"""The frames of a background run, kept in memory, so that any number of clients can follow it.

A run has no connection of its own. Its relay writes to a `RecordedStream`, which looks like a client's connection and
puts each frame into an `EventLog`. The log gives every frame a rising `sequence_number`. A client that follows reads
the frames after the number that it last saw, then waits for the next one; it may leave and come back, or not exist at
all, and the run does not notice. The log lives as long as `background` keeps the run; later the stored response is
replayed instead (`wire/openai_responses/replay`).
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
from aiohttp import web
from attrs import define, field

from gateway.errors import Unreadable
from gateway.proxy.client_stream import ClientStream
from gateway.proxy.exchange import Step
from gateway.wire.codec.odd_json import REFUSED, decode_as
from gateway.wire.codec.sse import FrameCutter, read_frame, write_event
from gateway.wire.openai_responses.recording_lane import ENDS, MAX_NUMBER


class _Event(msgspec.Struct):
    type: str = ""
    sequence_number: Any = None


_EVENT = msgspec.json.Decoder(_Event)
_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])


@define
class EventLog:
    """The frames of a run with their numbers.

    `last` is the number of the newest frame, `size` the bytes of all. `has_end` is true once a final event was added.
    """

    last: int = field(default=-1, init=False)
    size: int = field(default=0, init=False)
    has_end: bool = field(default=False, init=False)
    _frames: list[tuple[int, bytes]] = field(factory=list, init=False)
    _is_over: bool = field(default=False, init=False)
    _more: asyncio.Event = field(factory=asyncio.Event, init=False)

    @property
    def data(self) -> bytes:
        """All frames so far."""
        return b"".join(frame for _, frame in self._frames)

    @property
    def is_begun(self) -> bool:
        """Whether the log has any frame."""
        return bool(self._frames)

    def add(self, data: bytes) -> None:
        """Add whole SSE frames. A frame without a number gets the next one; comments are left out."""
        cutter = FrameCutter()
        for frame in (*cutter.feed(data), cutter.end()):
            payload = read_frame(frame).data if frame else None
            if payload is None:
                continue
            event, numbered = self._numbered(payload, frame)
            self.has_end = self.has_end or event.type in ENDS
            self.size += len(numbered)
            self._frames.append((self.last, numbered))
        self._wake()

    def add_beginning(self, response: bytes) -> None:
        """Add the event `response.created`."""
        self.add(self._event("response.created", response))

    def add_end(self, status: str, response: bytes) -> None:
        """Add the event that ends a stream with `status`."""
        self.add(self._event(f"response.{status}", response))

    def end(self) -> None:
        """Close the log: those who follow it get no further frame."""
        self._is_over = True
        self._wake()

    async def follow(self, after: int, keepalive: float) -> AsyncIterator[bytes]:
        """Yield the frames with a number above `after` until the log is closed, and the final one in any case.

        Yields b"" after each `keepalive` seconds without a frame.
        """
        at = 0
        while True:
            while at < len(self._frames):
                number, frame = self._frames[at]
                at += 1
                if number > after or (self._is_over and at == len(self._frames)):
                    yield frame
            if self._is_over:
                return
            more = self._more
            try:
                async with asyncio.timeout(keepalive):
                    await more.wait()
            except TimeoutError:
                yield b""

    def _numbered(self, payload: bytes, frame: bytes) -> tuple[_Event, bytes]:
        """Return a frame's event, and the frame with a number above `last`: its own if it is, else the next one."""
        try:
            event, members = decode_as(_EVENT, payload), decode_as(_MEMBERS, payload)
        except REFUSED:
            self.last += 1
            return _Event(), frame
        number = event.sequence_number
        if type(number) is int and self.last < number < MAX_NUMBER:
            self.last = number
            return event, frame
        self.last += 1
        members["sequence_number"] = msgspec.Raw(str(self.last).encode())
        return event, write_event(event.type, msgspec.json.encode(members))

    def _event(self, kind: str, response: bytes) -> bytes:
        payload = {"type": kind, "sequence_number": self.last + 1, "response": msgspec.Raw(response)}
        return write_event(kind, msgspec.json.encode(payload))

    def _wake(self) -> None:
        self._more.set()
        self._more = asyncio.Event()


@define
class RecordedStream(ClientStream):
    """A ClientStream without a client: it writes to the event log, and never has to wait or to send keep-alives."""

    event_log: EventLog = field(kw_only=True)
    limit: int = field(kw_only=True)  # bytes of the log
    _is_full: bool = field(default=False, init=False)

    async def open(self, headers: dict[str, str]) -> None:
        if self.send is None:
            self.exchange.step(Step.OPEN)
            self.send = self.write

    async def write(self, data: bytes) -> None:
        """Add frames. Raises Unreadable, once, if the log would be larger than its limit: the run ends so."""
        if self.event_log.size + len(data) > self.limit and not self._is_full:
            self._is_full = True
            raise Unreadable(f"The response has more than {self.limit} bytes of events, and cannot be kept")
        self.event_log.add(data)
        self.wrote = asyncio.get_running_loop().time()

    async def beat(self, now: float, *, of_all: bool = False) -> None:
        self.wrote = now

    def next_beat(self, now: float, *, of_all: bool = False) -> float:
        return now + self.keepalive

    def buffered(self) -> int:
        return 0

    async def close(self) -> web.StreamResponse:
        return web.Response()

    def cut(self) -> None:
        """Do nothing: there is no connection."""
