"""Reads, joins and lists the items of stored conversations (12.2-12.5)."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
from attrs import frozen

from gateway.errors import BadRequest
from gateway.wire.codec.json_body import JsonBody, is_null
from gateway.wire.codec.node import wrong_kind
from gateway.wire.translation.envelope import is_envelope

MAX_LISTED, USUALLY_LISTED = 100, 20  # items of a page: the most, and if the client names no number
MAX_ITEMS = 20_000  # in one request's input
REFERENCE = "item_reference"
_ITEMS = msgspec.json.Decoder(list[msgspec.Raw])
_encode = msgspec.json.Encoder().encode
# How the ids of items begin, by type of item (SDK types); ids of other types begin with `item_`.
_PREFIXES = {"message": "msg_", "reasoning": "rs_", "function_call": "fc_", "custom_tool_call": "ctc_"}
# Items whose id means nothing to a provider that has not stored them. The id of any other item belongs to its content.
_NAMELESS = frozenset({"message", "function_call", "custom_tool_call"})
_CALLS = frozenset({"function_call", "custom_tool_call", "local_shell_call", "shell_call", "apply_patch_call"})


class _Head(msgspec.Struct):
    type: Any = None
    id: Any = None
    call_id: Any = None
    role: Any = None
    encrypted_content: Any = None


_HEAD = msgspec.json.Decoder(_Head)
# Ids that `listed` makes for items without one: the digits of the response's id, `i`nput or `o`utput, and the index.
_LISTED = re.compile(r"[a-z]+_([0-9a-f]{40})_[io][0-9]{1,5}")
_OWNERS = re.compile("^(?:resp|turn)_")


@frozen
class Item:
    """One item of a conversation: its JSON, and the members that the gateway reads. `sealed` is encrypted content."""

    raw: msgspec.Raw
    kind: str
    id: str | None
    call_id: str | None
    sealed: str | None

    @classmethod
    def read(cls, raw: msgspec.Raw, path: str) -> "Item":
        """Read an item; `path` names its place. Raises BadRequest if it is not an object."""
        try:
            head = _HEAD.decode(raw)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise wrong_kind(path, "an object", bytes(raw)) from None
        kind = head.type if isinstance(head.type, str) else "message" if head.role is not None else ""
        if not kind and isinstance(head.id, str):
            kind = REFERENCE  # SDK type ItemReference: its type is optional
        return cls(raw, kind, _text(head.id), _text(head.call_id), _text(head.encrypted_content))

    def alone(self) -> "Item":
        """Return a copy with bytes of its own: `raw` is a view that keeps the whole array in memory."""
        return Item(msgspec.Raw(bytes(self.raw)), self.kind, self.id, self.call_id, self.sealed)

    @property
    def is_sealed(self) -> bool:
        """Whether only the credential that made this item can read it: encrypted, but not one of our envelopes."""
        return self.sealed is not None and not is_envelope(self.sealed)


def read_items(body: JsonBody) -> list[Item]:
    """Return the items of a request's `input`; a string becomes a user message. Raises BadRequest with the place."""
    raw = body.members.get("input")
    if raw is None or is_null(raw):
        return []
    if bytes(raw).startswith(b'"'):
        content = [{"type": "input_text", "text": body.text("input")}]
        payload = _encode({"type": "message", "role": "user", "content": content})
        return [Item(msgspec.Raw(payload), "message", None, None, None)]
    try:
        items = _ITEMS.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise wrong_kind("input", "a string or an array", bytes(raw)) from None
    if len(items) > MAX_ITEMS:
        raise BadRequest(f"'input' has {len(items)} items: at most {MAX_ITEMS} are taken", param="input")
    return [Item.read(item, f"input[{index}]") for index, item in enumerate(items)]


def stored_items(given: bytes) -> list[Item]:
    """The items of a stored array."""
    return [Item.read(raw, "input") for raw in _ITEMS.decode(given)]


def read_output(raw: msgspec.Raw | None) -> tuple[bytes, list[Item]]:
    """Return the `output` of a response object as JSON and as items; a missing one is empty.

    Raises MsgspecError if it is not an array, BadRequest if an item is not an object.
    """
    output = b"[]" if raw is None or is_null(raw) else bytes(raw)
    return output, [Item.read(one, "output") for one in _ITEMS.decode(output)]


def write_items(items: Sequence[Item]) -> bytes:
    """Write items as a JSON array."""
    return _encode([item.raw for item in items])


def anonymous(items: Sequence[Item]) -> list[Item]:
    """Return past items as they are sent again: without the ids that only the provider that stored them knows."""
    return [_unnamed(item) if item.kind in _NAMELESS and item.id is not None else item for item in items]


def check_answered(items: Sequence[Item]) -> None:
    """Raise BadRequest, in the words of the real API, if a call in the conversation has no output (EC-260)."""
    answered = {item.call_id for item in items if item.kind.endswith("_output")}
    for item in items:
        if item.kind in _CALLS and item.call_id not in answered:
            kind = "function call" if item.kind == "function_call" else item.kind.replace("_", " ")
            raise BadRequest(f"No tool output found for {kind} {item.call_id}.", param="input")


def listed(response: str, given: bytes, output: bytes) -> Iterator[tuple[str, Item]]:
    """Yield (id, item) of every item in a response's input and output; an item without an id gets one of ours.

    `response` is the id of the response, or of the turn of a conversation, `given` and `output` are JSON arrays.
    """
    name = _OWNERS.sub("", response)
    for kind, array in (("i", given), ("o", output)):
        for index, item in enumerate(stored_items(array)):
            yield item.id or f"{_PREFIXES.get(item.kind, 'item_')}{name}_{kind}{index}", item


def response_of(name: str) -> str | None:
    """Return the id of the response that an item's id names; None if `listed` did not make that id."""
    found = _LISTED.fullmatch(name)
    return None if found is None else f"resp_{found[1]}"


def unrepeated(items: Iterable[tuple[str, Item]]) -> dict[str, Item]:
    """Return items by id. An id that comes again gets a number: some providers and clients use one twice."""
    found: dict[str, Item] = {}
    numbers: dict[str, int] = {}  # the last number that an id was given
    for name, item in items:
        unique = name
        while unique in found:
            numbers[name] = numbers.get(name, 1) + 1
            unique = f"{name}_{numbers[name]}"
        found[unique] = item
    return found


def shown(name: str, item: Item) -> msgspec.Raw:
    """Write an item as an entry of a list: with its id, a status, and a message's string content as a part."""
    payload = msgspec.json.decode(item.raw, type=dict[str, Any])
    if payload.get("type") is None:
        payload["type"] = item.kind
    entry = {"id": name, **{key: value for key, value in payload.items() if key != "id"}}
    if entry.get("status") is None:
        entry["status"] = "completed"
    if item.kind == "message" and isinstance(payload.get("content"), str):
        kind = "output_text" if payload.get("role") == "assistant" else "input_text"
        entry["content"] = [{"type": kind, "text": payload["content"]}]
    return msgspec.Raw(_encode(entry))


def page(items: Mapping[str, Item], limit: int, *, is_rising: bool, after: str | None, before: str | None) -> bytes:
    """Write one page of a list (SDK type ResponseItemList). Raises BadRequest if a cursor is not the id of an item."""
    ordered = list(items) if is_rising else list(items)[::-1]
    for param, cursor in (("after", after), ("before", before)):
        if cursor is not None and cursor not in items:
            raise BadRequest(f"No item with id '{cursor[:100]}'", param=param, code="invalid_value")
    if after is not None:
        ordered = ordered[ordered.index(after) + 1 :]
    elif before is not None:
        ordered = ordered[: ordered.index(before)]
    names = ordered[:limit]
    return _encode(
        {
            "object": "list",
            "data": [shown(name, items[name]) for name in names],
            "first_id": names[0] if names else None,
            "last_id": names[-1] if names else None,
            "has_more": len(ordered) > limit,
        }
    )


def _unnamed(item: Item) -> Item:
    members = msgspec.json.decode(item.raw, type=dict[str, msgspec.Raw])
    del members["id"]
    return Item(msgspec.Raw(_encode(members)), item.kind, None, item.call_id, item.sealed)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
