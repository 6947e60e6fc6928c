"""Wraps a store: tracks whether it works, and spares a failed one.

After a failure the store rests for REST_S; calls that need it then fail at once. Without the rest, every request
would wait for the store's timeout while it is down. The first call after the rest tries it again.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from attrs import define, field

from gateway.clock import Clock
from gateway.store.protocol import (
    Conversation,
    Link,
    Notes,
    Responses,
    StoreBusy,
    StoreDown,
    StoredResponse,
    StoreFull,
    StoreState,
)
from gateway.store.sums import Query, Row

REST_S = 1.0  # rest of a store that has failed
MAX_BUSY = 3  # timeouts in a row until the store is taken for down; fewer may be slow requests


@define
class WatchedResponses:
    """A store of responses with its state.

    `on_change` is called once for each change of the state, `on_failure` for each call that failed or was not tried.
    """

    store: Responses
    clock: Clock
    on_change: Callable[..., Any]
    on_failure: Callable[[], Any]
    state: StoreState = field(default=StoreState.OK, init=False)
    _busy: int = field(default=0, init=False)  # in a row
    _reason: str = field(default="", init=False)
    _rests_until: float = field(default=0.0, init=False)
    _up_since: float = field(default=float("-inf"), init=False)

    def check_room(self) -> None:
        """Raise StoreDown or StoreFull while the store rests after a failure. Does not ask the store."""
        if self.state is not StoreState.OK and self.clock.monotonic() < self._rests_until:
            self.on_failure()
            raise (StoreFull if self.state is StoreState.FULL else StoreDown)(self._reason)

    def is_up_for(self, seconds: float) -> bool:
        """Whether the store is up, and has been for `seconds`, as the last requests to it showed."""
        return self.state is not StoreState.DOWN and self.clock.monotonic() - self._up_since >= seconds

    async def put(self, stored: StoredResponse, *, only_running: bool = False) -> bool:
        self.check_room()
        with self._watching(writes=True):
            return await self.store.put(stored, only_running=only_running)

    async def get(self, owner: str, name: str, now: float) -> StoredResponse | None:
        with self._watching():
            return await self.store.get(owner, name, now)

    async def chain(self, owner: str, name: str, now: float, expires: float, most: int) -> list[Link]:
        with self._watching():
            return await self.store.chain(owner, name, now, expires, most)

    async def holder(self, owner: str, item: str, now: float) -> Link | None:
        with self._watching():
            return await self.store.holder(owner, item, now)

    async def delete(self, owner: str, name: str, now: float) -> bool:
        with self._watching():
            return await self.store.delete(owner, name, now)

    async def put_conversation(self, conversation: Conversation, now: float) -> bool:
        self.check_room()
        with self._watching(writes=True):
            return await self.store.put_conversation(conversation, now)

    async def get_conversation(self, owner: str, name: str, now: float) -> Conversation | None:
        with self._watching():
            return await self.store.get_conversation(owner, name, now)

    async def delete_conversation(self, owner: str, name: str, now: float) -> bool:
        with self._watching():
            return await self.store.delete_conversation(owner, name, now)

    @property
    def has_notes(self) -> bool:
        """Whether other gateways share this store, so that notes can be left in it."""
        return isinstance(self.store, Notes)

    async def note(self, name: str, text: str, seconds: float) -> None:
        assert isinstance(self.store, Notes)
        with self._watching(writes=True):
            await self.store.note(name, text, seconds)

    async def recall(self, name: str) -> str | None:
        assert isinstance(self.store, Notes)
        with self._watching():
            return await self.store.recall(name)

    async def add_sums(self, batch: str, rows: Sequence[Row]) -> None:
        self.check_room()
        with self._watching(writes=True):
            await self.store.add_sums(batch, rows)

    async def read_sums(self, query: Query) -> list[Row]:
        with self._watching():
            return await self.store.read_sums(query)

    async def sweep(self, now: float) -> None:
        with self._watching():
            await self.store.sweep(now)

    async def check(self) -> None:
        """Ask the store whether it works and has room, also while it rests. Raises StoreDown, StoreFull."""
        with self._watching(writes=True, may_rest=False):
            await self.store.check()

    async def close(self) -> None:
        await self.store.close()

    @contextmanager
    def _watching(self, *, writes: bool = False, may_rest: bool = True) -> Iterator[None]:
        if self.state is StoreState.DOWN and may_rest:
            self.check_room()
        try:
            yield
        except StoreDown as error:
            self._note(error, is_check=not may_rest)
            raise
        self._busy = 0
        if self.state is StoreState.DOWN or writes:
            self._change(StoreState.OK, "")

    def _note(self, error: StoreDown, *, is_check: bool) -> None:
        self.on_failure()
        self._busy = self._busy + 1 if isinstance(error, StoreBusy) else 0
        if 0 < self._busy < MAX_BUSY and not is_check:
            return
        self._rests_until = self.clock.monotonic() + REST_S
        self._change(StoreState.FULL if isinstance(error, StoreFull) else StoreState.DOWN, str(error))

    def _change(self, state: StoreState, reason: str) -> None:
        self._reason = reason
        if state is not self.state:
            if self.state is StoreState.DOWN:
                self._up_since = self.clock.monotonic()
            self.state = state
            self.on_change("store", state=state.value, reason=reason or None)
