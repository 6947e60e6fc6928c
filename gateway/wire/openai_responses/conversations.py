"""Reads and writes what the paths of `/v1/conversations` take and return (SDK types in `types/conversations`)."""

from collections.abc import Mapping
from typing import Any

import msgspec

from gateway.errors import BadRequest
from gateway.wire.codec.json_body import JsonBody, to_json
from gateway.wire.codec.node import Node
from gateway.wire.openai_responses.stored_items import Item, shown

MAX_ADDED = 20  # items of one request (SDK type ConversationCreateParams)
# Of metadata: how many pairs, and how many characters a name and a value have (the same type).
MAX_PAIRS, MAX_NAME, MAX_VALUE = 16, 64, 512


def read_metadata(body: JsonBody, *, is_needed: bool = False) -> bytes | None:
    """Return the metadata of a request as JSON, `{}` for null; None when absent. Raises BadRequest."""
    if "metadata" not in body.members:
        if is_needed:
            raise _missing("metadata")
        return None
    given = body.get("metadata", dict[str, Any], "an object") or {}
    if len(given) > MAX_PAIRS:
        words = f"Invalid 'metadata': too many properties. Expected an object with at most {MAX_PAIRS} properties, "
        words += f"but got an object with {len(given)} properties instead."
        raise BadRequest(words, param="metadata", code="object_above_max_properties")
    for name, value in given.items():
        if len(name) > MAX_NAME:
            words = f"Invalid 'metadata': a property name is too long. Expected at most {MAX_NAME} characters, "
            raise BadRequest(f"{words}but got {len(name)} instead.", param="metadata", code="invalid_value")
        place = f"metadata.{name}"
        if not isinstance(value, str):
            raise BadRequest(f"Invalid type for '{place}': expected a string.", param=place, code="invalid_type")
        if len(value) > MAX_VALUE:
            words = f"Invalid '{place}': string too long. Expected a string with maximum length {MAX_VALUE}, "
            words += f"but got a string with length {len(value)} instead."
            raise BadRequest(words, param=place, code="string_above_max_length")
    return to_json(given)


def read_added(body: JsonBody, *, is_needed: bool = False) -> list[Item]:
    """Return the items that a request adds to a conversation. Raises BadRequest with the place."""
    if is_needed and not body.has("items"):
        raise _missing("items")
    found = [Item.read(raw, path) for raw, path in Node(body.members).items("items")]
    if len(found) > MAX_ADDED:
        words = f"Invalid 'items': array too long. Expected an array with maximum length {MAX_ADDED}, "
        words += f"but got an array with length {len(found)} instead."
        raise BadRequest(words, param="items", code="array_above_max_length")
    for index, item in enumerate(found):
        if not item.kind:
            raise _missing(f"items[{index}].type")
    return found


def write_conversation(name: str, created: int, metadata: bytes) -> bytes:
    """Write a conversation (SDK type Conversation)."""
    return to_json({"id": name, "object": "conversation", "created_at": created, "metadata": msgspec.Raw(metadata)})


def write_deleted(name: str) -> bytes:
    """Write what a deletion returns (SDK type ConversationDeletedResource)."""
    return to_json({"id": name, "object": "conversation.deleted", "deleted": True})


def write_added(items: Mapping[str, Item]) -> bytes:
    """Write the items that were added, by their ids, in order (SDK type ConversationItemList)."""
    names = list(items)
    ends = {"first_id": names[0] if names else None, "last_id": names[-1] if names else None, "has_more": False}
    return to_json({"object": "list", "data": [shown(name, items[name]) for name in names], **ends})


def _missing(param: str) -> BadRequest:
    return BadRequest(f"Missing required parameter: '{param}'.", param=param, code="missing_required_parameter")
