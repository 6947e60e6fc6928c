"""Finds conversations, which are named chains, and their turns (what they are: `store/protocol.py`)."""

from collections.abc import Sequence

from gateway.errors import TooLarge, UnknownResponse
from gateway.policy.affinity import NO_AFFINITY, Affinity
from gateway.proxy.state import Gateway
from gateway.store.protocol import ChainTooLong, Conversation, Link
from gateway.store.turns import MAX_TURNS
from gateway.wire.codec.text import printable
from gateway.wire.openai_responses.joined_input import PastResponse, too_long


def unknown_conversation(name: str) -> UnknownResponse:
    """Make the error for a conversation that this owner does not have, in the real API's words."""
    return UnknownResponse(f"Conversation with id '{printable(name)}' not found.")


async def find_conversation(gateway: Gateway, owner: str, name: str) -> Conversation:
    """Return a conversation. Raises UnknownResponse, StoreDown."""
    found = await gateway.responses.get_conversation(owner, name, gateway.clock.time())
    if found is None:
        raise unknown_conversation(name)
    return found


async def turns_of(gateway: Gateway, conversation: Conversation, *, most: int, expires: float = 0.0) -> list[Link]:
    """Return the turns of a conversation, the oldest first, and keep them until `expires` at least.

    Raises TooLarge beyond `most` bytes, UnknownResponse if a turn is lost, StoreDown.
    """
    if conversation.head is None:
        return []
    now = gateway.clock.time()
    try:
        links = await gateway.responses.chain(conversation.owner, conversation.head, now, expires, most)
    except ChainTooLong:
        raise too_long(most) from None
    if not links:
        raise unknown_conversation(conversation.id)
    return links


def check_turns(links: Sequence[Link]) -> None:
    """Raise TooLarge if a conversation takes no more turns."""
    if len(links) >= MAX_TURNS:
        raise TooLarge(f"The conversation has {MAX_TURNS} turns: begin a new one")


def past(links: Sequence[Link]) -> list[PastResponse]:
    """Return the links of a chain as `join` takes them."""
    return [PastResponse(Affinity.decode(link.maker).provider, link.input, link.output, link.id) for link in links]


def last_maker(links: Sequence[Link]) -> Affinity:
    """Return who made the newest reply of a chain; turns that a client has added have no maker."""
    return next((Affinity.decode(link.maker) for link in reversed(links) if link.maker), NO_AFFINITY)
