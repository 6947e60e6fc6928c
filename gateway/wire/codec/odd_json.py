r"""Reads JSON that servers write and the standard forbids: halves of surrogate pairs, NaN, Infinity, 1e999.

A server that streams token by token may cut an emoji in two: `"\ud83d"` in one delta, `"\ude00"` in the next. The
official SDKs read both and join them, and Python's read NaN too. The fast decoder refuses such JSON, so that everything
here runs only after a refusal, or while a half waits for the other.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec
from attrs import define, field

Decoded = TypeVar("Decoded")
REFUSED = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
LOST = "\ufffd"  # in the place of a half that never gets the other
# Without one of these in it, refused JSON is broken.
_ODD = re.compile(rb"\\u[dD][89a-fA-F]|NaN|Infinity|\xed[\xa0-\xbf]|[0-9][eE]\+?[0-9]{3}|[0-9]{309}")
_TOKEN = re.compile(r'"(?:[^"\\]++|\\.)*+"|NaN|-?Infinity', re.DOTALL)
_PAIR = r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
_ESCAPE = re.compile(_PAIR + r"|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})|\\.", re.DOTALL)
MAX_WAITING = 1_000  # halves of one stream that wait at the same time; more is no reply
_HALF = re.compile("[\ud800-\udfff]")
# What tells the places of a stream apart: the block, item, part, choice or call to which a delta belongs.
_NUMBERS = ("index", "output_index", "content_index", "summary_index")


def decode(data: bytes) -> Any:
    """Decode JSON, odd or not. Raises MsgspecError, UnicodeDecodeError or RecursionError for anything else."""
    try:
        return msgspec.json.decode(data)
    except REFUSED:
        return _mended(_loads(data))


def decode_as(decoder: msgspec.json.Decoder[Decoded], data: bytes | msgspec.Raw) -> Decoded:
    """Decode with `decoder`; odd JSON after it was `repaired`. Raises what `decode` raises."""
    try:
        return decoder.decode(data)
    except msgspec.ValidationError:
        raise
    except REFUSED:
        return decoder.decode(repaired(bytes(data)))


def repaired(data: bytes) -> bytes:
    """Return odd JSON as the standard has it: U+FFFD for each half, null for NaN and Infinity; all else as it came."""
    text = _text(data)
    if not _ODD.search(data) and LOST not in text:
        return data
    return _paired(_TOKEN.sub(_repair_token, text)).encode()


def _repair_token(found: re.Match[str]) -> str:
    text = found[0]
    if not text.startswith('"'):
        return "null"
    return _without_halves(text)


def _without_halves(text: str) -> str:
    return _ESCAPE.sub(lambda one: "\\ufffd" if one[1] else one[0], text) if "\\u" in text else text


def _loads(data: bytes) -> Any:
    text = _text(data)
    if not _ODD.search(data) and LOST not in text:
        raise msgspec.DecodeError("JSON is malformed")
    try:
        return json.loads(text, parse_constant=_nothing, parse_float=_finite)
    except ValueError as error:
        raise msgspec.DecodeError(str(error)) from None


def _text(data: bytes) -> str:
    """Decode UTF-8 as browsers and JavaScript's SDKs do: with U+FFFD for what is none, as half a character."""
    try:
        return data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return data.decode("utf-8", "replace")


def _nothing(_: str) -> None:
    """Read NaN and the infinities as null."""


def _finite(digits: str) -> float | None:
    number = float(digits)
    return number if abs(number) != float("inf") else None


def _paired(text: str) -> str:
    """Join halves that stand side by side, and put U+FFFD for all others."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace") if _HALF.search(text) else text


def _mended(value: Any) -> Any:
    match value:
        case str():
            return _paired(value)
        case dict():
            return {_paired(name): _mended(one) for name, one in value.items()}
        case list():
            return [_mended(one) for one in value]
        case _:
            return value


# Of a JSON text: all that is whole. The first half of a surrogate pair is whole only if what follows is known.
_WHOLE = re.compile(
    r"(?:[^\\]++|\\[^u]|\\u(?![dD][89abAB]).{4}|\\u[dD][89abAB].{2}(?=[^\\]|\\[^u]|\\u.{4}))*+", re.DOTALL
)


@define
class LoneHalves:
    """Writes U+FFFD for each half that stays alone in a JSON text that comes in pieces: SDKs' readers refuse it."""

    _rest: str = field(default="", init=False)  # an escape that is not whole yet

    def feed(self, text: str) -> str:
        """Take a piece, return what is whole."""
        if not self._rest and "\\" not in text:
            return text
        text = self._rest + text
        found = _WHOLE.match(text)
        assert found is not None  # it matches nothing, too
        self._rest = text[found.end() :]
        return _without_halves(found[0])

    def end(self) -> str:
        """Return what was held back."""
        text, self._rest = self._rest, ""
        return _without_halves(text)


@define
class Halves:
    """Joins the halves of one stream: a first half at the end of a delta waits for the next delta of its place.

    Only the strings in a member `delta` are pieces of a longer text; all others are whole.
    """

    _waiting: dict[tuple[Any, ...], str] = field(factory=dict, init=False)

    def decode(self, data: bytes) -> Any:
        """Decode a frame's data as `decode` does, with what waits put in front of the pieces that continue it."""
        try:
            payload = msgspec.json.decode(data)
        except REFUSED:
            payload = _loads(data)
        else:
            if not self._waiting:
                return payload
        return self._join(payload, (), is_piece=False)

    def rest(self, *names: Any) -> str:
        """Return what stands for the halves that wait at a place with one of `names` in it: they stay alone."""
        if not self._waiting:
            return ""
        alone = [place for place in self._waiting if any(name in place for name in names)]
        for place in alone:
            del self._waiting[place]
        return LOST if alone else ""

    def _join(self, value: Any, place: tuple[Any, ...], *, is_piece: bool) -> Any:
        match value:
            case str() if is_piece and value:
                text = self._waiting.pop(place, "") + value
                if "\ud800" <= text[-1] < "\udc00" and len(self._waiting) < MAX_WAITING:
                    self._waiting[place], text = text[-1], text[:-1]
                return _paired(text)
            case str():
                return _paired(value)
            case dict():
                place += tuple(value.get(name) for name in _NUMBERS if isinstance(value.get(name), int))
                return {
                    _paired(name): self._join(one, (*place, name), is_piece=is_piece or name == "delta")
                    for name, one in value.items()
                }
            case list():
                return [
                    self._join(one, self._place_of(one, at, place), is_piece=is_piece) for at, one in enumerate(value)
                ]
            case _:
                return value

    def _place_of(self, value: Any, at: int, place: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return the place of an array's entry: its own index if it has one, for entries are left out or moved."""
        has_index = isinstance(value, Mapping) and isinstance(value.get("index"), int)
        return place if has_index else (*place, at)
