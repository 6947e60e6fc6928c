"""What a Responses request rests on: stored responses before it, and items that it refers to."""

import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
from attrs import evolve, frozen

from gateway.config.schema import ANONYMOUS
from gateway.errors import BadRequest, StorageFull, StoreUnavailable, TooLarge, UnknownResponse
from gateway.proxy.context import RequestContext
from gateway.proxy.plan.source_request import NO_HISTORY, History
from gateway.proxy.response_recorder import ResponseRecorder
from gateway.proxy.state import Gateway
from gateway.store.protocol import MAX_LINKS, RUNNING, ChainTooLong, Link, StoreDown, StoreState
from gateway.wire.codec.json_body import JsonBody, to_json
from gateway.wire.codec.text import printable
from gateway.wire.openai_responses.stored_items import (
    REFERENCE,
    Item,
    anonymous,
    check_answered,
    listed,
    read_items,
    response_of,
    stored_items,
    write_items,
)

SEALED = "reasoning.encrypted_content"
MAX_ID = 200
MAX_REFERENCES = 1000
_BARE_REFERENCE = re.compile(rb'\{\s*"id"\s*:\s*"[^"\\]*"\s*(,\s*"type"\s*:\s*null\s*)?\}')
_OURS = ("previous_response_id", "background")
_BAD_PREVIOUS = frozenset({"failed", "cancelled"})


@frozen
class Prepared:
    """A request that needs no store any more, what is to be kept of it, and what it rests on."""

    body: JsonBody
    recorder: ResponseRecorder | None = None
    past: History = NO_HISTORY


@frozen
class _Said:
    """An item of the past, and the provider that answered then."""

    item: Item
    provider: str


def owner_of(context: RequestContext) -> str:
    """Whose responses a client sees: its key's, or those of all who need none."""
    return context.owner.name if context.owner is not None else ANONYMOUS


async def prepare(gateway: Gateway, context: RequestContext, body: JsonBody, *, may_store: bool = True) -> Prepared:
    """Join what is stored with what is asked. Raises BadRequest in the words of the real API, StoreUnavailable."""
    previous = _previous(body)
    is_background = may_store and body.flag("background")
    wants_store = may_store and body.get("store", bool, "a boolean") is not False
    if is_background and not wants_store:
        raise BadRequest("Background responses need storage", param="background", code="background_not_supported")
    is_demanded = wants_store and body.has("store")
    if is_demanded or is_background:
        await _check_room(gateway, is_background=is_background)
    members, plain_include = _members(body, is_background=is_background, is_stored=wants_store)
    if not wants_store and previous is None and not _has_references(body):
        return Prepared(evolve(body, members=members))  # nothing of it is ours to look at
    own, limit = read_items(body), context.snapshot.config.server.max_body
    with reached():
        links = await _links(gateway, context, previous)
        given = await _resolved(gateway, owner_of(context), own, links, limit)
    past = [
        _Said(item, link.maker.partition(":")[0])
        for link in links
        for item in anonymous([*stored_items(link.input), *stored_items(link.output)])
    ]
    everything = [*(one.item for one in past), *given]
    check_answered(everything if past else ())
    is_joined = bool(links) or given is not own
    whole = _put_input(body, members, everything, limit) if is_joined else evolve(body, members=members)
    recorder = None
    if wants_store:
        added = write_items(given)
        recorder = ResponseRecorder(
            store=gateway.responses,
            clock=gateway.clock,
            owner=owner_of(context),
            id=f"resp_{secrets.token_hex(20)}",  # on an open gateway it is all that keeps others out
            previous=previous,
            ttl=context.snapshot.config.store.ttl,
            input=added,
            joined=bytes(whole.members["input"]) if past else added,
            given=tuple(item.id for item in given if item.id is not None),
            is_demanded=is_demanded,
            is_background=is_background,
            exchange=context.exchange,
        )
        context.exchange.response = recorder.id
    if not is_joined:
        return Prepared(whole, recorder, History(plain_include=plain_include))

    def readable(provider: str) -> JsonBody:
        kept = [one.item for one in past if one.provider == provider or not one.item.is_sealed]
        return whole if len(kept) == len(past) else _put_input(body, members, [*kept, *given], limit)

    home = links[-1].maker if links else ""
    return Prepared(whole, recorder, History(home, readable, plain_include))


def _members(body: JsonBody, *, is_background: bool, is_stored: bool) -> tuple[dict[str, msgspec.Raw], bytes | None]:
    """The members that providers are sent, but for the input, and `include` as it was if it was added to.

    Nothing is stored there: the conversation is ours, and encrypted reasoning travels in it.
    """
    members = {name: value for name, value in body.members.items() if name not in _OURS}
    more: dict[str, bytes] = {"stream": to_json(True)} if is_background else {}
    plain = None
    if is_stored:
        wanted = body.get("include", list[Any], "an array") or []
        more["store"] = to_json(False)
        if SEALED not in wanted:
            more["include"], plain = to_json([*wanted, SEALED]), to_json(wanted)
    return members | JsonBody.of(more).members, plain


@contextmanager
def reached() -> Iterator[None]:
    """Around what cannot be answered without the store."""
    try:
        yield
    except StoreDown:  # the store has told it
        raise StoreUnavailable from None


def unknown(name: str) -> UnknownResponse:
    """No such response for this owner: the real API's words."""
    return UnknownResponse(f"Response with id '{printable(name)}' not found.")


async def _check_room(gateway: Gateway, *, is_background: bool) -> None:
    """Refuse what must be stored and cannot be, before a provider has been paid for it."""
    try:
        gateway.responses.check_room()
        if gateway.responses.state is not StoreState.OK:
            await gateway.responses.check()
    except StoreDown:
        raise StorageFull(is_background=is_background) from None


def _has_references(body: JsonBody) -> bool:
    given = bytes(body.members.get("input", b""))
    return given.rfind(b'"item_reference"') >= 0 or _BARE_REFERENCE.search(given) is not None


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


async def _links(gateway: Gateway, context: RequestContext, previous: str | None) -> list[Link]:
    """The chain that ends in `previous`."""
    if previous is None:
        return []
    config, now = context.snapshot.config, gateway.clock.time()
    # It outlives the response that will stand on it, however long that takes.
    expires = now + config.server.timeouts.total + config.store.ttl
    try:
        links = await gateway.responses.chain(owner_of(context), previous, now, expires, config.server.max_body)
    except ChainTooLong:
        raise _too_long(config.server.max_body) from None
    if not links:
        raise BadRequest(
            f"Previous response with id '{printable(previous)}' not found.",
            param="previous_response_id",
            code="previous_response_not_found",
        )
    if len(links) >= MAX_LINKS:
        raise TooLarge(f"The conversation has {MAX_LINKS} responses: begin a new one")
    last = links[-1]
    if last.status in (*RUNNING, *_BAD_PREVIOUS):
        raise BadRequest(
            f"Previous response with id '{printable(previous)}' is {last.status}: it cannot be continued.",
            param="previous_response_id",
            code="invalid_value",
        )
    return links


async def _resolved(gateway: Gateway, owner: str, own: list[Item], links: list[Link], most: int) -> list[Item]:
    """The request's items, with references replaced by what they refer to; what the chain holds is not said twice."""
    names = {item.id or "" for item in own if item.kind == REFERENCE}
    if not names:
        return own
    if len(names) > MAX_REFERENCES:
        raise BadRequest(f"'input' refers to {len(names)} items: at most {MAX_REFERENCES} are looked up", param="input")
    held = {name for link in links for name in link.items}
    known: dict[str, Item] = {}
    found: list[Item] = []
    size = 0
    for index, item in enumerate(own):
        if item.kind != REFERENCE:
            found.append(item)
            continue
        name = item.id or ""
        if name in held:
            continue
        if name not in known:
            known |= await _look_up(gateway, owner, name, names)
        if name not in known:
            raise BadRequest(
                f"Item with id '{printable(name)}' not found. Items are not persisted when store is set to false.",
                param=f"input[{index}].id",
            )
        found.append(known[name])
        size += len(known[name].raw)
        if size > most:
            raise _too_long(most)
    return found


async def _look_up(gateway: Gateway, owner: str, name: str, names: set[str]) -> dict[str, Item]:
    """A stored item by its id, or by the one that it was listed with; with what else is looked for beside it."""
    now = gateway.clock.time()
    if (response := response_of(name)) is not None:
        stored = await gateway.responses.get(owner, response, now)
        holder = None if stored is None else stored.link
    else:
        holder = await gateway.responses.holder(owner, name[:MAX_ID], now)
    if holder is None:
        return {}
    return {found: item.alone() for found, item in listed(holder.id, holder.input, holder.output) if found in names}


def _too_long(most: int) -> TooLarge:
    return TooLarge(f"The conversation is larger than {most} bytes: begin a new one")


def _put_input(body: JsonBody, members: dict[str, msgspec.Raw], items: list[Item], limit: int) -> JsonBody:
    text = write_items(items)
    if len(text) > limit:
        raise _too_long(limit)
    return evolve(body, members=members | JsonBody.of({"input": text}).members)
