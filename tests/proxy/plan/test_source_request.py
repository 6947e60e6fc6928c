"""What a client sent, read once and fitted to each provider."""

import json
from typing import Any

from gateway.proxy.plan.reasoning_memory import ReasoningMemory
from gateway.proxy.plan.source_request import History
from gateway.wire import DIALECTS
from gateway.wire.codec.json_body import JsonBody
from gateway.wire.neutral import Reasoning, ToolCall
from gateway.wire.profile import Profile
from gateway.wire.translation.envelope import Sealer
from tests.proxy.plan.sources import HI, source

MESSAGES = DIALECTS["anthropic_messages"].client
SEALED = Reasoning(("hm",), sealed="E", origin="openai_responses")
ANSWER = {"type": "text", "text": "Yes"}


def thinking(signature: str) -> list[dict[str, Any]]:
    return [
        HI,
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm", "signature": signature}, ANSWER]},
    ]


def test_the_request_is_read_once_under_the_clients_name_for_the_model() -> None:
    """The neutral request is the same object each time, and has the model's name that the client sent."""
    asked = source(model="my-alias")
    assert asked.request() is asked.request() and asked.request().model == "my-alias"


def test_what_the_client_dropped_is_put_back() -> None:
    """Reasoning that is remembered for a call of the history stands before it again, for its owner only."""
    memory, thought = ReasoningMemory(), Reasoning(("hm",), signature="S", origin="anthropic_messages")
    memory.remember("owner", 10.0, [ToolCall("c", "f", "{}")], [thought])
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    said = {
        "messages": [
            HI,
            {"role": "assistant", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c", "content": "1"},
        ]
    }
    assert thought in source(said=said, reasoning_memory=memory).request().turns[1].blocks
    assert thought not in source(said=said, reasoning_memory=memory, owner="other").request().turns[1].blocks


def test_an_envelope_opens_for_its_owner() -> None:
    """An envelope in the history is opened; one that does not open is dropped and counts as lost."""
    assert MESSAGES is not None
    envelope = Sealer(b"secret of the tests", "owner").seal(SEALED)
    mine = source("anthropic_messages", {"messages": thinking(envelope)})
    assert SEALED in mine.request().turns[1].blocks
    assert mine.memo(MESSAGES, Profile(), "p").drops.names == []
    theirs = source("anthropic_messages", {"messages": thinking(envelope)}, owner="other")
    assert len(theirs.request().turns[1].blocks) == 1
    assert theirs.memo(MESSAGES, Profile(), "p").drops.names == ["reasoning"]


def test_a_provider_that_cannot_decrypt_gets_no_sealed_reasoning() -> None:
    """Sealed reasoning is left out for the provider that has refused it, and stays for any other."""
    assert MESSAGES is not None
    envelope = Sealer(b"secret of the tests", "owner").seal(SEALED)
    asked = source("anthropic_messages", {"messages": thinking(envelope)}, cannot_decrypt=frozenset({"p"}))
    blind, other = asked.memo(MESSAGES, Profile(), "p"), asked.memo(MESSAGES, Profile(), "q")
    assert SEALED not in blind.request.turns[1].blocks and blind.drops.names == ["reasoning"]
    assert SEALED in other.request.turns[1].blocks and other.drops.names == []
    assert SEALED in asked.request().turns[1].blocks


def test_the_body_is_what_a_provider_can_read() -> None:
    """The body is the client's own, less what another has sealed; for a provider that refused it, nothing sealed."""
    sealed = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "E"}
    user = {"type": "message", "role": "user", "content": "Hi"}
    asked = source("openai_responses", {"input": [sealed, user]}, cannot_decrypt=frozenset({"p"}))
    assert asked.body_at("q") is asked.body
    blind = asked.body_at("p")
    assert isinstance(blind, JsonBody) and "E" not in str(json.loads(blind.edited()))
    less = JsonBody.of({"input": b"[]"})
    assert source("openai_responses", history=History(readable=lambda name: less)).body_at("q") is less


def test_a_memo_knows_its_exchange() -> None:
    """Each memo has the seed, the time and the profile of its translation, and losses of its own."""
    assert MESSAGES is not None
    asked, profile = source("anthropic_messages"), Profile(n=False)
    one, two = asked.memo(MESSAGES, profile, "p"), asked.memo(MESSAGES, profile, "p")
    assert (one.seed, one.now, one.profile, one.call_prefix) == ("req_1", 1_700_000_000, profile, "toolu_")
    one.drops.add("seed")
    assert two.drops.names == []


def test_the_secret_is_in_no_repr() -> None:
    """The repr of a request does not show the secret that signs its envelopes."""
    assert "secret of the tests" not in repr(source())
