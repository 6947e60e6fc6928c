"""Joins what is stored of a conversation with what a Responses request adds. Decides only: the caller fetches.

A request may rest on the past in two ways: `previous_response_id` names a stored response, whose whole chain
comes before the new input (or `conversation`, a chain that grows), and an `item_reference` stands for one stored item.
So the work has three steps. `read_needs` says what has to be looked up, somebody who may wait looks it up, and `join`
puts the input together.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import msgspec
from attrs import evolve, frozen

from gateway.errors import BadRequest, TooLarge
from gateway.wire.codec.json_body import JsonBody, kind_of, to_json
from gateway.wire.codec.node import Node
from gateway.wire.codec.text import printable
from gateway.wire.openai_responses.read_items import COMPACTIONS
from gateway.wire.openai_responses.stored_items import (
    REFERENCE,
    Item,
    anonymous,
    check_answered,
    listed,
    read_items,
    stored_items,
    unrepeated,
    write_items,
)

SEALED = "reasoning.encrypted_content"
MAX_REFERENCES = 1000
_OURS = ("previous_response_id", "conversation", "background")


@frozen
class Needs:
    """What a request wants of the store.

    `is_demanded`: the client itself has sent `store: true`. `items` are those of the input, None if nothing of it
    has to be looked at; `references` the ids of stored items that stand in it. `is_kept`: the response or its turn is
    to be written.
    """

    previous: str | None
    is_background: bool
    wants_store: bool
    is_demanded: bool
    items: Sequence[Item] | None
    references: frozenset[str]
    conversation: str | None = None
    is_kept: bool = False


@frozen
class PastResponse:
    """A stored response of the chain: the provider that made it, and the JSON arrays of its items.

    The provider is empty for a turn that a client has added by itself. `id` is needed only where items are named.
    """

    provider: str
    input: bytes
    output: bytes
    id: str = ""


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
    previous, conversation = _previous(body), read_conversation(body)
    is_background = may_store and body.flag("background")
    wants_store = may_store and body.get("store", bool, "a boolean") is not False
    if is_background and not wants_store:
        raise BadRequest("Background responses need storage", param="background", code="background_not_supported")
    is_demanded = wants_store and body.has("store")
    given = read_items(body)
    references = frozenset(item.id or "" for item in given if item.kind == REFERENCE)
    is_kept = wants_store or (may_store and conversation is not None)
    items = given if is_kept or previous is not None or conversation is not None or references else None
    if len(references) > MAX_REFERENCES:
        words = f"'input' refers to {len(references)} items: at most {MAX_REFERENCES} are looked up"
        raise BadRequest(words, param="input")
    is_demanded = is_demanded or (is_kept and conversation is not None)
    return Needs(previous, is_background, wants_store, is_demanded, items, references, conversation, is_kept)


def read_conversation(body: JsonBody) -> str | None:
    """Return the id of the conversation that a request names: a string, or an object with it. Raises BadRequest."""
    if not body.has("conversation"):
        return None
    if body.has("previous_response_id"):
        words = "Ensure you are only providing one of: 'previous_response_id' or 'conversation'."
        words = f"Mutually exclusive parameters. {words}"
        raise BadRequest(words, param="conversation", code="mutually_exclusive_parameters")
    raw = body.members["conversation"]
    if kind_of(raw) == "an object":
        return checked_conversation(Node.read(raw, "conversation").needed_text("id"), "conversation.id")
    return checked_conversation(body.text("conversation") or "", "conversation")


def checked_conversation(name: str, param: str) -> str:
    """Return the id of a conversation. Raises BadRequest, in the words of the real API, if it is not one."""
    if not name.startswith("conv"):
        words = f"Invalid '{param}': '{printable(name)}'. Expected an ID that begins with 'conv'."
        raise BadRequest(words, param=param, code="invalid_value")
    return name


def items_of(turns: Sequence[PastResponse], gone: Collection[str]) -> dict[str, Item]:
    """Return the items of a conversation by their ids, in order, but for those in `gone`."""
    named = unrepeated(pair for turn in turns for pair in listed(turn.id, turn.input, turn.output))
    return {name: item for name, item in named.items() if name not in gone}


def without(turns: Sequence[PastResponse], gone: Collection[str]) -> list[PastResponse]:
    """Return the turns of a conversation without the items in `gone`."""
    if not gone:
        return list(turns)
    names = iter(unrepeated(pair for turn in turns for pair in listed(turn.id, turn.input, turn.output)))
    left = []
    for turn in turns:
        items = [*stored_items(turn.input), *stored_items(turn.output)]
        kept = [item for item in items if next(names) not in gone]
        left.append(evolve(turn, input=write_items(kept), output=b"[]"))
    return left


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
    given = resolved(own, held, found, limit) if needs.references else own
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
        # A compaction stays: without it the conversation would begin in its middle.
        kept = [
            item for item, maker in before if maker in (provider, "") or not item.is_sealed or item.kind in COMPACTIONS
        ]
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
    if needs.is_kept:
        wanted = body.get("include", list[Any], "an array") or []
        more["store"] = to_json(False)
        if SEALED not in wanted:
            more["include"], plain = to_json([*wanted, SEALED]), to_json(wanted)
    return members | JsonBody.of(more).members, plain


def _previous(body: JsonBody) -> str | None:
    previous = body.text("previous_response_id")
    if previous is not None and not previous.startswith("resp"):
        raise BadRequest(
            f"Invalid 'previous_response_id': '{printable(previous)}'. Expected an ID that begins with 'resp'.",
            param="previous_response_id",
            code="invalid_value",
        )
    return previous


def resolved(
    own: Sequence[Item], held: Collection[str], found: Mapping[str, Item], limit: int, member: str = "input"
) -> Sequence[Item]:
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
                param=f"{member}[{index}].id",
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
