"""A multipart/form-data body whose parts stay the bytes that the client sent (RFC 7578, RFC 2046 5.1).

Only fields without a file name are read, edited or dropped, each as a whole; files are forwarded unchanged.
"""

import re
from collections.abc import Collection, Mapping
from typing import Self

import msgspec
from attrs import frozen

from gateway.errors import BadRequest

_BOUNDARY = re.compile(r'boundary=(?:"([^"]{1,200})"|([^\s;"]{1,200}))', re.IGNORECASE)
_NAME = re.compile(rb';\s*name="((?:[^"\\]|\\.)*)"', re.IGNORECASE)
_FILE = re.compile(rb";\s*filename\*?=", re.IGNORECASE)
_DISPOSITION = re.compile(rb"^content-disposition:\s*form-data(.*)$", re.IGNORECASE | re.MULTILINE)
# A form has few fields. Without a limit, a body of nothing but delimiters would cost much time and memory.
MAX_PARTS = 1000


@frozen
class Part:
    """One field. `raw` is its headers, the empty line and its content."""

    name: str
    is_file: bool
    raw: bytes

    @property
    def content(self) -> bytes:
        return self.raw.partition(b"\r\n\r\n")[2]


@frozen
class MultipartBody:
    """The parts of a form, in order."""

    parts: tuple[Part, ...]
    boundary: bytes
    content_type: str

    @classmethod
    def read(cls, data: bytes, content_type: str) -> Self:
        """Read a form. Raises BadRequest if it is malformed or has more than MAX_PARTS parts."""
        found = _BOUNDARY.search(content_type)
        if found is None:
            raise BadRequest("The Content-Type of a multipart body must carry a boundary")
        boundary = (found[1] or found[2]).encode("utf-8", "replace")
        pieces = (b"\r\n" + data).split(b"\r\n--" + boundary, MAX_PARTS)
        if len(pieces) > MAX_PARTS:
            raise BadRequest(f"A multipart body may have at most {MAX_PARTS} parts")
        if len(pieces) < 2 or not pieces[-1].startswith(b"--"):
            raise BadRequest("The multipart body does not end with its boundary")
        return cls(tuple(_read_part(piece) for piece in pieces[1:-1]), boundary, content_type)

    @property
    def size(self) -> int:
        return sum(len(part.raw) for part in self.parts)

    def text(self, name: str) -> str | None:
        for part in self.parts:
            if part.name == name and not part.is_file:
                try:
                    return part.content.decode()
                except UnicodeDecodeError:
                    raise BadRequest(f"'{name}' is not UTF-8", param=name) from None
        return None

    def flag(self, name: str) -> bool:
        return self.text(name) == "true"

    def edited(
        self,
        put: Mapping[str, bytes] = {},
        drop: Collection[str] = (),
        rename: Mapping[str, str] = {},
    ) -> bytes:
        out = []
        for part in self.parts:
            name = rename.get(part.name, part.name)
            if part.is_file:
                out.append(part.raw)
            elif part.name not in drop and name not in put:
                out.append(part.raw if name == part.name else _field(name, part.content))
        out += [_field(name, _plain(value)) for name, value in put.items()]
        line = b"--" + self.boundary
        return b"".join(line + b"\r\n" + raw + b"\r\n" for raw in out) + line + b"--\r\n"


def _read_part(piece: bytes) -> Part:
    raw = piece.lstrip(b" \t")
    if not raw.startswith(b"\r\n") or b"\r\n\r\n" not in raw:
        raise BadRequest("A part of the multipart body has no head")
    raw = raw[2:]
    disposition = _DISPOSITION.search(raw.partition(b"\r\n\r\n")[0])
    name = disposition and _NAME.search(disposition[1])
    if disposition is None or name is None:
        raise BadRequest("A part of the multipart body has no name")
    return Part(name[1].decode("utf-8", "replace"), _FILE.search(disposition[1]) is not None, raw)


def _plain(value: bytes) -> bytes:
    """Write a JSON value for a form: a string without its quotes, any other value as its JSON."""
    decoded = msgspec.json.decode(value)
    return decoded.encode() if isinstance(decoded, str) else value


def _field(name: str, content: bytes) -> bytes:
    safe = name.replace("\\", "\\\\").replace('"', '\\"').replace("\r", "").replace("\n", "")
    return f'Content-Disposition: form-data; name="{safe}"\r\n\r\n'.encode() + content
