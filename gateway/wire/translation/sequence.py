"""Puts the blocks of a streamed reply one after the other, for dialects that have one block open at a time.

Chat upstreams interleave the fragments of several tool calls, and some alternate between reasoning and text. A
Messages client accepts only one open block. So the first block is passed on as it comes, and the events of every
other block wait in a list until the open one ends (docs/wire/streaming.md#reading-a-chat-stream). Then the block that
began next is opened, all its events are passed on, and it becomes the open one.

Chat does not say when a call has ended before the whole reply ends. A call is therefore closed as soon as its
arguments are a complete JSON object and another block waits: without this, all calls but the first would come
at the very end. Blocks without content are left out, and the indices that the client sees are 0, 1, 2 and so on.
"""

from collections.abc import Iterator

from attrs import define, evolve, field

from gateway.wire.codec.json_prefix import JsonPrefix
from gateway.wire.events import (
    BlockDelta,
    BlockEnded,
    BlockStarted,
    CitationAdded,
    Event,
    Finished,
    LogprobsSeen,
    PartStarted,
    Started,
    StateSeen,
    UsageSeen,
)
from gateway.wire.neutral import Block, Reasoning, Refusal, Text, ToolCall

OfBlock = BlockStarted | BlockDelta | PartStarted | CitationAdded | LogprobsSeen | StateSeen | BlockEnded


@define
class BlockSequencer:
    """Reorders the events of blocks. Started and UsageSeen pass at once, Finished after all blocks have ended."""

    _next: int = field(default=0, init=False)  # the dense index of the next block
    _open: int | None = field(default=None, init=False)  # the upstream's index of the open block
    _block: Block | None = field(default=None, init=False)  # the open block, while its BlockStarted is still held back
    _is_call: bool = field(default=False, init=False)
    _arguments: list[str] = field(factory=list, init=False)  # of the open call, not yet fed to _prefix
    _prefix: JsonPrefix = field(factory=JsonPrefix, init=False)
    _waiting: dict[int, list[OfBlock]] = field(factory=dict, init=False)

    def feed(self, event: Event) -> list[Event]:
        """Take the next event, return the events that may be written now."""
        if isinstance(event, BlockDelta) and event.index == self._open:
            if self._is_call:
                return list(self._feed_call(event))
            if self._block is None:
                return [BlockDelta(self._next, event.text)] if event.text else []
        if isinstance(event, Finished):
            return [*self._flush(), event]
        if isinstance(event, Started | UsageSeen):
            return [event]
        return list(self._feed_block(event))

    def _feed_block(self, event: OfBlock) -> Iterator[Event]:
        if event.index == self._open:
            yield from self._emit(event)
            yield from self._drain()
        elif event.index in self._waiting:
            self._waiting[event.index].append(event)
        elif isinstance(event, BlockStarted):
            self._waiting[event.index] = [event]
            if self._is_call and self._is_complete():
                yield from self._close()
            yield from self._drain()
        # Anything else belongs to a call that was closed when its arguments were complete.

    def _feed_call(self, event: BlockDelta) -> Iterator[Event]:
        self._arguments.append(event.text)
        yield evolve(event, index=self._next)
        if self._waiting and self._is_complete():
            yield from self._close()
            yield from self._drain()

    def _emit(self, event: OfBlock) -> Iterator[Event]:
        """Yield an event of the open block; before the first with content, yield the block's BlockStarted."""
        if isinstance(event, BlockEnded):
            yield from self._close(event)
            return
        if isinstance(event, BlockDelta) and not event.text:
            return
        if self._block is not None:
            yield BlockStarted(self._next, self._block)
            self._block = None
        if isinstance(event, BlockDelta) and self._is_call:
            self._arguments.append(event.text)
        yield evolve(event, index=self._next)

    def _begin(self, started: BlockStarted) -> Iterator[Event]:
        self._open, self._block = started.index, started.block
        self._is_call = isinstance(started.block, ToolCall)
        self._arguments, self._prefix = [], JsonPrefix()
        if isinstance(started.block, ToolCall):
            self._arguments.append(started.block.arguments)
        if not _is_silent(started.block):
            yield BlockStarted(self._next, started.block)
            self._block = None

    def _close(self, ended: BlockEnded | None = None) -> Iterator[Event]:
        if self._block is None:
            yield BlockEnded(self._next, ended.block if ended is not None else None)
            self._next += 1
        self._open, self._block, self._is_call = None, None, False

    def _drain(self) -> Iterator[Event]:
        """Open the waiting blocks in order, until one stays open."""
        while self._open is None and self._waiting:
            first, *more = self._waiting.pop(next(iter(self._waiting)))
            assert isinstance(first, BlockStarted)
            yield from self._begin(first)
            for event in more:
                yield from self._emit(event)
            if self._is_call and self._waiting and self._is_complete():
                yield from self._close()

    def _flush(self) -> Iterator[Event]:
        """Yield all that is left, because the reply has ended."""
        while self._open is not None or self._waiting:
            if self._open is not None:
                yield from self._close()
            yield from self._drain()

    def _is_complete(self) -> bool:
        """Return whether the arguments of the open call are a complete JSON object."""
        for text in self._arguments:
            self._prefix.feed(text)
        self._arguments.clear()
        return self._prefix.is_complete


def _is_silent(block: Block) -> bool:
    """Return whether a block has no content when it begins, so that its BlockStarted can wait for content."""
    match block:
        case Text():
            return not block.text and not block.citations
        case Refusal():
            return not block.text
        case Reasoning():
            return not block.parts and not block.has_state
        case _:
            return False
