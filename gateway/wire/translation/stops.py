"""Enforces stop sequences that the upstream cannot: holds text back as long as it may begin a sequence."""

from collections.abc import Iterator

from attrs import define, field

from gateway.wire.events import BlockDelta, BlockEnded, BlockStarted, Event, Finished
from gateway.wire.neutral import Stop, StopReason, Text


@define
class StopFilter:
    """Ends a reply before the first stop sequence in a text block, even one split between deltas.

    See docs/wire/streaming.md#reading-a-chat-stream.

    `is_cut` is true once a sequence was found; `feed` has then returned a Finished that names it.
    """

    stops: tuple[str, ...]
    is_cut: bool = field(default=False, init=False)
    _texts: dict[int, str] = field(factory=dict, init=False)  # the end of each open text block that is held back
    _open: set[int] = field(factory=set, init=False)

    def feed(self, event: Event) -> list[Event]:
        """Take the next event, return the events that may be written; none once a sequence was found."""
        return list(self._feed(event))

    def _feed(self, event: Event) -> Iterator[Event]:
        match event:
            case _ if self.is_cut:
                pass
            case BlockStarted(block=Text()):
                self._texts[event.index] = ""
                self._open.add(event.index)
                yield event
            case BlockDelta() if event.index in self._texts:
                yield from self._scan(event.index, self._texts[event.index] + event.text)
            case BlockEnded() if event.index in self._texts:
                if rest := self._texts.pop(event.index):
                    yield BlockDelta(event.index, rest)
                self._open.discard(event.index)
                yield event
            case BlockStarted():
                self._open.add(event.index)
                yield event
            case BlockEnded():
                self._open.discard(event.index)
                yield event
            case _:
                yield event

    def _scan(self, index: int, text: str) -> Iterator[Event]:
        found = [(at, stop) for stop in self.stops if (at := text.find(stop)) >= 0]
        if found:
            at, stop = min(found)
            if text[:at]:
                yield BlockDelta(index, text[:at])
            for still_open in sorted(self._open):
                yield BlockEnded(still_open)
            self.is_cut = True
            yield Finished(Stop(StopReason.STOP_SEQUENCE, stop))
            return
        keep = self._longest_beginning(text)
        if safe := text[: len(text) - keep]:
            yield BlockDelta(index, safe)
        self._texts[index] = text[len(text) - keep :]

    def _longest_beginning(self, text: str) -> int:
        """Return how many of the last characters may be the beginning of a stop sequence."""
        longest = max(map(len, self.stops)) - 1
        for length in range(min(longest, len(text)), 0, -1):
            if any(stop.startswith(text[-length:]) for stop in self.stops):
                return length
        return 0
