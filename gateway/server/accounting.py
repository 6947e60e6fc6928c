"""Accounts for an exchange once, at its end: counts it in the metrics, writes its one log line."""

from typing import Any

from gateway.errors import UpstreamFault
from gateway.proxy.context import RequestContext
from gateway.proxy.exchange import Exchange, State
from gateway.proxy.state import Gateway
from gateway.wire.neutral import Usage

TOKEN_PARTS = ("input", "cache_read", "cache_write", "output", "reasoning")
PROMPT_PARTS = frozenset({"input", "cache_read", "cache_write"})


def close_books(gateway: Gateway, context: RequestContext) -> None:
    """Count the exchange in the metrics and write its log line. No other place adds members to that line."""
    exchange = context.exchange
    now = gateway.clock.monotonic()
    outcome = _outcome(exchange)
    _count(gateway, exchange, outcome, now)
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
        for part in TOKEN_PARTS:
            if tokens := getattr(exchange.usage, part):
                metrics.tokens.inc(provider, part, by=tokens)
                if exchange.affinity and part in PROMPT_PARTS:
                    metrics.prompt_tokens.inc(provider, exchange.affinity, part, by=tokens)


def _outcome(exchange: Exchange) -> str:
    """How an exchange ended, in a bounded set of words."""
    if exchange.state is State.ABANDONED:
        return "abandoned"
    if exchange.error is None:
        return "ok"
    if isinstance(exchange.error, UpstreamFault):
        return exchange.error.fault.value
    return exchange.error.outcome
