"""What several requests, and several gateways, share. A store is looked up by the scheme of its URL."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol

from attrs import frozen

from gateway.policy.limits import Bucket, Verdict

MAX_LINKS = 1000  # responses in one chain (TRANSLATION.md 12.2)
RUNNING = ("queued", "in_progress")


class Windows(Protocol):
    """The buckets of all limits. Charging is one atomic step, here or in a shared store."""

    async def take(self, charges: Sequence[Bucket]) -> Verdict:
        """Take one unit from every bucket, or from none."""

    async def peek(self, charges: Sequence[Bucket]) -> Verdict:
        """Say what `take` would say, and take nothing."""


@frozen
class StoredResponse:
    """A response that its owner may come back to, with what was asked.

    `input` is the JSON array of this call's own items, `output` that of what was answered, `body` the response
    object with an empty output. `items` are the ids by which items of both can be found; `maker` is the target and
    the credential that have made it. `last` is the number of the event that ended a background stream, -1 for
    none. Times are Unix seconds; `lease` is until when a running one is known to run.
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
        """Bytes that count in a conversation."""
        return len(self.input) + len(self.output)

    @property
    def link(self) -> "Link":
        """What a later response needs of this one."""
        return Link(self.id, self.previous, self.status, self.maker, self.items, self.input, self.output)


@frozen
class Link:
    """What a chain is made of; the members are those of StoredResponse."""

    id: str
    previous: str | None
    status: str
    maker: str
    items: tuple[str, ...]
    input: bytes
    output: bytes


class StoreState(StrEnum):
    """How a store stands, as far as the last request has shown."""

    OK = "ok"
    FULL = "full"  # reads, and cannot write
    DOWN = "down"


class StoreDown(Exception):
    """The store cannot be asked or written now; says which and why, without what was to be stored."""


class StoreFull(StoreDown):
    """There is no room for more. What is stored can still be read."""


class StoreBusy(StoreDown):
    """One request has waited for too long; others may do better."""


class StoreUnusable(Exception):
    """The store cannot be opened at all; one line for the operator."""


class ChainTooLong(Exception):
    """A chain has more than MAX_LINKS responses, or more bytes than were allowed."""


class Responses(Protocol):
    """The stored responses. An owner never sees another's; what has expired is gone. Raises StoreDown."""

    async def put(self, stored: StoredResponse, *, only_running: bool = False) -> bool:
        """Write a response, durable before this returns; with `only_running` only over one that runs still.

        Return whether it was written: not when the run has ended, or when the response before it is gone.
        """

    async def get(self, owner: str, name: str, now: float) -> StoredResponse | None:
        """Return one response."""

    async def chain(self, owner: str, name: str, now: float, expires: float, most: int) -> list[Link]:
        """Return a response and those before it, the first one first; empty when one of them is missing.

        All of them live on until `expires` at least: a conversation does not lose its beginning. Raises
        ChainTooLong beyond `most` bytes, before they are loaded.
        """

    async def holder(self, owner: str, item: str, now: float) -> Link | None:
        """Return the response that holds an item, the newest one."""

    async def delete(self, owner: str, name: str, now: float) -> bool:
        """Delete a response; return whether there was one. What a later one stands on stays for that one alone."""

    async def sweep(self, now: float) -> None:
        """Delete what has expired, where the store does not do so by itself."""

    async def check(self) -> None:
        """Ask the store whether it is there."""

    async def close(self) -> None:
        """Let go of files and connections."""
