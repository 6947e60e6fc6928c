"""The official SDKs with only their base URL changed, in all four client-upstream pairs."""

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import anthropic
import openai
import pytest

from tests.conftest import Provider, Running, Start
from tests.flows.pairs import PAIRS, UPSTREAMS
from tests.wire.crossings import PIXEL

pytestmark = [pytest.mark.slow, pytest.mark.sdk]
TOOL = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
ASK: Any = [{"role": "user", "content": "Hi"}]
PDF = "JVBERi0xLjQKJSBub3RoaW5nCg=="
ROUTES = pytest.mark.parametrize("route", ["chat", "claude"])


@pytest.fixture
async def running(start: Start) -> Running:
    return await start(PAIRS)


@pytest.fixture
async def oai(running: Running) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{running.url}/v1", api_key="k", max_retries=0) as client:
        yield client


@pytest.fixture
async def ant(running: Running) -> AsyncIterator[anthropic.AsyncAnthropic]:
    async with anthropic.AsyncAnthropic(base_url=running.url, api_key="k", max_retries=0) as client:
        yield client


Providers = Callable[[str], Provider]


@ROUTES
async def test_text(route: str, oai: openai.AsyncOpenAI, ant: anthropic.AsyncAnthropic) -> None:
    """Both SDKs get the text, the stop reason, the usage and the request id from both upstreams."""
    said = await oai.chat.completions.create(model=route, messages=ASK)
    assert said.choices[0].message.content == "Hello from the mock provider. You said: Hi"
    assert said.choices[0].finish_reason == "stop" and said.usage is not None
    assert said.usage.prompt_tokens == (12 if route == "chat" else 16) and said.usage.completion_tokens == 9
    message = await ant.messages.create(model=route, max_tokens=100, messages=ASK)
    assert message.content[0].type == "text"
    assert message.content[0].text == "Hello from the mock provider. You said: Hi"
    assert message.stop_reason == "end_turn"
    assert message.usage.cache_read_input_tokens == 4 and message.usage.output_tokens == 9
    assert message.usage.input_tokens == (8 if route == "chat" else 12)
    assert message._request_id is not None and message._request_id.startswith("req_")


@ROUTES
async def test_streams(route: str, oai: openai.AsyncOpenAI, ant: anthropic.AsyncAnthropic) -> None:
    """Both SDKs build the whole reply, with usage, from a stream of either upstream."""
    async with oai.chat.completions.stream(model=route, messages=ASK, stream_options={"include_usage": True}) as events:
        completion = await events.get_final_completion()
    assert completion.choices[0].message.content == "Hello from the mock provider. You said: Hi"
    assert completion.usage is not None and completion.usage.completion_tokens == 9
    async with ant.messages.stream(model=route, max_tokens=100, messages=ASK) as stream:
        message = await stream.get_final_message()
    assert message.content[0].type == "text"
    assert message.content[0].text == "Hello from the mock provider. You said: Hi"
    assert message.stop_reason == "end_turn" and message.usage.output_tokens == 9


@ROUTES
@pytest.mark.parametrize("is_stream", [False, True])
async def test_openai_tools_round_trip(
    route: str, is_stream: bool, oai: openai.AsyncOpenAI, provider: Providers
) -> None:
    """Two parallel calls reach the OpenAI SDK, and their results go back upstream in call order."""
    upstream = provider(UPSTREAMS[route])
    upstream.will(reply="parallel_tools", times=1)
    upstream.will(text="It is sunny.")
    tools: Any = [
        {"type": "function", "function": {"name": name, "strict": True, "parameters": CLOSED}}
        for name in ("get_weather", "get_time")
    ]
    messages: list[Any] = [*ASK]
    if is_stream:
        async with oai.chat.completions.stream(model=route, messages=messages, tools=tools) as events:
            said: Any = (await events.get_final_completion()).choices[0]
    else:
        said = (await oai.chat.completions.create(model=route, messages=messages, tools=tools)).choices[0]
    assert said.finish_reason == "tool_calls"
    first, second = said.message.tool_calls
    assert (first.function.name, json.loads(first.function.arguments)) == ("get_weather", {"city": "Paris"})
    assert second.function.name == "get_time" and first.id != second.id
    messages.append(said.message.model_dump(exclude_none=True))
    messages += [{"role": "tool", "tool_call_id": call.id, "content": "sunny"} for call in (second, first)]
    answer = await oai.chat.completions.create(model=route, messages=messages, tools=tools)
    assert answer.choices[0].message.content == "It is sunny."
    body = upstream.seen[-1].json
    if route == "claude":
        assert [one["type"] for one in body["messages"][1]["content"]] == ["text", "tool_use", "tool_use"]
        results = body["messages"][2]["content"]
        assert [one["tool_use_id"] for one in results] == [first.id, second.id]


@ROUTES
@pytest.mark.parametrize("is_stream", [False, True])
async def test_anthropic_tools_round_trip(
    route: str, is_stream: bool, ant: anthropic.AsyncAnthropic, provider: Providers
) -> None:
    """Two parallel calls reach the Anthropic SDK, and their results go back upstream in call order."""
    upstream = provider(UPSTREAMS[route])
    upstream.will(reply="parallel_tools", times=1)
    upstream.will(text="It is sunny.")
    tools: Any = [{"name": name, "description": "d", "input_schema": TOOL} for name in ("get_weather", "get_time")]
    messages: list[Any] = [*ASK]
    if is_stream:
        async with ant.messages.stream(model=route, max_tokens=100, messages=messages, tools=tools) as stream:
            said: Any = await stream.get_final_message()
    else:
        said = await ant.messages.create(model=route, max_tokens=100, messages=messages, tools=tools)
    assert said.stop_reason == "tool_use"
    text, first, second = said.content
    assert text.text == "Let me look." and (first.name, first.input) == ("get_weather", {"city": "Paris"})
    messages.append({"role": "assistant", "content": [block.model_dump(exclude_none=True) for block in said.content]})
    results = [{"type": "tool_result", "tool_use_id": call.id, "content": "sunny"} for call in (first, second)]
    messages.append({"role": "user", "content": [*results, {"type": "text", "text": "so?"}]})
    answer = await ant.messages.create(model=route, max_tokens=100, messages=messages, tools=tools)
    assert answer.content[0].type == "text" and answer.content[0].text == "It is sunny."
    if route == "chat":
        sent = upstream.seen[-1].json["messages"]
        assert [one["role"] for one in sent] == ["user", "assistant", "tool", "tool", "user"]
        assert [one["tool_call_id"] for one in sent[2:4]] == [first.id, second.id]


@ROUTES
async def test_pictures_and_pdfs(
    route: str, oai: openai.AsyncOpenAI, ant: anthropic.AsyncAnthropic, provider: Providers
) -> None:
    """Pictures and PDFs of either SDK reach either upstream in its own shape."""
    parts: Any = [
        {"type": "text", "text": "Look"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PDF}"}},
    ]
    await oai.chat.completions.create(model=route, messages=[{"role": "user", "content": parts}])
    blocks: Any = [
        {"type": "text", "text": "Look"},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}},
        {
            "type": "document",
            "title": "a.pdf",
            "source": {"type": "base64", "media_type": "application/pdf", "data": PDF},
        },
    ]
    await ant.messages.create(model=route, max_tokens=10, messages=[{"role": "user", "content": blocks}])
    for seen in provider(UPSTREAMS[route]).seen:
        sent = seen.json["messages"][0]["content"]
        if route == "chat":
            assert sent[1]["image_url"]["url"] == f"data:image/png;base64,{PIXEL}"
            assert sent[2]["file"]["filename"] == "a.pdf"
        else:
            assert sent[1]["source"] == {"type": "base64", "media_type": "image/png", "data": PIXEL}
            assert sent[2]["title"] == "a.pdf" and sent[2]["source"]["data"] == PDF


async def test_thinking_with_tools_reaches_an_openai_client_and_comes_back(
    oai: openai.AsyncOpenAI, provider: Providers
) -> None:
    """Signed thinking returns to Claude by `reasoning_details`, or from the gateway's memory without them."""
    upstream = provider("ant")
    upstream.will(reply="thinking_tools")
    tools: Any = [{"type": "function", "function": {"name": "get_weather", "parameters": TOOL}}]
    more: Any = {"model": "claude", "tools": tools, "reasoning_effort": "high"}
    said = (await oai.chat.completions.create(messages=ASK, **more)).choices[0].message
    assert said.model_extra is not None
    assert said.model_extra["reasoning_content"] == "The user greets. I greet back."
    assert said.tool_calls is not None
    result: Any = {"role": "tool", "tool_call_id": said.tool_calls[0].id, "content": "sunny"}
    echoes: list[Any] = [said.model_dump(exclude_none=True), {"role": "assistant", "tool_calls": _plain(said)}]
    for echoed in echoes:
        await oai.chat.completions.create(messages=[*ASK, echoed, result], **more)
        thought, call = upstream.seen[-1].json["messages"][1]["content"]
        assert thought["type"] == "thinking" and thought["signature"].startswith("EqQBCg")
        assert thought["thinking"] == "The user greets. I greet back."
        assert call["type"] == "tool_use"


def _plain(message: Any) -> Any:
    return [call.model_dump() for call in message.tool_calls]


@pytest.mark.parametrize("is_stream", [False, True])
async def test_reasoning_of_chat_reaches_an_anthropic_client(
    is_stream: bool, ant: anthropic.AsyncAnthropic, provider: Providers
) -> None:
    """Chat reasoning is a thinking block in the gateway's envelope, which is opened here and never sent to Claude."""
    provider("oai").will(reply="reasoning")
    more: Any = {"model": "chat", "max_tokens": 2000, "thinking": {"type": "enabled", "budget_tokens": 1024}}
    if is_stream:
        async with ant.messages.stream(messages=ASK, **more) as stream:
            said: Any = await stream.get_final_message()
    else:
        said = await ant.messages.create(messages=ASK, **more)
    assert [block.type for block in said.content] == ["thinking", "text"]
    assert said.content[0].thinking == "The user greets. I greet back."
    assert said.content[0].signature.startswith("gw1.")
    assert provider("oai").seen[-1].json["reasoning_effort"] == "low"
    history = [*ASK, {"role": "assistant", "content": [one.model_dump() for one in said.content]}, *ASK]
    await ant.messages.create(messages=history, **more)
    await ant.messages.create(messages=history, **more | {"model": "claude"})
    sent = provider("ant").seen[-1].json["messages"][1]["content"]
    assert [block["type"] for block in sent] == ["text"], "our envelope never reaches Anthropic"


@ROUTES
async def test_structured_output(
    route: str, oai: openai.AsyncOpenAI, ant: anthropic.AsyncAnthropic, provider: Providers
) -> None:
    """A JSON schema of either SDK reaches either upstream as its own format."""
    upstream = provider(UPSTREAMS[route])
    upstream.will(text='{"city":"Paris"}')
    schema: Any = {"type": "json_schema", "json_schema": {"name": "place", "strict": True, "schema": CLOSED}}
    said = await oai.chat.completions.create(model=route, messages=ASK, response_format=schema)
    assert json.loads(said.choices[0].message.content or "") == {"city": "Paris"}
    config: Any = {"format": {"type": "json_schema", "schema": CLOSED}}
    extra: Any = {"output_config": config}
    message = await ant.messages.create(model=route, max_tokens=100, messages=ASK, extra_body=extra)
    assert message.content[0].type == "text" and json.loads(message.content[0].text) == {"city": "Paris"}
    for seen in upstream.seen:
        if route == "chat":
            assert seen.json["response_format"]["json_schema"]["schema"] == CLOSED
        else:
            assert seen.json["output_config"]["format"] == {"type": "json_schema", "schema": CLOSED}


CLOSED = TOOL | {"additionalProperties": False}


@ROUTES
async def test_stop_sequences(
    route: str, oai: openai.AsyncOpenAI, ant: anthropic.AsyncAnthropic, provider: Providers
) -> None:
    """Stop sequences of either SDK reach either upstream."""
    await oai.chat.completions.create(model=route, messages=ASK, stop=["END"])
    await ant.messages.create(model=route, max_tokens=9, messages=ASK, stop_sequences=["END"])
    for seen in provider(UPSTREAMS[route]).seen:
        assert seen.json["stop" if route == "chat" else "stop_sequences"] == ["END"]


@pytest.mark.parametrize("is_stream", [False, True])
async def test_more_stops_than_openai_takes_are_enforced(
    is_stream: bool, running: Running, ant: anthropic.AsyncAnthropic, provider: Providers
) -> None:
    """With five stop sequences four go to OpenAI, and the gateway cuts the reply at the fifth."""
    provider("oai").will(text="one two THREE four")
    more: Any = {
        "model": "chat",
        "max_tokens": 99,
        "messages": ASK,
        "stop_sequences": ["a1", "b1", "c1", "d1", "THREE"],
    }
    if is_stream:
        async with ant.messages.stream(**more) as stream:
            said: Any = await stream.get_final_message()
    else:
        said = await ant.messages.create(**more)
    assert said.content[0].text == "one two "
    assert said.stop_reason == "stop_sequence" and said.stop_sequence == "THREE"
    assert provider("oai").seen[0].json["stop"] == ["a1", "b1", "c1", "d1"]


async def test_errors_are_of_the_sdks_own_classes(
    oai: openai.AsyncOpenAI, ant: anthropic.AsyncAnthropic, provider: Providers
) -> None:
    """An upstream error raises the same class in both SDKs as the vendor's own API would; our 401 is a 502."""
    cases: list[tuple[int, type[Exception], type[Exception]]] = [
        (400, openai.BadRequestError, anthropic.BadRequestError),
        (429, openai.RateLimitError, anthropic.RateLimitError),
        (401, openai.InternalServerError, anthropic.InternalServerError),
        (500, openai.InternalServerError, anthropic.InternalServerError),
    ]
    for status, openai_error, anthropic_error in cases:
        for upstream, route in (("ant", "claude"), ("oai", "chat")):
            provider(upstream).server.script.rules.clear()
            provider(upstream).will(status=status)
            with pytest.raises(openai_error) as raised:
                await oai.chat.completions.create(model=route, messages=ASK)
            assert getattr(raised.value, "request_id", "").startswith("req_")
            with pytest.raises(anthropic_error):
                await ant.messages.create(model=route, max_tokens=9, messages=ASK)
    with pytest.raises(openai.NotFoundError):
        await oai.chat.completions.create(model="nobody", messages=ASK)
    with pytest.raises(anthropic.NotFoundError):
        await ant.messages.create(model="nobody", max_tokens=9, messages=ASK)


@ROUTES
async def test_overload_is_a_class_of_its_own(route: str, ant: anthropic.AsyncAnthropic, provider: Providers) -> None:
    """An overloaded upstream of either dialect is a 529 overloaded_error to the Anthropic SDK."""
    provider(UPSTREAMS[route]).will(status=503 if route == "chat" else 529)
    with pytest.raises(anthropic.APIStatusError) as raised:
        await ant.messages.create(model=route, max_tokens=9, messages=ASK)
    assert raised.value.status_code == 529
    assert "overloaded_error" in str(raised.value.body)


async def test_retry_is_left_to_the_sdk(running: Running, provider: Providers) -> None:
    """A 429 is forwarded with its Retry-After, and the SDK decides about a retry."""
    provider("ant").will(status=429, headers={"retry-after": "7"}, times=1)
    async with anthropic.AsyncAnthropic(base_url=running.url, api_key="k", max_retries=0) as client:
        with pytest.raises(anthropic.RateLimitError) as raised:
            await client.messages.create(model="claude", max_tokens=9, messages=ASK)
        assert raised.value.response.headers["retry-after"] == "7"


@ROUTES
async def test_count_tokens(route: str, ant: anthropic.AsyncAnthropic, provider: Providers) -> None:
    """count_tokens is the provider's count on Anthropic and an estimate, marked as one, on chat."""
    answer = await ant.messages.with_raw_response.count_tokens(
        model=route, messages=[{"role": "user", "content": "one two three four five"}], system="be brief"
    )
    assert answer.http_response.json()["input_tokens"] > 5
    assert (answer.headers.get("x-gateway-usage") == "estimated") is (route == "chat")
    assert bool(provider("ant").seen) is (route == "claude")


async def test_models_in_both_shapes(oai: openai.AsyncOpenAI, ant: anthropic.AsyncAnthropic) -> None:
    """Each SDK lists and retrieves models in its own shape."""
    assert {"chat", "claude"} <= {model.id async for model in oai.models.list()}
    models = {model.id: model async for model in ant.models.list(limit=100)}
    assert models["claude"].type == "model"
    assert (await ant.models.retrieve("claude")).id == "claude"
