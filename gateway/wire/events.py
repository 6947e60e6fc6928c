"""A streamed reply as neutral events, and the two conversions between events and a whole reply.

Every reader of an upstream's stream yields these events, and every writer of a client's stream takes them. A
reply is: Started, the events of its blocks, UsageSeen any number of times, Finished. The events of a block are
BlockStarted, any number of BlockDelta, PartStarted, CitationAdded, LogprobsSeen and StateSeen, then BlockEnded. All
events of one block carry its `index`. Events of several blocks may interleave (`sequence.py` undoes that); the order of
the blocks is the order of their BlockStarted.

`fold` builds a whole Reply from events, to store a stream or to answer a client that wants no stream. `unfold`
makes events from a whole reply, for a client that wants a stream. The law is fold(unfold(reply)) == reply, so
that streaming a whole reply loses nothing.
"""

from collections.abc import Iterable, Iterator

from attrs import define, evolve, field, frozen

from gateway.wire.neutral import (
    Block,
    Citation,
    Logprob,
    Opaque,
    Reasoning,
    Refusal,
    Reply,
    Stop,
    StopReason,
    Text,
    ToolCall,
    Usage,
)


@frozen
class Started:
    """The reply has begun."""

    id: str
    model: str
    tier: str | None = None


@frozen
class BlockStarted:
    """A block has begun. Its text or arguments follow as deltas, and are appended to what `block` already holds."""

    index: int
    block: Block


@frozen
class BlockDelta:
    """More text of a Text, a Refusal or the current part of a Reasoning, or more arguments of a ToolCall."""

    index: int
    text: str


@frozen
class PartStarted:
    """A further part of a reasoning summary begins."""

    index: int


@frozen
class CitationAdded:
    """A Text block has got a citation."""

    index: int
    citation: Citation


@frozen
class LogprobsSeen:
    """The tokens of the BlockDelta of a Text that follows; without one, those that end the text."""

    index: int
    tokens: tuple[Logprob, ...]


@frozen
class StateSeen:
    """The state that a provider wants back with its reasoning. Comes once per block, after the block's text."""

    index: int
    signature: str | None = None
    sealed: str | None = None
    id: str | None = None


@frozen
class BlockEnded:
    """A block is complete. `block`, if given, replaces an Opaque block that was not yet whole when it began."""

    index: int
    block: Opaque | None = None


@frozen
class UsageSeen:
    """Token counts so far. A later event overwrites each count that it knows, and leaves the others."""

    usage: Usage


@frozen
class Finished:
    """The model has stopped."""

    stop: Stop


Event = (
    Started
    | BlockStarted
    | BlockDelta
    | PartStarted
    | CitationAdded
    | LogprobsSeen
    | StateSeen
    | BlockEnded
    | UsageSeen
    | Finished
)


def merge(earlier: Usage | None, later: Usage) -> Usage:
    """Overwrite each of the earlier counts with the later one, unless the later one is None."""
    if earlier is None:
        return later
    known = {name: value for name in (*COUNTS, "tier") if (value := getattr(later, name)) is not None}
    return evolve(earlier, **known, is_estimated=later.is_estimated)


COUNTS = (
    "input", "cache_read", "cache_write", "output", "reasoning", "input_audio", "output_audio", "cache_write_1h",
    "images",
)  # fmt: skip


@define
class Growing:
    """A block that is being built: the block of its BlockStarted, and the deltas since then, part by part."""

    block: Block
    _parts: list[list[str]] = field(factory=lambda: [[]])
    _citations: list[Citation] = field(factory=list)
    _tokens: list[Logprob] = field(factory=list)

    def feed(self, event: Event) -> None:
        """Take the next event of this block."""
        match event:
            case BlockDelta():
                self._parts[-1].append(event.text)
            case PartStarted():
                self._parts.append([])
            case CitationAdded():
                self._citations.append(event.citation)
            case LogprobsSeen():
                self._tokens.extend(event.tokens)
            case StateSeen():
                assert isinstance(self.block, Reasoning)
                self.block = evolve(
                    self.block, signature=event.signature, sealed=event.sealed, id=event.id or self.block.id
                )
            case BlockEnded() if event.block is not None:
                self.block = event.block

    def done(self) -> Block:
        """Return the block with everything fed so far; it need not have ended."""
        first, *more = ["".join(part) for part in self._parts]
        match self.block:
            case Text() as block:
                cited, tokens = (*block.citations, *self._citations), (*block.logprobs, *self._tokens)
                return evolve(block, text=block.text + first, citations=cited, logprobs=tokens)
            case Refusal() as block:
                return Refusal(block.text + first)
            case ToolCall() as block:
                return evolve(block, arguments=block.arguments + first)
            case Reasoning() as block if self._parts != [[]]:
                return evolve(block, parts=(*block.parts, first, *more))
            case block:
                return block


@define
class Folding:
    """A reply that is being built from its events."""

    id: str = ""
    model: str = ""
    tier: str | None = None
    stop: Stop | None = None
    usage: Usage | None = None
    _blocks: dict[int, Growing] = field(factory=dict, init=False)

    def feed(self, event: Event) -> None:
        """Take the next event."""
        match event:
            case Started():
                self.id, self.model, self.tier = event.id, event.model, event.tier
            case BlockStarted():
                self._blocks[event.index] = Growing(event.block)
            case UsageSeen():
                self.usage = merge(self.usage, event.usage)
            case Finished():
                self.stop = event.stop
            case _:
                self._blocks[event.index].feed(event)

    @property
    def blocks(self) -> list[Block]:
        """All blocks so far, unfinished ones included, in the order in which they began."""
        return [growing.done() for growing in self._blocks.values()]

    def reply(self) -> Reply:
        """Return the whole reply. A missing Finished counts as END: readers raise Broke for a stream cut short."""
        stop = self.stop or Stop(StopReason.END)
        return Reply(self.id, self.model, tuple(self.blocks), stop, self.usage, self.tier)


def fold(events: Iterable[Event]) -> Reply:
    """Build the whole reply from its events."""
    folding = Folding()
    for event in events:
        folding.feed(event)
    return folding.reply()


def unfold(reply: Reply) -> Iterator[Event]:
    """Yield the events of a whole reply, one block after the other."""
    yield Started(reply.id, reply.model, reply.tier)
    for index, block in enumerate(reply.blocks):
        yield from _unfold_block(index, block)
    if reply.usage is not None:
        yield UsageSeen(reply.usage)
    yield Finished(reply.stop)


def _unfold_block(index: int, block: Block) -> Iterator[Event]:
    match block:
        case Text():
            yield BlockStarted(index, evolve(block, text="", citations=(), logprobs=()))
            if block.logprobs:
                yield LogprobsSeen(index, block.logprobs)
            if block.text:
                yield BlockDelta(index, block.text)
            for citation in block.citations:
                yield CitationAdded(index, citation)
        case Refusal():
            yield BlockStarted(index, Refusal(""))
            yield BlockDelta(index, block.text)
        case ToolCall():
            yield BlockStarted(index, evolve(block, arguments=""))
            if block.arguments:
                yield BlockDelta(index, block.arguments)
        case Reasoning():
            yield BlockStarted(index, evolve(block, parts=(), signature=None, sealed=None))
            for number, part in enumerate(block.parts):
                if number:
                    yield PartStarted(index)
                yield BlockDelta(index, part)
            if block.has_state:
                yield StateSeen(index, block.signature, block.sealed)
        case _:
            yield BlockStarted(index, block)
    yield BlockEnded(index)
