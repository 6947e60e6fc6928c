"""Separates reasoning from text, for models that write it into the text as `<think>…</think>`."""

from collections.abc import Iterator

from attrs import define, field

OPENING, CLOSING = "<think>", "</think>"


@define
class ThinkFilter:
    """Splits streamed text into reasoning and text. Only a `<think>` at its very beginning counts."""

    _state: str = field(default="start", init=False)  # start, thinking, text
    _held: str = field(default="", init=False)

    def feed(self, text: str) -> Iterator[tuple[bool, str]]:
        """Take a piece of text; yield (is reasoning, text), without an end that may be the beginning of a tag."""
        self._held += text
        if self._state == "start":
            tidy = self._held.lstrip()
            if OPENING.startswith(tidy) and tidy != OPENING:
                return  # too short to tell
            if tidy.startswith(OPENING):
                self._state, self._held = "thinking", tidy.removeprefix(OPENING).lstrip("\n")
            else:
                self._state = "text"
        if self._state == "thinking":
            thought, found, rest = self._held.partition(CLOSING)
            keep = 0 if found else _overlap(thought, CLOSING)
            if safe := thought[: len(thought) - keep]:
                yield True, safe
            self._held = rest.lstrip("\n") if found else thought[len(thought) - keep :]
            if not found:
                return
            self._state = "text"
        if self._held:
            yield False, self._held
            self._held = ""

    def end(self) -> Iterator[tuple[bool, str]]:
        """Yield the text that was held back."""
        if self._held:
            yield self._state == "thinking", self._held
            self._held = ""


def _overlap(text: str, tag: str) -> int:
    """Return how many of the last characters may be the beginning of `tag`."""
    return next((length for length in range(min(len(text), len(tag) - 1), 0, -1) if tag.startswith(text[-length:])), 0)
