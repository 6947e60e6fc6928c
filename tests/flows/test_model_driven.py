"""Models that refuse tools on Chat are called by Responses; the reply is in the client's own dialect."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import Provider, Running, Start
from tests.wire.crossings import messages_request
from tests.wire.grammar import read_chat, read_messages

Providers = Callable[[str], Provider]
CONFIG = """
server: {listen: ["127.0.0.1:0"]}
store: {url: "memory:"}
providers:
  oai:
    base_url: "MOCK/oai/v1"
    auth: {bearer: {env: ONE}}
    speaks: [openai_chat, openai_responses]
    models:
      "new": {tools_need_responses: true, efforts: [none, low, high]}
      "pro": {responses_only: true}
routes: {new: oai:new, pro: oai:pro, old: oai:old}
"""
TOOLS: list[Any] = [{"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}]


@pytest.fixture
async def running(start: Start) -> Running:
    return await start(CONFIG)


@pytest.mark.parametrize(
    ("model", "more", "path"),
    [
        ("new", {"tools": TOOLS, "reasoning_effort": "low"}, "/responses"),  # EC-56
        ("new", {"tools": TOOLS}, "/responses"),  # EC-57
        ("new", {"tools": TOOLS, "reasoning_effort": "none"}, "/chat/completions"),  # EC-58
        ("new", {}, "/chat/completions"),
        ("new", {"tools": []}, "/chat/completions"),
        ("pro", {}, "/responses"),
        ("old", {"tools": TOOLS, "reasoning_effort": "low"}, "/chat/completions"),
    ],
)
@pytest.mark.parametrize("is_stream", [False, True])
async def test_the_model_decides(
    running: Running, provider: Providers, model: str, more: dict[str, Any], path: str, is_stream: bool
) -> None:
    """The model's profile and the request's tools and effort select the upstream path. (EC-56, EC-57, EC-58)"""
    if is_stream:
        _, data = await running.chat_stream(model, **more)
        assert read_chat(data.replace(b',"usage":null', b"")).text.startswith("Hello")
    else:
        status, said = await running.chat(model, **more)
        assert status == 200 and said["choices"][0]["message"]["content"].startswith("Hello")
    assert provider("oai").seen[0].path == path


async def test_a_tool_loop_behind_a_chat_client(running: Running, provider: Providers) -> None:
    """The upstream gets its encrypted reasoning back before the call, though the chat client sends none of it."""
    provider("oai").will(reply="thinking_tools", times=1)
    _, said = await running.chat("new", tools=TOOLS)
    message = said["choices"][0]["message"]
    call = message["tool_calls"][0]
    result = {"role": "tool", "tool_call_id": call["id"], "content": "sunny"}
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "tool_calls": [call]}, result]
    status, said = await running.chat("new", tools=TOOLS, messages=turns)
    assert status == 200
    kinds = [item["type"] for item in provider("oai").seen[1].json["input"]]
    assert kinds == ["message", "reasoning", "function_call", "function_call_output"]


async def test_claude_clients_get_it_too(running: Running, provider: Providers) -> None:
    """A Messages client with tools on such a model gets a valid Messages stream out of Responses."""
    tools = [{"name": "get_weather", "input_schema": {"type": "object"}}]
    provider("oai").will(reply="parallel_tools")
    async with running.post("/v1/messages", messages_request(model="new", stream=True, tools=tools)) as answer:
        told = read_messages(await answer.read())
    assert told.stop == "tool_use" and len(told.calls) == 2 and provider("oai").seen[0].path == "/responses"


async def test_responses_go_through_raw(running: Running, provider: Providers) -> None:
    """A Responses request to a provider that speaks Responses goes up unchanged; replies and errors come back raw."""
    body = {"model": "pro", "input": "Hi", "client_metadata": {"x": 1}, "store": False}
    async with running.post("/v1/responses", body) as answer:
        said = await answer.json()
    assert said["id"] == "resp_mock" and provider("oai").seen[0].json == body
    async with running.post("/v1/responses", body | {"stream": True}) as answer:
        assert (await answer.read()).startswith(b"event: response.created")
    provider("oai").will(status=429)
    async with running.post("/v1/responses", body) as answer:
        assert answer.status == 429 and (await answer.json())["error"]["code"] == "rate_limit_exceeded"
