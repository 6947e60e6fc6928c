"""Gives each delta of a raw stream a block of its own kind: text on a call goes beside it, arguments to their call.

Some servers write text into an open `tool_use`, or arguments under the number of a text block. An SDK drops such a
delta in silence. Until one comes, nothing is changed; from then on blocks may have other numbers than the provider's.
"""

from typing import Any

from attrs import define, field

from gateway.wire.codec.json_body import to_json
from gateway.wire.codec.sse import write_event

_TEXT, _ARGUMENTS = "text_delta", "input_json_delta"
# What the blocks that SDKs add up take; every other kind of block takes whatever comes.
_TAKES = {
    "text": _TEXT,
    "thinking": "thinking_delta",
    "tool_use": _ARGUMENTS,
    "server_tool_use": _ARGUMENTS,
    "mcp_tool_use": _ARGUMENTS,
}


@define
class _Block:
    number: int  # the client's
    takes: str
    beside: int | None = None  # the text block for what stands in this one and is no part of it


@define
class OwnBlocks:
    """The blocks of one stream, by the provider's numbers."""

    _open: dict[int, _Block] = field(factory=dict, init=False)
    _next: int = field(default=0, init=False)
    is_shifted: bool = field(default=False, init=False)  # whether the client's numbers are others

    @property
    def expected(self) -> bytes | None:
        """What stands in every delta that may pass unread; None if each has to be looked at."""
        if self.is_shifted or len(self._open) > 1:
            return None
        takes = next((block.takes for block in self._open.values()), "")
        return b'"%s"' % takes.encode() if takes else b""

    def place(self, kind: str, payload: dict[str, Any]) -> bytes | None:
        """Return what is sent in place of an event of a block; None if it is sent as it came."""
        number = payload.get("index")
        if type(number) is not int:
            return None
        match kind:
            case "content_block_start":
                return self._start(number, payload)
            case "content_block_delta":
                return self._delta(number, payload)
            case "content_block_stop":
                return self._stop(number, payload)
        return None

    def _start(self, number: int, payload: dict[str, Any]) -> bytes | None:
        given = payload.get("content_block")
        kind = given.get("type") if isinstance(given, dict) else None
        own = self._next if self.is_shifted else number
        self._next = max(self._next, own + 1)
        self._open[number] = _Block(own, _TAKES.get(kind, "") if isinstance(kind, str) else "")
        return _renumbered("content_block_start", payload, own) if own != number else None

    def _delta(self, number: int, payload: dict[str, Any]) -> bytes | None:
        block, delta = self._open.get(number), payload.get("delta")
        kind = delta.get("type") if isinstance(delta, dict) else None
        if block is None:
            return None
        if block.takes and kind != block.takes:
            if kind == _ARGUMENTS:
                call = next((one for one in reversed(self._open.values()) if one.takes == _ARGUMENTS), None)
                return b"" if call is None else _renumbered("content_block_delta", payload, call.number)
            if kind == _TEXT:  # a thought without its signature would be refused when it comes back
                return self._beside(block, payload)
        return _renumbered("content_block_delta", payload, block.number) if block.number != number else None

    def _beside(self, block: _Block, payload: dict[str, Any]) -> bytes:
        out = b""
        if block.beside is None:
            self.is_shifted, block.beside = True, self._next
            self._next += 1
            empty = {"type": "text", "text": ""}
            started = {"type": "content_block_start", "index": block.beside, "content_block": empty}
            out = write_event("content_block_start", to_json(started))
        return out + _renumbered("content_block_delta", payload, block.beside)

    def _stop(self, number: int, payload: dict[str, Any]) -> bytes | None:
        block = self._open.pop(number, None)
        if block is None or (block.number == number and block.beside is None):
            return None
        numbers = (block.number,) if block.beside is None else (block.number, block.beside)
        return b"".join(_renumbered("content_block_stop", payload, one) for one in numbers)


def _renumbered(kind: str, payload: dict[str, Any], number: int) -> bytes:
    return write_event(kind, to_json(payload | {"index": number}))
