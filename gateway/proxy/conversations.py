"""Remembers who has served each conversation: in memory, and in the store as well if several gateways share one."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from attrs import define, field

from gateway.clock import Clock
from gateway.policy.affinity import Trail, Trails
from gateway.store.protocol import StoreDown
from gateway.store.watched import WatchedResponses

PATIENCE = 0.05  # seconds that a request waits for the shared store
REST = 1.0  # seconds for which the store is not asked after it was too slow


@define
class Conversations:
    """Trails by key. The store's is the newer one where there is one; while it is slow or down, memory serves.

    `kind` keeps the keys of two memories apart in one store; `spawn` runs what no request waits for.
    """

    kind: str
    store: WatchedResponses
    clock: Clock
    spawn: Callable[[Coroutine[Any, Any, None]], None]
    trails: Trails = field(factory=Trails)
    _rests_until: float = field(default=float("-inf"), init=False)

    async def find(self, key: str) -> Trail:
        """Return the trail of a conversation; NO_TRAIL if nobody has served it, or too long ago."""
        now = self.clock.monotonic()
        if self.store.has_notes and now >= self._rests_until:
            try:
                with suppress(StoreDown):  # the store has logged it
                    async with asyncio.timeout(PATIENCE):
                        return Trail.decode(await self.store.recall(self._name(key)) or "")
            except TimeoutError:
                self._rests_until = now + REST
        return self.trails.find(key, now)

    def keep(self, key: str, trail: Trail, seconds: float) -> None:
        """Note the trail of a conversation; forget it after so many seconds."""
        self.trails.keep(key, trail, self.clock.monotonic() + seconds)
        if self.store.has_notes:
            self.spawn(self._share(key, trail, seconds))

    async def _share(self, key: str, trail: Trail, seconds: float) -> None:
        with suppress(StoreDown):
            await self.store.note(self._name(key), trail.encode(), seconds)

    def _name(self, key: str) -> str:
        return f"{self.kind}:{key}"
