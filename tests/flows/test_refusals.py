"""Refusals that are HTTP 200: sent as they are, or one further target is asked before any content."""

import json
from typing import Any

import pytest

from tests.conftest import Provider, Running, Start
from tests.flows.messages import Providers

REFUSALS = """
server: {listen: ["127.0.0.1:0"]}
store: {url: "memory:"}
providers:
  ant: {base_url: MOCK/ant/v1, speaks: [anthropic_messages]}
  oai: {base_url: MOCK/oai/v1, speaks: [openai_chat]}
  new: {base_url: MOCK/new/v1, speaks: [openai_responses]}
  end: {base_url: MOCK/end/v1, speaks: [openai_chat, anthropic_messages, openai_responses]}
  far: {base_url: MOCK/far/v1, speaks: [openai_chat, anthropic_messages, openai_responses]}
routes:
  ant: {on_refusal: next, targets: ["ant:m", "end:m", "far:m"]}
  oai: {on_refusal: next, targets: ["oai:m", "end:m", "far:m"]}
  new: {on_refusal: next, targets: ["new:m", "end:m", "far:m"]}
  told: ["ant:m", "end:m"]
  plain: ["oai:m", "end:m", "far:m"]
  alone: {on_refusal: next, targets: ["ant:m"]}
"""
CHAT_REFUSAL: dict[str, Any] = {
    "id": "c",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": None}, "finish_reason": "content_filter"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 0, "total_tokens": 3},
}
CHAT_FRAMES = [
    b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":'
    b'{"role":"assistant","content":""},"finish_reason":null}]}\n\n',
    b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{},'
    b'"finish_reason":"content_filter"}]}\n\n',
    b"data: [DONE]\n\n",
]
RESPONSE = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1,
    "model": "m",
    "status": "incomplete",
    "incomplete_details": {"reason": "content_filter"},
    "output": [],
    "usage": {"input_tokens": 3, "output_tokens": 0, "total_tokens": 3},
}
BODIES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "Hi"}]},
    "/v1/messages": {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 9},
    "/v1/responses": {"input": "Hi", "store": False},
}
PATHS = pytest.mark.parametrize("path", list(BODIES))
STREAMS = pytest.mark.parametrize("stream", [False, True])


def refuse(one: Provider, *, stream: bool, times: int = 0) -> None:
    """Make a provider refuse in its own dialect, without any content."""
    if one.name == "ant":
        one.will(reply="refusal", times=times)
    elif one.name == "new":
        kinds = ("created", "incomplete")
        frames = [
            f"event: response.{kind}\ndata: {json.dumps({'type': f'response.{kind}', 'response': RESPONSE})}\n\n".encode()
            for kind in kinds
        ]
        one.will(times=times, **({"frames": frames} if stream else {"body": RESPONSE}))
    else:
        one.will(times=times, **({"frames": CHAT_FRAMES} if stream else {"body": CHAT_REFUSAL}))


async def ask(running: Running, path: str, model: str, *, stream: bool = False, **more: Any) -> tuple[Any, str]:
    """Ask; return the headers and the text of the answer."""
    body = {"model": model, "stream": stream, **BODIES[path], **more}
    async with running.post(path, body) as answer:
        text = await answer.text()
        assert answer.status == 200, text
        return answer.headers, text


@PATHS
@STREAMS
@pytest.mark.parametrize("model", ["ant", "oai", "new"])
async def test_one_further_target_is_asked(
    start: Start, provider: Providers, path: str, stream: bool, model: str
) -> None:
    """With `on_refusal: next` the next target answers, on raw lanes and on crossings; header and log say why."""
    running = await start(REFUSALS)
    refuse(provider(model), stream=stream)
    headers, text = await ask(running, path, model, stream=stream)
    assert headers["x-gateway-provider"] == "end" and headers["x-gateway-attempts"] == "2"
    assert headers["x-gateway-refused"] == f"{model}:m"
    assert "Hello" in text
    line = running.exchanges[-1]
    assert (line["refused"], line["outcome"], line["provider"]) == (f"{model}:m", "ok", "end")
    assert not provider("far").seen


@STREAMS
async def test_a_refusal_is_delivered_by_default(start: Start, provider: Providers, stream: bool) -> None:
    """Without the setting the refusal is the answer, in one attempt."""
    running = await start(REFUSALS)
    refuse(provider("ant"), stream=stream)
    headers, text = await ask(running, "/v1/messages", "told", stream=stream)
    assert headers["x-gateway-provider"] == "ant" and headers["x-gateway-attempts"] == "1"
    assert "x-gateway-refused" not in headers and '"refusal"' in text
    assert not provider("end").seen and "refused" not in running.exchanges[-1]


@STREAMS
async def test_two_refusals_are_enough(start: Start, provider: Providers, stream: bool) -> None:
    """If the further target refuses as well, its refusal is sent: nobody goes shopping for a policy."""
    running = await start(REFUSALS)
    refuse(provider("ant"), stream=stream)
    provider("end").will(reply="refusal")
    headers, text = await ask(running, "/v1/messages", "ant", stream=stream)
    assert headers["x-gateway-provider"] == "end" and headers["x-gateway-attempts"] == "2"
    assert '"refusal"' in text and not provider("far").seen


@STREAMS
@pytest.mark.parametrize("fault", [{"status": 500}, {"status": 429}, {"fault": "truncate", "after": 1}])
async def test_a_further_target_that_fails(
    start: Start, provider: Providers, stream: bool, fault: dict[str, Any]
) -> None:
    """If the further target fails, the refusal is delivered after all, and no third one is asked."""
    running = await start(REFUSALS)
    refuse(provider("ant"), stream=stream)
    provider("end").will(**fault)
    headers, text = await ask(running, "/v1/messages", "ant", stream=stream)
    assert headers["x-gateway-provider"] == "ant" and '"refusal"' in text
    assert len(provider("end").seen) == 1 and not provider("far").seen


@STREAMS
async def test_with_no_further_target_it_is_delivered(start: Start, provider: Providers, stream: bool) -> None:
    """On a route of one target there is nobody else to ask."""
    running = await start(REFUSALS)
    refuse(provider("ant"), stream=stream)
    headers, text = await ask(running, "/v1/messages", "alone", stream=stream)
    assert headers["x-gateway-attempts"] == "1" and '"refusal"' in text


@STREAMS
async def test_after_content_it_is_too_late(start: Start, provider: Providers, stream: bool) -> None:
    """A refusal in the middle of an answer is a part of it: what was said stays said."""
    running = await start(REFUSALS)
    if stream:
        said = CHAT_FRAMES[0].replace(b'"content":""', b'"content":"Well"')
        provider("oai").will(frames=[said, *CHAT_FRAMES[1:]])
    else:
        choice = {**CHAT_REFUSAL["choices"][0], "message": {"role": "assistant", "content": "Well"}}
        provider("oai").will(body={**CHAT_REFUSAL, "choices": [choice]})
    headers, text = await ask(running, "/v1/messages", "oai", stream=stream)
    assert headers["x-gateway-provider"] == "oai" and "Well" in text


async def test_a_refusal_is_no_fault(start: Start, provider: Providers) -> None:
    """A target that refuses is well: however often it does, the next conversation asks it first."""
    running = await start(REFUSALS)
    refuse(provider("ant"), stream=False, times=8)
    for _ in range(8):
        await ask(running, "/v1/messages", "ant")
    headers, _ = await ask(running, "/v1/messages", "ant")
    assert headers["x-gateway-provider"] == "ant"
    assert 'outcome="filtered",provider="ant"} 8.0' in running.gateway.telemetry.metrics.expose().decode()


@STREAMS
async def test_a_stored_response_is_the_one_that_was_sent(start: Start, provider: Providers, stream: bool) -> None:
    """Of a refusal that was passed over nothing is stored."""
    running = await start(REFUSALS)
    refuse(provider("new"), stream=stream)
    headers, _ = await ask(running, "/v1/responses", "new", stream=stream, store=True)
    assert headers["x-gateway-refused"] == "new:m"
    async with running.session.get(f"{running.url}/v1/responses/{running.exchanges[-1]['response']}") as answer:
        stored = await answer.json()
    assert stored["status"] == "completed" and stored["output"]
