"""Reads the JSON that providers send, in frames and in bodies.

Some servers send broken or foreign frames between good ones. One or two in a row are left out; three in a row,
or one before the first good frame, mean that the stream is not of the expected dialect.
"""

from typing import Any

from attrs import define, field

from gateway.errors import Unreadable
from gateway.wire.codec.odd_json import REFUSED, Halves, decode
from gateway.wire.codec.sse import read_frame

# So many unreadable frames in a row end the stream with an error (docs/wire/streaming.md#reading-sse-from-upstreams).
MAX_JUNK = 3
_QUIET = (b"", b"[DONE]")


@define
class Junk:
    """Counts the frames of one stream that cannot be read."""

    has_begun: bool = field(default=False, init=False)  # whether any frame could be read so far
    halves: Halves = field(factory=Halves, init=False)
    _count: int = field(default=0, init=False)

    def read(self, data: bytes) -> dict[str, Any] | None:
        """Decode a frame's data; None for junk. Raises Unreadable for too much junk."""
        try:
            payload = self.halves.decode(data)
        except REFUSED:
            payload = None
        if isinstance(payload, dict):
            self.good()
            return payload
        self.bad(data)
        return None

    def read_frame(self, frame: bytes) -> dict[str, Any] | None:
        """Decode the data of a whole frame; None for junk, a comment or `[DONE]`. Raises Unreadable as `read` does."""
        data = (read_frame(frame).data or b"").strip()
        return None if data in _QUIET else self.read(data)

    def good(self) -> None:
        """Note that a frame could be read."""
        self.has_begun, self._count = True, 0

    def bad(self, data: bytes) -> bytes:
        """Note that `data` could not be read, and return b"", which the raw lane sends in its place.

        Left out because an empty data line or junk makes SDKs raise. Raises Unreadable for too much junk.
        """
        if data.strip() not in _QUIET:
            self._count += 1
            if self._count >= MAX_JUNK or not self.has_begun:
                raise Unreadable("The provider's stream is not the JSON of its dialect")
        return b""


def read_object(body: bytes) -> dict[str, Any]:
    """Decode a whole reply. Raises Unreadable for anything but an object."""
    try:
        payload = decode(body)
    except REFUSED:
        raise Unreadable("The provider's reply is not the JSON of its dialect") from None
    if isinstance(payload, list) and payload:
        payload = payload[0]  # Google's compatible endpoint wraps its errors in a list
    if not isinstance(payload, dict):
        raise Unreadable("The provider's reply is not a JSON object")
    return payload


def count(value: Any) -> int | None:
    """Read a token count: an int, or the float or digits that some servers send; None for anything else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        return int(value) if value.isdecimal() and len(value) < 16 else None
    if isinstance(value, int | float) and 0 <= value < 1e15:
        return int(value)
    return None


# Words for the tier that a request is served in if it asks for none.
_USUAL_TIERS = frozenset({"default", "standard", "auto", "on_demand", ""})


def service_tier(value: Any) -> str | None:
    """Read the service tier that a reply names; None for the usual one."""
    return value[:40] if isinstance(value, str) and value not in _USUAL_TIERS else None


def is_filled(value: object) -> bool:
    """Return whether a value says something: an object or array of nothing but empty values does not."""
    if isinstance(value, dict):
        return any(map(bool, value.values()))
    return any(map(bool, value)) if isinstance(value, list) else bool(value)
