"""Encrypted reasoning returns to the provider that can read it and to no other; each loss is reported."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.mock.responses import SEALED
from tests.conftest import Provider, Running, Start
from tests.flows.stored import ask, ask_stream, turns

Providers = Callable[[str], Provider]
CONFIG = """
server: {listen: ["127.0.0.1:0"]}
store: {url: "memory:"}
breaker: {failures: 0}
providers:
  one: {base_url: "MOCK/one/v1", speaks: [openai_responses], auth: {bearer: [{env: ONE}, {env: TWO}]}}
  two: {base_url: "MOCK/two/v1", speaks: [openai_responses]}
  ant: {base_url: "MOCK/ant/v1", speaks: [anthropic_messages]}
  oai: {base_url: "MOCK/oai/v1", speaks: [openai_chat]}
routes: {both: ["one:m", "two:m"], other: ["two:m", "one:m"], claude: "ant:claude-sonnet-4-5", chat: "oai:m"}
"""
REASONING = {"type": "reasoning", "id": "rs_x", "summary": [], "encrypted_content": "gAAA-of-another"}
UNREADABLE = {"message": "The encrypted content could not be verified.", "code": "invalid_encrypted_content"}
WEATHER = [{"type": "function", "name": "get_weather", "parameters": {"type": "object"}}]


@pytest.fixture
async def running(start: Start, tmp_path: Path) -> Running:
    return await start(CONFIG, state_dir=str(tmp_path))


def sealed_in(sent: dict[str, Any]) -> list[Any]:
    """Return the encrypted reasoning that an upstream was sent."""
    return [item.get("encrypted_content") for item in sent["input"] if item.get("type") == "reasoning"]


async def test_a_conversation_goes_back_to_the_target_and_key_that_made_it(
    running: Running, provider: Providers
) -> None:
    """A continued conversation returns to its target and credential, although others would be next."""
    provider("one").will(reply="reasoning")
    for _ in range(4):
        _, said = await ask(running, "both", "one")
        key = provider("one").seen[-1].headers["Authorization"]
        _, next_ = await ask(running, "other", "two", previous_response_id=said["id"])
        assert not provider("two").seen and next_["status"] == "completed"
        assert provider("one").seen[-1].headers["Authorization"] == key
        assert sealed_in(provider("one").seen[-1].json) == [SEALED]
        assert (
            turns({"input": [i for i in provider("one").seen[-1].json["input"] if i["type"] == "message"]})[0] == "one"
        )
    async with running.post(
        "/v1/responses", {"model": "other", "input": "x", "store": False, "previous_response_id": said["id"]}
    ) as answer:
        assert answer.headers["x-gateway-provider"] == "one", "what is not stored goes home, too"


async def test_another_provider_is_not_sent_what_it_cannot_read(running: Running, provider: Providers) -> None:
    """Each link's encrypted reasoning goes only to its maker; a fallback continues without it and reports that."""
    provider("one").will(reply="reasoning", times=1)
    _, first = await ask(running, "both", "one")
    provider("one").will(status=500, times=1)
    provider("two").will(reply="reasoning", times=1)
    async with running.post(
        "/v1/responses", {"model": "both", "input": "two", "previous_response_id": first["id"]}
    ) as answer:
        second = await answer.json()
        assert answer.headers["x-gateway-provider"] == "two" and answer.headers["x-gateway-dropped"] == "reasoning"
    assert sealed_in(provider("two").seen[-1].json) == []
    _, third = await ask(running, "both", "three", previous_response_id=second["id"])
    assert sealed_in(provider("two").seen[-1].json) == [SEALED], "its own, not the other's"
    _, fourth = await ask(running, "claude", "four", previous_response_id=third["id"])
    assert fourth["status"] == "completed"
    assert turns(provider("ant").seen[-1].json)[0::2] == ["one", "two", "three", "four"]


async def test_our_envelopes_never_reach_a_responses_provider(running: Running, provider: Providers) -> None:
    """Claude's thinking in our envelope returns to Claude only, from the store or the client's own history.

    (EC-130, and EC-132 with the providers exchanged)
    """
    provider("ant").will(reply="thinking_tools", times=1)
    _, said = await ask(running, "claude", tools=WEATHER)
    assert said["output"][0]["encrypted_content"].startswith("gw1.")
    result = {"type": "function_call_output", "call_id": said["output"][-1]["call_id"], "output": "22"}
    _, again = await ask(running, "both", [result], previous_response_id=said["id"], tools=WEATHER)
    assert again["status"] == "completed"
    sent = provider("one").seen[-1].json["input"]
    assert [item["type"] for item in sent] == ["message", "function_call", "function_call_output"]
    body = {"model": "both", "input": [*said["output"], result], "store": False}
    async with running.post("/v1/responses", body) as answer:
        assert answer.status == 200 and answer.headers["x-gateway-dropped"] == "reasoning"
    assert sealed_in(provider("one").seen[-1].json) == []
    thinking = {"effort": "high"}
    _, back = await ask(running, "claude", [result], previous_response_id=said["id"], tools=WEATHER, reasoning=thinking)
    assert back["status"] == "completed"
    assert provider("ant").seen[-1].json["messages"][1]["content"][0]["type"] == "thinking"
    body["input"] = 'He said "gw1." twice'
    assert (await ask(running, "both", body["input"]))[0] == 200


@pytest.mark.parametrize("is_stream", [False, True])
async def test_reasoning_of_another_account_is_left_out_once_it_is_refused(
    running: Running, provider: Providers, *, is_stream: bool
) -> None:
    """If a provider cannot read a client's reasoning, one repaired attempt leaves it out and reports that."""
    provider("one").will(status=400, error=UNREADABLE, times=1)
    given = [{"role": "user", "content": "a"}, REASONING, {"role": "user", "content": "b"}]
    body = {"model": "both", "input": given, "store": False, "stream": is_stream}
    async with running.post("/v1/responses", body) as answer:
        assert answer.status == 200 and answer.headers["x-gateway-dropped"] == "reasoning"
        assert b"completed" in await answer.read()
    first, second = (seen.json for seen in provider("one").seen)
    assert sealed_in(first) == [REASONING["encrypted_content"]] and sealed_in(second) == []
    assert len(second["input"]) == 2 and not provider("two").seen


async def test_reasoning_that_stays_unreadable_is_a_refusal(running: Running, provider: Providers) -> None:
    """If the provider still refuses after one repair, its own error reaches the client."""
    provider("one").will(status=400, error=UNREADABLE)
    status, error = await ask(running, "both", [REASONING], store=False)
    assert (status, error["error"]["code"]) == (400, "invalid_encrypted_content")
    assert len(provider("one").seen) == 2


async def test_a_model_without_encrypted_reasoning(running: Running, provider: Providers) -> None:
    """If the model refuses `include`, our own addition is taken back; the client's own wish is a 400."""
    refusal = {"message": "Encrypted content is not supported with this model.", "param": "include", "code": None}
    provider("one").will(status=400, error=refusal, times=1)
    wanted = ["message.input_image.image_url"]
    assert (await ask(running, "both", include=wanted))[0] == 200
    first, second = (seen.json for seen in provider("one").seen)
    assert first["include"] == [*wanted, "reasoning.encrypted_content"] and second["include"] == wanted
    _, final = await ask_stream(running, "both")
    assert final["store"] is True and provider("one").seen[-1].json["include"] == []
    provider("one").will(status=400, error=refusal, times=1)
    status, error = await ask(running, "both", include=["reasoning.encrypted_content"])
    assert status == 400 and error["error"]["param"] == "include"


async def test_include_has_to_be_an_array(running: Running) -> None:
    """An `include` that is not an array is a 400, because the gateway has to add to it."""
    status, error = await ask(running, "both", include="all")
    assert (status, error["error"]["param"]) == (400, "include")


async def test_the_system_prefix_stands_before_the_instructions(start: Start, provider: Providers) -> None:
    """`system_prefix` stands before the instructions, never twice (docs/endpoints.md#modes)."""
    running = await start(CONFIG.replace('MOCK/two/v1"', 'MOCK/two/v1", system_prefix: "You are ours."'))
    for instructions in (None, "Be brief.", "You are ours. And brief."):
        await ask(running, "other", instructions=instructions, store=False)
    sent = [seen.json["instructions"] for seen in provider("two").seen]
    assert sent == ["You are ours.", "You are ours.\n\nBe brief.", "You are ours. And brief."]


async def test_a_warm_up_needs_no_upstream_that_does_not_know_it(running: Running, provider: Providers) -> None:
    """`generate: false` on a Messages upstream is an empty response without a call (docs/wire/clients.md#codex)."""
    _, final = await ask_stream(running, "claude", generate=False, store=False)
    assert final["status"] == "completed" and final["output"] == [] and not provider("ant").seen
