"""A provider's own words for service tiers do not reach clients and providers of other companies."""

import json
from typing import Any

import pytest

from gateway.wire import DIALECTS
from gateway.wire.profile import Profile
from gateway.wire.translated_lane import read_whole
from tests.wire.crossings import chat_request, cross, memo_of, message, messages_request, written
from tests.wire.responses_to_others import responses_request

TIERS = Profile(tiers=True)
REPLIES = [
    ("standard", "default"),
    ("batch", "default"),
    ("priority", "priority"),
    ("default", "default"),
    ("flex", "flex"),
    ("scale", "scale"),
    ("on_demand", None),
    ("performance", None),
    ("reserved", None),
    ("", None),
]


def chat_reply(tier: str) -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", "content": "a"}, "finish_reason": "stop"}
    return json.dumps({"id": "x", "service_tier": tier, "choices": [choice]}).encode()


def said_to(client: str, request: dict[str, Any], body: bytes, upstream: str) -> Any:
    reads, writes = DIALECTS[upstream].upstream, DIALECTS[client].client
    assert reads is not None
    assert writes is not None
    memo = memo_of(client, request)
    return json.loads(writes.write_reply(read_whole(reads, body, is_stream=False, memo=memo), memo))


@pytest.mark.parametrize(("tier", "wanted"), REPLIES)
def test_clients_read_words_of_their_own_dialect(tier: str, wanted: str | None) -> None:
    """What a provider calls a tier is told in the client's words, and as the default if it has none."""
    said = said_to("openai_responses", responses_request(), chat_reply(tier), "openai_chat")
    assert said["service_tier"] == (wanted or "default")
    said = said_to("anthropic_messages", messages_request(), chat_reply(tier), "openai_chat")
    assert said["usage"]["service_tier"] == "standard"
    usage = {"input_tokens": 1, "output_tokens": 1, "service_tier": tier}
    text = {"type": "text", "text": "a"}
    whole = {"type": "message", "content": [text], "stop_reason": "end_turn", "usage": usage}
    said = said_to("openai_chat", chat_request(), json.dumps(whole).encode(), "anthropic_messages")
    assert said.get("service_tier") == wanted
    stream = message(text, usage=usage)  # type: ignore[arg-type]
    assert (b'"service_tier":"on_demand"' in cross("openai_chat", stream)) is False


@pytest.mark.parametrize("upstream", ["openai_chat", "openai_responses"])
@pytest.mark.parametrize(
    ("tier", "sent", "lost"),
    [
        ("auto", "auto", []),
        ("standard_only", "default", []),
        ("priority", "priority", []),
        ("on_demand", None, ["service_tier"]),
        ("reserved", None, ["service_tier"]),
    ],
)
def test_providers_get_words_that_they_know(upstream: str, tier: str, sent: str | None, lost: list[str]) -> None:
    """A word of another provider is dropped and told, where it would be the provider's 400."""
    out, memo = written("anthropic_messages", messages_request(service_tier=tier), TIERS, upstream=upstream)
    assert out.get("service_tier") == sent and memo.drops.names == lost


def test_anthropic_gets_words_that_it_knows() -> None:
    """Groq's word for its usual tier is no word of Anthropic's."""
    out, memo = written("openai_chat", chat_request(service_tier="on_demand"))
    assert "service_tier" not in out and memo.drops.names == ["service_tier"]
