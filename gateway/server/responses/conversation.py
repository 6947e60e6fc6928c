"""Makes a Responses request whole: looks up the stored conversation that it continues.

This module only reads the store. What a request needs, and how it is joined with what was found, is decided in
`wire/openai_responses/joined_input`.
"""

import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial

from attrs import evolve, frozen

from gateway.config.fields import ANONYMOUS
from gateway.errors import (
    BadRequest,
    Forbidden,
    StorageFull,
    StoreUnavailable,
    TooLarge,
    UnknownResponse,
)
from gateway.proxy.context import RequestContext
from gateway.proxy.off_loop import off_loop
from gateway.proxy.plan.source_request import NO_HISTORY, History
from gateway.proxy.response_recorder import ResponseRecorder
from gateway.proxy.state import Gateway
from gateway.server.responses.named import check_turns, find_conversation, last_maker, past, turns_of
from gateway.store.protocol import MAX_LINKS, RUNNING, ChainTooLong, Conversation, Link, StoreDown, StoreState
from gateway.store.turns import RESPONSE, TURN
from gateway.wire.codec.json_body import JsonBody
from gateway.wire.codec.text import printable
from gateway.wire.openai_responses.joined_input import (
    Joined,
    Needs,
    items_of,
    join,
    read_needs,
    refers,
    too_long,
    without,
)
from gateway.wire.openai_responses.stored_items import Item, listed, response_of

MAX_ID = 200
# Members that name what lies at the provider.
PROVIDER_IDS = ("previous_response_id", "conversation", "prompt")
_BAD_PREVIOUS = frozenset({"failed", "cancelled"})


@frozen
class Prepared:
    """A request after the store was read.

    `body` holds the whole conversation. `recorder` stores the response; None if it is not to be stored. `history` is
    the conversation that the request continues.
    """

    body: JsonBody
    recorder: ResponseRecorder | None = None
    history: History = NO_HISTORY


@frozen
class _Found:
    """What the store had: the chain, its first response first, and stored items by the id that the request names.

    `conversation` is the name of the chain, if the request gave one.
    """

    links: Sequence[Link]
    items: Mapping[str, Item]
    conversation: Conversation | None = None

    @property
    def gone(self) -> tuple[str, ...]:
        """The ids of the chain's items that its owner has deleted."""
        return self.conversation.gone if self.conversation is not None else ()

    @property
    def held(self) -> set[str]:
        """The ids of the chain's items that its owner has not deleted."""
        if self.conversation is None:
            return {name for link in self.links for name in link.items}
        return set(items_of(past(self.links), self.conversation.gone))


def owner_of(context: RequestContext) -> str:
    """Return the owner of a client's responses: the name of its key; all clients without a key share one owner."""
    return context.owner.name if context.owner is not None else ANONYMOUS


async def prepare(gateway: Gateway, context: RequestContext, body: JsonBody, *, may_store: bool = True) -> Prepared:
    """Join the stored conversation with the request.

    Raises BadRequest in the words of the real API, StoreUnavailable, TooLarge, StorageFull.
    """
    limit = context.snapshot.config.server.max_body
    needs = await off_loop(body.size, partial(read_needs, body, may_store=may_store))
    if needs.is_demanded or needs.is_background:
        await _check_room(gateway, may_skip=not needs.is_background and needs.conversation is None)
    found = await _fetch(gateway, context, needs, limit)
    before = past(found.links)
    size = body.size + sum(len(one.input) + len(one.output) for one in before)

    def joined_input() -> Joined:
        kept = without(before, found.gone)
        return join(body, needs, kept, found.held, found.items, limit)

    joined = await off_loop(size, joined_input)
    recorder = _recorder(gateway, context, needs, joined, found) if needs.is_kept else None
    return Prepared(joined.body, recorder, History(last_maker(found.links), joined.readable, joined.plain_include))


async def prepare_or_pass(
    gateway: Gateway, context: RequestContext, body: JsonBody, *, may_store: bool = True
) -> Prepared:
    """Join the stored conversation, or under /pt leave it to the provider. Raises as `prepare` does, and Forbidden.

    The provider's store is that of the whole account. So its ids are for keys only that may use everything.
    """
    is_limited = context.owner is not None and not context.owner.key.has_all_routes
    if context.endpoint.mode.has_memory:
        if is_limited and body.has("prompt"):
            raise _at_the_provider("prompt")
        return await prepare(gateway, context, body, may_store=may_store)
    if is_limited:
        name = next((name for name in PROVIDER_IDS if body.has(name)), None) or ("input" if refers(body) else None)
        if name is not None:
            raise _at_the_provider(name)
    return Prepared(body)


def _at_the_provider(name: str) -> Forbidden:
    words = f"'{name}' names what the provider has stored: that needs a key with routes: ['*']"
    return Forbidden(words, param=name, code="all_routes_only")


@contextmanager
def reached() -> Iterator[None]:
    """Turn StoreDown into StoreUnavailable, around a read without which the request cannot be answered."""
    try:
        yield
    except StoreDown:  # the store has logged it
        raise StoreUnavailable from None


@contextmanager
def needing_room() -> Iterator[None]:
    """Turn StoreDown into StorageFull, around a write without which the request means nothing."""
    try:
        yield
    except StoreDown:  # the store has logged it
        raise StorageFull(is_background=True) from None


def unknown(name: str) -> UnknownResponse:
    """Make the error for a response that this owner does not have, in the real API's words."""
    return UnknownResponse(f"Response with id '{printable(name)}' not found.")


def _recorder(
    gateway: Gateway, context: RequestContext, needs: Needs, joined: Joined, found: _Found
) -> ResponseRecorder:
    recorder = ResponseRecorder(
        store=gateway.responses,
        clock=gateway.clock,
        owner=owner_of(context),
        id=f"{RESPONSE}{secrets.token_hex(20)}",  # on an open gateway only this secret keeps others out
        previous=needs.previous if found.conversation is None else found.conversation.head,
        ttl=context.snapshot.config.store.ttl,
        input=joined.input,
        joined=joined.joined,
        exchange=context.exchange,
        given=joined.given,
        is_demanded=needs.is_demanded,
        is_background=needs.is_background,
        conversation=found.conversation,
        keeps_response=needs.wants_store,
        limit=context.snapshot.config.server.max_reply,
    )
    context.exchange.name_response(recorder.id)
    return recorder


async def _check_room(gateway: Gateway, *, may_skip: bool) -> None:
    """Refuse a response that must be stored and cannot be, before a provider charges for it. Raises StorageFull.

    `may_skip`: the client can ask again without storage.
    """
    try:
        gateway.responses.check_room()
        if gateway.responses.state is not StoreState.OK:
            await gateway.responses.check()
    except StoreDown:
        raise StorageFull(is_background=not may_skip) from None


async def _fetch(gateway: Gateway, context: RequestContext, needs: Needs, limit: int) -> _Found:
    """Look up the chain and the items that a request needs. Raises StoreUnavailable, TooLarge, BadRequest."""
    if needs.previous is None and needs.conversation is None and not needs.references:
        return _Found((), {})
    with reached():
        if needs.conversation is not None:
            found = await _turns(gateway, context, needs.conversation)
        else:
            found = _Found(await _links(gateway, context, needs.previous) if needs.previous is not None else [], {})
        if not needs.references:
            return found
        wanted = needs.references - found.held
        return evolve(found, items=await look_up(gateway, owner_of(context), wanted, limit))


async def look_up(gateway: Gateway, owner: str, wanted: frozenset[str], limit: int) -> dict[str, Item]:
    """Return the stored items with these ids, by id; what is not there is missing. Raises TooLarge, StoreDown."""
    items: dict[str, Item] = {}
    size = 0
    for name in wanted:
        if name not in items:
            found = await _look_up(gateway, owner, name, wanted)
            size += sum(len(item.raw) for item in found.values())
            items |= found
        if size > limit:
            raise too_long(limit)
    return items


def kept_until(gateway: Gateway, context: RequestContext) -> float:
    """Return until when a chain is kept that is read now: it must outlive the response that continues it."""
    config = context.snapshot.config
    return gateway.clock.time() + config.server.timeouts.total + config.store.ttl


async def _turns(gateway: Gateway, context: RequestContext, name: str) -> _Found:
    """Return the conversation of this name. Reading it renews it, as it does a chain."""
    conversation = await find_conversation(gateway, owner_of(context), name)
    most = context.snapshot.config.server.max_body
    links = await turns_of(gateway, conversation, most=most, expires=kept_until(gateway, context))
    check_turns(links)
    return _Found(links, {}, conversation)


async def _links(gateway: Gateway, context: RequestContext, previous: str) -> list[Link]:
    """Return the chain that ends in `previous`."""
    most, expires = context.snapshot.config.server.max_body, kept_until(gateway, context)
    try:
        links = await gateway.responses.chain(owner_of(context), previous, gateway.clock.time(), expires, most)
    except ChainTooLong:
        raise too_long(most) from None
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


async def _look_up(gateway: Gateway, owner: str, name: str, wanted: frozenset[str]) -> dict[str, Item]:
    """Return those `wanted` items, by id, that stand in the same stored response as the item `name`.

    `name` is the item's own id, or the id that the list of input items gave it. Empty if no response has it.
    """
    now = gateway.clock.time()
    if (response := response_of(name)) is not None:
        stored = await gateway.responses.get(owner, response, now)
        if stored is None:
            stored = await gateway.responses.get(owner, TURN + response.removeprefix(RESPONSE), now)
        holder = None if stored is None else stored.link
    else:
        holder = await gateway.responses.holder(owner, name[:MAX_ID], now)
    if holder is None:
        return {}
    return {found: item.alone() for found, item in listed(holder.id, holder.input, holder.output) if found in wanted}
