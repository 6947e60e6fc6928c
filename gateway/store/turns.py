"""Adds a turn to a conversation of any store, and deletes all turns of one (what a turn is: `protocol.py`)."""

from attrs import evolve

from gateway.store.protocol import ChainTooLong, Conversation, Responses, StoredResponse

TURN, RESPONSE = "turn_", "resp_"
TRIES = 20  # to add a turn while others move the head too
# Turns of a conversation; below MAX_LINKS, because those who add at the same time do not see each other.
MAX_TURNS = 900


def turn_of(stored: StoredResponse) -> StoredResponse:
    """Return a response as the turn of a conversation: the same items, under an id that no client is told.

    Its items are found by the response's own row, so that they stay findable there.
    """
    return evolve(stored, id=TURN + stored.id.removeprefix(RESPONSE), items=(), body=b"{}", lease=0.0, last=-1)


async def add_turn(store: Responses, conversation: Conversation, turn: StoredResponse, now: float) -> bool:
    """Write a turn behind the newest one, and move the head. Return whether it was added; False without a conversation.

    `conversation` is how the conversation was when it was last read. The conversation is kept as long as the turn.
    Raises StoreDown.
    """
    for _ in range(TRIES):
        added = evolve(turn, previous=conversation.head)
        if await store.put(added):
            expires = max(conversation.expires, turn.expires)
            moved = evolve(conversation, head=turn.id, expires=expires, version=conversation.version + 1)
            if await store.put_conversation(moved, now):
                return True
            await store.delete(turn.owner, turn.id, now)
        found = await store.get_conversation(conversation.owner, conversation.id, now)
        if found is None or found == conversation:
            return False  # deleted meanwhile, or its newest turn is lost
        conversation = found
    return False


async def delete_turns(store: Responses, conversation: Conversation, now: float) -> None:
    """Delete the turns of a conversation, the newest first; what responses continue is hidden until they go."""
    if conversation.head is None:
        return
    try:
        names = [link.id for link in await store.chain(conversation.owner, conversation.head, now, 0.0, 2**62)]
    except ChainTooLong:
        return  # more than was ever added: they expire
    for name in reversed(names):
        await store.delete(conversation.owner, name, now)
