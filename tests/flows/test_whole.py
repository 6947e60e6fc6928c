"""Whole replies with the same dialect on both sides: the client's bytes go up, the provider's come back."""

import json
from collections.abc import Callable

import pytest

from tests.conftest import Provider, Running, Start, chat_body


async def test_the_first_target_answers(running: Running, provider: Callable[[str], Provider]) -> None:
    """The provider's reply reaches the client unchanged, and only the first target gets a request."""
    provider("one").will(body='{"id":"x", "choices": [{"index":0,"message":{"content":"hi"}}],  "odd":1e400}')

    async with running.post("/v1/chat/completions", chat_body("both")) as answer:
        assert answer.status == 200
        assert await answer.read() == b'{"id":"x", "choices": [{"index":0,"message":{"content":"hi"}}],  "odd":1e400}'
        assert answer.headers["Content-Type"] == "application/json"
        assert answer.headers["x-gateway-provider"] == "one"
        assert answer.headers["x-gateway-attempts"] == "1"
        assert answer.headers["x-request-id"].startswith("req_")
    assert len(provider("one").seen) == 1
    assert not provider("two").seen


async def test_only_the_named_members_of_a_body_change(running: Running, provider: Callable[[str], Provider]) -> None:
    """Numbers keep their spelling and unknown members are forwarded; only `model` becomes the target's."""
    raw = b'{"temperature":1.0,"model":"both","messages":[{"role":"user","content":"\\u00e9 {} 12345678901234567890"}],"x":{"a":1e400}}'
    headers = {"Content-Type": "application/json"}

    async with running.session.post(f"{running.url}/v1/chat/completions", data=raw, headers=headers) as answer:
        assert answer.status == 200

    assert provider("one").seen[0].body == raw.replace(b'"both"', b'"m"')


async def test_a_second_model_member_means_the_same_upstream(
    running: Running, provider: Callable[[str], Provider]
) -> None:
    """Of two `model` members the last one wins, and the upstream gets one member only."""
    raw = b'{"model":"single","messages":[],"model":"both"}'
    async with running.session.post(
        f"{running.url}/v1/chat/completions", data=raw, headers={"Content-Type": "application/json"}
    ) as answer:
        assert answer.status == 200

    assert json.loads(provider("one").seen[0].body) == {"model": "m", "messages": []}
    assert provider("one").seen[0].body.count(b'"model"') == 1


async def test_the_credential_is_the_providers(running: Running, provider: Callable[[str], Provider]) -> None:
    """The client's credential headers never go upstream; the provider's own credential does."""
    headers = {
        "Authorization": "Bearer client-secret",
        "x-api-key": "another",
        "Cookie": "a=b",
        "X-Forwarded-For": "1.2.3.4",
    }
    async with running.post("/v1/chat/completions", chat_body("both"), headers=headers) as answer:
        assert answer.status == 200

    sent = provider("one").seen[0].headers
    assert sent["Authorization"] == "Bearer one-upstream-key"
    assert not {"x-api-key", "Cookie", "X-Forwarded-For", "Content-Encoding"} & set(sent)
    assert sent["Accept-Encoding"] == "identity"


async def test_provider_settings_reach_the_body_the_headers_and_the_query(
    start: Start, provider: Callable[[str], Provider]
) -> None:
    """`set`, `drop`, `rename`, `headers` and `query` of a provider are applied on the way out."""
    running = await start(
        """
        store: {url: "memory:"}
        providers:
          one:
            base_url: MOCK/one/v1
            speaks: [openai_chat, openai_embeddings]
            set: {temperature: 1, extra: {a: [1]}}
            drop: [parallel_tool_calls]
            rename: {max_completion_tokens: max_tokens}
            headers: {x-team: blue}
            query: {api-version: 2024-10-21, b: "x y"}
        routes: {both: "one:m"}
        """
    )
    await running.chat(parallel_tool_calls=True, max_completion_tokens=5, temperature=0.2)

    seen = provider("one").seen[0]
    assert seen.json == chat_body("m") | {"max_tokens": 5, "temperature": 1, "extra": {"a": [1]}}
    assert seen.headers["x-team"] == "blue"
    assert seen.query == "api-version=2024-10-21&b=x+y"

    async with running.post("/v1/embeddings", {"model": "both", "input": "x"}) as answer:
        assert answer.status == 200
    assert "temperature" not in provider("one").seen[1].json


@pytest.mark.parametrize(
    ("path", "body", "member"),
    [
        ("/v1/embeddings", {"input": ["a", "b"]}, "data"),
        ("/v1/embeddings", {"input": [1, 2, 3], "encoding_format": "base64"}, "data"),
        ("/v1/completions", {"prompt": "x"}, "choices"),
        ("/v1/moderations", {"input": "x"}, "results"),
        ("/v1/rerank", {"query": "q", "documents": ["a", "b"]}, "results"),
        ("/v1/images/generations", {"prompt": "x"}, "data"),
    ],
)
async def test_carried_endpoints_fall_back_like_chat(
    running: Running, provider: Callable[[str], Provider], path: str, body: dict[str, object], member: str
) -> None:
    """On every passthrough endpoint a 500 from the first target stays hidden and the second target answers."""
    provider("one").will(status=500)

    async with running.post(path, {"model": "both"} | body) as answer:
        assert answer.status == 200
        assert member in await answer.json()
        assert answer.headers["x-gateway-provider"] == "two"


async def test_sound_goes_through_as_bytes(running: Running, provider: Callable[[str], Provider]) -> None:
    """/v1/audio/speech replies with sound, not JSON: bytes and content type reach the client unchanged."""
    async with running.post("/v1/audio/speech", {"model": "both", "input": "hi", "voice": "alloy"}) as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "audio/wav"
        assert (await answer.read()).startswith(b"RIFF")


async def test_usage_is_counted_in_disjoint_parts(running: Running) -> None:
    """The log line and the metrics carry the provider's token counts, with cached tokens counted apart."""
    await running.chat()

    line = running.exchanges[-1]
    assert (line["input"], line["cache_read"], line["output"]) == (8, 4, 9)
    assert line["alias"] == "both" and line["provider"] == "one" and line["outcome"] == "ok"
    assert (
        'gateway_tokens_total{key="anonymous",part="cache_read",provider="one",team=""} 4.0'
        in running.gateway.telemetry.metrics.expose().decode()
    )


async def test_an_empty_reply_is_asked_of_another_target_once(
    running: Running, provider: Callable[[str], Provider]
) -> None:
    """An empty reply makes the gateway try one more target; if that one is empty too, the client gets it with 200."""
    provider("one").will(reply="empty")
    _, said = await running.chat()
    assert said["choices"][0]["message"]["content"].startswith("Hello")

    provider("two").will(reply="empty")
    status, said = await running.chat()
    assert status == 200
    assert said["choices"][0]["message"]["content"] == ""


async def test_an_empty_reply_stands_when_the_other_target_fails(
    running: Running, provider: Callable[[str], Provider]
) -> None:
    """If the first reply is empty and the second target fails, the client gets the empty reply with 200."""
    provider("one").will(reply="empty")
    provider("two").will(status=500)
    status, said = await running.chat()
    assert status == 200
    assert said["choices"][0]["message"]["content"] == ""
