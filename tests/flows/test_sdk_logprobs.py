"""Logprobs as the official OpenAI SDK gets them through the gateway, from a provider of the other dialect."""

import json
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest

from tests.conftest import Running, Start
from tests.flows.messages import Providers
from tests.flows.responses import CONFIG
from tests.wire.logprobs import HELLO, WORD, chat_body, chat_stream, responses_body, responses_stream

pytestmark = pytest.mark.sdk
PIECES = [("Hel", HELLO[:1]), ("lo", HELLO[1:])]
HI: Any = [{"role": "user", "content": "Hi"}]


@pytest.fixture
async def running(start: Start) -> Running:
    return await start(CONFIG)


@pytest.fixture
async def client(running: Running) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{running.url}/v1", api_key="k", max_retries=0) as made:
        yield made


async def test_a_chat_client_of_a_responses_provider(client: openai.AsyncOpenAI, provider: Providers) -> None:
    """The SDK's accumulator ends with the list that a whole reply has, and the provider was asked in its own words."""
    upstream = provider("res")
    upstream.will(body=json.loads(responses_body("Hello", HELLO)), times=1)
    upstream.will(frames=[responses_stream(*PIECES)], times=1)
    said = await client.chat.completions.create(model="native", messages=HI, logprobs=True, top_logprobs=2)
    async with client.chat.completions.stream(model="native", messages=HI, logprobs=True, top_logprobs=2) as events:
        seen = [event.content async for event in events if event.type == "logprobs.content.delta"]
        streamed = await events.get_final_completion()
    for choice in (said.choices[0], streamed.choices[0]):
        assert choice.message.content == "Hello" and choice.logprobs is not None
        assert [one.to_dict() for one in choice.logprobs.content or ()] == HELLO
    assert [[one.token for one in tokens] for tokens in seen] == [["Hel"], ["lo"]]
    for request in upstream.seen:
        assert WORD in request.json["include"] and request.json["top_logprobs"] == 2


async def test_a_responses_client_of_a_chat_provider(client: openai.AsyncOpenAI, provider: Providers) -> None:
    """Whole, streamed, retrieved and streamed again, a response has the list; the provider was asked for it."""
    upstream = provider("oai")
    upstream.will(body=json.loads(chat_body("Hello", HELLO)), times=1)
    upstream.will(frames=[chat_stream(*PIECES)], times=1)
    asked: Any = {"model": "chat", "input": "Hi", "include": [WORD], "top_logprobs": 2}
    said = await client.responses.create(**asked)
    async with client.responses.stream(**asked) as events:
        seen = [event.logprobs async for event in events if event.type == "response.output_text.delta"]
        streamed = await events.get_final_response()
    again = [event async for event in await client.responses.retrieve(streamed.id, stream=True)]
    begun: Any = next(event for event in again if event.type == "response.content_part.added")
    assert begun.part.logprobs == []
    for response in (said, streamed, await client.responses.retrieve(streamed.id), again[-1].response):  # type: ignore[union-attr]
        assert [one["logprobs"] for one in response.to_dict()["output"][0]["content"]] == [HELLO]  # type: ignore[index]
    assert [[one.token for one in tokens] for tokens in seen] == [["Hel"], ["lo"]]
    assert [(one.json["logprobs"], one.json["top_logprobs"]) for one in upstream.seen] == [(True, 2)] * 2


async def test_a_messages_provider_has_none(running: Running) -> None:
    """A Messages provider is not asked, and the head of the reply names the loss."""
    said: Any = {"model": "claude", "input": "Hi", "include": [WORD], "top_logprobs": 2}
    async with running.session.post(f"{running.url}/v1/responses", json=said) as response:
        assert (response.status, response.headers["x-gateway-dropped"]) == (200, "logprobs,top_logprobs")
    said = {"model": "claude", "messages": HI, "logprobs": True}
    async with running.session.post(f"{running.url}/v1/chat/completions", json=said) as response:
        assert (response.status, response.headers["x-gateway-dropped"]) == (200, "logprobs")
        assert (await response.json())["choices"][0]["logprobs"] is None
