"""Reads and writes `usage` objects of Responses: counted as in Chat, with other names (docs/wire/replies.md#usage)."""

from collections.abc import Mapping
from typing import Any

from attrs import evolve

from gateway.wire.codec.lenient import count, service_tier
from gateway.wire.neutral import Usage


def read_usage(payload: Any) -> Usage | None:
    """Read a `usage` object; None if it counts neither input nor output.

    OpenAI's `input_tokens` include those read from a cache and those written to one; the neutral `input` does not.
    """
    if not isinstance(payload, dict):
        return None
    given, made = count(payload.get("input_tokens")), count(payload.get("output_tokens"))
    if given is None and made is None:
        return None
    read = _detail(payload.get("input_tokens_details"), "cached_tokens")
    written = _detail(payload.get("input_tokens_details"), "cache_write_tokens")
    fresh = None if given is None else max(0, given - (read or 0) - (written or 0))
    return Usage(fresh, read, written, made, _detail(payload.get("output_tokens_details"), "reasoning_tokens"))


def read_response_usage(response: Mapping[str, Any]) -> Usage | None:
    """Read the `usage` of a response object, with the service tier that it names beside."""
    usage, tier = read_usage(response.get("usage")), service_tier(response.get("service_tier"))
    return usage if usage is None or tier is None else evolve(usage, tier=tier)


def _detail(payload: Any, name: str) -> int | None:
    return count(payload.get(name)) if isinstance(payload, dict) else None


def write_usage(usage: Usage) -> dict[str, Any]:
    """Write a `usage` object (SDK type ResponseUsage). Unknown counts are 0, because Codex needs every number."""
    prompt, output = usage.prompt or 0, usage.output or 0
    return {
        "input_tokens": prompt,
        "input_tokens_details": {"cached_tokens": usage.cache_read or 0, "cache_write_tokens": usage.cache_write or 0},
        "output_tokens": output,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning or 0},
        "total_tokens": prompt + output,
    }
