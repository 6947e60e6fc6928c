"""The `usage` objects that providers send, one sample each, and what the clients of every dialect read of them."""

import json
from typing import Any

import msgspec
import pytest

from gateway.wire.anthropic_messages import usage as messages
from gateway.wire.events import merge
from gateway.wire.neutral import Usage
from gateway.wire.openai_chat import usage as chat
from gateway.wire.openai_chat.raw import read_chunk, usage_in
from gateway.wire.openai_responses import usage as responses
from tests.wire.crossings import chunk, cross, memo_of
from tests.wire.grammar import read_messages

# Provider -> its usage; (fresh input, read from a cache, written to one, output, reasoning).
Counts = tuple[int | None, int | None, int | None, int | None, int | None]
SAMPLES: dict[str, tuple[dict[str, Any], Counts]] = {
    "OpenAI": (
        {
            "prompt_tokens": 2006, "completion_tokens": 300, "total_tokens": 2306,
            "prompt_tokens_details": {"cached_tokens": 1920, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 128, "audio_tokens": 0},
        },
        (86, 1920, None, 300, 128),
    ),
    "Gemini, thinking in the total only": (
        {"prompt_tokens": 9, "completion_tokens": 20, "total_tokens": 129},
        (9, None, None, 120, 100),
    ),
    "Gemini, thinking only, cut": (
        {"prompt_tokens": 9, "completion_tokens": 0, "total_tokens": 59},
        (9, None, None, 50, 50),
    ),
    "Gemini, cached": (
        {
            "prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 150,
            "prompt_tokens_details": {"cached_tokens": 40},
        },
        (60, 40, None, 50, 30),
    ),
    "Gemini without thinking": (
        {"prompt_tokens": 9, "completion_tokens": 20, "total_tokens": 29}, (9, None, None, 20, None)
    ),
    "xAI, reasoning beside": (
        {
            "prompt_tokens": 291, "completion_tokens": 26, "total_tokens": 513,
            "prompt_tokens_details": {"text_tokens": 291, "audio_tokens": 0, "image_tokens": 0, "cached_tokens": 163},
            "completion_tokens_details": {"reasoning_tokens": 196, "audio_tokens": 0},
        },
        (128, 163, None, 222, 196),
    ),
    "DeepSeek": (
        {
            "prompt_tokens": 50, "completion_tokens": 20, "total_tokens": 70,
            "prompt_cache_hit_tokens": 40, "prompt_cache_miss_tokens": 10,
            "completion_tokens_details": {"reasoning_tokens": 12},
        },
        (10, 40, None, 20, 12),
    ),
    "Moonshot": (
        {"prompt_tokens": 50, "completion_tokens": 20, "total_tokens": 70, "cached_tokens": 40}, (10, 40, None, 20, None)
    ),
    "DashScope": (
        {
            "prompt_tokens": 3000, "completion_tokens": 5, "total_tokens": 3005,
            "prompt_tokens_details": {"cached_tokens": 0, "cache_creation_input_tokens": 2000, "cache_type": "ephemeral"},
        },
        (1000, 0, 2000, 5, None),
    ),
    "OpenRouter": (
        {
            "prompt_tokens": 100, "completion_tokens": 5, "total_tokens": 105, "cost": 0.1,
            "prompt_tokens_details": {"cached_tokens": 10, "cache_write_tokens": 20},
            "completion_tokens_details": {"reasoning_tokens": 0},
        },
        (70, 10, 20, 5, 0),
    ),
    "a server in front of Claude": (
        {
            "prompt_tokens": 100, "completion_tokens": 5, "total_tokens": 105,
            "cache_read_input_tokens": 10, "cache_creation_input_tokens": 20,
        },
        (70, 10, 20, 5, None),
    ),
    "Perplexity": (
        {
            "prompt_tokens": 10, "completion_tokens": 50, "total_tokens": 60, "citation_tokens": 7,
            "num_search_queries": 2, "reasoning_tokens": 30,
        },
        (10, None, None, 50, 30),
    ),
    "a total that is more than its parts say": (
        {
            "prompt_tokens": 10, "completion_tokens": 50, "total_tokens": 99,
            "completion_tokens_details": {"reasoning_tokens": 30},
        },
        (10, None, None, 50, 30),
    ),
    "a total that is too small": (
        {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 5}, (10, None, None, 5, None)
    ),
    "numbers as text": (
        {"prompt_tokens": "9", "completion_tokens": 20.0, "total_tokens": "129"}, (9, None, None, 120, 100)
    ),
    "an output alone": ({"completion_tokens": 5, "total_tokens": 15}, (None, None, None, 5, None)),
    "a prompt and a total": ({"prompt_tokens": 10, "total_tokens": 15}, (10, None, None, 5, None)),
    "a prompt alone": ({"prompt_tokens": 10, "total_tokens": 10}, (10, None, None, None, None)),
}  # fmt: skip


def counts(usage: Usage | None) -> Counts:
    assert usage is not None
    return usage.input, usage.cache_read, usage.cache_write, usage.output, usage.reasoning


@pytest.mark.parametrize("name", SAMPLES)
def test_a_providers_usage_is_read_right(name: str) -> None:
    """Each provider's counts are read the same by the raw lane and by the reader of crossings."""
    said, expected = SAMPLES[name]
    assert counts(chat.read_usage(said)) == expected
    assert counts(usage_in(read_chunk(json.dumps({"choices": [], "usage": said}).encode()))) == expected
    grouped = json.dumps({"choices": [], "x_groq": {"usage": said}}).encode()
    assert counts(usage_in(read_chunk(grouped))) == expected


@pytest.mark.parametrize("name", SAMPLES)
def test_every_client_reads_the_same_sums(name: str) -> None:
    """What OpenAI's clients read as prompt and completion is what Anthropic's read as the sum of their parts."""
    said, (fresh, cached, stored, output, reasoning) = SAMPLES[name]
    usage = chat.read_usage(said)
    assert usage is not None
    prompt = (fresh or 0) + (cached or 0) + (stored or 0)
    of_chat, of_responses = chat.write_usage(usage), responses.write_usage(usage)
    of_messages = messages.write_usage(usage)
    assert of_chat["prompt_tokens"] == of_responses["input_tokens"] == (prompt if fresh is not None else 0)
    assert (
        of_chat["completion_tokens"] == of_responses["output_tokens"] == of_messages["output_tokens"] == (output or 0)
    )
    assert of_chat["total_tokens"] == of_responses["total_tokens"] == of_chat["prompt_tokens"] + (output or 0)
    assert of_chat["completion_tokens_details"]["reasoning_tokens"] == (reasoning or 0)
    assert of_responses["output_tokens_details"]["reasoning_tokens"] == (reasoning or 0)
    assert (of_messages["cache_read_input_tokens"], of_messages["input_tokens"]) == (cached or 0, fresh or 0)


def test_sound_is_counted() -> None:
    """Tokens of sound are told to Chat clients, and merged and summed like all others."""
    said = {
        "prompt_tokens": 50, "completion_tokens": 20, "total_tokens": 70,
        "prompt_tokens_details": {"audio_tokens": 30}, "completion_tokens_details": {"audio_tokens": 12},
    }  # fmt: skip
    usage = chat.read_usage(said)
    assert usage is not None and (usage.input_audio, usage.output_audio) == (30, 12)
    out = chat.write_usage(merge(usage, Usage(output=21)))
    assert out["prompt_tokens_details"]["audio_tokens"] == 30 and out["completion_tokens"] == 21
    assert out["completion_tokens_details"]["audio_tokens"] == 12


@pytest.mark.parametrize("is_early", [False, True])
def test_thinking_that_only_the_total_has_reaches_a_client(is_early: bool) -> None:
    """In a stream too, where Google repeats its usage on every chunk."""
    said = b"data: " + msgspec.json.encode({"choices": [], "usage": SAMPLES["Gemini, thinking in the total only"][0]})
    frames = [chunk(content="a"), chunk("stop")]
    frames.insert(1 if is_early else 2, said + b"\n\n")
    out = read_messages(
        cross("anthropic_messages", b"".join(frames) + b"data: [DONE]\n\n", memo_of("anthropic_messages"))
    )
    assert out.usage is not None and out.usage["output_tokens"] == 120
    assert out.usage["output_tokens_details"] == {"thinking_tokens": 100}
