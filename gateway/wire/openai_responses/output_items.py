"""Tells the output items of a Responses stream apart: by `call_id` and `id`, then by number, then by what they say.

See docs/wire/streaming.md#reading-a-responses-stream.

OpenAI numbers the items of a reply (`output_index`), and repeats each item's `id` in all its events. Servers that
imitate OpenAI number all items 0, begin at 1 or leave numbers out; others change the `id` in every event. So an event
belongs to the item of its `call_id` or `id` if that has begun, else to the newest item of its number. The finished
response lists all items once more, at places that need not be their numbers. An item there that no `call_id` and no
`id` finds is looked for by its text among the items of its kind.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import msgspec
from attrs import define, field

CALLS = frozenset({"function_call", "custom_tool_call"})
MAX_LIKELY = 100  # items without a known `id` that are compared with one of the finished response
_Said = Mapping[str, Any]
_Call = tuple[str, str]  # call_id and name: some servers give several calls one call_id


@define(eq=False)
class Item:
    """An output item that is being streamed. `texts` is what was emitted of each part; a call has one part."""

    kind: str
    parts: dict[int, int] = field(factory=dict)  # content index -> block index
    block: int | None = None  # block index of a call or of a reasoning item
    texts: dict[int, list[str]] = field(factory=dict)
    logprobs: dict[int, int] = field(factory=dict)  # how many tokens of each part were emitted with theirs
    phase: str | None = None
    id: str | None = None
    call: _Call | None = None
    is_closed: bool = False

    def note(self, text: str, part: int = 0) -> None:
        """Remember a text that was emitted."""
        self.texts.setdefault(part, []).append(text)

    def part_of(self, whole: str, place: int, count: int) -> int:
        """Return the content index of a text that stands at `place` among `count` parts of the finished item.

        Some servers count the parts from 1 in their deltas.
        """
        if place in self.parts:
            return place
        stray = (number for number in self.parts if number >= count and whole.startswith("".join(self.texts[number])))
        return next(stray, place)

    def rest(self, whole: str, part: int = 0) -> str:
        """Return what of a whole text was not emitted yet; nothing if it does not go on from what was."""
        told = "".join(self.texts.get(part, ()))
        return whole[len(told) :] if whole.startswith(told) else ""

    def agrees(self, kind: str, payload: _Said) -> bool:
        """Return whether nothing but its `id` says that an item of a reply is another one."""
        call = _call_of(payload)
        if call is None or self.call is None:
            return kind == self.kind
        return kind == self.kind and call[0] == self.call[0] and (call[1] == self.call[1] or not call[1])

    def says(self, payload: _Said) -> bool:
        """Return whether an item of the finished response contains what was emitted of this one."""
        told = "".join(text for _, texts in sorted(self.texts.items()) for text in texts)
        if self.kind == "reasoning":
            return told in "".join(text for name in ("summary", "content") for text in texts_of(payload, name))
        whole = arguments_of(payload) if self.kind in CALLS else "".join(texts_of(payload, "content"))
        return whole.startswith(told) and (self.call is None or self.call[1] == payload.get("name"))


@define
class Items:
    """The items of one reply, in the order in which they began."""

    all: list[Item] = field(factory=list, init=False)
    _by_id: dict[str, Item] = field(factory=dict, init=False)
    _by_call: dict[_Call, Item] = field(factory=dict, init=False)
    _by_number: dict[int, Item] = field(factory=dict, init=False)

    def begin(self, event: _Said, kind: str, payload: _Said = {}) -> Item:
        """Begin an item. `event` may have its number, `payload` is the item itself."""
        name = _text(payload.get("id")) or _text(event.get("item_id"))
        item = Item(kind, phase=_text(payload.get("phase")), id=name, call=_call_of(payload))
        self.all.append(item)
        if name is not None:
            self._by_id[name] = item
        if item.call is not None:
            self._by_call[item.call] = item
        if isinstance(number := event.get("output_index"), int):
            self._by_number[number] = item
        return item

    def of_event(self, event: _Said, kinds: frozenset[str]) -> Item | None:
        """Return the item of one of these kinds that a delta belongs to. Without a number that is the newest item."""
        name, number = event.get("item_id"), event.get("output_index")
        item = self._by_id.get(name) if isinstance(name, str) else None
        if item is None or item.is_closed or item.kind not in kinds:
            if isinstance(number, int):
                item = self._by_number.get(number)
            else:
                item = self.all[-1] if self.all else None
        return item if item is not None and not item.is_closed and item.kind in kinds else None

    def of_payload(self, kind: str, payload: _Said) -> Item | None:
        """Return the item that an item of a reply repeats, by its `id` or its `call_id`."""
        item = self._by_id.get(_text(payload.get("id")) or "")
        if item is not None and item.agrees(kind, payload):
            return item
        call = _call_of(payload)
        return self._by_call.get(call) if call is not None else None

    def of_done(self, event: _Said, kind: str, payload: _Said) -> Item | None:
        """Return the item that is done."""
        item = self.of_payload(kind, payload) or self.of_event(event, frozenset({kind}))
        if item is not None and item.agrees(kind, payload):
            return item
        number = event.get("output_index")
        closed = self._by_number.get(number) if isinstance(number, int) else None
        is_repeat = closed is not None and closed.is_closed and closed.agrees(kind, payload) and closed.says(payload)
        return closed if is_repeat else None

    def repeated(self, output: Sequence[Any], kind_of: Callable[[_Said], str]) -> Iterator[tuple[_Said, Item | None]]:
        """Yield each item of the finished response, with the item of the stream that it repeats."""
        given = [(kind_of(payload), payload) for payload in output if isinstance(payload, dict)]
        found: list[Item | None] = []
        left = dict.fromkeys(self.all)
        for kind, payload in given:
            item = self.of_payload(kind, payload)
            found.append(item if item in left and item.says(payload) else None)
            if found[-1] is not None:
                del left[found[-1]]
        for (kind, payload), item in zip(given, found, strict=True):
            yield payload, item or self._similar(kind, payload, left)

    def _similar(self, kind: str, payload: _Said, left: dict[Item, None]) -> Item | None:
        """Take the item out of those left that says the same, or has the same `id` at least."""
        likely = [item for item in islice(left, MAX_LIKELY) if item.kind == kind and item.says(payload)]
        item = likely[0] if likely else self.of_payload(kind, payload)
        if item is not None:
            left.pop(item, None)
        return item


def _call_of(payload: _Said) -> _Call | None:
    call_id = _text(payload.get("call_id"))
    return (call_id, str(payload.get("name") or "")) if call_id else None


def arguments_of(payload: _Said) -> str:
    """Return the arguments or the input of a call, of which some servers make an object."""
    whole = payload.get("arguments") or payload.get("input")
    if isinstance(whole, dict):
        return msgspec.json.encode(whole).decode()
    return whole if isinstance(whole, str) else ""


def texts_of(payload: _Said, name: str) -> list[str]:
    """Return the texts of the parts in a member of an item."""
    parts = payload.get(name)
    found = (
        [_text(part.get("text") or part.get("refusal")) for part in parts if isinstance(part, dict)]
        if isinstance(parts, list)
        else []
    )
    return [text for text in found if text]


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
