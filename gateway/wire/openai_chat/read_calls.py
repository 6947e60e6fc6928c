"""Tells the tool calls of a Chat stream apart: by index, by id, or by neither.

See docs/wire/streaming.md#reading-a-chat-stream.

A stream sends a tool call in fragments. OpenAI gives each call an `index`, and every fragment repeats it. Some
compatible servers give all calls the index 0, some send an id only, some neither. So there is one slot for each call,
and a fragment goes to the slot of its index, unless its id shows that another call begins; without an index to the
slot of its id; without both to the slot of the last call.

The name can come in fragments, too. A slot yields no event before its name is complete: that is when arguments
come, when another call begins, or when the reply ends.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from attrs import define, field

from gateway.errors import Unreadable
from gateway.wire.events import BlockDelta, BlockEnded, BlockStarted, Event
from gateway.wire.neutral import ToolCall
from gateway.wire.translation.arguments import FreeformDecoder
from gateway.wire.translation.memo import Memo

MAX_CALLS = 1_000  # of one reply; agents see some ten


@define
class _Slot:
    """One call that is coming in. Its BlockStarted is held until its name is complete."""

    index: int  # of its block, among all blocks
    number: int  # among the calls of the reply
    id: str = ""
    name: str = ""
    is_custom: bool = False
    extra: dict[str, Any] | None = None
    held: str = ""  # arguments that came before the name
    is_told: bool = False  # whether BlockStarted was yielded
    decoder: FreeformDecoder | None = None


@define
class Calls:
    """All calls of one reply."""

    memo: Memo
    _slots: list[_Slot] = field(factory=list, init=False)
    _by_index: dict[int, _Slot] = field(factory=dict, init=False)
    _by_id: dict[str, _Slot] = field(factory=dict, init=False)

    @property
    def any(self) -> bool:
        """Whether the model calls a tool. A call that never got a name does not count."""
        return any(slot.name for slot in self._slots)

    @property
    def number(self) -> int:
        """How many calls have begun."""
        return len(self._slots)

    def feed(self, payload: Mapping[str, Any], free_index: int) -> Iterator[Event]:
        """Take one entry of `tool_calls`; `free_index` is the block index to use for a new call.

        When a call begins, the names of all earlier calls are complete.
        """
        slot, before = self._find(payload), len(self._slots)
        if slot is None:
            if before >= MAX_CALLS:
                raise Unreadable(f"The provider's reply has more than {MAX_CALLS} tool calls")
            for earlier in self._slots:
                yield from self._emit(earlier)
            slot = _Slot(free_index, before)
            self._slots.append(slot)
        if isinstance(index := payload.get("index"), int):
            self._by_index[index] = slot
        yield from self._take(slot, payload)

    def is_new(self, payload: Mapping[str, Any]) -> bool:
        """Whether an entry begins another call."""
        return self._find(payload) is None

    def end(self) -> Iterator[Event]:
        """Yield what is still held, and the end of every call. To be called when the model has finished."""
        for slot in self._slots:
            yield from self._emit(slot)
            if slot.is_told:
                if slot.decoder is not None and (rest := slot.decoder.end()):
                    yield BlockDelta(slot.index, rest)
                yield BlockEnded(slot.index)

    def _find(self, payload: Mapping[str, Any]) -> _Slot | None:
        index, call_id = payload.get("index"), payload.get("id") or ""
        if isinstance(index, int):
            slot = self._by_index.get(index)
            if slot is not None and call_id and slot.id and call_id != slot.id and slot.name:
                return None  # several servers give every call the index 0
            return slot
        if call_id:
            return self._by_id.get(call_id) if isinstance(call_id, str) else None
        return self._slots[-1] if self._slots else None

    def _take(self, slot: _Slot, payload: Mapping[str, Any]) -> Iterator[Event]:
        slot.is_custom |= payload.get("type") == "custom"
        inner = payload.get("custom") or payload.get("function")
        if not isinstance(inner, dict):
            inner = {}
        if not slot.id and isinstance(payload.get("id"), str):
            slot.id = payload["id"]
            self._by_id.setdefault(slot.id, slot)
        if isinstance(extra := payload.get("extra_content"), dict):
            slot.extra = extra
        name = inner.get("name")
        if isinstance(name, str) and name and not slot.is_told and not slot.held and name != slot.name:
            # Some servers repeat the name as far as it has come, others send the next piece of it.
            slot.name = name if name.startswith(slot.name) else slot.name + name
        arguments = inner.get("arguments") if inner.get("arguments") is not None else inner.get("input")
        if arguments is None:
            return
        text = arguments if isinstance(arguments, str) else msgspec.json.encode(arguments).decode()
        if not text:
            return
        slot.held += text
        yield from self._emit(slot)

    def _emit(self, slot: _Slot) -> Iterator[Event]:
        if not slot.name:
            return  # a call that never gets a name is dropped
        if not slot.is_told:
            slot.is_told = True
            known = self.memo.names.original(slot.name)
            if slot.name in self.memo.freeform and not slot.is_custom:
                slot.decoder = FreeformDecoder()
            kind = "custom" if slot.is_custom else known.kind
            call_id = self.memo.call_id(slot.id, slot.number)
            yield BlockStarted(slot.index, ToolCall(call_id, known.name, "", kind, known.namespace, slot.extra))
        text, slot.held = slot.held, ""
        if slot.decoder is not None:
            text = slot.decoder.feed(text)
        if text:
            yield BlockDelta(slot.index, text)
