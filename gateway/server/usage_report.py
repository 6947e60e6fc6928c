"""`gateway usage`: asks the running gateway, or reads its store if none runs, and writes a table, JSON or CSV."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gateway.accounts.budgets import USD, budgets_of, spent_in, spent_query
from gateway.accounts.report import store_id, write_budget, write_usage
from gateway.config.schema import Config
from gateway.config.state import CONTROL, find_state_dir, sqlite_file
from gateway.server.control import NoGateway, ask
from gateway.store.open_store import open_responses
from gateway.store.protocol import StoreDown, StoreUnusable
from gateway.store.schemes import split_scheme
from gateway.store.sqlite_sums import read_file
from gateway.store.sums import NUMBERS, Query, Row

_TITLES = {"cache_read": "cached", "cache_write": "written"}


class NoUsage(Exception):
    """The sums cannot be read. The message says why."""


async def find_usage(config: Config, query: Query, given: dict[str, str], now: float) -> dict[str, Any]:
    """Return what was used. `given` is the query as it was written, for a gateway that runs. Raises NoUsage."""
    folder = find_state_dir(config)
    if folder is not None and (folder / CONTROL).exists():
        try:
            found = await ask(folder / CONTROL, "/usage", **given)
        except NoGateway:
            pass  # it was killed: its store can be read
        else:
            if "error" in found:
                raise NoUsage(found["error"]["message"])
            if found.pop("store", "") == store_id(config):
                return found  # else another gateway has this state directory
    scheme, _ = split_scheme(config.store.url)
    if scheme is None or not (scheme.has_file or scheme.is_shared):
        raise NoUsage("a gateway with store.url memory: keeps its sums to itself: ask it by GET /usage, as an operator")
    budgets = [
        write_budget(budget, budget.fund(now), spent_in(budget, await _read(config, spent_query(budget, now))), 0.0)
        for budget in budgets_of(config)
    ]
    return write_usage(query, await _read(config, query), (), budgets)


async def _read(config: Config, query: Query) -> Sequence[Row]:
    folder = find_state_dir(config)
    file = sqlite_file(config, str(folder) if folder is not None else None)
    try:
        if file is not None:
            return read_file(Path(file), query)
        store = await open_responses(config.store.url, None)
        try:
            return await store.read_sums(query)
        finally:
            await store.close()
    except (StoreDown, StoreUnusable, OSError) as error:
        raise NoUsage(str(error)) from None


def write_csv(usage: dict[str, Any], by: Sequence[str]) -> str:
    """Write the rows as CSV with a head; the cost in dollars."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*by, *NUMBERS])
    for row in usage["rows"]:
        writer.writerow([_safe(str(row[name])) for name in by] + [_plain(row[name]) for name in NUMBERS])
    return out.getvalue()


def _safe(text: str) -> str:
    """Return a text that no spreadsheet takes for a formula: clients name models and sessions."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t")) else text


def _plain(number: float | None) -> str:
    if number is None:
        return ""
    return f"{number:.12f}".rstrip("0").rstrip(".") if isinstance(number, float) else str(number)


def write_table(usage: dict[str, Any], by: Sequence[str]) -> str:
    """Write the rows for people, with their sum, and the budgets."""
    names = [name for name in NUMBERS if name not in ("unpriced", "estimated")]
    lines = [[*by, *(_TITLES.get(name, name) for name in names)]]
    total = dict.fromkeys(NUMBERS, 0)
    for row in usage["rows"]:
        lines.append([*(str(row[name]) or "-" for name in by), *(_shown(name, row) for name in names)])
        for name in NUMBERS:
            total[name] += row[name] or 0
    if len(usage["rows"]) > 1:
        lines.append(["all", *[""] * (len(by) - 1), *(_shown(name, total) for name in names)] if by else [])
    widths = [max(len(line[index]) for line in lines if line) for index in range(len(lines[0]))]
    text = [f"{usage['since']} to {usage['until']}", ""]
    for line in lines:
        cells = [
            cell.ljust(width) if index < len(by) else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(line, widths, strict=False))
        ]
        text.append("  ".join(cells).rstrip())
    if not usage["rows"]:
        text.append("nothing was used")
    if total["unpriced"]:
        text += ["", f"{total['unpriced']} attempts have no price, and are not in the cost (*)"]
    if total["estimated"]:
        text += ["", f"{total['estimated']} attempts were cut short: their tokens are estimated"]
    if usage["budgets"]:
        text += ["", *(_budget_line(one) for one in usage["budgets"])]
    return "\n".join(text)


def _shown(name: str, row: dict[str, Any]) -> str:
    if name != "cost":
        return f"{row[name]:,}"
    return "?" if row[name] is None else f"${row[name]:,.6f}{'*' if row['unpriced'] else ''}"


def _budget_line(budget: dict[str, Any]) -> str:
    unit = "$" if budget["unit"] == USD else ""
    end = "" if unit else " tokens"
    over = f", over by {unit}{budget['over']:,.6g}" if budget["over"] else ""
    return (
        f"budget {budget['name']}: {unit}{budget['spent']:,.6g} of {unit}{budget['limit']:,.6g}{end} this "
        f"{budget['per']}{over}, until {budget['resets_at'][:10]}"
    )
