"""The JSON that providers send, in frames and in bodies: junk between good events is survived, not for ever."""

from typing import Any

import msgspec
from attrs import define, field

from gateway.errors import Unreadable
from gateway.wire.codec.sse import read_frame

# Three in a row are no stream (TRANSLATION.md 7.1.7).
MAX_JUNK = 3
_QUIET = (b"", b"[DONE]")


@define
class Junk:
    """Counts what cannot be read."""

    has_begun: bool = field(default=False, init=False)  # whether anything could be read so far
    _count: int = field(default=0, init=False)

    def read(self, data: bytes) -> dict[str, Any] | None:
        """Decode the object of a frame; None for junk. Raises Unreadable when it is too much."""
        try:
            payload = msgspec.json.decode(data)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            payload = None
        if isinstance(payload, dict):
            self.good()
            return payload
        self.bad(data)
        return None

    def read_frame(self, frame: bytes) -> dict[str, Any] | None:
        """Decode the object of a frame as it came; None for junk, for a comment and for OpenAI's end."""
        data = (read_frame(frame).data or b"").strip()
        return None if data in _QUIET else self.read(data)

    def good(self) -> None:
        """Something could be read."""
        self.has_begun, self._count = True, 0

    def bad(self, data: bytes) -> bytes:
        """Something could not: leave it out, as an empty data line or junk kills SDKs. Raises Unreadable."""
        if data.strip() not in _QUIET:
            self._count += 1
            if self._count >= MAX_JUNK or not self.has_begun:
                raise Unreadable("The provider's stream is not the JSON of its dialect")
        return b""


def read_object(body: bytes) -> dict[str, Any]:
    """Decode a whole reply. Raises Unreadable for anything but an object."""
    try:
        payload = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise Unreadable("The provider's reply is not the JSON of its dialect") from None
    if isinstance(payload, list) and payload:
        payload = payload[0]  # Google's compatible endpoint wraps its errors in a list
    if not isinstance(payload, dict):
        raise Unreadable("The provider's reply is not a JSON object")
    return payload


def count(value: Any) -> int | None:
    """A token count: an int, or what servers say instead; None when it is none."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        return int(value) if value.isdecimal() and len(value) < 16 else None
    if isinstance(value, int | float) and 0 <= value < 1e15:
        return int(value)
    return None
