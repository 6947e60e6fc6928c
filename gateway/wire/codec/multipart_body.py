"""A multipart/form-data body whose parts stay the bytes that the client sent (RFC 7578, RFC 2046 5.1).

Only fields without a file name are read, edited or dropped, each as a whole; files are forwarded unchanged.
"""

import re
from collections.abc import Collection, Mapping
from typing import Self

import msgspec
from attrs import frozen

from gateway.errors import BadRequest

_BOUNDARY = re.compile(r';\s*boundary=(?:"([^"]{1,200})"|([^\s;",]{1,200}))', re.IGNORECASE)
_HEADER = re.compile(rb"([\w!#$%&'*+.^`|~-]+):[ \t]*([^\r\n\0]*)")
# The one form of the head that every parser reads alike: no escapes, no `name*=`, no second `name`.
_DISPOSITION = re.compile(
    rb'form-data[ \t]*;[ \t]*name=(?:"([^"\\]*+)"|([\w.\[\]-]++))'
    rb'(?:[ \t]*;[ \t]*filename="((?:[^"\\]++|\\.)*+)")?(?:[ \t]*;[ \t]*filename\*=([\w!#$%&\'+.^`{}~-]+))?[ \t]*',
    re.IGNORECASE,
)
# A form has few fields. Without a limit, a body of nothing but delimiters would cost much time and memory.
MAX_PARTS = 1000
# Bytes of one part's head: a Content-Disposition, a Content-Type. A file's name has 255 at most.
MAX_HEAD = 8192


@frozen
class Part:
    """One field. `file` is the rest of its disposition if it is a file, empty if it is not; `kind` its media type."""

    name: str
    file: bytes
    kind: bytes
    content: bytes

    @property
    def is_file(self) -> bool:
        return bool(self.file)

    def write(self, name: str) -> bytes:
        """Write the part under a name. Its head is written anew, so that the provider reads what was read here."""
        safe = name.replace("\\", "\\\\").replace('"', '\\"').replace("\r", "").replace("\n", "")
        kind = b"\r\nContent-Type: " + self.kind if self.kind else b""
        head = f'Content-Disposition: form-data; name="{safe}"'.encode() + self.file + kind
        return head + b"\r\n\r\n" + self.content


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
        text: str = found[1] or found[2]
        boundary = text.encode("utf-8", "replace")
        pieces = (b"\r\n" + data).split(b"\r\n--" + boundary, MAX_PARTS)
        if len(pieces) > MAX_PARTS:
            raise BadRequest(f"A multipart body may have at most {MAX_PARTS} parts")
        if len(pieces) < 2 or not pieces[-1].startswith(b"--"):
            raise BadRequest("The multipart body does not end with its boundary")
        kind = f'multipart/form-data; boundary="{text}"'  # written anew: a second boundary is not passed on
        return cls(tuple(_read_part(piece) for piece in pieces[1:-1]), boundary, kind)

    @property
    def size(self) -> int:
        return sum(len(part.content) for part in self.parts)

    def check_member(self, name: str) -> None:
        found = [part for part in self.parts if part.name.strip().lower() == name]
        if len(found) > 1 or any(part.name != name or part.is_file for part in found):
            raise BadRequest(f"'{name}' must be one field of exactly this name, and no file", param=name)

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
            if part.is_file or (part.name not in drop and name not in put):
                out.append(part.write(part.name if part.is_file else name))
        out += [Part(name, b"", b"", _plain(value)).write(name) for name, value in put.items()]
        line = b"--" + self.boundary
        return b"".join(line + b"\r\n" + raw + b"\r\n" for raw in out) + line + b"--\r\n"


def _read_part(piece: bytes) -> Part:
    raw = piece.lstrip(b" \t")
    end = raw.find(b"\r\n\r\n", 0, MAX_HEAD)
    if not raw.startswith(b"\r\n") or end < 0:
        raise BadRequest(f"A part of the multipart body has no head, or one of more than {MAX_HEAD} bytes")
    head, content = raw[2:end], raw[end + 4 :]
    headers: dict[bytes, bytes] = {}
    for line in head.split(b"\r\n"):
        found = _HEADER.fullmatch(line)
        if found is None or found[1].lower() in headers:
            raise BadRequest("The head of a part of the multipart body is malformed")
        headers[found[1].lower()] = found[2].strip()
    shown = _DISPOSITION.fullmatch(headers.get(b"content-disposition", b""))
    if shown is None:
        raise BadRequest("A part of the multipart body has no name, or a Content-Disposition that can be misread")
    name = (shown[1] or shown[2] or b"").decode("utf-8", "replace")
    return Part(name, _file(shown[3], shown[4]), headers.get(b"content-type", b""), content)


def _file(name: bytes | None, extended: bytes | None) -> bytes:
    """Write the file's names anew, without the characters that end or escape a quoted string."""
    plain = b"" if name is None else b'; filename="%b"' % name.replace(b'\\"', b"%22").replace(b"\\", b"_")
    return plain if extended is None else plain + b"; filename*=" + extended


def _plain(value: bytes) -> bytes:
    """Write a JSON value for a form: a string without its quotes, any other value as its JSON."""
    decoded = msgspec.json.decode(value)
    return decoded.encode() if isinstance(decoded, str) else value
