"""Numbers the calls of a raw Chat stream as SDKs need them, and leaves out arguments that come twice.

Official SDKs put the fragments of a call together by `index`: without one they raise, and calls that share one are
merged. `read_calls` tells calls apart for the other dialects; here the fragments stay as they are, but for their index
and repeated arguments.
"""

import json
import re
from collections.abc import Callable
from typing import Any

import msgspec
from attrs import define, field

from gateway.wire.codec.json_prefix import is_object
from gateway.wire.codec.odd_json import REFUSED
from gateway.wire.openai_chat.read_calls import Slot, Slots, arguments_in, name_in
from gateway.wire.translation.arguments import ArgumentsOnce

MAX_KEPT = 4 * 1024 * 1024


@define
class RawCalls:
    """The calls of one choice. Of their arguments MAX_KEPT characters are kept, to see whether more repeats them."""

    _slots: Slots = field(factory=Slots, init=False)
    _kept: int = field(default=0, init=False)

    @property
    def is_half(self) -> bool:
        """Whether the arguments of a call stop in the middle; False if they are too large to be looked at."""
        return self._kept <= MAX_KEPT and any(slot.arguments.is_half for slot in self._slots.all)

    def goes_on(self, entries: Any) -> bool:
        """Take a delta that only has more arguments of one well numbered call; return False for others."""
        if not isinstance(entries, list) or len(entries) != 1 or not isinstance(entry := entries[0], dict):
            return False
        inner = entry.get("function")
        if not isinstance(inner, dict) or entry.get("id") or inner.get("name"):
            return False
        text, slot = inner.get("arguments"), self._slots.numbered(entry.get("index"))
        if slot is None or slot.number != entry["index"] or not isinstance(text, str) or text.lstrip()[:1] == "{":
            return False
        self._keep(slot, text)
        return True

    def mended(self, entries: list[Any]) -> list[Any]:
        """Return the entries of one delta; the same objects where nothing is to be mended."""
        self._slots.next_delta()
        return [self._mended(entry) if isinstance(entry, dict) else entry for entry in entries]

    def _mended(self, entry: dict[str, Any]) -> dict[str, Any]:
        slot = self._slots.find(entry) or self._slots.add()
        self._slots.note(slot, entry)
        slot.name = slot.name or name_in(entry)
        text = arguments_in(entry)
        if slot.arguments.is_complete and is_object(text) and slot.arguments.repeats(text.strip()):
            entry = {**entry, "function": {**entry["function"], "arguments": ""}}
        elif text and "custom" not in entry:
            self._keep(slot, text)
            slot.is_told = True
        return entry if entry.get("index") == slot.number else {**entry, "index": slot.number}

    def _keep(self, slot: Slot, text: str) -> None:
        self._kept += len(text)
        if text and self._kept <= MAX_KEPT:
            slot.arguments.feed(text)


def mend(calls: dict[int, RawCalls], data: bytes) -> bytes | None:
    """Return a chunk whose calls are mended; None if it is good as it is. `calls` are those of each choice."""
    payload, write = _read(data)
    is_mended = False
    for choice in payload["choices"]:
        delta = choice.get("delta") if isinstance(choice, dict) else None
        if isinstance(delta, dict) and isinstance(entries := delta.get("tool_calls"), list):
            place = choice.get("index")
            known = calls.setdefault(place if isinstance(place, int) else 0, RawCalls())
            found = known.mended(entries)
            is_mended |= any(one is not other for one, other in zip(found, entries, strict=True))
            delta["tool_calls"] = found
    return write(payload) if is_mended else None


# Where two objects may stand side by side in arguments, which are JSON inside JSON.
_TWO_OBJECTS = re.compile(rb"\}(?:\s|\\[nrt])*\{")


def mend_whole(body: bytes) -> bytes:
    """Return a whole reply without arguments that only repeat those before them."""
    if b'"tool_calls"' not in body or _TWO_OBJECTS.search(body) is None:
        return body
    try:
        payload, write = _read(body)
    except ValueError:
        return body  # `glance` says what is wrong
    is_mended = False
    choices = payload.get("choices") if isinstance(payload, dict) else None
    for choice in choices if isinstance(choices, list) else ():
        message = choice.get("message") if isinstance(choice, dict) else None
        calls = message.get("tool_calls") if isinstance(message, dict) else None
        for call in calls if isinstance(calls, list) else ():
            inner = call.get("function") if isinstance(call, dict) else None
            if isinstance(inner, dict) and isinstance(text := inner.get("arguments"), str):
                once = ArgumentsOnce()
                inner["arguments"] = once.feed(text) + once.end()
                is_mended |= inner["arguments"] != text
    return write(payload) if is_mended else body


def _read(data: bytes) -> tuple[dict[str, Any], Callable[[Any], bytes]]:
    """Read a chunk; return it, and how it is written so that odd characters and numbers stay as they were."""
    try:
        return msgspec.json.decode(data), msgspec.json.encode
    except REFUSED:
        return json.loads(data), lambda payload: json.dumps(payload, separators=(",", ":")).encode()
