"""Begins the budgets of this gateway where the sums in its store have left them."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from gateway.accounts.budgets import USD, BudgetBook, BudgetLine, period_of
from gateway.proxy.state import Gateway
from gateway.store.counters import Fund
from gateway.store.protocol import StoreDown
from gateway.store.sums import NUMBERS, Query, grouped

LAST_DAY = "9999-12-31"

_COST = NUMBERS.index("cost")
_TOKENS = [NUMBERS.index(name) for name in ("input", "cache_read", "cache_write", "output")]


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
            stored = [await _spent(gateway, budget, now) for budget in fresh]
        except StoreDown as error:
            gateway.telemetry.logs.log.warning("budgets begin anew: the sums cannot be read", reason=str(error))
            stored = [0.0] * len(fresh)
        yield [
            (budget.fund(now), spent + _pending(gateway, budget)) for budget, spent in zip(fresh, stored, strict=True)
        ]


async def _spent(gateway: Gateway, budget: BudgetLine, now: float) -> float:
    _, first, _ = period_of(budget.per, now)
    rows = await gateway.responses.read_sums(Query((), first.isoformat(), LAST_DAY, _where(budget)))
    return _amount(budget, rows[0][1]) if rows else 0.0


def _pending(gateway: Gateway, budget: BudgetLine) -> float:
    """Return what the store has not been told of yet."""
    rows = grouped(gateway.usage_sums.pending(), Query((), "", LAST_DAY, _where(budget)))
    return _amount(budget, rows[0][1]) if rows else 0.0


def _where(budget: BudgetLine) -> tuple[tuple[str, str], ...]:
    whose, _, name = budget.name.partition(":")
    return {"key": (("key", name),), "route": (("alias", name),)}.get(whose, ())


def _amount(budget: BudgetLine, numbers: Sequence[int]) -> float:
    return float(numbers[_COST] if budget.unit == USD else sum(numbers[index] for index in _TOKENS))
