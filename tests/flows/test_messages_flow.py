"""Messages over real sockets: raw lane, headers, prefixes, fallback across dialects, counting."""

import asyncio
import io
import json
import multiprocessing
from typing import Any

import pytest

from gateway.mock import chat, messages
from tests.conftest import Running, Start, eventually
from tests.flows.messages import Providers, stream
from tests.flows.pairs import PAIRS, ask
from tests.wire.crossings import message, messages_request
from tests.wire.grammar import read_chat, read_messages

FAULTS: list[dict[str, Any]] = [
    {"status": 500},
    {"status": 529},
    {"status": 429},
    {"status": 401},
    {"fault": "reset_before_head"},
    {"fault": "error_event"},
    {"fault": "truncate", "after": 1},
    {"fault": "html"},
    {"fault": "garbage"},
]


@pytest.fixture
async def running(start: Start) -> Running:
    return await start(PAIRS)


async def test_the_raw_lane_touches_the_model_only(running: Running, provider: Providers) -> None:
    """In the raw lane only `model` changes: unknown members, cache marks, threads and server tools go up. (EC-213)"""
    more: dict[str, Any] = {
        "thread": {"type": "create"},
        "context_management": {"edits": []},
        "nobody_knows": [1.50, {"b": 1, "a": 2}],
        "tools": [{"type": "web_search_20260318", "name": "web_search"}],
        "system": [{"type": "text", "text": "s", "cache_control": {"type": "ephemeral", "ttl": "1h"}}],
    }
    status, said, _ = await ask(running, "claude", **more)
    sent = provider("ant").seen[0]
    assert status == 200 and said["id"] == "msg_mock"
    assert sent.json == messages_request(model="m") | more
    assert b"1.5" in sent.body


@pytest.mark.parametrize("version", ["2023-06-01", "2026-10-21"])
async def test_the_version_is_the_clients(running: Running, provider: Providers, version: str) -> None:
    """The client's version and sampling go up verbatim; without a version the default does. (EC-3, EC-4, EC-27)"""
    await ask(running, "claude", headers={"anthropic-version": version}, temperature=1.0)
    await ask(running, "claude")
    first, second = provider("ant").seen
    assert first.headers["anthropic-version"] == version and first.json["temperature"] == 1.0
    assert second.headers["anthropic-version"] == "2023-06-01"


async def test_beta_lines_are_joined(running: Running, provider: Providers) -> None:
    """Several anthropic-beta lines become one, in order, with unknown values; a query does not matter. (EC-5, EC-6)"""
    headers = [("anthropic-beta", "a,b"), ("anthropic-beta", "new-2099-01-01"), ("x-stainless-lang", "py")]
    async with running.session.post(
        f"{running.url}/v1/messages?beta=true", json=messages_request(model="claude"), headers=headers
    ) as answer:
        assert answer.status == 200 and answer.headers["request-id"] == answer.headers["x-request-id"]
    sent = provider("ant").seen[0].headers
    assert sent["anthropic-beta"] == "a,b,new-2099-01-01"
    assert not any(name.lower().startswith("x-stainless") for name in sent)


@pytest.mark.parametrize("model", ["claude[1m]", "chat[1m]"])
async def test_the_suffix_for_a_long_context(running: Running, provider: Providers, model: str) -> None:
    """The suffix [1m] is taken off the model's name and, for an Anthropic upstream, becomes the beta. (EC-18)"""
    status, _, _ = await ask(running, model, headers={"anthropic-beta": "x-1"})
    assert status == 200
    sent = provider("ant" if "claude" in model else "oai").seen[0]
    assert sent.json["model"] == "m"
    assert sent.headers.get("anthropic-beta") == ("x-1,context-1m-2025-08-07" if "claude" in model else None)


@pytest.mark.parametrize("headers", [{"Authorization": "Bearer gwk_client-key"}, {"x-api-key": "gwk_client-key"}])
async def test_either_credential_header_lets_in(start: Start, provider: Providers, headers: dict[str, str]) -> None:
    """One valid key in either credential header lets the client in, even beside a wrong one. (EC-1, EC-2)"""
    running = await start(PAIRS + "keys: {k: {secret: {env: KEY}}}\n")
    wrong = {"Authorization": "Bearer no", "x-api-key": "no"}
    assert (await ask(running, "claude", headers=headers))[0] == 200
    assert (await ask(running, "claude", headers=wrong | headers))[0] == 200
    status, said, _ = await ask(running, "claude", headers=wrong)
    assert status == 401 and said["error"]["type"] == "authentication_error"
    assert said["error"]["message"].startswith(
        "Invalid API key. Please provide a valid Anthropic API key. This key is not"
    )
    assert all("gwk_client-key" not in str(seen.headers) for seen in provider("ant").seen)


async def test_errors_on_anthropic_paths(running: Running) -> None:
    """Every error on an Anthropic path has Anthropic's envelope, unknown paths and methods included. (EC-16, EC-231)"""
    status, said, headers = await ask(running, "nobody")
    assert (status, said["type"], said["error"]["type"]) == (404, "error", "not_found_error")
    assert said["request_id"] == headers["request-id"]
    async with running.post("/v1/messages", []) as answer:
        assert answer.status == 400 and (await answer.json())["error"]["type"] == "invalid_request_error"
    async with running.session.get(f"{running.url}/v1/messages/nothing") as answer:
        assert answer.status == 404 and (await answer.json())["type"] == "error"
    async with running.session.get(f"{running.url}/nothing", headers={"anthropic-version": "2023-06-01"}) as answer:
        assert (await answer.json())["type"] == "error"
    async with running.session.get(f"{running.url}/v1/messages") as answer:
        assert answer.status == 405 and (await answer.json())["type"] == "error"


async def test_a_bad_member_is_named(running: Running) -> None:
    """An invalid member is a 400 that names it when the gateway translates; in the raw lane the provider judges it."""
    broken = [{"role": "user", "content": [{"type": "image", "source": {"type": "base64", "data": 7}}]}]
    status, said, _ = await ask(running, "chat", messages=broken)
    assert status == 400 and said["error"]["details"]["field"] == "messages[0].content[0].source.data"
    assert (await ask(running, "claude", messages=broken))[0] == 200


@pytest.mark.parametrize("fault", FAULTS, ids=str)
@pytest.mark.parametrize("is_stream", [False, True])
async def test_claude_is_dead_and_openai_answers(
    running: Running, provider: Providers, fault: dict[str, Any], is_stream: bool
) -> None:
    """If the Anthropic target fails in any way, an Anthropic client gets a good reply from the OpenAI target."""
    if fault.get("fault") == "error_event" and not is_stream:
        pytest.skip("only a stream has events")
    provider("ant").will(**fault)
    if is_stream:
        status, data = await stream(running, "claude_first")
        told = read_messages(data)
        assert status == 200 and told.error is None
        assert told.text == "Hello from the mock provider. You said: Hi"
    else:
        status, said, headers = await ask(running, "claude_first")
        assert status == 200 and headers["x-gateway-provider"] == "oai"
        assert said["content"] == [{"type": "text", "text": "Hello from the mock provider. You said: Hi"}]


@pytest.mark.parametrize("fault", FAULTS, ids=str)
@pytest.mark.parametrize("is_stream", [False, True])
async def test_openai_is_dead_and_claude_answers(
    running: Running, provider: Providers, fault: dict[str, Any], is_stream: bool
) -> None:
    """If the OpenAI target fails in any way, an OpenAI client gets a good reply from the Anthropic target."""
    if fault.get("fault") == "error_event" and not is_stream:
        pytest.skip("only a stream has events")
    provider("oai").will(**fault)
    if is_stream:
        status, data = await running.chat_stream("chat_first")
        told = read_chat(data)
        assert status == 200 and told.text == "Hello from the mock provider. You said: Hi"
    else:
        status, said = await running.chat("chat_first")
        assert status == 200
        assert said["choices"][0]["message"]["content"] == "Hello from the mock provider. You said: Hi"


@pytest.mark.slow
@pytest.mark.parametrize("model", ["claude", "chat"])
@pytest.mark.parametrize("fault", ["truncate", "reset_in_body", "stall_in_body", "error_event"])
async def test_a_stream_that_breaks_says_so(running: Running, provider: Providers, model: str, fault: str) -> None:
    """A stream that breaks after content ends with an error event in the client's dialect.

    There is no clean end and no second attempt. (EC-199, EC-211, EC-212, EC-251)
    """
    provider("ant" if model == "claude" else "oai").will(fault=fault, after=5, pace=0.02)
    status, data = await stream(running, model)
    told = read_messages(data)
    assert status == 200 and told.error is not None and told.text.startswith("Hello")
    wanted = {"error_event": {"overloaded_error", "api_error"}, "stall_in_body": {"timeout_error"}}
    assert told.error["type"] in wanted.get(fault, {"api_error"})
    assert b"message_stop" not in data
    assert len([*provider("ant").seen, *provider("oai").seen]) == 1
    status, data = await running.chat_stream(model)
    assert b'"error"' in data and data.endswith(b"data: [DONE]\n\n")


async def test_count_tokens(running: Running, provider: Providers) -> None:
    """The count is the provider's; if the provider fails it is an estimate with 200; a 400 is forwarded. (EC-267)"""
    path = "/v1/messages/count_tokens"
    status, said, headers = await ask(running, "claude", path)
    assert status == 200 and said["input_tokens"] > 0 and "x-gateway-usage" not in headers
    assert provider("ant").seen[0].path == "/messages/count_tokens"
    provider("ant").will(status=500, times=4)
    status, said, headers = await ask(running, "claude", path)
    assert status == 200 and headers["x-gateway-usage"] == "estimated" and said["input_tokens"] > 0
    provider("ant").server.script.rules.clear()
    provider("ant").will(status=400)
    running.gateway.selection.health = type(running.gateway.selection.health)(running.gateway.snapshot.config.breaker)
    status, said, _ = await ask(running, "claude", path)
    assert status == 400 and said["error"]["type"] == "invalid_request_error"
    status, said, headers = await ask(running, "chat", path, max_tokens=None)
    assert status == 200 and headers["x-gateway-usage"] == "estimated"
    status, said, _ = await ask(running, "chat", path, messages=[{"role": "nobody", "content": "x"}])
    assert status == 400 and said["error"]["details"]["field"] == "messages[0].role"


@pytest.mark.slow
async def test_a_long_text_does_not_stop_the_loop(running: Running) -> None:
    """Counting two megabytes of text never holds up the event loop for a tenth of a second. (EC-269)"""
    lags = []

    async def watch() -> None:
        loop = asyncio.get_running_loop()
        while True:
            start = loop.time()
            await asyncio.sleep(0.001)
            lags.append(loop.time() - start)

    said = messages_request(model="chat", messages=[{"role": "user", "content": "word " * 400_000}])
    body, headers = io.BytesIO(json.dumps(said).encode()), {"Content-Type": "application/json"}
    watcher = asyncio.create_task(watch())
    async with running.session.post(f"{running.url}/v1/messages/count_tokens", data=body, headers=headers) as answer:
        assert (await answer.json())["input_tokens"] > 300_000
    watcher.cancel()
    assert sorted(lags)[-2] < 0.1


async def test_nothing_is_asked_for_no_tokens(running: Running, provider: Providers) -> None:
    """`max_tokens: 0` is answered here if the upstream does not know pre-warming; otherwise it goes up. (EC-24)"""
    status, said, _ = await ask(running, "chat", max_tokens=0)
    assert status == 200 and said["content"] == [] and said["stop_reason"] == "max_tokens"
    assert provider("oai").seen == []
    status, data = await stream(running, "chat", max_tokens=0)
    assert status == 200 and read_messages(data).stop == "max_tokens"
    await ask(running, "claude", max_tokens=0)
    assert provider("ant").seen[0].json["max_tokens"] == 0


async def test_long_replies_are_asked_for_as_streams(running: Running, provider: Providers) -> None:
    """For a large `max_tokens` the upstream call is a stream, and the client still gets a whole reply. (EC-46)"""
    status, said, _ = await ask(running, "chat", max_tokens=64_000)
    sent = provider("oai").seen[0].json
    assert status == 200 and sent["stream"] is True and sent["stream_options"] == {"include_usage": True}
    assert said["content"][0]["text"].startswith("Hello") and said["usage"]["output_tokens"] == 9
    provider("oai").will(fault="truncate", after=3)
    status, said, _ = await ask(running, "chat", max_tokens=64_000)
    assert status == 502 and said["error"]["type"] == "api_error"


@pytest.mark.parametrize("model", ["claude", "chat"])
async def test_a_whole_reply_to_a_stream_is_told_as_one(running: Running, provider: Providers, model: str) -> None:
    """If the upstream answers a stream request with JSON, the client gets a stream, in all four pairs. (EC-161)"""
    name, sample = ("ant", messages) if model == "claude" else ("oai", chat)
    whole = sample.whole({"model": "m"}, "reasoning", "said")
    provider(name).will(body=whole)
    _, data = await stream(running, model)
    assert read_messages(data).text == "said"
    _, data = await running.chat_stream(model)
    assert read_chat(data).text == "said"
    provider(name).server.script.rules.clear()
    provider(name).will(body=sample.error_body(429, None))
    status, _ = await stream(running, model)
    assert status == 429


async def test_dropping_the_client_closes_the_upstream(running: Running, provider: Providers) -> None:
    """When the client leaves a translated stream, the upstream connection is closed. (EC-228)"""
    provider("oai").will(pace=0.2)
    async with running.post("/v1/messages", messages_request(model="chat", stream=True)) as answer:
        await answer.content.readany()
    await eventually(lambda: provider("oai").seen[0].was_cut)


USE = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "x"}}
FOUND = {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []}
LIMITED = {"input_tokens": 5, "output_tokens": 3}


@pytest.mark.parametrize("is_stream", [False, True])
async def test_a_pause_is_gone_on_with(start: Start, provider: Providers, is_stream: bool) -> None:
    """After `pause_turn` the gateway continues the turn and the client gets one reply. (EC-149)

    The reply joins the text and the usage of both segments; the second call carries the first segment's blocks.
    """
    running = await start(PAIRS.replace("prefill: false}", "prefill: false, hosted_tools: [web_search]}"))
    first = ({"type": "text", "text": "Let me look."}, USE, FOUND)
    segments = [(first, "pause_turn"), (({"type": "text", "text": "Found."},), "end_turn")]
    for blocks, stop in segments:
        whole = {"type": "message", "content": list(blocks), "stop_reason": stop, "usage": LIMITED}
        frames = [one + b"\n\n" for one in message(*blocks, stop=stop).split(b"\n\n")[:-1]]
        provider("ant").will(**({"frames": frames} if is_stream else {"body": whole}), times=1)
    more: Any = {"web_search_options": {}, "stream_options": {"include_usage": True}}
    if is_stream:
        _, data = await running.chat_stream("claude", **more)
        told = read_chat(data, wants_usage=True)
        assert (told.text, told.stop) == ("Let me look.\n\nFound.", "stop") and told.usage is not None
        assert told.usage["completion_tokens"] == 6
    else:
        _, said = await running.chat("claude", **more)
        assert said["choices"][0]["message"]["content"] == "Let me look.\n\nFound."
        assert said["usage"]["completion_tokens"] == 6
    before, after = (seen.json["messages"] for seen in provider("ant").seen)
    assert after[:-1] == before
    assert [block["type"] for block in after[-1]["content"]] == ["text", "server_tool_use", "web_search_tool_result"]


async def test_a_pause_that_never_ends(start: Start, provider: Providers) -> None:
    """After nine segments a paused turn is returned as a reply; if a later segment fails, the client gets the error."""
    running = await start(PAIRS.replace("prefill: false}", "prefill: false, hosted_tools: [web_search]}"))
    whole = {"content": [{"type": "text", "text": "x"}], "stop_reason": "pause_turn", "usage": LIMITED}
    provider("ant").will(body=whole)
    _, said = await running.chat("claude", web_search_options={})
    assert said["choices"][0]["finish_reason"] == "stop" and len(provider("ant").seen) == 9
    frames = [one + b"\n\n" for one in message({"type": "text", "text": "x"}, stop="pause_turn").split(b"\n\n")[:-1]]
    provider("ant").server.script.rules.clear()
    provider("ant").will(frames=frames, times=1)
    provider("ant").will(status=500)
    _, data = await running.chat_stream("claude", web_search_options={})
    assert read_chat(data).error is not None


@pytest.mark.sdk
async def test_counting_with_the_vocabulary(running: Running) -> None:
    """With the extra installed a worker process counts tokens; if the process dies the count is an estimate."""
    if running.gateway.tokenizer is None:
        pytest.skip("needs the extra [tokenizer]")
    path, text = "/v1/messages/count_tokens", [{"role": "user", "content": "hello world " * 100}]
    _, said, _ = await ask(running, "chat", path, messages=text)
    assert 200 <= said["input_tokens"] <= 260
    for worker in multiprocessing.active_children():
        worker.kill()
        worker.join()
    status, said, _ = await ask(running, "chat", path, messages=text)
    assert status == 200 and said["input_tokens"] > 200 and running.gateway.tokenizer is None
