"""Begins the budgets of this gateway where the sums in its store have left them."""

from gateway.accounts.budgets import USD, BudgetLine, period_of
from gateway.proxy.state import Gateway
from gateway.store.counters import Fund
from gateway.store.protocol import StoreDown
from gateway.store.sums import NUMBERS, Query

_COST = NUMBERS.index("cost")
_TOKENS = [NUMBERS.index(name) for name in ("input", "cache_read", "cache_write", "output")]


async def begin_budgets(gateway: Gateway) -> None:
    """Note what was spent of each budget in its present period, unless another worker has done so.

    Gateways that share counters need not: there it stands.
    """
    if gateway.ledger.shared is not None:
        return
    if gateway.snapshot.budgets:
        await gateway.usage_sums.flush()
    now = gateway.clock.time()
    found: list[tuple[Fund, float]] = []
    for budget in gateway.snapshot.budgets:
        try:
            found.append((budget.fund(now), await _spent(gateway, budget, now)))
        except StoreDown as error:
            gateway.telemetry.logs.log.warning("budgets begin anew: the sums cannot be read", reason=str(error))
            return
    if found:
        gateway.ledger.cells.begin(found)


async def _spent(gateway: Gateway, budget: BudgetLine, now: float) -> float:
    _, first, _ = period_of(budget.per, now)
    whose, _, name = budget.name.partition(":")
    where = {"key": (("key", name),), "route": (("alias", name),)}.get(whose, ())
    rows = await gateway.responses.read_sums(Query((), first.isoformat(), "9999-12-31", where))
    numbers = rows[0][1] if rows else (0,) * len(NUMBERS)
    return float(numbers[_COST] if budget.unit == USD else sum(numbers[index] for index in _TOKENS))
