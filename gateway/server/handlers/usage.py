"""What was used, and what is left: for a key about itself, for operators about all, and the running totals."""

from typing import Any

import msgspec
import yaml
from aiohttp import web

from gateway.accounts.budgets import BudgetLine
from gateway.accounts.report import read_query, store_id, write_budget, write_limits, write_usage
from gateway.accounts.running_totals import chosen, merged
from gateway.config.fields import ANONYMOUS
from gateway.errors import BadRequest, StoreUnavailable
from gateway.proxy.context import CONTEXT
from gateway.proxy.state import GATEWAY, Gateway
from gateway.server.siblings import siblings_of
from gateway.store.protocol import StoreDown


async def own_usage(request: web.Request) -> web.Response:
    """GET /v1/usage: what the key has used, by day or as `by` says, and what is left of its limits and budgets."""
    gateway, context = request.app[GATEWAY], request[CONTEXT]
    owner = context.owner
    name = owner.name if owner is not None else f"#{context.key_id}" if context.key_id else ANONYMOUS
    limits: list[dict[str, Any]] = []
    if owner is not None:
        limited = context.snapshot.limit_book.of_key(owner.name, owner.key)
        limits = write_limits(owner.name, limited, gateway.ledger.cells, gateway.clock.monotonic())
    budgets = context.snapshot.budgets.keys.get(context.owner_name, ())
    return await _answer(request, gateway, "day", {"key": name}, limits, list(budgets))


async def all_usage(request: web.Request) -> web.Response:
    """GET /usage: what all have used, and all limits of keys and budgets; for operators."""
    gateway, context = request.app[GATEWAY], request[CONTEXT]
    snapshot, now = context.snapshot, gateway.clock.monotonic()
    limits = [
        written
        for name, key in snapshot.config.keys.items()
        for written in write_limits(name, snapshot.limit_book.of_key(name, key), gateway.ledger.cells, now)
    ]
    where = {name: value for name in ("key", "team", "alias") if (value := request.query.get(name)) is not None}
    return await _answer(
        request, gateway, "key", where, limits, list(snapshot.budgets), store=store_id(snapshot.config)
    )


async def running_totals(request: web.Request) -> web.Response:
    """GET /metrics/running-totals: since the start, by provider and model, in YAML or JSON; for operators."""
    gateway = request.app[GATEWAY]
    report = gateway.running_totals.report(len(gateway.lifecycle.exchanges))
    if (siblings := siblings_of(request)) is not None:
        others = [msgspec.json.decode(part) for part in await siblings.ask(request.path, format="json")]
        report = merged([report, *others, *siblings.left_totals()])
    report = chosen(report, request.query.get("provider", "*"), request.query.get("model", "*"))
    if request.query.get("include_active", "true").lower() in ("false", "0", "no"):
        del report["summary"]["active"]
    if request.query.get("format") == "json" or "application/json" in ",".join(request.headers.getall("Accept", ())):
        return web.Response(body=msgspec.json.encode(report), content_type="application/json")
    text = yaml.safe_dump(report, sort_keys=False, allow_unicode=True)
    return web.Response(text=text, content_type="application/yaml")


async def _answer(
    request: web.Request,
    gateway: Gateway,
    by: str,
    where: dict[str, str],
    limits: list[dict[str, Any]],
    budgets: list[BudgetLine],
    **more: str,
) -> web.Response:
    given, now = request.query, gateway.clock.time()
    try:
        query = read_query(given.get("by", by), given.get("since", ""), given.get("until", ""), now, where)
    except ValueError as error:
        raise BadRequest(str(error), param=str(error).partition(":")[0]) from None
    try:
        await gateway.usage_sums.flush()
        rows = await gateway.responses.read_sums(query)
    except StoreDown:
        raise StoreUnavailable from None
    funds = [budget.fund(now) for budget in budgets]
    spent = await gateway.ledger.spent(funds)
    written = [write_budget(budget, fund, *one) for budget, fund, one in zip(budgets, funds, spent, strict=True)]
    body = msgspec.json.encode(write_usage(query, rows, limits, written) | more)
    return web.Response(body=body, content_type="application/json")
