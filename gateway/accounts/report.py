"""Writes what was used, and what is left of limits and budgets: for `GET /v1/usage` and `gateway usage`."""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

from gateway.accounts.budgets import PICO, BudgetLine, shown
from gateway.accounts.headers import Reading
from gateway.accounts.limits import CONCURRENT, Limited, span
from gateway.clock import write_time
from gateway.config.schema import Config
from gateway.store.cells import Cells
from gateway.store.counters import Fund
from gateway.store.sums import NAMES, NUMBERS, Query, Row

SINCE = "7d"
_SPAN = re.compile(r"(\d{1,4})([hdw])")
_HOURS = {"h": 1, "d": 24, "w": 168}


def read_query(by: str, since: str, until: str, now: float, where: Mapping[str, str] | None = None) -> Query:
    """Read what is asked for. Raises ValueError, whose text says what is wrong.

    `by` are names of store.sums.NAMES with commas between. `since` is a day (2026-11-28) or how long ago it was (7d,
    24h, 2w); `until` a day, which is included, or empty.
    """
    names = tuple(dict.fromkeys(name.strip() for name in by.split(",") if name.strip()))
    for name in names:
        if name not in NAMES:
            raise ValueError(f"by: '{name[:40]}' is none of {', '.join(NAMES)}")
    query = Query(
        names, _day("since", since or SINCE, now), _day("until", until or "0d", now), tuple((where or {}).items())
    )
    if query.since > query.until:
        raise ValueError(f"since: {query.since} is after {query.until}")
    return query


def _day(name: str, text: str, now: float) -> str:
    today = datetime.fromtimestamp(now, UTC)
    if (found := _SPAN.fullmatch(text)) is not None:
        hours = int(found[1]) * _HOURS[found[2]]
        # Seven days are this one and the six before; of 24 hours a part is yesterday's.
        return (today - timedelta(hours=hours if found[2] == "h" else max(0, hours - 24))).date().isoformat()
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise ValueError(f"{name}: expected a day such as 2026-11-28, or 7d, 24h, 2w") from None


def store_id(config: Config) -> str:
    """Return what tells the store of a configuration from another one, and nothing of a password in its URL."""
    return hashlib.sha256(config.store.url.encode()).hexdigest()[:16]


def write_usage(
    query: Query, rows: Iterable[Row], limits: Sequence[Any] = (), budgets: Sequence[Any] = ()
) -> dict[str, Any]:
    """Write the sums as JSON: `cost` in dollars of what has a price (null: of nothing), and how many are `unpriced`."""
    written = []
    for names, numbers in rows:
        row: dict[str, Any] = dict(zip(query.by, names, strict=True)) | dict(zip(NUMBERS, numbers, strict=True))
        is_unknown = row["unpriced"] and not row["cost"]
        row["cost"] = None if is_unknown else row["cost"] / PICO
        written.append(row)
    return {
        "object": "usage",
        "since": query.since,
        "until": query.until,
        "rows": written,
        "limits": list(limits),
        "budgets": list(budgets),
    }


def write_limits(name: str, limited: Iterable[Limited], cells: Cells, now: float) -> list[dict[str, Any]]:
    """Write the limits of a key, and what is left of them now. `now` is monotonic."""
    written: list[dict[str, Any]] = []
    for one in limited:
        for meter in (*one.requests, *one.tokens):
            reading = Reading(meter, cells.left(meter.window, now))
            written.append(
                {
                    "key": name,
                    "class": meter.limit_class,
                    "unit": meter.unit,
                    "limit": meter.limit,
                    "per": span(meter.per),
                    "left": reading.shown,
                    "full_in": round(reading.reset, 3),
                }
            )
        for slot in one.slots:
            left = max(0, int(slot.most - cells.held(slot)))
            limit_class = slot.name.rsplit(":", 2)[1]
            written.append(
                {"key": name, "class": limit_class, "unit": CONCURRENT, "limit": int(slot.most), "left": left}
            )
    return written


def write_budget(budget: BudgetLine, fund: Fund, spent: float, reserved: float) -> dict[str, Any]:
    """Write a budget: dollars or tokens, and how much of it was spent over its limit, should that have happened."""
    unit = budget.unit
    return {
        "name": budget.name,
        "unit": unit,
        "per": budget.per,
        "limit": budget.shown_most,
        "spent": shown(unit, spent),
        "reserved": shown(unit, reserved),
        "left": shown(unit, max(0.0, budget.most - spent - reserved)),
        "over": shown(unit, max(0.0, spent - budget.most)),
        "warned": spent >= budget.warn_at * budget.most,
        "resets_at": write_time(fund.ends),
    }
