"""A JSON object that knows its path in the body, so that each error can name it: `messages[3].content[0].text`.

Members stay raw until they are read. A known member of the wrong kind is an error; one that nobody reads is none, but
`unread` names it, so that what a translation does not know cannot be lost in silence. Methods that decode a member
raise BadRequest with the member's path.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Self, TypeVar

import msgspec
from attrs import define, field

from gateway.errors import BadRequest
from gateway.wire.codec import json_body
from gateway.wire.codec.json_body import is_null, kind_of

Wanted = TypeVar("Wanted")
_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_LARGEST = 2**63
_FIRST = re.compile(r"[.\[]")
MAX_ITEMS = 20_000  # of an array that is translated; the longest agent sessions have some thousand messages
_ITEMS = msgspec.json.Decoder(list[msgspec.Raw])
_NO_ITEMS = re.compile(rb"\s*\[\s*\]\s*")
_LABELS = frozenset({"type", "id"})  # say what an object is, not what is in it
# Values with which a member inside an object says nothing: what is not known there is off until it is switched on, an
# item of a history is complete, and the model calls its tools itself.
_SAYS_NOTHING = frozenset({b"null", b"false", b"[]", b"{}", b'""', b'"completed"', b'["direct"]'})
_EMPTY = frozenset({b"null", b"[]", b"{}", b'""'})  # the same of the request's own members: some of them are on


@define(eq=False)
class Node:
    """The members of one object. `path` is the object's place in the body, empty for the body itself.

    `ledger` holds what nobody has read so far, by the paths of the objects; all nodes of a body share it.
    """

    members: Mapping[str, msgspec.Raw]
    path: str = ""
    ledger: dict[str, dict[str, msgspec.Raw]] = field(factory=dict, repr=False)
    _left: dict[str, msgspec.Raw] = field(init=False, repr=False)

    @_left.default
    def _(self) -> dict[str, msgspec.Raw]:
        left = self.ledger.get(self.path)
        if left is None:
            left = self.ledger[self.path] = dict(self.members)
        return left

    @classmethod
    def read(cls, raw: bytes | msgspec.Raw, path: str, ledger: dict[str, dict[str, msgspec.Raw]] | None = None) -> Self:
        """Read an object. Raises BadRequest if `raw` is not an object."""
        try:
            return cls(_MEMBERS.decode(raw), path, {} if ledger is None else ledger)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise wrong_kind(path, "an object", raw) from None

    def child(self, raw: bytes | msgspec.Raw, path: str) -> Self:
        """Read an object that stands inside this one's body. Raises BadRequest if `raw` is not an object."""
        return self.read(raw, path, self.ledger)

    def take(self, *names: str) -> None:
        """Count members as read, all if none is named: those that are kept unread, and those that say nothing."""
        for name in names or self.members:
            self._left.pop(name, None)

    def unread(self) -> Iterator[str]:
        """Name each member of this body that nobody has read: by the first part of its path and by itself.

        `messages[3].content[0].caller` is `messages.caller`. Left out are members that say nothing, and `type` and
        `id`, which only say what an object is.
        """
        for path, left in self.ledger.items():
            for name, raw in left.items():
                if not path and bytes(raw) not in _EMPTY:
                    yield name
                elif path and name not in _LABELS and bytes(raw) not in _SAYS_NOTHING:
                    yield f"{_FIRST.split(path, 1)[0]}.{name}"

    def has(self, name: str) -> bool:
        """Whether the member is there and not null."""
        raw = self.members.get(name)
        return raw is not None and not is_null(raw)

    def raw(self, name: str) -> msgspec.Raw | None:
        """Return the JSON of a member; None when absent or null."""
        raw = self.members.get(name)
        if raw is None or is_null(raw):
            return None
        self._left.pop(name, None)
        return raw

    def kind(self, name: str) -> str:
        """Return the kind of a member: `a string`, `an array`, …; `null` also when it is absent."""
        raw = self.raw(name)
        return "null" if raw is None else kind_of(raw)

    def text(self, name: str) -> str | None:
        return self._get(name, str, "a string")

    def needed_text(self, name: str) -> str:
        """Read a string. Raises BadRequest also when it is absent."""
        found = self.text(name)
        if found is None:
            raise BadRequest(f"'{self.at(name)}' is missing", param=self.at(name), code="missing_required_parameter")
        return found

    def flag(self, name: str) -> bool | None:
        return self._get(name, bool, "a boolean")

    def whole(self, name: str) -> int | None:
        """Read an integer, which may be written as 10.0. Raises BadRequest for a fraction, and beyond 64 bits."""
        value = self._get(name, float | int, "a number")  # type: ignore[arg-type]
        if value is None:
            return None
        if abs(value) > _LARGEST or value != int(value):
            raise wrong_kind(self.at(name), "a whole number", b"1")
        return int(value)

    def number(self, name: str) -> float | None:
        return self._get(name, float, "a number")

    def value(self, name: str) -> Any:
        """Read a member of any kind."""
        return self._get(name, object, "valid JSON")

    def mapping(self, name: str) -> dict[str, Any] | None:
        """Read an object, with all that is in it."""
        return self._get(name, dict[str, Any], "an object")

    def node(self, name: str) -> "Node | None":
        """Read an object as a Node, whose members stay raw."""
        raw = self.raw(name)
        return None if raw is None else self.child(raw, self.at(name))

    def items(self, name: str) -> Iterator[tuple[msgspec.Raw, str]]:
        """Yield each item of an array as JSON, with its path; nothing when absent."""
        raw = self.raw(name)
        if raw is None:
            return
        try:
            items = _ITEMS.decode(raw)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise wrong_kind(self.at(name), "an array", raw) from None
        if len(items) > MAX_ITEMS:
            raise self.refuse(name, f"'{self.at(name)}' has more than {MAX_ITEMS} items")
        for index, item in enumerate(items):
            yield item, f"{self.at(name)}[{index}]"

    def nodes(self, name: str) -> Iterator["Node"]:
        """Yield each item of an array of objects."""
        for item, path in self.items(name):
            yield self.child(item, path)

    def check_filled(self, name: str) -> None:
        """Raise BadRequest if a member is absent, null or an array without items; an empty text passes."""
        raw = self.members.get(name)
        if raw is None or is_null(raw):
            raise BadRequest(f"'{self.at(name)}' is missing", param=self.at(name), code="missing_required_parameter")
        if _NO_ITEMS.fullmatch(memoryview(raw)):
            raise self.refuse(name, f"'{self.at(name)}' must have at least one item")

    def at(self, name: str) -> str:
        """Return the path of a member."""
        return f"{self.path}.{name}" if self.path else name

    def refuse(self, name: str, message: str, code: str = "invalid_value") -> BadRequest:
        """Make the error for a member that has the right kind and a bad value."""
        return BadRequest(message, param=self.at(name), code=code)

    def _get(self, name: str, kind: type[Wanted], words: str) -> Wanted | None:
        raw = self.members.get(name)  # not self.raw: this is the busiest place of all readers
        if raw is None or is_null(raw):
            return None
        self._left.pop(name, None)
        return decode(raw, kind, self.at(name), words)


def decode(raw: bytes | msgspec.Raw, kind: type[Wanted], path: str, words: str) -> Wanted:
    """Decode one value. Raises BadRequest that names the path, the kind wanted (`words`) and the kind found."""
    try:
        found: Wanted = msgspec.json.decode(raw, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise wrong_kind(path, words, raw) from None
    return found


def wrong_kind(path: str, words: str, raw: bytes | msgspec.Raw) -> BadRequest:
    """Make the error for a value of the wrong kind."""
    name = path or "The body"
    return json_body.wrong_kind(f"'{name}'" if path else name, path or None, words, raw)
