"""`/v1/responses` over real sockets with the official SDK, on all three upstream dialects, without storage."""

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import openai
import pytest
from pydantic import BaseModel

from gateway.wire.codec.unpack import zstd
from tests.conftest import Provider, Running, Start
from tests.flows.responses import CONFIG, ROUTES, TOOLS, UPSTREAMS
from tests.wire.grammar import read_responses

Providers = Callable[[str], Provider]


@pytest.fixture
async def running(start: Start) -> Running:
    return await start(CONFIG)


@pytest.fixture
async def client(running: Running) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{running.url}/v1", api_key="k", max_retries=0) as made:
        yield made


@pytest.mark.sdk
@ROUTES
async def test_create_and_stream(route: str, client: openai.AsyncOpenAI) -> None:
    """The SDK gets the same text whole and streamed, from `response.created` to `response.completed`."""
    said = await client.responses.create(model=route, input="Hi", instructions="Be brief.", store=False)
    assert said.output_text == "Hello from the mock provider. You said: Hi" and said.status == "completed"
    assert said.usage is not None and said.usage.output_tokens == 9
    async with client.responses.stream(model=route, input="Hi", store=False) as events:
        kinds = [event.type async for event in events]
        final = await events.get_final_response()
    assert kinds[0] == "response.created" and kinds[-1] == "response.completed"
    assert final.output_text == said.output_text


class Place(BaseModel):
    city: str


@pytest.mark.sdk
@ROUTES
async def test_parse(route: str, client: openai.AsyncOpenAI, provider: Providers) -> None:
    """The SDK's `parse` gets the structured output as its model, from every upstream."""
    upstream = provider(UPSTREAMS[route])
    upstream.will(text='{"city":"Paris"}')
    said = await client.responses.parse(model=route, input="Hi", text_format=Place, store=False)
    assert said.output_parsed == Place(city="Paris")


@pytest.mark.sdk
@ROUTES
@pytest.mark.parametrize("is_stream", [False, True])
async def test_a_tool_loop_by_resending_items(
    route: str, is_stream: bool, client: openai.AsyncOpenAI, provider: Providers
) -> None:
    """Codex and the Agents SDK resend every item, reasoning included, and the upstream gets it intact."""
    upstream = provider(UPSTREAMS[route])
    upstream.will(reply="thinking_tools" if route != "chat" else "parallel_tools", times=1)
    upstream.will(text="It is sunny.")
    items: list[Any] = [{"role": "user", "content": "Hi"}]
    more: Any = {"model": route, "tools": TOOLS, "store": False, "include": ["reasoning.encrypted_content"]}
    if is_stream:
        async with client.responses.stream(input=items, **more) as events:
            said: Any = await events.get_final_response()
    else:
        said = await client.responses.create(input=items, **more)
    calls = [item for item in said.output if item.type == "function_call"]
    assert calls[0].name == "get_weather" and json.loads(calls[0].arguments) == {"city": "Paris"}
    items += [item.model_dump(exclude_none=True) for item in said.output]
    items += [{"type": "function_call_output", "call_id": call.call_id, "output": "sunny"} for call in calls]
    said = await client.responses.create(input=items, **more)
    assert said.output_text == "It is sunny."
    if route == "claude":
        blocks = upstream.seen[-1].json["messages"][1]["content"]
        assert [block["type"] for block in blocks] == ["thinking", "tool_use"]
        assert blocks[0]["signature"].startswith("EqQBCg")


@pytest.mark.sdk
@ROUTES
async def test_errors(route: str, client: openai.AsyncOpenAI, provider: Providers) -> None:
    """An unknown model, response or previous id raises the SDK's class, and so does a broken stream."""
    with pytest.raises(openai.NotFoundError):
        await client.responses.create(model="nobody", input="Hi")
    with pytest.raises(openai.NotFoundError, match="Response with id 'resp_x' not found"):
        await client.responses.retrieve("resp_x")
    if route != "native":
        with pytest.raises(openai.BadRequestError) as raised:
            await client.responses.create(model=route, input="Hi", previous_response_id="resp_x")
        assert raised.value.code == "previous_response_not_found"
    provider(UPSTREAMS[route]).will(fault="truncate", after=3, pace=0.02)
    with pytest.raises((openai.APIError, RuntimeError)):
        async with client.responses.stream(model=route, input="Hi", store=False) as events:
            await events.get_final_response()


async def test_what_stands_around_it(running: Running) -> None:
    """A WebSocket is a 426, an unknown response a 404, a count an estimate; a zstd body is read. (EC-9)"""
    async with running.session.get(f"{running.url}/v1/responses", headers={"Upgrade": "websocket"}) as answer:
        assert answer.status == 426 and (await answer.json())["error"]["code"] == "upgrade_required"
    for method, path in (("GET", ""), ("DELETE", ""), ("GET", "/input_items"), ("POST", "/cancel")):
        async with running.session.request(method, f"{running.url}/v1/responses/resp_x{path}") as answer:
            assert answer.status == 404 and (await answer.json())["error"]["code"] is None
    async with running.post("/v1/responses/input_tokens", {"model": "chat", "input": "one two three"}) as answer:
        assert (await answer.json())["input_tokens"] > 3 and answer.headers["x-gateway-usage"] == "estimated"
    data = zstd.compress(json.dumps({"model": "chat", "input": "Hi", "store": False}).encode())
    headers = {"Content-Encoding": "zstd", "Content-Type": "application/json"}
    async with running.session.post(f"{running.url}/v1/responses", data=data, headers=headers) as answer:
        assert answer.status == 200


async def test_codex_on_a_chat_provider(running: Running, provider: Providers) -> None:
    """Codex's tools, members and headers work on a chat upstream; losses are reported. (EC-114, EC-115)"""
    body: dict[str, Any] = {
        "model": "chat",
        "instructions": "You are Codex.",
        "input": [
            {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "<permissions>"}]},
            {"type": "message", "id": "x", "role": "user", "content": [{"type": "input_text", "text": "Hi"}]},
        ],
        "tools": [*TOOLS, {"type": "web_search"}, {"type": "namespace", "name": "mcp", "tools": TOOLS}],
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        "reasoning": {"effort": "medium", "summary": "auto"},
        "store": False,
        "stream": True,
        "include": ["reasoning.encrypted_content"],
        "prompt_cache_key": "k",
        "text": {"verbosity": "low"},
        "client_metadata": {"a": "b"},
    }
    provider("oai").will(reply="tools")
    async with running.post("/v1/responses", body, headers={"session_id": "s", "originator": "codex_exec"}) as answer:
        told, final = read_responses(await answer.read())
        assert answer.headers["x-gateway-dropped"] == "tools.web_search,verbosity"
    assert told.kinds == ["function_call"] and len(final["tools"]) == len(body["tools"])
    pairs = zip(final["tools"][:-1], body["tools"][:-1], strict=True)
    assert all(shown | tool == shown for shown, tool in pairs)
    sent = provider("oai").seen[0]
    assert [one["role"] for one in sent.json["messages"]] == ["system", "user"]
    assert [tool["function"]["name"] for tool in sent.json["tools"]] == ["get_weather", "mcp__get_weather"]
    assert not any(name.lower() in ("session_id", "originator") for name in sent.headers)


async def test_the_next_target_answers(running: Running, provider: Providers) -> None:
    """If the chat target fails, the Messages target answers a Responses stream."""
    provider("oai").will(status=500)
    async with running.post("/v1/responses", {"model": "both", "input": "Hi", "stream": True}) as answer:
        told, _ = read_responses(await answer.read())
    assert told.text == "Hello from the mock provider. You said: Hi"
    assert provider("ant").seen


@pytest.mark.parametrize("model", ["chat", "claude", "native"])
async def test_input_on_the_chat_path(running: Running, provider: Providers, model: str) -> None:
    """A chat request with `input` is read as Responses and answered as Chat. (EC-17)"""
    body = {"model": model, "input": [{"role": "user", "content": "Hi"}], "tools": TOOLS}
    async with running.post("/v1/chat/completions", body) as answer:
        said = await answer.json()
    assert said["choices"][0]["message"]["content"].startswith("Hello") and said["object"] == "chat.completion"
    async with running.post("/v1/chat/completions", body | {"stream": True}) as answer:
        data = await answer.read()
    assert data.endswith(b"data: [DONE]\n\n") and b'"usage"' not in data
    assert "input" not in provider("oai").seen[0].json if model == "chat" else True


async def test_created_may_be_201(start: Start) -> None:
    """`compat.responses_created_status` sets the status of created responses; an error keeps its own."""
    running = await start(CONFIG + "compat: {responses_created_status: 201}\n")
    for more in ({}, {"stream": True}, {"background": True}, {"background": True, "stream": True}):
        async with running.post("/v1/responses", {"model": "chat", "input": "Hi", **more}) as answer:
            assert answer.status == 201 and answer.reason == "Created"
            await answer.read()
    async with running.post("/v1/responses", {"model": "chat", "input": 5}) as answer:
        assert answer.status == 400
    assert (await running.chat("chat"))[0] == 200
    assert [line["status"] for line in running.exchanges if line["endpoint"] == "responses"].count(201) == 4


@ROUTES
async def test_a_conversation_that_is_too_long(route: str, running: Running, provider: Providers) -> None:
    """A context refusal has the code that Codex looks for, and no other target is called. (EC-241)"""
    texts = {
        "chat": {"message": "m", "code": "context_length_exceeded", "type": "invalid_request_error"},
        "claude": {"type": "invalid_request_error", "message": "prompt is too long: 250000 tokens > 200000 maximum"},
        "native": {"message": "m", "code": "context_length_exceeded", "type": "invalid_request_error"},
    }
    provider(UPSTREAMS[route]).will(status=400, error=texts[route])
    async with running.post("/v1/responses", {"model": route, "input": "Hi"}) as answer:
        assert answer.status == 400 and (await answer.json())["error"]["code"] == "context_length_exceeded"
    assert len(provider(UPSTREAMS[route]).seen) == 1
