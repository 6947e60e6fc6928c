"""A provider repeats the key that it was sent, in every shape that a reply can have."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import SECRETS, Provider, Running, Start

pytestmark = [pytest.mark.slow, pytest.mark.exhaustive]

KEY, OWN = SECRETS["ONE"], "sk-a-clients-own-key"
CONFIG = """
store: {url: "memory:"}
providers:
  chat: {base_url: MOCK/chat/v1, auth: {bearer: {env: ONE}}, speaks: [openai_chat]}
  messages: {base_url: MOCK/messages/v1, auth: {x-api-key: {env: ONE}}, speaks: [anthropic_messages]}
  responses: {base_url: MOCK/responses/v1, auth: {bearer: {env: ONE}}, speaks: [openai_responses]}
  byok: {base_url: MOCK/byok/v1, auth: passthrough, speaks: [openai_chat]}
"""
PATHS = {"chat": "/v1/chat/completions", "messages": "/v1/messages", "responses": "/v1/responses"}


def frame(payload: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(payload).encode() + b"\n\n"


def streams(key: str) -> dict[str, list[bytes]]:
    """Return streams in which the key stands in every kind of event, by the provider's dialect."""
    chunk = {"id": key, "choices": [{"index": 0, "delta": {"content": f"It is {key}."}}]}
    failed = {"status": "failed", "error": {"code": key, "message": key}, "output": []}
    start = {"type": "message_start", "message": {"id": key, "usage": {"input_tokens": 1}, "content": []}}
    block = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    delta = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": key}}
    return {
        "chat": [frame(chunk), frame({"error": {"message": f"bad key {key}", "code": key, "type": key}})],
        "chat early": [frame({"error": {"message": f"bad key {key}"}})],
        "messages": [
            frame(one)
            for one in (start, block, delta, {"type": "error", "error": {"type": "api_error", "message": key}})
        ],
        "responses": [
            frame({"type": "response.created", "response": {"id": key}}),
            frame({"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": key}),
            frame({"type": "response.failed", "response": failed}),
        ],
        "responses early": [frame({"type": "error", "message": key, "code": key})],
    }


async def all_of(running: Running, path: str, model: str, *, is_stream: bool, headers: dict[str, str]) -> bytes:
    """Return everything that a client can see of an answer."""
    body = {"model": model, "stream": is_stream, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 9}
    if path == "/v1/responses":
        body = {"model": model, "stream": is_stream, "input": "Hi"}
    async with running.post(path, body, headers=headers) as answer:
        seen: bytes = b"".join(name + b":" + value for name, value in answer.raw_headers) + await answer.read()
        ids = [word for word in seen.decode().replace('"', " ").split() if word.startswith("resp_")]
    for name in dict.fromkeys(ids[:1]):
        async with running.session.get(f"{running.url}/v1/responses/{name}") as answer:
            seen += await answer.read()
    return seen


async def said_of(running: Running, *keys: str) -> None:
    """Fail if a key stands in the log or in the metrics."""
    running.gateway.telemetry.logs.flush()
    everything = running.output.getvalue() + running.gateway.telemetry.metrics.expose()
    assert not any(key.encode() in everything for key in keys)


@pytest.mark.parametrize("client", sorted(PATHS))
@pytest.mark.parametrize("shape", sorted(streams("")))
@pytest.mark.parametrize("size", [0, 7])
async def test_a_stream_that_repeats_the_key(
    start: Start, provider: Callable[[str], Provider], client: str, shape: str, size: int
) -> None:
    """No event of a stream shows the key: raw or translated, before or after content, however it is cut."""
    running = await start(CONFIG)
    name = shape.split(maxsplit=1)[0]
    provider(name).will(frames=streams(KEY)[shape], chunk=size, headers={"x-request-id": KEY, "openai-version": KEY})
    seen = await all_of(running, PATHS[client], f"{name}:m", is_stream=True, headers={})
    assert KEY.encode() not in seen
    await said_of(running, KEY)


@pytest.mark.parametrize("client", sorted(PATHS))
@pytest.mark.parametrize("name", sorted(PATHS))
@pytest.mark.parametrize("status", [200, 400, 401, 403, 404, 429, 500])
async def test_a_whole_reply_that_repeats_the_key(
    start: Start, provider: Callable[[str], Provider], client: str, name: str, status: int
) -> None:
    """Neither an error nor a reply with an error in it shows the key, nor a header that passes."""
    running = await start(CONFIG)
    error = {"message": f"bad key {KEY}", "type": KEY, "code": KEY, "param": KEY}
    body = {"id": KEY, "object": KEY, "model": KEY, "error": error, "choices": [], "content": [], "output": []}
    provider(name).will(status=status, body=body, headers={"x-request-id": KEY, "openai-processing-ms": KEY})
    seen = await all_of(running, PATHS[client], f"{name}:m", is_stream=False, headers={})
    assert KEY.encode() not in seen
    await said_of(running, KEY)


async def test_a_clients_own_key_and_other_shapes(start: Start, provider: Callable[[str], Provider]) -> None:
    """A passed-through key, an HTML page, a content type and a model list show nothing either."""
    running = await start(CONFIG)
    headers = {"x-provider-key": OWN}
    for values in (
        {"status": 400, "body": {"error": {"message": OWN, "type": "x"}}},
        {"status": 500, "body": f"plain text {OWN}"},
        {"frames": streams(OWN)["chat"]},
        {"frames": streams(OWN)["chat early"]},
    ):
        provider("byok").will(times=1, **values)
        seen = await all_of(running, PATHS["chat"], "byok:m", is_stream="frames" in values, headers=headers)
        assert OWN.encode() not in seen
    provider("chat").will(times=1, body={"data": [{"id": KEY}], "note": KEY})
    async with running.session.get(f"{running.url}/v1/models?format=raw&refresh=true") as answer:
        assert KEY not in await answer.text()
    await said_of(running, KEY, OWN)
