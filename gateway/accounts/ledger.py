"""Takes what exchanges claim, and settles what they have used: in this machine's memory, or in Redis for several.

With Redis one question is asked for each exchange, and answered by all gateways' counters. If it is silent, this
machine's own counters decide, which begin at what was last known: an exchange waits PATIENCE_S at most. What was spent
meanwhile is added to the shared counters when they answer again, and so is what an exchange gives back.
"""

import asyncio
import math
import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import msgspec
from attrs import define, field

from gateway.clock import Clock
from gateway.store.cells import Cells
from gateway.store.counters import Claim, Fund, Settlement, SharedCounters, Slot, Taken, Window
from gateway.store.protocol import StoreDown

PATIENCE_S = 0.05  # for an answer of the shared counters
MAX_SILENT = 2  # answers in a row that did not come in time; then this machine decides alone for ALONE_S
ALONE_S = 1.0
AGAIN_S = 1.0  # until what could not be settled is tried again
RENEW_S = 3.0
CLOSE_S = 1.0  # for what is owed at the end
MAX_AT_ONCE = 500  # settlements in one step
MAX_OWED = 50_000  # settlements that wait for the shared counters; beyond it the oldest are given up


class Grant(msgspec.Struct, frozen=True, eq=False):
    """The answer to a claim, and whether the shared counters gave it."""

    claim: Claim
    taken: Taken
    is_shared: bool = False


@define
class Ledger:
    """The counters of a gateway. `say` logs a warning; `on_alone` is called for each claim that is decided alone."""

    cells: Cells
    clock: Clock
    say: Callable[..., Any]
    on_alone: Callable[[], Any]
    shared: SharedCounters | None = None
    _silent: int = field(default=0, init=False)  # in a row
    _alone_until: float = field(default=0.0, init=False)  # monotonic
    _is_alone: bool = field(default=False, init=False)  # and it has been said
    _owed: list[Settlement] = field(factory=list, init=False)
    _batch: tuple[str, list[Settlement]] | None = field(default=None, init=False)  # that is being settled
    _settling: asyncio.Task[None] | None = field(default=None, init=False)
    _renewing: asyncio.Task[None] | None = field(default=None, init=False)

    async def take(self, claim: Claim) -> Grant:
        """Take a claim whole, or nothing of it."""
        if self.shared is None:
            return Grant(claim, self.cells.take(claim, self.clock.monotonic()))
        if self.clock.monotonic() >= self._alone_until and (taken := await self._ask(self.shared, claim)) is not None:
            return Grant(claim, taken, is_shared=True)
        return Grant(claim, self._take_alone(self.shared, claim))

    @property
    def is_shared(self) -> bool:
        """Whether shared counters decide now, so that what this machine's own say is not the whole."""
        return self.shared is not None and not self._is_alone

    def peek(self, claim: Claim) -> Taken:
        """Return what this machine's own counters say of a claim; nothing is taken."""
        return self.cells.peek(claim, self.clock.monotonic())

    def settle(
        self,
        grant: Grant,
        windows: Sequence[tuple[Window, float]],
        funds: Sequence[tuple[Fund, float, float]],
    ) -> None:
        """End what a claim was granted for: give its slots back, and settle windows and funds by what was used.

        `windows` are units to be taken besides, or given back (below 0); `funds` are (fund, reserved, spent).
        """
        if windows:
            self.cells.settle(windows, self.clock.monotonic())
        slots = grant.claim.slots
        if slots or funds:
            self.cells.leave(slots, funds)
        if self.shared is None or grant.taken.refused is not None:
            return
        if grant.is_shared:
            self._owe(Settlement(windows, slots, funds))
        else:
            self._owe(Settlement(windows, (), [(fund, 0.0, spent) for fund, _, spent in funds if spent]))

    def charge(self, windows: Sequence[tuple[Window, float]]) -> None:
        """Take units of windows, whatever is left of them."""
        self.cells.settle(windows, self.clock.monotonic())
        if self.shared is not None and windows:
            self._owe(Settlement(windows))

    async def spent(self, funds: Sequence[Fund]) -> list[tuple[float, float]]:
        """Return what each fund has spent in its period, and what is reserved of it."""
        if self.shared is not None and funds and self.clock.monotonic() >= self._alone_until:
            try:
                return await self.shared.spent(funds)
            except StoreDown as error:
                self._lose(str(error))
        return [self.cells.spent(fund) for fund in funds]

    async def start(self) -> None:
        """Let the shared counters know of this gateway."""
        if self.shared is not None:
            await self._renew(self.shared)
            self._renewing = asyncio.create_task(self._keep_alive(self.shared))

    async def close(self) -> None:
        """Settle what is owed, and leave the shared counters."""
        if self.shared is None:
            return
        tasks = [task for task in (self._renewing, self._settling) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)  # their connections have to be closed as well
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                while (self._owed or self._batch) and await self._settle_next(self.shared):
                    pass
        try:
            await self.shared.close()
        except StoreDown:
            return  # its name runs out

    async def _ask(self, shared: SharedCounters, claim: Claim) -> Taken | None:
        """Ask the shared counters; None if they do not answer in time."""
        asking = asyncio.ensure_future(shared.take(claim, self.clock.time()))
        try:
            loop = asyncio.get_running_loop()
            asked = loop.time()
            while not asking.done() and (left := max(asked, shared.heard) + PATIENCE_S - loop.time()) > 0:
                await asyncio.wait({asking}, timeout=left)
                if not asking.done():
                    await asyncio.sleep(0)  # it was the loop that was busy: what has come meanwhile is read now
                    await asyncio.sleep(0)
        except asyncio.CancelledError:  # its client has left
            asking.add_done_callback(partial(self._undo, claim))
            raise
        if not asking.done():
            asking.add_done_callback(partial(self._undo, claim))
            self._silent += 1
            if self._silent >= MAX_SILENT:
                self._lose("no answer in time")
            return None
        try:
            taken = asking.result()
        except StoreDown as error:
            self._lose(str(error))
            return None
        self._find()
        self.cells.reflect(claim, taken, self.clock.monotonic())
        return taken

    def _undo(self, claim: Claim, asking: asyncio.Future[Taken]) -> None:
        """Give back what an answer has taken that came too late: it was decided otherwise meanwhile."""
        if asking.cancelled() or asking.exception() is not None or asking.result().refused is not None:
            return
        windows = [(window, -units) for window, units in claim.windows]
        self._owe(Settlement(windows, claim.slots, [(fund, reserved, 0.0) for fund, reserved in claim.funds]))

    def _take_alone(self, shared: SharedCounters, claim: Claim) -> Taken:
        """Take a claim from this machine's counters: of what is not known yet, a fair part of the whole."""
        self.on_alone()
        now, part = self.clock.monotonic(), 1 / shared.gateways
        if part < 1.0:
            fresh = [(window, window.capacity * (1 - part)) for window, _ in claim.windows]
            self.cells.settle([one for one in fresh if not self.cells.knows(one[0])], now)
            slots = [Slot(slot.name, max(1, math.ceil(slot.most * part))) for slot in claim.slots]
            claim = Claim(claim.windows, slots, claim.funds)
            self.cells.begin([(fund, fund.most * (1 - part)) for fund, _ in claim.funds])
        taken = self.cells.take(claim, now)
        if taken.refused is None and claim.windows:
            self._owe(Settlement(claim.windows))
        return taken

    def _owe(self, settlement: Settlement) -> None:
        self._owed.append(settlement)
        if len(self._owed) > MAX_OWED:
            del self._owed[: MAX_OWED // 10]
        if self._settling is None and self.shared is not None:
            self._settling = asyncio.create_task(self._settle(self.shared))

    async def _settle(self, shared: SharedCounters) -> None:
        """Settle all that is owed, in batches, until nothing is left."""
        try:
            while self._owed or self._batch:
                if not await self._settle_next(shared):
                    await asyncio.sleep(AGAIN_S)
        finally:
            self._settling = None

    async def _settle_next(self, shared: SharedCounters) -> bool:
        """Settle the next batch; one that may have been settled already keeps its name, and is not settled twice."""
        if self._batch is None:
            self._batch = secrets.token_hex(8), self._owed[:MAX_AT_ONCE]
            self._owed = self._owed[MAX_AT_ONCE:]
        is_settled = await self._settle_some(shared, *self._batch)
        if is_settled:
            self._batch = None
        return is_settled

    async def _settle_some(self, shared: SharedCounters, name: str, batch: Sequence[Settlement]) -> bool:
        """Settle a batch; one that may have been settled already is not settled again. Return whether it is."""
        try:
            await shared.settle(name, batch, self.clock.time())
        except StoreDown as error:
            self._lose(str(error))
            return False
        self._find()
        return True

    async def _keep_alive(self, shared: SharedCounters) -> None:
        while True:
            await asyncio.sleep(RENEW_S)
            await self._renew(shared)

    async def _renew(self, shared: SharedCounters) -> None:
        try:
            await shared.renew()
        except StoreDown as error:
            self._lose(str(error))

    def _lose(self, why: str) -> None:
        self._alone_until = self.clock.monotonic() + ALONE_S
        if not self._is_alone:
            self._is_alone = True
            self.say("limits are counted on this machine alone", reason=why)

    def _find(self) -> None:
        self._silent = 0
        if self._is_alone:
            self._is_alone, self._alone_until = False, 0.0
            self.say("limits are shared again")
