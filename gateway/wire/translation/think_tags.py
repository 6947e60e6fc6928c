"""Separates reasoning from text, for models that write it into the text as `<think>…</think>`."""

from collections.abc import Iterator

from attrs import define, field

OPENING, CLOSING = "<think>", "</think>"


@define
class ThinkFilter:
    """Splits streamed text into reasoning and text. Only a `<think>` at its very beginning counts.

    White space before `<think>` and line ends behind either tag are left out, however the text was cut.
    """

    _state: str = field(default="start", init=False)  # start, opened, thinking, closed, text
    _held: str = field(default="", init=False)
    _blanks: list[str] = field(factory=list, init=False)  # white space before anything else

    def feed(self, text: str) -> Iterator[tuple[bool, str]]:
        """Take a piece of text; yield (is reasoning, text), without an end that may be the beginning of a tag."""
        if self._state == "start":
            if not self._held and not (text := self._past_blanks(text)):
                return
            self._held += text
            if OPENING.startswith(self._held) and self._held != OPENING:
                return  # too short to tell
            if self._held.startswith(OPENING):
                self._state, text, self._held = "opened", self._held.removeprefix(OPENING), ""
            else:
                self._state, text, self._held = "text", "".join(self._blanks) + self._held, ""
            self._blanks.clear()
        if self._state == "opened" and (text := text.lstrip("\n")):
            self._state = "thinking"
        if self._state == "thinking":
            text, self._held = self._held + text, ""
            thought, found, rest = text.partition(CLOSING)
            keep = 0 if found else overlap(thought, CLOSING)
            if safe := thought[: len(thought) - keep]:
                yield True, safe
            self._held = thought[len(thought) - keep :]
            if not found:
                return
            self._state, text = "closed", rest
        if self._state == "closed" and (text := text.lstrip("\n")):
            self._state = "text"
        if self._state == "text" and text:
            yield False, text

    def end(self) -> Iterator[tuple[bool, str]]:
        """Yield the text that was held back."""
        if self._state == "start":
            self._held = "".join(self._blanks) + self._held
        if self._held:
            yield self._state == "thinking", self._held
            self._held = ""

    def _past_blanks(self, text: str) -> str:
        """Keep the white space at the beginning aside, each piece once; return the rest."""
        rest = text.lstrip()
        self._blanks.append(text[: len(text) - len(rest)])
        return rest


def overlap(text: str, tag: str) -> int:
    """Return how many of the last characters may be the beginning of `tag`."""
    return next((length for length in range(min(len(text), len(tag) - 1), 0, -1) if tag.startswith(text[-length:])), 0)
