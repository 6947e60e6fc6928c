"""Joins what is stored of a conversation with what a Responses request adds. Decides only: the caller fetches.

A request may rest on the past in two ways: `previous_response_id` names a stored response, whose whole chain
comes before the new input, and an `item_reference` stands for one stored item. So the work has three steps.
`read_needs` says what has to be looked up, somebody who may wait looks it up, and `join` puts the input together.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import msgspec
from attrs import evolve, frozen

from gateway.errors import BadRequest, TooLarge
from gateway.wire.codec.json_body import JsonBody, to_json
from gateway.wire.codec.text import printable
from gateway.wire.openai_responses.stored_items import (
    REFERENCE,
    Item,
    anonymous,
    check_answered,
    read_items,
    stored_items,
    write_items,
)

SEALED = "reasoning.encrypted_content"
MAX_REFERENCES = 1000
_OURS = ("previous_response_id", "background")


@frozen
class Needs:
    """What a request wants of the store.

    `is_demanded`: the client itself has sent `store: true`. `items` are those of the input, None if nothing of it
    has to be looked at; `references` the ids of stored items that stand in it.
    """

    previous: str | None
    is_background: bool
    wants_store: bool
    is_demanded: bool
    items: Sequence[Item] | None
    references: frozenset[str]


@frozen
class PastResponse:
    """A stored response of the chain: the provider that made it, and the JSON arrays of its items."""

    provider: str
    input: bytes
    output: bytes


@frozen
class Joined:
    """A request that needs no store any more.

    `input` is the JSON array that this request adds, `joined` the whole conversation with it, `given` the ids
    that the client has given its items. `readable` gives the body without the reasoning that another provider
    than the one named has sealed. `plain_include` is `include` as it was, if it was added to.
    """

    body: JsonBody
    input: bytes
    joined: bytes
    given: tuple[str, ...]
    readable: Callable[[str], JsonBody] | None
    plain_include: bytes | None


def read_needs(body: JsonBody, *, may_store: bool) -> Needs:
    """Say what a request wants of the store. Raises BadRequest in the words of the real API."""
    previous = _previous(body)
    is_background = may_store and body.flag("background")
    wants_store = may_store and body.get("store", bool, "a boolean") is not False
    if is_background and not wants_store:
        raise BadRequest("Background responses need storage", param="background", code="background_not_supported")
    is_demanded = wants_store and body.has("store")
    given = read_items(body)
    references = frozenset(item.id or "" for item in given if item.kind == REFERENCE)
    items = given if wants_store or previous is not None or references else None
    if len(references) > MAX_REFERENCES:
        words = f"'input' refers to {len(references)} items: at most {MAX_REFERENCES} are looked up"
        raise BadRequest(words, param="input")
    return Needs(previous, is_background, wants_store, is_demanded, items, references)


def refers(body: JsonBody) -> bool:
    """Return whether an item of the input stands for one that lies at the provider. Raises BadRequest.

    OpenAI looks a reasoning item up by its id unless its encrypted content comes with it.
    """
    items = read_items(body)
    return any(one.kind == REFERENCE or (one.kind == "reasoning" and one.id and not one.sealed) for one in items)


def join(
    body: JsonBody,
    needs: Needs,
    past: Sequence[PastResponse],
    held: Collection[str],
    found: Mapping[str, Item],
    limit: int,
) -> Joined:
    """Put the conversation together. `held` are the ids of the chain's items, `found` what was looked up by id.

    Raises BadRequest for a reference to nothing, TooLarge beyond `limit` bytes.
    """
    members, plain_include = _upstream_members(body, needs)
    if needs.items is None:
        return Joined(evolve(body, members=members), b"[]", b"[]", (), None, plain_include)
    own = needs.items
    given = _resolved(own, held, found, limit) if needs.references else own
    before = [
        (item, one.provider)
        for one in past
        for item in anonymous([*stored_items(one.input), *stored_items(one.output)])
    ]
    everything = [*(item for item, _ in before), *given]
    check_answered(everything if before else ())
    added, ids = write_items(list(given)), tuple(item.id for item in given if item.id is not None)
    if not past and given is own:
        return Joined(evolve(body, members=members), added, added, ids, None, plain_include)
    whole = _put_input(body, members, everything, limit)

    def readable(provider: str) -> JsonBody:
        kept = [item for item, maker in before if maker == provider or not item.is_sealed]
        return whole if len(kept) == len(before) else _put_input(body, members, [*kept, *given], limit)

    joined = bytes(whole.members["input"]) if before else added
    return Joined(whole, added, joined, ids, readable, plain_include)


def too_long(limit: int) -> TooLarge:
    """Make the error for a conversation beyond `limit` bytes."""
    return TooLarge(f"The conversation is larger than {limit} bytes: begin a new one")


def _upstream_members(body: JsonBody, needs: Needs) -> tuple[dict[str, msgspec.Raw], bytes | None]:
    """Return the members that providers are sent, but for the input, and `include` as it was if it was added to.

    Nothing is stored at the provider: the conversation is ours, and encrypted reasoning travels in it.
    """
    members = {name: value for name, value in body.members.items() if name not in _OURS}
    more: dict[str, bytes] = {"stream": to_json(True)} if needs.is_background else {}
    plain = None
    if needs.wants_store:
        wanted = body.get("include", list[Any], "an array") or []
        more["store"] = to_json(False)
        if SEALED not in wanted:
            more["include"], plain = to_json([*wanted, SEALED]), to_json(wanted)
    return members | JsonBody.of(more).members, plain


def _previous(body: JsonBody) -> str | None:
    previous = body.text("previous_response_id")
    if body.has("conversation"):
        if previous is not None:
            raise BadRequest(
                "Mutually exclusive parameters: 'previous_response_id' and 'conversation'", param="conversation"
            )
        raise BadRequest("Conversations are not kept here: use previous_response_id", param="conversation")
    if previous is not None and not previous.startswith("resp"):
        raise BadRequest(
            f"Invalid 'previous_response_id': '{printable(previous)}'. Expected an ID that begins with 'resp'.",
            param="previous_response_id",
            code="invalid_value",
        )
    return previous


def _resolved(own: Sequence[Item], held: Collection[str], found: Mapping[str, Item], limit: int) -> Sequence[Item]:
    """Replace references by what they refer to; an item that the chain holds already is not repeated."""
    out: list[Item] = []
    size = 0
    for index, item in enumerate(own):
        if item.kind != REFERENCE:
            out.append(item)
            continue
        name = item.id or ""
        if name in held:
            continue
        if name not in found:
            raise BadRequest(
                f"Item with id '{printable(name)}' not found. Items are not persisted when store is set to false.",
                param=f"input[{index}].id",
            )
        out.append(found[name])
        size += len(found[name].raw)
        if size > limit:
            raise too_long(limit)
    return out


def _put_input(body: JsonBody, members: dict[str, msgspec.Raw], items: Sequence[Item], limit: int) -> JsonBody:
    text = write_items(list(items))
    if len(text) > limit:
        raise too_long(limit)
    return evolve(body, members=members | JsonBody.of({"input": text}).members, size=body.size + len(text))
