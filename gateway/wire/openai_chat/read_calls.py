"""Tells the tool calls of a Chat stream apart: by index, by id, or by neither.

See docs/wire/streaming.md#reading-a-chat-stream.

A stream sends a tool call in fragments. OpenAI gives each call an `index`, and every fragment repeats it. Some
compatible servers give all calls the index 0, some send an id only, some neither. So there is one slot for each call,
and a fragment goes to the slot of its index, unless its id or its name shows that another call begins; without an
index to the slot of its id; without both to the slot of the last call. In a whole reply each entry is a call.

The name can come in fragments, too, and behind the first arguments. A slot yields no event before its name is
complete: that is when arguments come, when another call begins, or when the reply ends.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec
from attrs import define, field

from gateway.errors import Unreadable
from gateway.wire.events import BlockDelta, BlockEnded, BlockStarted, Event
from gateway.wire.neutral import ToolCall
from gateway.wire.translation.arguments import ArgumentsOnce, FreeformDecoder
from gateway.wire.translation.memo import Memo

MAX_CALLS = 1_000  # of one reply; agents see some ten


@define(eq=False)
class Slot:
    """One call that is coming in. Its BlockStarted is held until its name is complete."""

    index: int  # of its block, among all blocks
    number: int  # among the calls of the reply
    id: str = ""
    name: str = ""
    is_custom: bool = False
    extra: dict[str, Any] | None = None
    arguments: ArgumentsOnce = field(factory=ArgumentsOnce)
    held: list[str] = field(factory=list)  # arguments that came before the name
    is_told: bool = False  # whether BlockStarted was yielded
    decoder: FreeformDecoder | None = None


@define
class Slots:
    """The slots of one choice, in the order of their calls. `knows` says whether a name is that of a tool."""

    knows: Callable[[str], bool] = lambda name: False
    all: list[Slot] = field(factory=list, init=False)
    _by_index: dict[int, Slot] = field(factory=dict, init=False)
    _by_id: dict[str, Slot] = field(factory=dict, init=False)
    _latest: list[Slot] = field(factory=list, init=False)  # the calls of the entries of this delta so far

    def next_delta(self) -> None:
        """Say that the entries of another delta follow."""
        self._latest.clear()

    def numbered(self, index: Any) -> Slot | None:
        """Return the slot of an index."""
        return self._by_index.get(index) if isinstance(index, int) else None

    def add(self, index: int = 0) -> Slot:
        """Add the slot of a call that begins."""
        slot = Slot(index, len(self.all))
        self.all.append(slot)
        return slot

    def note(self, slot: Slot, payload: Mapping[str, Any]) -> None:
        """Note that a fragment belongs to a slot."""
        if isinstance(index := payload.get("index"), int):
            self._by_index[index] = slot
        if not slot.id and (call_id := id_in(payload)):
            slot.id = call_id
            self._by_id[call_id] = slot
        self._latest.append(slot)

    def find(self, payload: Mapping[str, Any]) -> Slot | None:
        """Return the slot of a fragment; None if it begins another call."""
        index, call_id = payload.get("index"), id_in(payload)
        if isinstance(index, int):
            slot = self._by_index.get(index)
        elif call_id:
            slot = self._by_id.get(call_id)
        else:
            slot = self.all[-1] if self.all else None
        return None if slot is None or self._is_another(slot, call_id, payload) else slot

    def _is_another(self, slot: Slot, call_id: str, payload: Mapping[str, Any]) -> bool:
        """Whether a fragment begins another call than the one of its index or id: several servers share these."""
        name, text = name_in(payload), arguments_in(payload)
        if not slot.name:
            return False
        if call_id and slot.id and call_id != slot.id:
            return bool(name) or slot.arguments.is_complete
        if not name:
            return False
        is_same_id = bool(call_id) and call_id == slot.id
        if slot in self._latest and not is_same_id:
            return True  # no server puts two fragments of one call into one delta
        if name != slot.name:
            has_begun_anew = bool(text) and slot.arguments.is_complete
            return slot.is_told or has_begun_anew or self._are_two_tools(slot.name, name)
        return not is_same_id and slot.arguments.is_complete and bool(text) and not slot.arguments.repeats(text.strip())

    def _are_two_tools(self, first: str, second: str) -> bool:
        """Whether two names that follow each other are no pieces of one."""
        knows = self.knows
        return knows(first) and knows(second) and not knows(first + second) and not second.startswith(first)


@define
class Calls:
    """All calls of one reply."""

    memo: Memo
    is_whole: bool = False  # each entry is a whole call, whatever its index and its id
    slots: Slots = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.slots = Slots(self.memo.names.is_known)

    @property
    def any(self) -> bool:
        """Whether the model calls a tool. A call that never got a name does not count."""
        return any(slot.name for slot in self.slots.all)

    @property
    def is_half(self) -> bool:
        """Whether the arguments of a call stop in the middle. Of a freeform call nothing else shows it."""
        return any(slot.arguments.is_half for slot in self.slots.all if slot.is_told)

    def feed(self, payload: Mapping[str, Any], free_index: int) -> Iterator[Event]:
        """Take one entry of `tool_calls`; `free_index` is the block index to use for a new call.

        When a call begins, the names of all earlier calls are complete.
        """
        slot = self._find(payload)
        if slot is None:
            if len(self.slots.all) >= MAX_CALLS:
                raise Unreadable(f"The provider's reply has more than {MAX_CALLS} tool calls")
            for earlier in self.slots.all:
                yield from self._emit(earlier)
            slot = self.slots.add(free_index)
        self.slots.note(slot, payload)
        yield from self._take(slot, payload)

    def is_new(self, payload: Mapping[str, Any]) -> bool:
        """Whether an entry begins another call."""
        return self._find(payload) is None

    def end(self) -> Iterator[Event]:
        """Yield what is still held, and the end of every call. To be called when the model has finished."""
        for slot in self.slots.all:
            yield from self._emit(slot)
            if slot.is_told:
                yield from self._tell(slot, slot.arguments.end())
                if slot.decoder is not None and (rest := slot.decoder.end()):
                    yield BlockDelta(slot.index, rest)
                yield BlockEnded(slot.index)

    def _find(self, payload: Mapping[str, Any]) -> Slot | None:
        return None if self.is_whole else self.slots.find(payload)

    def _take(self, slot: Slot, payload: Mapping[str, Any]) -> Iterator[Event]:
        slot.is_custom |= payload.get("type") == "custom"
        if isinstance(extra := payload.get("extra_content"), dict):
            slot.extra = extra
        name = name_in(payload)
        if name and not slot.is_told and name != slot.name:
            # Some servers repeat the name as far as it has come, others send the next piece of it.
            slot.name = name if name.startswith(slot.name) else slot.name + name
        text = arguments_in(payload)
        if text:
            slot.held.append(text if slot.is_custom else slot.arguments.feed(text))
            yield from self._emit(slot)

    def _emit(self, slot: Slot) -> Iterator[Event]:
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
        text = "".join(slot.held)
        slot.held.clear()
        yield from self._tell(slot, text)

    def _tell(self, slot: Slot, text: str) -> Iterator[Event]:
        if slot.decoder is not None:
            text = slot.decoder.feed(text)
        if text:
            yield BlockDelta(slot.index, text)


def id_in(payload: Mapping[str, Any]) -> str:
    """Return the id of a fragment; "" if it has none."""
    given = payload.get("id")
    return str(given) if isinstance(given, str | int) and not isinstance(given, bool) else ""


def _inner(payload: Mapping[str, Any]) -> Mapping[str, Any]:
    inner = payload.get("custom") or payload.get("function")
    return inner if isinstance(inner, dict) else {}


def name_in(payload: Mapping[str, Any]) -> str:
    """Return the name in a fragment; "" if it has none."""
    name = _inner(payload).get("name")
    return name if isinstance(name, str) else ""


def arguments_in(payload: Mapping[str, Any]) -> str:
    """Return the arguments in a fragment, as text."""
    inner = _inner(payload)
    given = inner.get("arguments") if inner.get("arguments") is not None else inner.get("input")
    if given is None or isinstance(given, str):
        return given or ""
    return msgspec.json.encode(given).decode()
