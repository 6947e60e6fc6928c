"""The interface of the stores: what requests, or several gateways, share. Imports no store.

Responses form chains. A response of the Responses API may continue an earlier one (`previous`), and that one an
earlier one still; to answer a request the gateway needs the whole chain. So a response that its owner deletes
cannot go as long as a later one continues it: it is hidden, and deleted with the last response that needs it.

A conversation is a name for a chain that grows: it names the newest link, its *head*. Its links are *turns*: rows like
those of responses, with ids that begin with `turn_` and that no client is told. What one response was asked and has
answered is a turn; what a client adds by itself is one too. A turn is added in two steps: it is written behind the
head, and then the conversation is written with the new head. If another has moved the head meanwhile, the second
step fails, and the turn is written again behind that one.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol, runtime_checkable

from attrs import frozen

from gateway.store.sums import Query, Row

MAX_LINKS = 1000  # responses in one chain (docs/wire/responses.md#chaining)
RUNNING = ("queued", "in_progress")


@frozen
class StoredResponse:
    """A stored response, with the input of its request.

    `input` is the JSON array of the request's own items, without those of earlier responses; `output` is the JSON
    array of the reply's items; `body` is the response object with an empty `output`. `items` are the ids by which
    the items of both can be found. `maker` names the target and the credential that made the response. `last` is
    the sequence number of the event that ended a background stream, -1 if there is none. Times are Unix seconds.
    A gateway that runs a background response renews its `lease`; once it has passed, the run is taken for lost.
    """

    owner: str
    id: str
    previous: str | None
    status: str
    created: int
    expires: float
    maker: str
    items: tuple[str, ...]
    input: bytes
    output: bytes
    body: bytes
    lease: float = 0.0
    last: int = -1

    @property
    def is_running(self) -> bool:
        """Whether a background run has not ended yet."""
        return self.status in RUNNING

    @property
    def size(self) -> int:
        """Bytes that count towards the limit of a chain."""
        return len(self.input) + len(self.output)

    @property
    def link(self) -> "Link":
        """The part of this response that a later one of the chain needs."""
        return Link(self.id, self.previous, self.status, self.maker, self.items, self.input, self.output)


@frozen
class Link:
    """One response of a chain; the members are those of StoredResponse."""

    id: str
    previous: str | None
    status: str
    maker: str
    items: tuple[str, ...]
    input: bytes
    output: bytes


@frozen
class Conversation:
    """A named chain.

    `head` is the id of its newest turn, None while it has none. `gone` are the ids of the items that its owner has
    deleted: a turn stays as it was written. `metadata` is a JSON object. `version` counts the writes, from 1 on.
    """

    owner: str
    id: str
    created: int
    expires: float
    metadata: bytes = b"{}"
    head: str | None = None
    gone: tuple[str, ...] = ()
    version: int = 1


class StoreState(StrEnum):
    """The state of a store, as the last request to it showed."""

    OK = "ok"
    FULL = "full"  # can be read, not written
    DOWN = "down"


class StoreDown(Exception):
    """The store cannot be read or written now. The message names the store and the reason, never the data."""


class StoreFull(StoreDown):
    """There is no room for more. What is stored can still be read."""


class StoreBusy(StoreDown):
    """One request got no answer in time; others may still succeed."""


class StoreUnusable(Exception):
    """The store cannot be opened. The message is one line for the operator."""


class ChainTooLong(Exception):
    """A chain has more than MAX_LINKS responses, or more bytes than were allowed."""


class Responses(Protocol):
    """The stored responses. Every method may raise StoreDown.

    An owner sees only its own responses. An expired response is treated as missing, also before `sweep`.
    """

    async def put(self, stored: StoredResponse, *, only_running: bool = False) -> bool:
        """Write a response; as durable as the store can make it when this returns. Return whether it was written.

        Without `only_running` the response is new; it is not written if its `previous` is missing. With
        `only_running` it replaces a stored one and keeps that one's `previous` and `input`; it is not written if
        the stored one is deleted or no longer running.
        """

    async def get(self, owner: str, name: str, now: float) -> StoredResponse | None:
        """Return one response, None when it is missing, expired or deleted."""

    async def chain(self, owner: str, name: str, now: float, expires: float, most: int) -> list[Link]:
        """Return a response and all those before it, the oldest first; an empty list when one of them is missing.

        All of them are kept until `expires` at least, so that a conversation does not lose its beginning. Raises
        ChainTooLong if the chain has more than `most` bytes or MAX_LINKS responses.
        """

    async def holder(self, owner: str, item: str, now: float) -> Link | None:
        """Return the response that holds an item; the newest, if several do. None if there is none."""

    async def delete(self, owner: str, name: str, now: float) -> bool:
        """Delete a response; return whether there was one.

        If a later response continues it, it is hidden instead: only `chain` of the later one still returns it.
        """

    async def put_conversation(self, conversation: Conversation, now: float) -> bool:
        """Write a conversation over the version before its own; one of version 1 is new. Return whether it was written.

        It is not if the stored one has another version, or is missing.
        """

    async def get_conversation(self, owner: str, name: str, now: float) -> Conversation | None:
        """Return one conversation, None when it is missing or expired."""

    async def delete_conversation(self, owner: str, name: str, now: float) -> bool:
        """Delete a conversation, but not its turns; return whether there was one."""

    async def add_sums(self, batch: str, rows: Sequence[Row]) -> None:
        """Add to the sums of what was used; all rows or none. A `batch` that was added is not added again."""

    async def read_sums(self, query: Query) -> list[Row]:
        """Return the sums by the names that a query tells apart."""

    async def sweep(self, now: float) -> None:
        """Delete expired responses and conversations, if the store does not do so by itself."""

    async def check(self) -> None:
        """Raise StoreDown if the store cannot be used, StoreFull if it has no room."""

    async def close(self) -> None:
        """Close files and connections."""


@runtime_checkable
class Notes(Protocol):
    """Short texts that expire, in a store that several gateways share. Both methods may raise StoreDown.

    A store of one process has none: what it would note there is in its memory.
    """

    async def note(self, name: str, text: str, seconds: float) -> None:
        """Keep `text` under `name` for so many seconds, in place of what was there."""

    async def recall(self, name: str) -> str | None:
        """Return the text that is kept under `name`, None if there is none."""
