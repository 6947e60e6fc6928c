"""Enforces stop sequences that the upstream cannot: holds text back as long as it may begin a sequence."""

import re
from collections.abc import Iterator, Sequence

from attrs import define, field

from gateway.errors import BadRequest
from gateway.wire.events import BlockDelta, BlockEnded, BlockStarted, Event, Finished, LogprobsSeen
from gateway.wire.neutral import Stop, StopReason, Text
from gateway.wire.translation.logprobs import Unsaid

# OpenAI takes 4 stop sequences; nobody documents a length. Each delta is searched for all of them.
MAX_STOPS, MAX_STOP_LENGTH = 16, 256


def check_stops(stops: Sequence[str], name: str) -> None:
    """Raise BadRequest for more or longer stop sequences than are searched for; `name` is the member."""
    if len(stops) > MAX_STOPS or any(len(stop) > MAX_STOP_LENGTH for stop in stops):
        words = f"'{name}' may have at most {MAX_STOPS} sequences of at most {MAX_STOP_LENGTH} characters"
        raise BadRequest(words, param=name, code="invalid_value")


@define
class StopFilter:
    """Ends a reply before the first stop sequence in a text block, even one split between deltas.

    See docs/wire/streaming.md#reading-a-chat-stream.

    `is_cut` is true once a sequence was found; `feed` has then returned a Finished that names it.
    """

    stops: tuple[str, ...]
    is_cut: bool = field(default=False, init=False)
    _texts: dict[int, str] = field(factory=dict, init=False)  # the end of each open text block that is held back
    _tokens: dict[int, Unsaid] = field(factory=dict, init=False)  # of text blocks with logprobs
    _open: set[int] = field(factory=set, init=False)
    _any: re.Pattern[str] = field(init=False)  # all sequences as one automaton
    _beginnings: frozenset[str] = field(init=False)  # every proper beginning of a sequence

    @_any.default
    def _make_any(self) -> re.Pattern[str]:
        return re.compile("|".join(map(re.escape, sorted(self.stops))))

    @_beginnings.default
    def _make_beginnings(self) -> frozenset[str]:
        return frozenset(stop[:length] for stop in self.stops for length in range(1, len(stop)))

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
            case LogprobsSeen() if event.index in self._texts:
                self._tokens.setdefault(event.index, Unsaid()).add(event.tokens)
            case BlockDelta() if event.index in self._texts:
                yield from self._scan(event.index, self._texts[event.index] + event.text)
            case BlockEnded() if event.index in self._texts:
                rest = self._texts.pop(event.index)
                yield from self._probe(event.index)
                if rest:
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
        if self._any.search(text) is not None:
            # The sequence that is complete first wins, as it does where the text comes letter by letter.
            places = ((text.find(stop), stop) for stop in self.stops)
            at, stop = min((place for place in places if place[0] >= 0), key=lambda one: (one[0] + len(one[1]), one[0]))
            if text[:at]:
                yield from self._probe(index, text[:at])
                yield BlockDelta(index, text[:at])
            for still_open in sorted(self._open):
                yield BlockEnded(still_open)
            self.is_cut = True
            yield Finished(Stop(StopReason.STOP_SEQUENCE, stop))
            return
        keep = self._longest_beginning(text)
        if safe := text[: len(text) - keep]:
            yield from self._probe(index, safe if keep else None)
            yield BlockDelta(index, safe)
        self._texts[index] = text[len(text) - keep :]

    def _probe(self, index: int, text: str | None = None) -> Iterator[Event]:
        """Pass on the logprobs of `text`, which is written next; of all text if nothing is held back behind it."""
        if (unsaid := self._tokens.get(index)) is not None:
            tokens = unsaid.take_all() if text is None else unsaid.take(text)
            if tokens:
                yield LogprobsSeen(index, tokens)

    def _longest_beginning(self, text: str) -> int:
        """Return how many of the last characters may be the beginning of a stop sequence."""
        longest = max(map(len, self.stops)) - 1
        for length in range(min(longest, len(text)), 0, -1):
            if text[-length:] in self._beginnings:
                return length
        return 0
