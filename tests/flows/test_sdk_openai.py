"""The official OpenAI SDK with only its base URL changed, over real sockets.

CI runs this file twice: with the current major version and with 1.x.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import openai
import pytest

from tests.conftest import Provider, Running, Start

pytestmark = [pytest.mark.slow, pytest.mark.sdk]

TEXT = """
store: {url: "memory:"}
keys: {laptop: {secret: {env: KEY}}, narrow: {secret: {env: OTHER}, routes: [nothing]}}
providers:
  one: {base_url: MOCK/one/v1, auth: {bearer: {env: ONE}}, speaks: SPEAKS, timeouts: {idle: 300ms, first_byte: 300ms}}
  two: {base_url: MOCK/two/v1, auth: {bearer: {env: TWO}}, speaks: SPEAKS}
routes: {fast: ["one:m", "two:m"], single: "one:m", tools: "one:tools", parallel: "one:parallel_tools", length: "one:length"}
"""
MESSAGES: Any = [{"role": "user", "content": "Hi"}]
CITY = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
TOOLS: Any = [{"type": "function", "function": {"name": "get_weather", "strict": True, "parameters": CITY}}]


@pytest.fixture
async def running(start: Start) -> Running:
    return await start(TEXT)


@pytest.fixture
async def client(running: Running) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{running.url}/v1", api_key="gwk_client-key", max_retries=0) as made:
        yield made


async def test_chat(client: openai.AsyncOpenAI) -> None:
    """The SDK gets the completion, its usage and a request id."""
    said = await client.chat.completions.create(model="fast", messages=MESSAGES)
    assert (said.choices[0].message.content or "").startswith("Hello from the mock")
    assert said.usage is not None and said.usage.total_tokens == 21
    assert (said._request_id or "").startswith("req_")


async def test_the_synchronous_client(running: Running) -> None:
    """The synchronous client, in a thread of its own, gets a reply."""

    def ask() -> str | None:
        with openai.OpenAI(base_url=f"{running.url}/v1", api_key="gwk_client-key") as client:
            return client.chat.completions.create(model="fast", messages=MESSAGES).choices[0].message.content

    assert (await asyncio.to_thread(ask) or "").startswith("Hello")


async def test_a_stream_and_its_usage(client: openai.AsyncOpenAI) -> None:
    """The SDK gets the chunks, and the usage chunk only if it asked for one."""
    stream = await client.chat.completions.create(model="fast", messages=MESSAGES, stream=True)
    chunks = [chunk async for chunk in stream]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks).startswith("Hello")
    assert all(chunk.usage is None for chunk in chunks)
    stream = await client.chat.completions.create(
        model="fast", messages=MESSAGES, stream=True, stream_options={"include_usage": True}
    )
    last = [chunk async for chunk in stream][-1]
    assert last.choices == [] and last.usage is not None and last.usage.completion_tokens == 9


@pytest.mark.parametrize(("model", "calls"), [("tools", 1), ("parallel", 2)])
async def test_tools_whole_and_streamed(client: openai.AsyncOpenAI, model: str, calls: int) -> None:
    """The SDK's own accumulator rebuilds the calls; a round trip with their results works."""
    whole = await client.chat.completions.create(model=model, messages=MESSAGES, tools=TOOLS)
    assert whole.choices[0].finish_reason == "tool_calls"
    made: Any = whole.choices[0].message.tool_calls
    assert len(made) == calls and made[0].function.arguments == '{"city":"Paris"}'

    helper = getattr(client.chat.completions, "stream", None) or client.beta.chat.completions.stream
    async with helper(model=model, messages=MESSAGES, tools=TOOLS) as stream:
        final: Any = await stream.get_final_completion()
    assert [call.function.name for call in final.choices[0].message.tool_calls] == [call.function.name for call in made]

    results = [{"role": "tool", "tool_call_id": call.id, "content": "18"} for call in made]
    history: Any = [*MESSAGES, whole.choices[0].message.model_dump(), *results]
    again = await client.chat.completions.create(model="fast", messages=history, tools=TOOLS)
    assert again.choices[0].finish_reason == "stop"


async def test_embeddings_with_their_default_base64(client: openai.AsyncOpenAI, running: Running) -> None:
    """The SDK requests base64 by default and returns floats equal to those of `encoding_format: float`."""
    found = await client.embeddings.create(model="fast", input=["a", "b"], dimensions=4)
    assert [len(one.embedding) for one in found.data] == [4, 4] and isinstance(found.data[0].embedding[0], float)
    plain = await client.embeddings.create(model="fast", input="a", dimensions=4, encoding_format="float")
    assert plain.data[0].embedding == pytest.approx(found.data[0].embedding)
    tokens = await client.embeddings.create(model="fast", input=[1, 2, 3])
    assert len(tokens.data) == 1


async def test_models(client: openai.AsyncOpenAI) -> None:
    """The SDK lists models, retrieves one, and raises NotFoundError for an unknown one."""
    ids = [model.id async for model in await client.models.list()]
    assert {"fast", "single", "tools"} <= set(ids)
    assert (await client.models.retrieve("fast")).owned_by == "one"
    with pytest.raises(openai.NotFoundError):
        await client.models.retrieve("nope")


async def test_other_endpoints(client: openai.AsyncOpenAI) -> None:
    """Completions, moderations, images, transcriptions and speech work through the SDK."""
    assert (await client.completions.create(model="fast", prompt="x")).choices[0].text
    assert not (await client.moderations.create(model="fast", input="x")).results[0].flagged
    assert (await client.images.generate(model="fast", prompt="x")).data
    assert (await client.audio.transcriptions.create(model="fast", file=("a.wav", b"RIFF"))).text.startswith("Hello")
    speech = await client.audio.speech.create(model="fast", input="x", voice="alloy")
    assert speech.read().startswith(b"RIFF")


@pytest.mark.parametrize(
    ("behaviour", "error", "status"),
    [
        (
            {"status": 400, "error": {"message": "m", "type": "invalid_request_error", "param": "x", "code": "c"}},
            openai.BadRequestError,
            400,
        ),
        ({"status": 401}, openai.InternalServerError, 502),
        ({"status": 404}, openai.NotFoundError, 404),
        ({"status": 422, "body": {"detail": "no"}}, openai.BadRequestError, 400),
        ({"status": 429, "headers": {"retry-after": "60"}}, openai.RateLimitError, 429),
        ({"status": 500}, openai.InternalServerError, 502),
        ({"status": 503}, openai.InternalServerError, 503),
        ({"fault": "reset_before_head"}, openai.InternalServerError, 502),
    ],
)
async def test_errors_have_the_right_class(
    client: openai.AsyncOpenAI,
    provider: Callable[[str], Provider],
    behaviour: dict[str, Any],
    error: type[openai.APIStatusError],
    status: int,
) -> None:
    """Each upstream failure raises the SDK's class for its status, with the request id."""
    provider("one").will(**behaviour)
    with pytest.raises(error) as caught:
        await client.chat.completions.create(model="single", messages=MESSAGES)
    assert caught.value.status_code == status
    assert (caught.value.request_id or "").startswith("req_")
    if status == 400 and behaviour["status"] == 400:
        assert (caught.value.code, caught.value.param, caught.value.type) == ("c", "x", "invalid_request_error")


async def test_refusals_of_the_gateway_have_the_right_class(running: Running, client: openai.AsyncOpenAI) -> None:
    """A wrong key, a forbidden model and an unknown model raise the SDK's classes for 401, 403 and 404."""
    with pytest.raises(openai.AuthenticationError) as caught:
        await client.with_options(api_key="wrong").chat.completions.create(model="fast", messages=MESSAGES)
    assert caught.value.code == "invalid_api_key"
    with pytest.raises(openai.PermissionDeniedError):
        await client.with_options(api_key="gwk_other-key").chat.completions.create(model="fast", messages=MESSAGES)
    with pytest.raises(openai.NotFoundError) as missing:
        await client.chat.completions.create(model="nope", messages=MESSAGES)
    assert missing.value.code == "model_not_found"


@pytest.mark.slow
async def test_the_sdks_own_retries_meet_retry_after(
    client: openai.AsyncOpenAI, provider: Callable[[str], Provider]
) -> None:
    """A 429 reaches the SDK with its Retry-After, and the SDK's own retry succeeds."""
    provider("one").will(status=429, headers={"retry-after": "6"}, times=1)
    provider("one").will(status=429, headers={"retry-after-ms": "10"}, times=1)
    with pytest.raises(openai.RateLimitError) as caught:
        await client.chat.completions.create(model="single", messages=MESSAGES)
    assert caught.value.response.headers["retry-after"] == "6"
    said = await client.with_options(max_retries=2).chat.completions.create(model="single", messages=MESSAGES)
    assert said.choices


async def test_a_broken_stream_raises(client: openai.AsyncOpenAI, provider: Callable[[str], Provider]) -> None:
    """A stream that breaks raises APIError in the SDK, never a silent end. (EC-197, EC-199)"""
    for fault in ("truncate", "reset_in_body", "stall_in_body", "error_event"):
        provider("one").will(fault=fault, after=3, pace=0.01, times=1)
        with pytest.raises(openai.APIError):
            async for _ in await client.chat.completions.create(model="single", messages=MESSAGES, stream=True):
                pass


async def test_azures_client(running: Running) -> None:
    """Azure's client works: deployment paths, api-key header, api-version in the query."""
    async with openai.AsyncAzureOpenAI(
        azure_endpoint=running.url, api_key="gwk_client-key", api_version="2024-10-21", max_retries=0
    ) as client:
        said = await client.chat.completions.create(model="fast", messages=MESSAGES)
        assert said.choices[0].message.content
        assert (await client.embeddings.create(model="fast", input="x")).data


async def test_a_failed_first_target_is_not_noticed(
    client: openai.AsyncOpenAI, provider: Callable[[str], Provider]
) -> None:
    """If the first target breaks before content, the SDK gets the whole text from the second."""
    provider("one").will(fault="reset_in_body", after=1)
    stream = await client.chat.completions.create(model="fast", messages=MESSAGES, stream=True)
    text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
    assert text == "Hello from the mock provider. You said: Hi"
