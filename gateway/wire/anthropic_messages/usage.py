"""Reads and writes the token counts of Messages, whose parts are disjoint as in Usage (docs/wire/replies.md#usage)."""

from typing import Any

from attrs import evolve

from gateway.wire.codec.lenient import count, service_tier
from gateway.wire.neutral import Usage


def read_usage(payload: Any) -> Usage | None:
    """Read a `usage` object; None if it has no counts. If it lists `iterations`, their counts are added up."""
    if not isinstance(payload, dict):
        return None
    iterations = payload.get("iterations")
    if isinstance(iterations, list) and iterations and all(isinstance(one, dict) for one in iterations):
        payload = payload | {name: total for name in _NAMES if (total := _sum(iterations, name)) is not None}
        caches = [cache for one in iterations if isinstance(cache := one.get("cache_creation"), dict)]
        if (hour := _sum(caches, _HOUR)) is not None:
            payload = payload | {"cache_creation": {_HOUR: hour}}
    details, written = payload.get("output_tokens_details"), payload.get("cache_creation")
    usage = Usage(
        input=count(payload.get("input_tokens")),
        cache_read=count(payload.get("cache_read_input_tokens")),
        cache_write=count(payload.get("cache_creation_input_tokens")),
        output=count(payload.get("output_tokens")),
        reasoning=count(details.get("thinking_tokens")) if isinstance(details, dict) else None,
        cache_write_1h=count(written.get(_HOUR)) if isinstance(written, dict) else None,
    )
    if usage == Usage():
        return None
    tier = "fast" if payload.get("speed") == "fast" else service_tier(payload.get("service_tier"))
    return usage if tier is None else evolve(usage, tier=tier)


_HOUR = "ephemeral_1h_input_tokens"
_NAMES = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens", "output_tokens")


def _sum(iterations: list[dict[str, Any]], name: str) -> int | None:
    counts = [number for one in iterations if (number := count(one.get(name))) is not None]
    return sum(counts) if counts else None


def write_usage(usage: Usage) -> dict[str, Any]:
    """Write the `usage` of a whole message (SDK type Usage). Unknown counts are 0: the SDK requires both totals."""
    payload = {
        "input_tokens": usage.input or 0,
        "cache_creation_input_tokens": usage.cache_write or 0,
        "cache_read_input_tokens": usage.cache_read or 0,
        "output_tokens": usage.output or 0,
    }
    return {**payload, **_details(usage), "server_tool_use": None, "service_tier": "standard"}


def write_delta_usage(usage: Usage) -> dict[str, Any]:
    """Write the `usage` of a `message_delta`.

    Its counts overwrite those of `message_start`, so input counts that are unknown or estimated are left out.
    """
    payload: dict[str, Any] = {"output_tokens": usage.output or 0}
    if usage.input is not None and not usage.is_estimated:
        payload["input_tokens"] = usage.input
        payload["cache_read_input_tokens"] = usage.cache_read or 0
        payload["cache_creation_input_tokens"] = usage.cache_write or 0
    return payload | _details(usage)


def _details(usage: Usage) -> dict[str, Any]:
    return {} if usage.reasoning is None else {"output_tokens_details": {"thinking_tokens": usage.reasoning}}
