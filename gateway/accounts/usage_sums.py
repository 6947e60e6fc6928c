"""Collects what was used, and adds it to the sums in the store once a second: never while a request waits."""

import asyncio
import secrets
from collections.abc import Callable, Sequence
from operator import add
from typing import Any, Protocol

from attrs import define, field

from gateway.store.protocol import StoreDown
from gateway.store.sums import Row

FLUSH_S = 1.0
MAX_ROWS = 20_000  # of one batch; further ones lose their session
MAX_BATCHES = 60  # that wait for a store which is down; then two of them become one


class AddsSums(Protocol):
    """The part of a store that is needed here."""

    async def add_sums(self, batch: str, rows: Sequence[Row]) -> None: ...


@define
class UsageSums:
    """What was used since the store has been told of it. `say` logs a warning."""

    store: AddsSums
    say: Callable[..., Any]
    _rows: dict[tuple[str, ...], list[int]] = field(factory=dict, init=False)
    _batches: list[tuple[str, list[Row]]] = field(factory=list, init=False)
    _flushing: asyncio.Task[bool] | None = field(default=None, init=False)
    lock: asyncio.Lock = field(factory=asyncio.Lock, init=False)  # held while the store is told

    def add(self, names: tuple[str, ...], numbers: Sequence[int]) -> None:
        """Add to a row; `names` and `numbers` are those of store.sums.NAMES and NUMBERS."""
        if names not in self._rows and len(self._rows) >= MAX_ROWS:
            names = (*names[:-1], "")
        self._merge(names, numbers)

    def pending(self) -> list[Row]:
        """Return what the store has not been told of yet."""
        fresh = [(names, tuple(numbers)) for names, numbers in self._rows.items()]
        return [*(row for _, rows in self._batches for row in rows), *fresh]

    async def flush(self) -> bool:
        """Tell the store. What it does not take is kept, and told again with the next flush. Return whether all is.

        In a task of its own: whoever waits for it may leave, and the store is not left in the middle of a batch.
        """
        if self._flushing is not None:
            await asyncio.shield(self._flushing)  # what came since it began is not in it
        if self._flushing is None:
            self._flushing = asyncio.create_task(self._flush())
            self._flushing.add_done_callback(self._flushed)
        return await asyncio.shield(self._flushing)

    def _flushed(self, task: asyncio.Task[bool]) -> None:
        self._flushing = None

    async def _flush(self) -> bool:
        async with self.lock:
            if self._rows:
                rows, self._rows = self._rows, {}
                self._keep([(names, tuple(numbers)) for names, numbers in rows.items()])
            while self._batches:
                name, batch = self._batches[0]
                try:
                    await self.store.add_sums(name, batch)
                except StoreDown:
                    return False
                self._batches.pop(0)
            return True

    def _keep(self, rows: list[Row]) -> None:
        if len(self._batches) >= MAX_BATCHES:  # never the first: the store may have taken it
            for names, numbers in [*self._batches.pop()[1], *self._batches.pop()[1]]:
                self._merge(names, numbers)
            for names, numbers in rows:
                self._merge(names, numbers)
            rows, self._rows = [(names, tuple(found)) for names, found in self._rows.items()], {}
        self._batches.append((secrets.token_hex(8), rows))

    def _merge(self, names: tuple[str, ...], numbers: Sequence[int]) -> None:
        row = self._rows.get(names)
        self._rows[names] = list(numbers) if row is None else list(map(add, row, numbers))

    async def run(self) -> None:
        """Flush for ever."""
        failed = False
        while True:
            await asyncio.sleep(FLUSH_S)
            is_told = await self.flush()
            if not is_told and not failed:
                self.say("usage is not stored now, and kept until it can be")
            elif is_told and failed:
                self.say("usage is stored again")
            failed = not is_told
