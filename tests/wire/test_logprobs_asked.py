"""Logprobs are asked for in the provider's words, between Chat and Responses; where there are none it is told."""

import json
from typing import Any

import pytest

from gateway.errors import BadRequest
from gateway.wire.profile import Profile
from tests.wire.crossings import chat_request, cross, request_of, write, written
from tests.wire.grammar import frames_of
from tests.wire.logprobs import HELLO, WORD, asked, chat_stream
from tests.wire.responses_to_others import responses_request, sent

SEALED = "reasoning.encrypted_content"
NONE = Profile(penalties=False)


@pytest.mark.parametrize(
    ("more", "include", "likeliest"),
    [
        ({}, [SEALED], None),
        ({"logprobs": False}, [SEALED], None),
        ({"logprobs": None, "top_logprobs": None}, [SEALED], None),
        ({"logprobs": True}, [SEALED, WORD], None),
        ({"logprobs": True, "top_logprobs": 0}, [SEALED, WORD], None),
        ({"logprobs": True, "top_logprobs": 20}, [SEALED, WORD], 20),
    ],
)
def test_a_chat_client_asks_a_responses_provider(more: Any, include: list[str], likeliest: int | None) -> None:
    """`logprobs` becomes a word of `include`, `top_logprobs` stays what it is, and nothing is lost."""
    out, memo = written("openai_chat", chat_request(**more), upstream="openai_responses")
    assert (out["include"], out.get("top_logprobs"), memo.drops.names) == (include, likeliest, [])


@pytest.mark.parametrize(
    ("more", "wanted"),
    [
        ({}, {}),
        ({"top_logprobs": 0}, {}),
        ({"include": [SEALED]}, {}),
        ({"include": [], "top_logprobs": None}, {}),
        ({"include": [WORD]}, {"logprobs": True}),
        ({"include": [SEALED, WORD], "top_logprobs": 0}, {"logprobs": True}),
        ({"include": [WORD, WORD], "top_logprobs": 5}, {"logprobs": True, "top_logprobs": 5}),
        ({"top_logprobs": 5.0}, {"logprobs": True, "top_logprobs": 5}),
        ({"include": None, "top_logprobs": 2}, {"logprobs": True, "top_logprobs": 2}),
    ],
)
def test_a_responses_client_asks_a_chat_provider(more: Any, wanted: dict[str, Any]) -> None:
    """The word in `include`, or a number of others above 0, becomes `logprobs: true`."""
    out, lost = sent(**more)
    assert {name: value for name, value in out.items() if "logprobs" in name} == wanted and lost == []


@pytest.mark.parametrize("value", ["5", True, 1.5, [], {}])
def test_a_number_of_others_that_is_none(value: Any) -> None:
    """What is no whole number is a 400 that names the member."""
    with pytest.raises(BadRequest) as caught:
        request_of("openai_responses", responses_request(top_logprobs=value))
    assert caught.value.param == "top_logprobs"


@pytest.mark.parametrize(
    ("client", "upstream", "more"),
    [
        ("openai_chat", "openai_responses", {"logprobs": True, "top_logprobs": 2}),
        ("openai_responses", "openai_chat", {"include": [WORD], "top_logprobs": 2}),
        ("openai_chat", "anthropic_messages", {"logprobs": True, "top_logprobs": 2}),
        ("openai_responses", "anthropic_messages", {"include": [WORD], "top_logprobs": 2}),
        ("openai_responses", "anthropic_messages", {"top_logprobs": 2}),
    ],
)
def test_where_there_are_none_it_is_told(client: str, upstream: str, more: Any) -> None:
    """A model without logprobs, and any Messages provider, is not asked, and the loss is named."""
    said = (chat_request if client == "openai_chat" else responses_request)(**more)
    out, memo = written(client, said, NONE, upstream=upstream)
    assert WORD not in out.get("include", ()) and not [name for name in out if "logprobs" in name]
    assert memo.drops.names == ["logprobs", "top_logprobs"]


def test_a_word_that_is_lost_is_told() -> None:
    """The word in `include` alone is one loss."""
    assert sent("anthropic_messages", include=[WORD])[1] == ["logprobs"]


@pytest.mark.parametrize(("profile", "shown"), [(Profile(), 3), (NONE, 0)])
def test_a_response_repeats_what_was_asked(profile: Profile, shown: int) -> None:
    """The response object has the number of others that the provider was asked for."""
    memo = asked("openai_responses", profile, top_logprobs=3)
    write(memo, upstream="openai_chat")
    out = cross("openai_responses", chat_stream(("Hello", HELLO)), memo, "openai_chat")
    shows = [json.loads(data)["response"]["top_logprobs"] for _, data in frames_of(out) if '"response":' in data]
    assert shows == [shown] * 3
