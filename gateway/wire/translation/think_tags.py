"""Separates reasoning from text, for models that write it into the text as `<think>…</think>`."""

import re
from collections.abc import Iterator

from attrs import define, field

OPENING, CLOSING = "<think>", "</think>"
# Characters that are held back at most if no tag opens a reply: a model's reasoning has some thousands.
MAX_UNOPENED = 32_768
_TAG = re.compile(r"</?think>")


@define
class ThinkFilter:
    """Splits streamed text into reasoning and text.

    A `<think>` at the very beginning opens the reasoning. Some servers put this tag into the prompt, so that the reply
    has the closing tag only: unless `is_opened_unseen` is False, the text is held back until it shows what it is, at
    most MAX_UNOPENED characters of it. White space before `<think>` and line ends behind either tag are left out,
    however the text was cut.
    """

    is_opened_unseen: bool = True
    _state: str = field(default="start", init=False)  # start, unsure, opened, thinking, closed, text
    _held: str = field(default="", init=False)
    _blanks: list[str] = field(factory=list, init=False)  # white space before anything else
    _unsure: list[str] = field(factory=list, init=False)  # text that is reasoning if a closing tag follows
    _length: int = field(default=0, init=False)  # characters of `_unsure`

    def feed(self, text: str) -> Iterator[tuple[bool, str]]:
        """Take a piece of text; yield (is reasoning, text), without an end that may be the beginning of a tag."""
        begun = self._begin(text) if self._state == "start" else text
        if begun is not None:
            yield from self._decide(begun) if self._state == "unsure" else self._split(begun)

    def _begin(self, text: str) -> str | None:
        """Return what follows the opening tag, or all text if there is none; None as long as that is not certain."""
        if not self._held and not (text := self._past_blanks(text)):
            return None
        self._held += text
        if OPENING.startswith(self._held) and self._held != OPENING:
            return None  # too short to tell
        held, self._held = self._held, ""
        blanks = "".join(self._blanks)
        self._blanks.clear()
        if held.startswith(OPENING):
            self._state = "opened"
            return held.removeprefix(OPENING)
        self._state = "unsure" if self.is_opened_unseen else "text"
        return blanks + held

    def _decide(self, text: str) -> Iterator[tuple[bool, str]]:
        """Take text that no tag has opened: it is reasoning up to a closing tag without an opening one before it."""
        text, self._held = self._held + text, ""
        room = MAX_UNOPENED - self._length
        found = _TAG.search(text, 0, max(0, room))
        if found is not None and found[0] == CLOSING:
            if thought := (self._take_unsure() + text[: found.start()]).lstrip("\n"):
                yield True, thought
            self._state = "closed"
            yield from self._split(text[found.end() :])
        elif found is not None or len(text) >= room:
            self._state = "text"
            yield False, self._take_unsure() + text
        else:
            keep = max(overlap(text, CLOSING), overlap(text, OPENING))
            self._unsure.append(text[: len(text) - keep])
            self._length += len(text) - keep
            self._held = text[len(text) - keep :]

    def _take_unsure(self) -> str:
        text = "".join(self._unsure)
        self._unsure.clear()
        return text

    def _split(self, text: str) -> Iterator[tuple[bool, str]]:
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
        if held := "".join(self._blanks) + self._take_unsure() + self._held:
            yield self._state == "thinking", held
        self._held = ""
        self._blanks.clear()
        if self._state == "unsure":
            self._state = "text"

    def _past_blanks(self, text: str) -> str:
        """Keep the white space at the beginning aside, each piece once; return the rest."""
        rest = text.lstrip()
        self._blanks.append(text[: len(text) - len(rest)])
        return rest


def overlap(text: str, tag: str) -> int:
    """Return how many of the last characters may be the beginning of `tag`."""
    return next((length for length in range(min(len(text), len(tag) - 1), 0, -1) if tag.startswith(text[-length:])), 0)
