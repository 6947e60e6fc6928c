"""`/v1/conversations`: creates, shows, changes, deletes conversations and their items. Those of other keys are unknown.

A conversation lies in the store as a named chain, so that any provider can go on with it. Nothing here asks one.
"""

import secrets
from collections.abc import Callable, Sequence

from aiohttp import web
from attrs import evolve

from gateway.errors import UnknownResponse
from gateway.proxy.context import CONTEXT
from gateway.proxy.exchange import Step
from gateway.proxy.off_loop import off_loop
from gateway.proxy.state import GATEWAY
from gateway.server.bodies import client_json
from gateway.server.responses.conversation import kept_until, look_up, needing_room, owner_of, reached
from gateway.server.responses.named import check_turns, find_conversation, past, turns_of, unknown_conversation
from gateway.server.responses.queries import read_page
from gateway.store.protocol import Conversation, Link, StoredResponse
from gateway.store.turns import TURN, add_turn, delete_turns
from gateway.wire.codec.text import printable
from gateway.wire.openai_responses.conversations import (
    read_added,
    read_metadata,
    write_added,
    write_conversation,
    write_deleted,
)
from gateway.wire.openai_responses.joined_input import checked_conversation, items_of, resolved, too_long
from gateway.wire.openai_responses.stored_items import REFERENCE, Item, shown, write_items

TRIES = 20  # to change a conversation while others change it too
Edit = Callable[[Conversation], Conversation]


async def create(request: web.Request) -> web.Response:
    """POST: make a conversation, with the first items if the client sends any."""
    gateway, context = request.app[GATEWAY], request[CONTEXT]
    body = await client_json(request)
    metadata, items = read_metadata(body) or b"{}", await _items(request, read_added(body))
    now = gateway.clock.time()
    name = f"conv_{secrets.token_hex(24)}"  # on an open gateway only this secret keeps others out
    expires = now + context.snapshot.config.store.ttl
    conversation = Conversation(owner_of(context), name, int(now), expires, metadata)
    with needing_room():
        await gateway.responses.put_conversation(conversation, now)
        if items:
            await add_turn(gateway.responses, conversation, _turn(request, items), now)
    return _answer(request, _written(conversation))


async def show(request: web.Request) -> web.Response:
    """GET …/{id}: the conversation, without its items."""
    with reached():
        return _answer(request, _written(await _find(request)))


async def update(request: web.Request) -> web.Response:
    """POST …/{id}: replace the metadata."""
    metadata = read_metadata(await client_json(request), is_needed=True) or b"{}"
    conversation = await _change(request, lambda found: evolve(found, metadata=metadata))
    return _answer(request, _written(conversation))


async def delete(request: web.Request) -> web.Response:
    """DELETE …/{id}: remove the conversation and its turns; responses that were made in it stay."""
    gateway = request.app[GATEWAY]
    with reached():
        conversation = await _find(request)
        now = gateway.clock.time()
        if not await gateway.responses.delete_conversation(conversation.owner, conversation.id, now):
            raise unknown_conversation(conversation.id)
        await delete_turns(gateway.responses, conversation, now)
    return _answer(request, write_deleted(conversation.id))


async def list_items(request: web.Request) -> web.Response:
    """GET …/{id}/items: the items, newest first (SDK type ItemListParams)."""
    wanted = read_page(request)
    with reached():
        conversation = await _find(request)
        links = await _turns(request, conversation)
    body = await off_loop(_size(links), lambda: wanted.of(items_of(past(links), conversation.gone)))
    return _answer(request, body)


async def add_items(request: web.Request) -> web.Response:
    """POST …/{id}/items: add up to 20 items behind the newest. Raises TooLarge if the conversation has no room."""
    gateway, context = request.app[GATEWAY], request[CONTEXT]
    checked_conversation(request.match_info["id"], "conversation_id")
    body = await client_json(request)
    items = await _items(request, read_added(body, is_needed=True))
    with reached():
        conversation = await _find(request)
        links = await _turns(request, conversation, expires=kept_until(gateway, context))
    if not items:
        return _answer(request, write_added({}))
    check_turns(links)
    turn, most = _turn(request, items), context.snapshot.config.server.max_body
    if _size(links) + turn.size > most:
        raise too_long(most)
    with needing_room():
        if not await add_turn(gateway.responses, conversation, turn, gateway.clock.time()):
            raise unknown_conversation(conversation.id)
    named = await off_loop(_size(links), lambda: items_of(past([*links, turn.link]), ()))
    return _answer(request, write_added(dict(list(named.items())[-len(items) :])))


async def show_item(request: web.Request) -> web.Response:
    """GET …/{id}/items/{item}: one item."""
    with reached():
        conversation = await _find(request)
        links = await _turns(request, conversation)
    items, name = items_of(past(links), conversation.gone), request.match_info["item"]
    if name not in items:
        raise _unknown_item(name)
    return _answer(request, bytes(shown(name, items[name])))


async def delete_item(request: web.Request) -> web.Response:
    """DELETE …/{id}/items/{item}: remove one item; return the conversation."""
    gateway, name = request.app[GATEWAY], request.match_info["item"]
    with reached():
        conversation = await _find(request)
        links = await _turns(request, conversation)
        if name not in items_of(past(links), conversation.gone):
            raise _unknown_item(name)
    conversation = await _change(request, lambda found: evolve(found, gone=tuple(dict.fromkeys((*found.gone, name)))))
    with reached():
        now = gateway.clock.time()
        for turn in await _drop_empty(request, conversation):
            await gateway.responses.delete(conversation.owner, turn, now)
    return _answer(request, _written(conversation))


async def _drop_empty(request: web.Request, conversation: Conversation) -> list[str]:
    """Take the newest turns off a conversation as far as all their items are deleted; return their ids, newest first.

    So the texts that a client adds and takes back are not kept. Raises StoreDown.
    """
    gateway = request.app[GATEWAY]
    links = await _turns(request, conversation)
    dropped, left = [], list(links)
    while left and not _left_of(left, conversation.gone):
        dropped.append(left.pop().id)
    if not dropped:
        return []
    kept = items_of(past(left), ())
    gone = tuple(name for name in conversation.gone if name in kept)
    shorter = evolve(conversation, head=left[-1].id if left else None, gone=gone, version=conversation.version + 1)
    is_written = await gateway.responses.put_conversation(shorter, gateway.clock.time())
    return dropped if is_written else []


def _left_of(links: Sequence[Link], gone: Sequence[str]) -> int:
    """Return how many items of the last link are not deleted."""
    return len(items_of(past(links), gone)) - len(items_of(past(links[:-1]), gone))


async def _find(request: web.Request) -> Conversation:
    """Return the conversation that the path names. Raises BadRequest, UnknownResponse, StoreDown."""
    name = checked_conversation(request.match_info["id"], "conversation_id")
    return await find_conversation(request.app[GATEWAY], owner_of(request[CONTEXT]), name)


async def _turns(request: web.Request, conversation: Conversation, expires: float = 0.0) -> list[Link]:
    server = request[CONTEXT].snapshot.config.server
    # The last answer may have made it longer than a request may be: such a conversation can still be read.
    most = server.max_body + server.max_reply
    return await turns_of(request.app[GATEWAY], conversation, most=most, expires=expires)


async def _change(request: web.Request, edit: Edit) -> Conversation:
    """Write a conversation anew, after whatever others have written meanwhile. Raises StorageFull, UnknownResponse."""
    gateway = request.app[GATEWAY]
    with reached():
        found = await _find(request)
    for _ in range(TRIES):
        changed = evolve(edit(found), version=found.version + 1)
        with needing_room():
            if await gateway.responses.put_conversation(changed, gateway.clock.time()):
                return changed
        with reached():
            found = await _find(request)
    raise unknown_conversation(found.id)


async def _items(request: web.Request, given: list[Item]) -> list[Item]:
    """Return new items with what references stand for in their place. Raises BadRequest for one to nothing."""
    wanted = frozenset(item.id or "" for item in given if item.kind == REFERENCE)
    if not wanted:
        return given
    gateway, context = request.app[GATEWAY], request[CONTEXT]
    limit = context.snapshot.config.server.max_body
    with reached():
        found = await look_up(gateway, owner_of(context), wanted, limit)
    return list(resolved(given, (), found, limit, "items"))


def _turn(request: web.Request, items: Sequence[Item]) -> StoredResponse:
    """Make a turn of items that the client adds by itself."""
    gateway, context = request.app[GATEWAY], request[CONTEXT]
    now = gateway.clock.time()
    return StoredResponse(
        owner=owner_of(context),
        id=f"{TURN}{secrets.token_hex(20)}",
        previous=None,
        status="completed",
        created=int(now),
        expires=now + context.snapshot.config.store.ttl,
        maker="",
        items=tuple(item.id for item in items if item.id is not None),
        input=write_items(items),
        output=b"[]",
        body=b"{}",
    )


def _size(links: Sequence[Link]) -> int:
    return sum(len(link.input) + len(link.output) for link in links)


def _unknown_item(name: str) -> UnknownResponse:
    return UnknownResponse(f"Item with id '{printable(name)}' not found.")


def _written(conversation: Conversation) -> bytes:
    return write_conversation(conversation.id, conversation.created, conversation.metadata)


def _answer(request: web.Request, body: bytes) -> web.Response:
    request[CONTEXT].exchange.step(Step.ANSWER)
    return web.Response(body=body, content_type="application/json")
