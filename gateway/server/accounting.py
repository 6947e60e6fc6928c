"""Accounts for an exchange once, at its end: settles its limits, counts it, sums its usage, writes its one log line."""

from typing import Any

from gateway.accounts.budgets import PICO
from gateway.accounts.charges import ESTIMATED, Charge
from gateway.config.fields import ANONYMOUS
from gateway.errors import UpstreamFault
from gateway.proxy.context import RequestContext
from gateway.proxy.exchange import Exchange, State
from gateway.proxy.reserve import settle
from gateway.proxy.state import Gateway
from gateway.wire.neutral import Usage

TOKEN_PARTS = ("input", "cache_read", "cache_write", "output", "reasoning")
PROMPT_PARTS = frozenset({"input", "cache_read", "cache_write"})
NO_USAGE = Usage()


def close_books(gateway: Gateway, context: RequestContext) -> None:
    """Count the exchange in the metrics and write its log line. No other place adds members to that line."""
    settle(gateway, context)
    exchange = context.exchange
    now = gateway.clock.monotonic()
    outcome = _outcome(exchange)
    _count(gateway, exchange, outcome, now)
    if exchange.label and not context.is_handed_on and context.endpoint.dialect.write_count is None:
        _sum(gateway, context, outcome)
    elif context.endpoint.reserves and not exchange.label and context.owner is not None:  # refused before it was read
        gateway.telemetry.metrics.key_requests.inc(context.owner.name, context.owner.key.team, outcome)
    if context.endpoint.is_quiet and exchange.error is None:
        return
    line: dict[str, Any] = {
        "ts": round(gateway.clock.time(), 3),
        "level": "info",
        "event": "exchange",
        "id": exchange.id,
        "endpoint": exchange.endpoint,
        "status": exchange.status,
        "outcome": outcome,
        "ms": round((now - exchange.started) * 1000, 1),
        "address": context.address,
    }
    if context.owner is not None:
        line["key"] = context.owner.name
        if context.owner.key.labels:
            line["labels"] = context.owner.key.labels
    if context.key_id:
        line["key_id"] = context.key_id
    if exchange.alias:
        line |= _route_members(exchange)
    if exchange.response:
        line["response"] = exchange.response
    if exchange.is_stored is not None:
        line["stored"] = exchange.is_stored
    if exchange.usage is not None:
        line |= _usage_members(exchange.usage)
    if exchange.charges and context.endpoint.dialect.write_count is None:
        line["cost"] = _cost(exchange.charges)
    if exchange.error is not None:
        line["origin"], line["code"] = exchange.error.origin, exchange.error.code
    if exchange.notes:
        line |= exchange.notes
    if exchange.failures:
        line["failed"] = exchange.failures
    gateway.telemetry.logs.exchange(line)


def _usage_members(usage: Usage) -> dict[str, Any]:
    members = {part: count for part in TOKEN_PARTS if (count := getattr(usage, part)) is not None}
    return members | {"estimated": True} if usage.is_estimated else members


def _cost(charges: list[Charge]) -> float | None:
    """Return the dollars of all attempts together; None if any of them has no price."""
    known = [charge.cost for charge in charges if charge.cost is not None]
    return sum(known) / PICO if len(known) == len(charges) else None


def _route_members(exchange: Exchange) -> dict[str, Any]:
    members = {
        "alias": exchange.alias,
        "provider": exchange.provider,
        "model": exchange.model,
        "stream": exchange.is_stream,
        "attempts": exchange.attempts,
    }
    if exchange.upstream_id:
        members["upstream_id"] = exchange.upstream_id
    if exchange.affinity:
        members["affinity"] = exchange.affinity
    if exchange.refused:
        members["refused"] = exchange.refused
    if exchange.first_byte is not None:
        members["first_ms"] = round((exchange.first_byte - exchange.started) * 1000, 1)
    return members


def _count(gateway: Gateway, exchange: Exchange, outcome: str, now: float) -> None:
    metrics, provider = gateway.telemetry.metrics, exchange.provider
    metrics.requests.inc(exchange.endpoint, exchange.label, provider, outcome)
    metrics.duration.observe(now - exchange.started, exchange.endpoint)
    if exchange.error is not None:
        origin = "upstream" if isinstance(exchange.error, UpstreamFault) else "gateway"
        metrics.errors.inc(origin, provider, outcome)
    if exchange.first_byte is not None:
        until_first = exchange.first_byte - exchange.started
        metrics.first_token.observe(until_first, provider)
        metrics.overhead.observe(max(0.0, until_first - exchange.upstream_s))
    if exchange.affinity:
        metrics.affinity.inc(provider, exchange.affinity)
        if exchange.usage is not None:
            for part in PROMPT_PARTS:
                if tokens := getattr(exchange.usage, part):
                    metrics.prompt_tokens.inc(provider, exchange.affinity, part, by=tokens)


def _sum(gateway: Gateway, context: RequestContext, outcome: str) -> None:
    """Add what each attempt has cost to the sums of its provider; the exchange itself counts where it ended."""
    exchange, owner, totals = context.exchange, context.owner, gateway.running_totals
    key, team = (owner.name, owner.key.team) if owner is not None else (ANONYMOUS, "")
    gateway.telemetry.metrics.key_requests.inc(key, team, outcome)
    whose, day = key if owner is not None else _passed_through(context), gateway.today()
    provider, model, is_stream = exchange.provider, exchange.model, exchange.is_stream
    is_error = exchange.error is not None
    if provider:
        totals.count_request(key, team, provider, model, is_stream=is_stream)
    has_ended = False
    for charge in exchange.charges:
        usage = charge.usage or NO_USAGE
        totals.add(key, team, charge, is_stream=is_stream)
        has_ended = charge is exchange.charges[-1] and charge.provider == provider and charge.model == model
        numbers = (
            int(has_ended),
            int(has_ended and is_error),
            usage.input or 0,
            usage.cache_read or 0,
            usage.cache_write or 0,
            usage.output or 0,
            usage.reasoning or 0,
            charge.cost or 0,
            int(charge.cost is None),
            int(charge.source == ESTIMATED),
        )
        names = (day, whose, team, exchange.label, charge.provider, charge.model, exchange.session)
        gateway.usage_sums.add(names, numbers)
    if not has_ended:
        model = model if not is_error or _is_named(context, model) else ""  # that no provider has confirmed
        names = (day, whose, team, exchange.label, provider, model, exchange.session)
        gateway.usage_sums.add(names, (1, int(is_error), 0, 0, 0, 0, 0, 0, 0, 0))


def _is_named(context: RequestContext, model: str) -> bool:
    """Whether the route of an exchange names the model, so that no client has made it up."""
    route = context.snapshot.config.routes.get(context.exchange.label)
    return route is not None and any(target.model == model for target in (*route.targets, *route.context_fallback))


def _passed_through(context: RequestContext) -> str:
    """Return whose use it is that shows no key of ours: the digits of a provider's key that was good, else nobody's."""
    if context.exchange.charges and context.exchange.error is None and context.key_id:
        charge = context.exchange.charges[-1]
        if context.snapshot.config.providers[charge.provider].auth.is_passthrough:
            return f"#{context.key_id}"
    return ANONYMOUS


def _outcome(exchange: Exchange) -> str:
    """How an exchange ended, in a bounded set of words."""
    if exchange.state is State.ABANDONED:
        return "abandoned"
    if exchange.error is None:
        return "ok"
    if isinstance(exchange.error, UpstreamFault):
        return exchange.error.fault.value
    return exchange.error.outcome
