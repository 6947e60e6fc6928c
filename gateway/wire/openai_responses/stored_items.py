"""Conversations that the gateway remembers: stored items and new ones in one input, and lists of them (12.2-12.5)."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
from attrs import frozen

from gateway.errors import BadRequest
from gateway.wire.codec.json_body import JsonBody
from gateway.wire.codec.node import wrong_kind
from gateway.wire.translation.envelope import is_envelope

MAX_LISTED, USUALLY_LISTED = 100, 20
MAX_ITEMS = 20_000  # of one request's input
REFERENCE = "item_reference"
_ITEMS = msgspec.json.Decoder(list[msgspec.Raw])
_encode = msgspec.json.Encoder().encode
# What ids of items begin with (SDK types); anything else gets the general one.
_PREFIXES = {"message": "msg_", "reasoning": "rs_", "function_call": "fc_", "custom_tool_call": "ctc_"}
# Their ids mean nothing to a provider that has not stored them; the others' belong to what they hold.
_NAMELESS = frozenset({"message", "function_call", "custom_tool_call"})
_CALLS = frozenset({"function_call", "custom_tool_call", "local_shell_call", "shell_call", "apply_patch_call"})


class _Head(msgspec.Struct):
    type: Any = None
    id: Any = None
    call_id: Any = None
    role: Any = None
    encrypted_content: Any = None


_HEAD = msgspec.json.Decoder(_Head)
# Ids of our own for items that have none: the response they are listed with, and their place in it.
_LISTED = re.compile(r"[a-z]+_([0-9a-f]{40})_[io][0-9]{1,5}")


@frozen
class Item:
    """One item of a conversation, as JSON, with what decides about it."""

    raw: msgspec.Raw
    kind: str
    id: str | None
    call_id: str | None
    sealed: str | None

    @classmethod
    def read(cls, raw: msgspec.Raw, path: str) -> "Item":
        """Look at an item. Raises BadRequest when it is no object."""
        try:
            head = _HEAD.decode(raw)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise wrong_kind(path, "an object", bytes(raw)) from None
        kind = head.type if isinstance(head.type, str) else "message" if head.role is not None else ""
        if not kind and isinstance(head.id, str):
            kind = REFERENCE  # SDK type ItemReference: its type is optional
        return cls(raw, kind, _text(head.id), _text(head.call_id), _text(head.encrypted_content))

    def alone(self) -> "Item":
        """The same, without holding what it was read from in memory."""
        return Item(msgspec.Raw(bytes(self.raw)), self.kind, self.id, self.call_id, self.sealed)

    @property
    def is_sealed(self) -> bool:
        """Whether only the credential that has made it can read what it holds."""
        return self.sealed is not None and not is_envelope(self.sealed)


def read_items(body: JsonBody) -> list[Item]:
    """The items of a request's `input`; a text becomes a message. Raises BadRequest with the place."""
    raw = body.members.get("input")
    if raw is None or bytes(raw) == b"null":
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
    """The output of a response object, as bytes and as items. Raises MsgspecError or BadRequest for what is none."""
    output = b"[]" if raw is None or bytes(raw) == b"null" else bytes(raw)
    return output, [Item.read(one, "output") for one in _ITEMS.decode(output)]


def write_items(items: Sequence[Item]) -> bytes:
    """A JSON array of them."""
    return _encode([item.raw for item in items])


def anonymous(items: Sequence[Item]) -> list[Item]:
    """Items of the past as they are said again: the ids that only their store knows are taken off."""
    return [_unnamed(item) if item.kind in _NAMELESS and item.id is not None else item for item in items]


def check_answered(items: Sequence[Item]) -> None:
    """Raise BadRequest, as the real API does, when a call of the past has no output (EC 260)."""
    answered = {item.call_id for item in items if item.kind.endswith("_output")}
    for item in items:
        if item.kind in _CALLS and item.call_id not in answered:
            kind = "function call" if item.kind == "function_call" else item.kind.replace("_", " ")
            raise BadRequest(f"No tool output found for {kind} {item.call_id}.", param="input")


def listed(response: str, given: bytes, output: bytes) -> Iterator[tuple[str, Item]]:
    """Every item of a response's input and output, with the id that it is listed by."""
    name = response.removeprefix("resp_")
    for kind, array in (("i", given), ("o", output)):
        for index, item in enumerate(stored_items(array)):
            yield item.id or f"{_PREFIXES.get(item.kind, 'item_')}{name}_{kind}{index}", item


def response_of(name: str) -> str | None:
    """The response that an item with an id of ours is listed with."""
    found = _LISTED.fullmatch(name)
    return None if found is None else f"resp_{found[1]}"


def unrepeated(items: Iterable[tuple[str, Item]]) -> dict[str, Item]:
    """Items by an id that is theirs alone: some providers and clients use one twice."""
    found: dict[str, Item] = {}
    for name, item in items:
        count, unique = 1, name
        while unique in found:
            count += 1
            unique = f"{name}_{count}"
        found[unique] = item
    return found


def shown(name: str, item: Item) -> msgspec.Raw:
    """An item as a list of them shows it: with its id, and a status."""
    payload = msgspec.json.decode(item.raw, type=dict[str, Any])
    payload.setdefault("type", item.kind)
    entry = {"id": name, **{key: value for key, value in payload.items() if key != "id"}}
    if entry.get("status") is None:
        entry["status"] = "completed"
    if item.kind == "message" and isinstance(payload.get("content"), str):
        kind = "output_text" if payload.get("role") == "assistant" else "input_text"
        entry["content"] = [{"type": kind, "text": payload["content"]}]
    return msgspec.Raw(_encode(entry))


def page(items: Mapping[str, Item], limit: int, *, is_rising: bool, after: str | None, before: str | None) -> bytes:
    """One page of a list (SDK type ResponseItemList). Raises BadRequest for a cursor that is none of the items."""
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
