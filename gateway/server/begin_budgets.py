"""Begins the budgets of this gateway where the sums in its store have left them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway.accounts.budgets import BudgetBook, spent_in, spent_query
from gateway.proxy.state import Gateway
from gateway.store.counters import Fund
from gateway.store.protocol import StoreDown
from gateway.store.sums import grouped


@asynccontextmanager
async def beginning(gateway: Gateway, budgets: BudgetBook) -> AsyncIterator[list[tuple[Fund, float]]]:
    """Return what was spent of each budget in its present period, of those that are not counted yet.

    Inside of it nothing is added to the store, so that what is returned is all there is. Gateways that share counters
    need nothing of this: there it stands.
    """
    now, cells = gateway.clock.time(), gateway.ledger.cells
    fresh = [budget for budget in budgets if gateway.ledger.shared is None and not cells.counts(budget.fund(now))]
    if not fresh:
        yield []
        return
    async with gateway.usage_sums.lock:
        try:
            stored = [spent_in(budget, await gateway.responses.read_sums(spent_query(budget, now))) for budget in fresh]
        except StoreDown as error:
            gateway.telemetry.logs.log.warning("budgets begin anew: the sums cannot be read", reason=str(error))
            stored = [0.0] * len(fresh)
        pending = gateway.usage_sums.pending()  # what the store has not been told of yet
        yield [
            (budget.fund(now), spent + spent_in(budget, grouped(pending, spent_query(budget, now))))
            for budget, spent in zip(fresh, stored, strict=True)
        ]
