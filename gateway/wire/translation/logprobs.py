"""Reads the logprobs of a reply: how likely the model found each token of its text, and which others it thought of.

Chat and Responses write a token alike: `token`, `logprob`, `bytes`, `top_logprobs`. So its JSON is written once, with
every member that the SDKs' types have, and goes into the client's reply as it is
(docs/wire/replies.md#logprobs).
"""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from attrs import define, field

from gateway.errors import Unreadable
from gateway.wire.neutral import Logprob

# What the API writes for a token that is very unlikely; a number that is not JSON (-Infinity) is such a one.
UNLIKELY = -9999.0
# Bytes of the logprobs of one reply. A Responses client gets each of them five times.
MAX_LOGPROBS = 64 * 1024 * 1024
_json = msgspec.json.Encoder().encode


@define
class Logprobs:
    """Reads the logprobs of one reply, if its client has asked for them: some servers send them unasked."""

    is_asked: bool
    _size: int = field(default=0, init=False)

    def read(self, given: Any, start: int = 0) -> tuple[Logprob, ...]:
        """Read a list of tokens from place `start` on; what is no token is left out. Raises Unreadable for too many."""
        if not self.is_asked or not isinstance(given, list):
            return ()
        found = tuple(one for entry in given[start:] if (one := _read(entry)) is not None)
        self._size += sum(len(one.raw) for one in found)
        if self._size > MAX_LOGPROBS:
            raise Unreadable(f"The provider's reply has more than {MAX_LOGPROBS} bytes of logprobs")
        return found


def _read(entry: Any) -> Logprob | None:
    if (token := _token(entry)) is None:
        return None
    others = entry.get("top_logprobs")
    likely = [one for other in others if (one := _token(other)) is not None] if isinstance(others, list) else []
    return Logprob(bytes(token["bytes"]), msgspec.Raw(_json(token | {"top_logprobs": likely})))


def _token(entry: Any) -> dict[str, Any] | None:
    if not isinstance(entry, dict) or not isinstance(token := entry.get("token"), str):
        return None
    number = entry.get("logprob")
    is_number = isinstance(number, int | float) and not isinstance(number, bool) and abs(number) < -UNLIKELY
    return {"token": token, "logprob": number if is_number else UNLIKELY, "bytes": _bytes(entry.get("bytes"), token)}


def _bytes(given: Any, token: str) -> list[int]:
    """Return the bytes of a token; those of its text if the server has left them out."""
    if isinstance(given, list) and given and all(type(one) is int and 0 <= one < 256 for one in given):
        return given
    return list(token.encode(errors="replace"))


def ending(tokens: Sequence[Logprob], text: str) -> tuple[Logprob, ...]:
    """Return the tokens of `text`, which they end with; all if their text is another one.

    Before it may stand those of a thought, and behind it those that end the model's turn.
    """
    whole, said = b"".join(token.text for token in tokens), text.encode()
    at = 0 if whole.startswith(said) else whole.rfind(said)
    if at <= 0:
        return tuple(tokens)
    length = 0
    for place, token in enumerate(tokens):
        length += len(token.text)
        if length > at:
            return tuple(tokens[place:])
    return ()


@define
class Unsaid:
    """Tokens whose text has not been said yet: it is held back, or comes with the next delta."""

    _tokens: list[Logprob] = field(factory=list, init=False)
    _said: int = field(default=0, init=False)  # bytes of the first of them that have been said

    def add(self, tokens: Iterable[Logprob]) -> None:
        self._tokens.extend(tokens)

    def take(self, text: str) -> tuple[Logprob, ...]:
        """Return the tokens of which nothing is left to be said after `text`."""
        self._said += len(text.encode())
        count = 0
        for token in self._tokens:
            if len(token.text) > self._said:
                break
            self._said -= len(token.text)
            count += 1
        found = tuple(self._tokens[:count])
        del self._tokens[:count]
        return found

    def take_all(self) -> tuple[Logprob, ...]:
        """Return all tokens: nothing of their text is held back any more."""
        found, self._tokens, self._said = tuple(self._tokens), [], 0
        return found
