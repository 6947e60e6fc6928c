"""The lane between two dialects: reads an upstream's frames into events, writes the events as a client's frames.

No I/O, no time. Also reads whole replies, and writes a whole reply as a stream.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

from attrs import define, evolve, field

from gateway.errors import GatewayError, Unreadable
from gateway.wire.codec.json_prefix import is_half
from gateway.wire.codec.sse import FrameCutter
from gateway.wire.dialect import ClientSide, UpstreamSide
from gateway.wire.events import (
    COUNTS,
    BlockDelta,
    BlockStarted,
    Event,
    Finished,
    Folding,
    Growing,
    Started,
    StateSeen,
    UsageSeen,
    fold,
    merge,
    unfold,
)
from gateway.wire.lane import StreamReader, StreamWriter
from gateway.wire.neutral import Block, Image, Opaque, Reasoning, Reply, Stop, StopReason, Text, ToolCall, Usage
from gateway.wire.translation.memo import Memo
from gateway.wire.translation.sequence import BlockSequencer
from gateway.wire.translation.stops import StopFilter
from gateway.wire.translation.tokens import estimate

# Most requests that continue one reply whose model pauses for tools of its provider
# (docs/wire/replies.md#stop-reasons).
MAX_PAUSES = 8
# Characters of all that one reply says, and of one piece that a station of the lane works on at a time. A Responses
# client gets every text five times; the longest output of any model has some four million characters.
MAX_SAID, MAX_PIECE = 8 * 1024 * 1024, 256 * 1024
_ORDINARY = frozenset({StopReason.END, StopReason.TOOLS, StopReason.STOP_SEQUENCE})
Resume = Callable[[Sequence[Block]], bytes]
Read = TypeVar("Read")
# Stores the calls of a reply and the reasoning before them, for clients that do not send the reasoning back.
Remember = Callable[[Sequence[ToolCall], Sequence[Reasoning]], None]


@define
class Crossing:
    """The translated lane of one streamed reply.

    A frame passes four stations: the reader makes events of it, the StopFilter cuts the text at a stop sequence
    that the upstream does not know, the BlockSequencer puts the blocks one after the other, and the writer makes
    frames of the client's dialect. The second and third are there only if they are needed.

    If the upstream can pause (`resume` is given), one reply to the client may consist of several segments, each
    the reply to a request of its own. A Finished that only pauses is not written. The relay then calls `proceed`
    for the body of the next request, and feeds its frames to this lane, which reads them with a new reader and
    writes them with the same writer: the client sees one reply, with the summed usage of all segments.
    """

    make_reader: Callable[[Memo], StreamReader]
    writer: StreamWriter
    memo: Memo
    remember: Remember
    is_sequential: bool = True
    resume: Resume | None = None
    has_content: bool = field(default=False, init=False)
    is_finished: bool = field(default=False, init=False)
    is_enough: bool = field(default=False, init=False)
    is_refusal: bool = field(default=False, init=False)
    usage: Usage | None = field(default=None, init=False)
    reply_id: str = field(default="", init=False)
    reader: StreamReader = field(init=False)
    _segment: Folding = field(factory=Folding, init=False)  # the reply since the last pause
    _blocks: list[Block] = field(factory=list, init=False)  # the blocks before the last pause
    _pause: Finished | None = field(default=None, init=False)
    _pauses: int = field(default=0, init=False)
    _spent: Usage | None = field(default=None, init=False)  # the usage before the last pause
    _stops: StopFilter | None = field(init=False)
    _sequencer: BlockSequencer | None = field(init=False)
    _has_started: bool = field(default=False, init=False)
    _is_ended: bool = field(default=False, init=False)
    _has_ended_well: bool = field(default=False, init=False)
    _said: float = field(default=0.0, init=False)  # characters of all deltas, to estimate the output tokens
    _thoughts: dict[int, Growing] = field(factory=dict, init=False)
    _calls: list[ToolCall] = field(factory=list, init=False)
    _arguments: dict[int, list[str]] = field(factory=dict, init=False)  # of the calls, in pieces

    def __attrs_post_init__(self) -> None:
        self.reader = self.make_reader(self.memo)
        self._stops = StopFilter(self.memo.stops) if self.memo.stops else None
        self._sequencer = BlockSequencer() if self.is_sequential else None

    @property
    def is_empty(self) -> bool:
        """Whether the reply ended by itself without content and without output tokens."""
        return self._has_ended_well and not self.has_content and not (self.usage and self.usage.output)

    def passes(self, chunk: bytes) -> bool:
        return False

    def feed(self, frame: bytes) -> bytes:
        if self._is_ended:
            return b""
        out = _faults(self._read, frame)
        self.is_finished = self.reader.is_finished
        if self._pause is not None or not (self.reader.is_over or self.is_enough):
            return out
        return out + self._close()

    def end(self) -> bytes:
        if self._is_ended:
            return b""
        out = _faults(self._read_end)
        if self._pause is not None:
            out += b"".join(self._settle(self._pause))
        return out + self._close()

    def _read(self, frame: bytes) -> bytes:
        events = self.reader.feed(frame)
        return self._translate(
            events if len(frame) <= MAX_PIECE else [piece for one in events for piece in _pieces(one)]
        )

    def _read_end(self) -> bytes:
        return self._translate(self.reader.end())

    def proceed(self) -> bytes | None:
        if self._pause is None or self.resume is None:
            return None
        self._blocks += self._segment.blocks
        self.memo.first_index = len(self._blocks)
        self.memo.prefill = ""
        body = self.resume(self._blocks)
        self._spent, self._segment, self._pause = self.usage, Folding(), None
        self._pauses += 1
        self.reader = self.make_reader(self.memo)
        self.is_finished = False
        return body

    def fail(self, error: GatewayError, request_id: str) -> bytes:
        return self.writer.fail(error, request_id)

    def _close(self) -> bytes:
        self._is_ended = True
        return self.writer.end()

    def _translate(self, events: Sequence[Event]) -> bytes:
        if self._stops is not None:
            events = [ordered for event in events for ordered in self._stops.feed(event)]
            self.is_enough = self._stops.is_cut
        out: list[bytes] = []
        if not self._has_started and events:
            self._has_started = True
            if not isinstance(events[0], Started):  # some servers send no beginning
                events = [Started("", ""), *events]
        for event in events if self.resume is None else map(self._keep, events):
            self._note(event)
            if isinstance(event, Finished):
                finished = Finished(true_stop(event.stop, map("".join, self._arguments.values())))
                if self._may_pause(finished):
                    self._pause = finished
                else:
                    out += self._settle(finished)
            elif self._sequencer is not None:
                out += [self.writer.feed(ordered) for ordered in self._sequencer.feed(event)]
            else:
                out.append(self.writer.feed(event))
        return b"".join(out)

    def _keep(self, event: Event) -> Event:
        """Add an event to the segment, whose blocks `resume` may have to send back; sum the usage of all segments."""
        if isinstance(event, UsageSeen) and self._spent is not None:
            event = UsageSeen(_sum(self._spent, event.usage))
        self._segment.feed(event)
        return event

    def _may_pause(self, event: Finished) -> bool:
        is_paused = event.stop.reason is StopReason.PAUSED
        return is_paused and self.resume is not None and self._pauses < MAX_PAUSES

    def _settle(self, event: Finished) -> Iterator[bytes]:
        """Write the end of the reply, with estimates for missing token counts; remember the reasoning of its calls."""
        for ordered in self._sequencer.feed(event) if self._sequencer is not None else (event,):
            if isinstance(ordered, Finished) and (missing := self._uncounted()) is not None:
                self._note(UsageSeen(missing))
                yield self.writer.feed(UsageSeen(missing))
            yield self.writer.feed(ordered)
        self._has_ended_well = event.stop.reason is StopReason.END
        self.is_refusal = event.stop.reason is StopReason.FILTERED and not self.has_content
        thoughts = [block for one in self._thoughts.values() if isinstance(block := one.done(), Reasoning)]
        if self._calls and (thoughts or any(call.extra for call in self._calls)):
            self.remember(self._calls, thoughts)

    def _note(self, event: Event) -> None:
        match event:
            case BlockDelta():
                self.has_content = True
                self._said += len(event.text)
                if self._said > MAX_SAID:
                    raise _said_too_much()
                if event.index in self._thoughts:
                    self._thoughts[event.index].feed(event)
                elif event.index in self._arguments:
                    self._arguments[event.index].append(event.text)
            case BlockStarted(block=ToolCall() as call):
                self.has_content = True
                self._calls.append(call)
                if call.kind != "custom":
                    self._arguments[event.index] = [call.arguments]
            case BlockStarted(block=Reasoning()):
                self._thoughts[event.index] = Growing(event.block)
            case BlockStarted(block=Opaque() | Image()):
                self.has_content = True
            case UsageSeen():
                self.usage = merge(self.usage, event.usage)
            case StateSeen():
                self.has_content = True
                if event.index in self._thoughts:
                    self._thoughts[event.index].feed(event)
            case Started() if not self._pauses:
                self._thoughts, self._calls, self._arguments = {}, [], {}

    def _uncounted(self) -> Usage | None:
        return uncounted(self.usage, self.memo, lambda: self._said)


def true_stop(stop: Stop, arguments: Iterable[str]) -> Stop:
    """Return LENGTH for an ordinary end if the arguments of a call stop in the middle.

    Several servers say that the model has called its tools when the output cap has cut a call off. Without this the
    client could not tell that the call is not whole (docs/wire/replies.md#stop-reasons).
    """
    return Stop(StopReason.LENGTH) if stop.reason in _ORDINARY and any(map(is_half, arguments)) else stop


def _sum(first: Usage, second: Usage) -> Usage:
    """Add the usage of two segments of one reply."""

    def add(name: str) -> int | None:
        counts = [count for usage in (first, second) if (count := getattr(usage, name)) is not None]
        return sum(counts) if counts else None

    counts: dict[str, Any] = {name: add(name) for name in COUNTS}
    return Usage(**counts, tier=second.tier or first.tier)


def join(first: Reply, second: Reply) -> Reply:
    """Join two segments of one reply."""
    usage = _sum(first.usage or Usage(), second.usage or Usage())
    return evolve(second, blocks=(*first.blocks, *second.blocks), usage=usage)


def uncounted(usage: Usage | None, memo: Memo, characters: Callable[[], float]) -> Usage | None:
    """Return the usage with estimates for missing token counts; None if none is missing.

    `characters` counts those of the output: four of them are one token.
    """
    found = usage or Usage()
    if found.input is not None and found.output is not None:
        return None
    return evolve(
        found,
        input=found.input if found.input is not None else memo.prompt_estimate,
        output=found.output if found.output is not None else math.ceil(characters() / 4),
        is_estimated=True,
    )


def read_whole(upstream: UpstreamSide, body: bytes, is_stream: bool, memo: Memo) -> Reply:
    """Read a whole reply from a body, which is a stream of frames if `is_stream`. Raises UpstreamFault."""
    reply = _faults(_gather if is_stream else _read, upstream, body, memo)
    if len(body) > MAX_SAID and _length(reply, len) > MAX_SAID:
        raise _said_too_much()
    if memo.stops:
        reply = fold(_cut(reply, memo.stops))
    calls = (block for block in reply.blocks if isinstance(block, ToolCall) and block.kind != "custom")
    if (stop := true_stop(reply.stop, (call.arguments for call in calls))) is not reply.stop:
        reply = evolve(reply, stop=stop)
    said = reply
    if (missing := uncounted(reply.usage, memo, lambda: 4 * _length(said, estimate))) is not None:
        reply = evolve(reply, usage=missing)
    return reply


def _read(upstream: UpstreamSide, body: bytes, memo: Memo) -> Reply:
    return upstream.read_reply(body, memo)


def _faults(read: Callable[..., Read], *given: object) -> Read:
    """Call `read`, and raise Unreadable for any error that a malformed reply causes in it.

    So a provider's bad reply never becomes an internal error of the gateway, and the next target is tried.
    """
    try:
        return read(*given)
    except (TypeError, ValueError, LookupError, AttributeError, RecursionError) as error:
        raise Unreadable(f"The provider's reply is not of its dialect ({type(error).__name__})") from error


def _said_too_much() -> Unreadable:
    return Unreadable(f"The provider's reply has more than {MAX_SAID} characters")


def _pieces(event: Event) -> Iterator[Event]:
    """Cut a long text: one search in it would be one call into C, in which nobody else runs."""
    if isinstance(event, BlockDelta):
        yield from (evolve(event, text=event.text[at : at + MAX_PIECE]) for at in range(0, len(event.text), MAX_PIECE))
    else:
        yield event


def _length(reply: Reply, measure: Callable[[str], int]) -> int:
    return sum(
        measure(block.arguments if isinstance(block, ToolCall) else block.text)
        for block in reply.blocks
        if isinstance(block, ToolCall | Text | Reasoning)
    )


def _gather(upstream: UpstreamSide, body: bytes, memo: Memo) -> Reply:
    reader, cutter, folding = upstream.stream_reader(memo), FrameCutter(), Folding()
    frames = [*cutter.feed(body), cutter.end()]
    for frame in frames:
        for event in reader.feed(frame) if frame else ():
            folding.feed(event)
    for event in reader.end():
        folding.feed(event)
    return folding.reply()


def _cut(reply: Reply, stops: tuple[str, ...]) -> Iterator[Event]:
    filtered = StopFilter(stops)
    for event in (piece for one in unfold(reply) for piece in _pieces(one)):
        if filtered.is_cut and isinstance(event, UsageSeen):
            yield event
        yield from filtered.feed(event)


def refuses(reply: Reply) -> bool:
    """Return whether a whole reply is a refusal without content, so that one other target may be tried."""
    return reply.stop.reason is StopReason.FILTERED and not _has_said(reply)


def _has_said(reply: Reply) -> bool:
    return any(not isinstance(block, Text) or block.text for block in reply.blocks)


def says_nothing(reply: Reply) -> bool:
    """Return whether a whole reply ended by itself without content, so that one other target may be tried."""
    return not _has_said(reply) and reply.stop.reason is StopReason.END and not (reply.usage and reply.usage.output)


def spread(client: ClientSide, reply: Reply, memo: Memo) -> bytes:
    """Write a whole reply as a stream, for a client that asked for one.

    See docs/wire/streaming.md#reading-sse-from-upstreams.
    """
    writer = client.stream_writer(memo)
    sequencer = BlockSequencer() if client.is_sequential else None
    out = []
    for event in unfold(reply):
        out += [writer.feed(ordered) for ordered in (sequencer.feed(event) if sequencer is not None else (event,))]
    return b"".join(out) + writer.end()
