"""A JSON request body whose top-level members are parsed, and whose values stay the bytes that the client sent.

The top level is always written anew from the parsed members. If a client sends two `model` members, the
upstream therefore gets only the one that the gateway has checked.
"""

import re
from collections.abc import Collection, Mapping
from typing import Protocol, Self, TypeVar

import msgspec
from attrs import evolve, field, frozen

from gateway.errors import BadRequest

Wanted = TypeVar("Wanted")

_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_WRITE = msgspec.json.Encoder()
NULL = b"null"
_KEY = re.compile(rb'[\s{,]*("(?:[^"\\]|\\.)*")\s*:\s*')
_END = re.compile(rb"\s*}\s*")
_HALF = re.compile(rb"\\u[dD][89abAB]")
# What error messages call each kind of JSON value, by the first byte of the value.
_KINDS = {b"{": "an object", b"[": "an array", b'"': "a string", b"t": "a boolean", b"f": "a boolean"}


class Body(Protocol):
    """What dispatch needs from a body, JSON or multipart."""

    @property
    def content_type(self) -> str:
        """The Content-Type with which the body is sent upstream."""

    @property
    def size(self) -> int:
        """About how many bytes the body has."""

    def check_member(self, name: str) -> None:
        """Raise BadRequest if another member differs from `name` in case only, or a form's field can be misread.

        Some providers' parsers ignore the case: they would read a model that nobody has checked.
        """

    def text(self, name: str) -> str | None:
        """Return the string member `name`, None when absent. Raises BadRequest if it is not a string."""

    def flag(self, name: str) -> bool:
        """Return the boolean member `name`, False when absent.

        A JSON body raises BadRequest if the member is not a boolean; a form counts any text but `true` as False.
        """

    def edited(self, put: Mapping[str, bytes], drop: Collection[str], rename: Mapping[str, str]) -> bytes:
        """Write the body after dropping members, then renaming some, then setting those in `put` (values are JSON)."""


def check_utf8(raw: bytes) -> None:
    """Raise UnicodeDecodeError unless `raw` is UTF-8: msgspec does not check the inside of raw members."""
    if not raw.isascii():
        raw.decode()


def to_json(value: object) -> bytes:
    """Write a plain value as JSON."""
    return _WRITE.encode(value)


def is_null(value: bytes | msgspec.Raw) -> bool:
    """Whether a JSON value is null. Copies nothing: a value may have megabytes."""
    return len(value) == len(NULL) and bytes(value) == NULL


def kind_of(value: bytes | msgspec.Raw) -> str:
    """Name the kind of a JSON value, with its article, for messages."""
    head = bytes(memoryview(value)[:1])
    if head.isspace():
        return kind_of(bytes(value).strip())
    return _KINDS.get(head, "null" if is_null(value) else "a number")


def wrong_kind(quoted: str, param: str | None, words: str, value: bytes | msgspec.Raw) -> BadRequest:
    """Make the error for a value that cannot be read as `words`, such as a string. `quoted` is its name for people."""
    found = kind_of(value)
    if found == words:
        found = "one out of range" if found == "a number" else "a broken one"
    return BadRequest(f"{quoted} must be {words}, not {found}", param=param, code="invalid_type")


def _has_half(data: bytes, error: msgspec.DecodeError) -> bool:
    return "truncated" in str(error) and data.rstrip().endswith(b"}") and bool(_HALF.search(data))


@frozen
class JsonBody:
    """The top-level members of a JSON object, each as raw JSON."""

    members: dict[str, msgspec.Raw]
    size: int = 0  # bytes of the body as it came
    raw: bytes = field(default=b"", eq=False, repr=False)  # the body as it came; its members may have changed since
    content_type: str = field(default="application/json", init=False)

    @classmethod
    def read(cls, data: bytes) -> Self:
        """Read a JSON object. Raises BadRequest with the code `invalid_json` for anything else."""
        try:
            check_utf8(data)
            return cls(_MEMBERS.decode(data), len(data), data)
        except UnicodeDecodeError as error:
            raise BadRequest(f"The body is not UTF-8 (byte {error.start})", code="invalid_json") from None
        except RecursionError:
            raise BadRequest("The body is nested too deeply", code="invalid_json") from None
        except msgspec.ValidationError:
            raise BadRequest("The body must be a JSON object", code="invalid_json") from None
        except msgspec.DecodeError as error:
            # For half of a surrogate pair, anywhere in the input, msgspec reports truncated input.
            why = "a \\u escape has only one half of a surrogate pair" if _has_half(data, error) else error
            raise BadRequest(f"The body is not valid JSON: {why}", code="invalid_json") from None

    @classmethod
    def of(cls, members: Mapping[str, bytes]) -> Self:
        """Make a body from members whose values are JSON already."""
        return cls({name: msgspec.Raw(value) for name, value in members.items()}, sum(map(len, members.values())))

    def has(self, name: str) -> bool:
        """Whether the member is there and not null."""
        value = self.members.get(name)
        return value is not None and not is_null(value)

    def get(self, name: str, kind: type[Wanted], words: str) -> Wanted | None:
        """Read one member as `kind`, None when absent or null. Raises BadRequest, which calls the kind `words`."""
        value = self.members.get(name)
        if value is None or is_null(value):
            return None
        try:
            found: Wanted = msgspec.json.decode(value, type=kind)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise wrong_kind(f"'{name}'", name, words, value) from None
        return found

    def check_member(self, name: str) -> None:
        for other in self.members:
            if len(other) == len(name) and other != name and other.lower() == name:
                raise BadRequest(f"'{other}' is not a member: write '{name}'", param=other, code="unknown_parameter")

    def text(self, name: str) -> str | None:
        return self.get(name, str, "a string")

    def flag(self, name: str) -> bool:
        return bool(self.get(name, bool, "a boolean"))

    def with_value(self, name: str, value: bytes) -> bytes | None:
        """Return the body as it came, with another value for one member; None if that cannot be done for sure.

        It cannot if the member is not there, or twice, or if members have changed since the body was read.
        """
        found, at = None, 0
        for member, old in self.members.items():
            key = _KEY.match(self.raw, at)
            if key is None or msgspec.json.decode(key[1]) != member or not self.raw.startswith(bytes(old), key.end()):
                return None
            at = key.end() + len(old)
            if member == name:
                found = key.end(), at
        if found is None or _END.fullmatch(self.raw, at) is None:
            return None
        return self.raw[: found[0]] + value + self.raw[found[1] :]

    def without(self, names: Collection[str]) -> Self:
        """Return the body without `names`."""
        return evolve(self, members={k: v for k, v in self.members.items() if k not in names})

    def edited(
        self,
        put: Mapping[str, bytes] = {},
        drop: Collection[str] = (),
        rename: Mapping[str, str] = {},
    ) -> bytes:
        members = self.members
        if drop or rename:
            members = {rename.get(k, k): v for k, v in members.items() if k not in drop}
        else:
            members = members.copy()
        for name, value in put.items():
            members[name] = msgspec.Raw(value)
        return _WRITE.encode(members)
