"""Budgets: what may be spent in a day, a week or a month, by a key, on a route, or by the whole gateway.

Periods are of UTC; weeks begin on Monday. A budget is a hard stop for new calls: one is let in as long as anything is
left that is neither spent nor reserved by others, and it is then carried to its end.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta

from attrs import define, field, frozen

from gateway.config.schema import Budget, Config
from gateway.store.counters import Fund
from gateway.store.sums import NUMBERS, Query, Row

PICO = 10**12  # money is counted in 1e-12 US dollars, so that a token's price is a whole number
USD, TOKENS = "usd", "tokens"
_MONDAY = 3  # days from Monday to the first day of Unix time, a Thursday
_DAY_S = 86400
LAST_DAY = "9999-12-31"
_COST = NUMBERS.index("cost")
_TOKENS = [NUMBERS.index(name) for name in ("input", "cache_read", "cache_write", "output")]


def period_of(per: str, now: float) -> tuple[int, date, float]:
    """Return the number of the period at a Unix time, its first day, and when it ends (Unix seconds)."""
    today = datetime.fromtimestamp(now, UTC).date()
    days = today.toordinal() - date(1970, 1, 1).toordinal()
    if per == "day":
        return days, today, float((days + 1) * _DAY_S)
    if per == "week":
        number, weekday = divmod(days + _MONDAY, 7)
        return number, today - timedelta(weekday), float((days - weekday + 7) * _DAY_S)
    first = today.replace(day=1)
    following = (first + timedelta(32)).replace(day=1)
    return first.year * 12 + first.month, first, float((following.toordinal() - date(1970, 1, 1).toordinal()) * _DAY_S)


@define(eq=False)
class BudgetLine:
    """One limit of a budget. `name` is `key:NAME`, `route:ALIAS` or `gateway`; `most` in units of `unit`.

    Dollars are counted in PICO.
    """

    name: str
    unit: str
    most: float
    per: str
    warn_at: float
    _fund: Fund | None = field(default=None, init=False)

    def fund(self, now: float) -> Fund:
        """Return what is counted in the period of a Unix time."""
        fund = self._fund
        if fund is None or now >= fund.ends or now < fund.ends - 32 * _DAY_S:
            number, _, ends = period_of(self.per, now)
            fund = self._fund = Fund(f"budget:{self.name}:{self.unit}:{self.per}", self.most, number, ends)
        return fund

    @property
    def shown_most(self) -> float:
        """The limit in dollars or tokens."""
        return shown(self.unit, self.most)


def spent_query(budget: BudgetLine, now: float) -> Query:
    """Return what to ask the sums for, to learn what was spent of a budget in the period of a Unix time."""
    _, first, _ = period_of(budget.per, now)
    whose, _, name = budget.name.partition(":")
    where = {"key": (("key", name),), "route": (("alias", name),)}.get(whose, ())
    return Query((), first.isoformat(), LAST_DAY, where)


def spent_in(budget: BudgetLine, rows: Sequence[Row]) -> float:
    """Return what the answer to `spent_query` says, in units of the budget."""
    if not rows:
        return 0.0
    numbers = rows[0][1]
    return float(numbers[_COST] if budget.unit == USD else sum(numbers[index] for index in _TOKENS))


def shown(unit: str, amount: float) -> float:
    """Return an amount in dollars or tokens."""
    return amount / PICO if unit == USD else amount


@frozen
class BudgetBook:
    """The budgets of a configuration, by whose they are."""

    gateway: tuple[BudgetLine, ...]
    keys: Mapping[str, tuple[BudgetLine, ...]]
    routes: Mapping[str, tuple[BudgetLine, ...]]

    def of(self, key: str, alias: str) -> tuple[BudgetLine, ...]:
        """Return all budgets that a call of a key (empty: of nobody) on a route draws on."""
        return self.keys.get(key, ()) + self.routes.get(alias, ()) + self.gateway

    def __bool__(self) -> bool:
        return bool(self.gateway or self.keys or self.routes)

    def __iter__(self) -> Iterator[BudgetLine]:
        for lines in (self.gateway, *self.keys.values(), *self.routes.values()):
            yield from lines


def budgets_of(config: Config) -> BudgetBook:
    """Return the budgets of a configuration."""
    keys = {name: _lines(f"key:{name}", key.budget) for name, key in config.keys.items() if key.budget}
    routes = {alias: _lines(f"route:{alias}", route.budget) for alias, route in config.routes.items() if route.budget}
    return BudgetBook(_lines("gateway", config.budget), keys, routes)


def _lines(name: str, budget: Budget | None) -> tuple[BudgetLine, ...]:
    if budget is None:
        return ()
    lines = []
    if budget.usd is not None:
        lines.append(BudgetLine(name, USD, round(budget.usd * PICO), budget.per, budget.warn_at))
    if budget.tokens is not None:
        lines.append(BudgetLine(name, TOKENS, budget.tokens, budget.per, budget.warn_at))
    return tuple(lines)
