"""Reads and writes the token counts of Chat, also from the members where compatible servers put them."""

from typing import Any

import msgspec

from gateway.wire.codec.lenient import count
from gateway.wire.neutral import Usage


class _PromptDetails(msgspec.Struct):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    cache_creation_tokens: int | None = None
    cache_creation_input_tokens: int | None = None  # DashScope
    audio_tokens: int | None = None


class _CompletionDetails(msgspec.Struct):
    reasoning_tokens: int | None = None
    audio_tokens: int | None = None


class ChatUsage(msgspec.Struct):
    """A `usage` object (SDK type CompletionUsage), with what compatible servers add to it."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    prompt_tokens_details: _PromptDetails | None = None
    completion_tokens_details: _CompletionDetails | None = None
    prompt_cache_hit_tokens: int | None = None  # DeepSeek
    cached_tokens: int | None = None  # Moonshot
    cache_read_input_tokens: int | None = None  # servers in front of Claude
    cache_creation_input_tokens: int | None = None
    reasoning_tokens: int | None = None  # Perplexity, MiniMax


_NO_PROMPT, _NO_COMPLETION = _PromptDetails(), _CompletionDetails()


def usage_of(payload: ChatUsage | None) -> Usage | None:
    """Split the counts into the disjoint parts of the neutral Usage; None if there are no counts.

    See docs/wire/replies.md#usage.

    `prompt_tokens` includes the tokens that were read from and written to the cache; `Usage.input` does not.
    """
    if payload is None or (payload.prompt_tokens is None and payload.completion_tokens is None):
        return None
    details = payload.prompt_tokens_details or _NO_PROMPT
    made = payload.completion_tokens_details or _NO_COMPLETION
    cached = _first(
        details.cached_tokens, payload.prompt_cache_hit_tokens, payload.cached_tokens, payload.cache_read_input_tokens
    )
    written = _first(
        details.cache_write_tokens,
        details.cache_creation_tokens,
        details.cache_creation_input_tokens,
        payload.cache_creation_input_tokens,
    )
    reasoning = _first(made.reasoning_tokens, payload.reasoning_tokens)
    prompt, completion = payload.prompt_tokens, payload.completion_tokens
    if completion is None and prompt is not None and (payload.total_tokens or 0) > prompt:
        completion = (payload.total_tokens or 0) - prompt
    if prompt is not None and completion is not None:
        beside = (payload.total_tokens or 0) - prompt - completion
        if beside > 0 and reasoning in (None, 0, beside):
            # xAI counts reasoning beside the completion, not in it; Google counts it in the total only.
            completion, reasoning = completion + beside, beside
    if completion is not None and (payload.reasoning_tokens or 0) > completion:
        completion += payload.reasoning_tokens or 0  # Perplexity's research counts them nowhere else
    return Usage(
        None if prompt is None else max(0, prompt - (cached or 0) - (written or 0)),
        cached,
        written,
        completion,
        reasoning,
        input_audio=details.audio_tokens,
        output_audio=made.audio_tokens,
    )


def write_usage(usage: Usage) -> dict[str, Any]:
    """Write a `usage` object. Unknown counts are written as 0, as the SDKs expect numbers."""
    prompt, output = usage.prompt or 0, usage.output or 0
    return {
        "prompt_tokens": prompt,
        "completion_tokens": output,
        "total_tokens": prompt + output,
        "prompt_tokens_details": {
            "cached_tokens": usage.cache_read or 0,
            "cache_write_tokens": usage.cache_write or 0,
            "audio_tokens": usage.input_audio or 0,
        },
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning or 0,
            "audio_tokens": usage.output_audio or 0,
        },
    }


def read_usage(payload: Any) -> Usage | None:
    """Read a decoded `usage` object, also if its numbers are strings or floats; None if it has no counts."""
    return usage_of(tidy_usage(payload))


def tidy_usage(payload: Any) -> ChatUsage | None:
    """Take the counts out of a decoded `usage` object; None if it is not an object."""
    return msgspec.convert(_tidy(payload), ChatUsage) if isinstance(payload, dict) else None


def _tidy(payload: dict[str, Any]) -> dict[str, Any]:
    """Keep the members that are counts, and the `_details` that hold counts."""
    kept: dict[str, Any] = {}
    for name, value in payload.items():
        if isinstance(value, dict):
            kept[name] = _tidy(value)
        elif (number := count(value)) is not None:
            kept[name] = number
    return {name: value for name, value in kept.items() if isinstance(value, dict) == name.endswith("_details")}


def _first(*values: int | None) -> int | None:
    for value in values:
        if value is not None:
            return value
    return None
