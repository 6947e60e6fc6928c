"""Puts blocks before those of a reply, and tokens beside those that it counts: what an earlier call has brought."""

from collections.abc import Iterator, Sequence
from typing import Any

from attrs import define, evolve, field

from gateway.wire.events import COUNTS, BlockEnded, BlockStarted, Event, Finished, Started, UsageSeen
from gateway.wire.lane import StreamReader
from gateway.wire.neutral import Block, Reply, Usage


def total(first: Usage | None, second: Usage | None) -> Usage | None:
    """Add the usage of two calls."""
    if first is None or second is None:
        return first or second
    counts: dict[str, Any] = {}
    for name in COUNTS:
        known = [count for one in (first, second) if (count := getattr(one, name)) is not None]
        counts[name] = sum(known) if known else None
    return evolve(second, **counts, is_estimated=first.is_estimated or second.is_estimated)


def behind(reply: Reply, blocks: Sequence[Block], spent: Usage | None) -> Reply:
    """Return a whole reply behind `blocks`, with the tokens `spent` before."""
    return evolve(reply, blocks=(*blocks, *reply.blocks), usage=total(spent, reply.usage))


@define
class Ahead:
    """Reads a stream as `reader` does.

    The blocks come once the reply has one of its own, so that a reply that fails before its first content can still be
    replaced by another target's.
    """

    reader: StreamReader
    blocks: Sequence[Block]
    spent: Usage | None
    is_finished: bool = field(default=False, init=False)
    is_over: bool = field(default=False, init=False)
    _has_told: bool = field(default=False, init=False)

    def feed(self, frame: bytes) -> Sequence[Event]:
        return self._with(self.reader.feed(frame))

    def end(self) -> Sequence[Event]:
        return self._with(self.reader.end())

    def _with(self, events: Sequence[Event]) -> Sequence[Event]:
        self.is_finished, self.is_over = self.reader.is_finished, self.reader.is_over
        return [more for event in events for more in self._around(event)]

    def _around(self, event: Event) -> Iterator[Event]:
        if isinstance(event, BlockStarted | Finished) and not self._has_told:
            self._has_told = True
            for number, block in enumerate(self.blocks, 1):
                yield BlockStarted(-number, block)
                yield BlockEnded(-number)
        yield UsageSeen(total(self.spent, event.usage) or event.usage) if isinstance(event, UsageSeen) else event
        if isinstance(event, Started) and self.spent is not None:
            yield UsageSeen(self.spent)
