"""Messages over real sockets: raw lane, headers, prefixes, fallback across dialects, counting."""

import asyncio
import io
import json
import multiprocessing
from collections.abc import Callable
from typing import Any

import pytest

from gateway.mock import chat, messages
from gateway.server.report import write_route
from tests.conftest import Provider, Running, Start, eventually
from tests.flows.pairs import PAIRS, ask
from tests.wire.crossings import PIXEL, message, messages_request
from tests.wire.grammar import read_chat, read_messages

Providers = Callable[[str], Provider]
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


async def stream(running: Running, model: str, path: str = "/v1/messages", **more: Any) -> tuple[int, bytes]:
    async with running.post(path, messages_request(model=model, stream=True) | more) as answer:
        return answer.status, await answer.read()


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
    assert said["error"]["message"] == "Invalid API key. Please provide a valid Anthropic API key."
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


async def test_what_is_lost_is_told(running: Running) -> None:
    """Losses are named in x-gateway-dropped; with `on_shed: refuse` they are a 400, or a lossless target answers."""
    _, _, headers = await ask(running, "chat", top_k=5, container="c", metadata={"user_id": "u"})
    assert headers["x-gateway-dropped"] == "container"
    status, said, _ = await ask(running, "strict", container="c")
    assert status == 400 and said["error"]["details"]["field"] == "container"
    status, _, headers = await ask(running, "strict_both", container="c")
    assert status == 200 and headers["x-gateway-provider"] == "ant"
    status, said = await running.chat("strict_claude", temperature=0.5)
    assert status == 400 and said["error"]["param"] == "temperature"


@pytest.mark.parametrize(
    ("model", "more", "place"),
    [
        ("strict_claude", {"stop": "\n"}, "stop"),  # EC-30
        (
            "strict_claude",
            {"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]},
            "prefill",
        ),
        ("strict_claude", {"user": "u", "metadata": {"a": "b"}}, "metadata"),
    ],
)
async def test_strict_routes_refuse(running: Running, provider: Providers, model: str, more: Any, place: str) -> None:
    """A route with `on_shed: refuse` answers 400 with the member's name, without an upstream call. (EC-30, EC-70)"""
    status, said = await running.chat(model, **more)
    assert (status, said["error"]["param"]) == (400, place) and provider("ant").seen == []


async def test_content_that_cannot_be_said_costs_no_call(running: Running, provider: Providers) -> None:
    """Content that a target cannot take costs no call to it: a 400, or the next target answers. (EC-85, EC-89)"""
    part = {"type": "image_url", "image_url": {"url": "data:image/svg+xml;base64,PHN2Zz4="}}
    status, said = await running.chat("claude", messages=[{"role": "user", "content": [part]}])
    assert status == 400 and "image/svg+xml" in said["error"]["message"] and provider("ant").seen == []
    part = {"type": "file", "file": {"file_id": "file-1"}}
    status, said = await running.chat("claude", messages=[{"role": "user", "content": [part]}])
    assert status == 400 and "file-1" in said["error"]["message"]
    status, _ = await running.chat("claude_first", messages=[{"role": "user", "content": [part]}])
    assert status == 200 and provider("ant").seen == []


async def test_a_bad_call_is_tried_again_once(running: Running, provider: Providers) -> None:
    """`tool_use_failed`, a mistake of the model, is tried once more and then returned as a 400. (EC-196)"""
    provider("oai").will(status=400, error={"message": "m", "code": "tool_use_failed", "type": "invalid_request_error"})
    status, said, _ = await ask(running, "chat")
    assert status == 400 and said["error"]["type"] == "invalid_request_error"
    assert len(provider("oai").seen) == 2


async def test_threads_are_refused_where_they_cannot_be_continued(running: Running) -> None:
    """A thread on a chat upstream is a 400 whose code makes the SDK send the whole conversation.

    See docs/wire/clients.md#seen-on-the-wire.
    """
    status, said, _ = await ask(running, "chat", thread={"type": "create"})
    assert status == 400 and said["error"]["details"]["error_code"] == "thread_unsupported_request"


async def test_rate_limits_are_said_as_anthropic_says_them(start: Start) -> None:
    """Our rate limits reach an Anthropic client as anthropic-ratelimit-* headers and a rate_limit_error. (EC-252)"""
    running = await start(PAIRS + "limits: {address: {messages: {requests: 1/minute}}}\n")
    _, _, headers = await ask(running, "claude")
    assert headers["anthropic-ratelimit-requests-limit"] == "1"
    assert headers["anthropic-ratelimit-requests-remaining"] == "0"
    assert headers["anthropic-ratelimit-requests-reset"].endswith("Z")
    status, said, headers = await ask(running, "claude")
    assert (status, said["error"]["type"]) == (429, "rate_limit_error") and int(headers["retry-after"]) > 0


async def test_our_own_words_of_overload(start: Start, provider: Providers) -> None:
    """A gateway at `max_concurrent` answers an Anthropic client with 529 and an overloaded_error."""
    running = await start(PAIRS.replace("listen:", "max_concurrent: 1, listen:"))
    provider("ant").will(latency=0.2)
    answers = await asyncio.gather(*(ask(running, "claude") for _ in range(2)))
    assert sorted(status for status, _, _ in answers) == [200, 529]
    assert {"overloaded_error"} == {said["error"]["type"] for status, said, _ in answers if status == 529}


async def test_prompt_is_too_long(running: Running, provider: Providers) -> None:
    """A context refusal of any upstream begins with `prompt is too long`: Claude Code compacts on these words."""
    error = {
        "message": "This model's maximum context length is 9 tokens",
        "code": "context_length_exceeded",
        "type": "x",
    }
    provider("oai").will(status=400, error=error)
    status, said, _ = await ask(running, "chat")
    assert status == 400 and said["error"]["message"].startswith("prompt is too long: This model's")


async def test_an_upstream_refusal_is_relayed_word_for_word(running: Running, provider: Providers) -> None:
    """A 400 of an Anthropic upstream reaches the client verbatim: Claude Code recovers by its wording. (EC-246)"""
    body = {"type": "error", "error": {"type": "invalid_request_error", "message": "Invalid `signature` in `thinking`"}}
    provider("ant").will(status=400, body=body)
    status, said, _ = await ask(running, "claude")
    assert (status, said) == (400, body)


async def test_an_optional_member_that_is_refused_is_left_out(running: Running, provider: Providers) -> None:
    """A refused optional member is left out in one repaired attempt and in later requests. (EC-43, EC-240)"""
    refusal = {"message": "Unsupported parameter: 'top_p' is not supported with this model.", "param": "top_p"}
    provider("oai").will(status=400, error=refusal, times=1)
    for _ in range(2):
        assert (await ask(running, "chat", top_p=0.5))[0] == 200
    assert ["top_p" in seen.json for seen in provider("oai").seen] == [True, False, False]
    provider("oai").will(status=400, error={"message": "stream_options: Extra inputs are not permitted"}, times=1)
    provider("oai").server.script.rules.reverse()
    status, _ = await running.chat_stream("chat")
    assert status == 200
    asked = [seen.json for seen in provider("oai").seen[3:]]
    assert ["stream_options" in one for one in asked] == [True, False]


async def test_what_the_client_says_itself_is_not_mended(running: Running, provider: Providers) -> None:
    """A refusal of a member that carries meaning costs one attempt and reaches the client. (EC-239)"""
    provider("oai").will(status=400, error={"message": "Unsupported value: 'messages' is not supported"})
    assert (await ask(running, "chat"))[0] == 400
    assert len(provider("oai").seen) == 1
    provider("oai").will(status=400, error={"message": "Unsupported parameter: 'top_p'"})
    assert (await running.chat("chat", top_p=0.5))[0] == 400
    assert len(provider("oai").seen) == 2


@pytest.mark.parametrize("prefix", ["", "/openai", "/full", "/full/openai", "/min", "/min/openai", "/pt", "/pt/openai"])
async def test_every_path_stands_behind_every_prefix(running: Running, prefix: str) -> None:
    """Messages, chat and models answer behind every prefix; `openai` in the prefix gives OpenAI's list shape."""
    status, _, _ = await ask(running, "claude", f"{prefix}/v1/messages")
    assert status == 200
    async with running.post(f"{prefix}/v1/chat/completions", {"model": "chat", "messages": []}) as answer:
        assert answer.status == 200
    headers = {"anthropic-version": "2023-06-01"}
    async with running.session.get(f"{running.url}{prefix}/v1/models", headers=headers) as answer:
        assert ("first_id" in await answer.json()) is ("openai" not in prefix)


async def test_the_modes(start: Start, provider: Providers) -> None:
    """/min adds nothing of the gateway's; /pt changes only the model's name and never translates."""
    config = PAIRS.replace(
        "speaks: [anthropic", 'system_prefix: "You are ours."\n    set: {speed: fast}\n    speaks: [anthropic'
    )
    running = await start(config)
    sent: dict[str, Any] = {
        "headers": {"anthropic-beta": "b-1", "anthropic-version": "2026-10-21"},
        "system": "Be brief.",
    }
    for path in ("/v1/messages", "/min/v1/messages", "/pt/v1/messages"):
        assert (await ask(running, "claude", path, **{**sent, "headers": dict(sent["headers"])}))[0] == 200
    full, least, through = provider("ant").seen
    assert [block["text"] for block in full.json["system"]] == ["You are ours.", "Be brief."]
    assert full.json["speed"] == "fast" and full.headers["anthropic-beta"] == "b-1"
    assert least.json["system"] == "Be brief." and "anthropic-beta" not in least.headers
    assert least.headers["anthropic-version"] == "2026-10-21"
    assert through.json == messages_request(model="m", system="Be brief.")
    assert through.headers["anthropic-beta"] == "b-1"
    assert (await ask(running, "chat", "/pt/v1/messages"))[0] == 404
    assert (await ask(running, "chat", "/min/v1/messages"))[0] == 200


async def test_the_system_prefix_is_never_put_twice(start: Start, provider: Providers) -> None:
    """`system_prefix` is added once, in both lanes, and stands behind Claude Code's attribution line. (EC-92)"""
    config = PAIRS.replace("speaks: [", 'system_prefix: "You are ours."\n    speaks: [')
    running = await start(config)
    line = {"type": "text", "text": "x-anthropic-billing-header: cc"}
    for system in ("You are ours. And brief.", [{"type": "text", "text": "You are ours."}]):
        await ask(running, "claude", system=system)
        assert provider("ant").seen[-1].json["system"] == system
    await ask(running, "claude", system=[line, {"type": "text", "text": "s"}])
    sent = provider("ant").seen[-1].json["system"]
    assert sent[0] == line and [block["text"] for block in sent[1:]] == ["You are ours.", "s"]  # EC-92
    await ask(running, "claude")
    assert provider("ant").seen[-1].json["system"] == [{"type": "text", "text": "You are ours."}]
    for system in ("You are ours.", "s"):
        await running.chat("chat", messages=[{"role": "system", "content": system}, {"role": "user", "content": "x"}])
    first, second = (seen.json["messages"] for seen in provider("oai").seen)
    assert [one["content"] for one in first] == ["You are ours.", "x"]
    assert [one["content"] for one in second] == ["You are ours.", "s", "x"]
    await running.chat("claude")
    assert provider("ant").seen[-1].json["system"][0]["text"] == "You are ours."


async def test_a_passed_through_key_is_shown_as_the_upstream_wants_it(start: Start, provider: Providers) -> None:
    """The client's own key goes up in the upstream's header; a bearer token for Anthropic stays a bearer token."""
    config = PAIRS.replace("auth: {x-api-key: {env: TWO}}", "auth: passthrough")
    running = await start(config)
    await ask(running, "claude", headers={"x-api-key": "theirs"})
    await ask(running, "claude", headers={"Authorization": "Bearer theirs"})
    async with running.post(
        "/v1/chat/completions", {"model": "claude", "messages": []}, headers={"Authorization": "Bearer theirs"}
    ) as answer:
        assert answer.status == 200
    native, bearer, crossed = (seen.headers for seen in provider("ant").seen)
    assert native["x-api-key"] == "theirs"
    assert bearer["Authorization"] == "Bearer theirs" and "x-api-key" not in bearer
    assert crossed["x-api-key"] == "theirs" and "Authorization" not in crossed
    status, said, _ = await ask(running, "claude")
    assert status == 401 and "requires API key passthrough" in said["error"]["message"]


async def test_envelopes_are_one_owners(start: Start, provider: Providers) -> None:
    """An envelope of another owner, or a forged one, is ignored and the request succeeds. (EC-133)"""
    running = await start(PAIRS + "keys: {a: {secret: {env: KEY}}, b: {secret: {env: OTHER}}}\n")
    provider("oai").will(reply="reasoning")
    first, second = {"x-api-key": "gwk_client-key"}, {"x-api-key": "gwk_other-key"}
    _, said, _ = await ask(running, "chat", headers=first)
    content = said["content"]
    assert content[0]["signature"].startswith("gw1.")
    forged = [{**content[0], "signature": "gw1.AAAA" + content[0]["signature"][8:]}, content[1]]
    for headers, blocks in ((second, content), (first, forged), (first, content)):
        messages = [{"role": "assistant", "content": blocks}, {"role": "user", "content": "Hi"}]
        assert (await ask(running, "chat", headers=headers, messages=messages))[0] == 200


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


async def test_claude_code_on_an_openai_provider(running: Running, provider: Providers) -> None:
    """Two turns as Claude Code sends them (docs/wire/clients.md#seen-on-the-wire), the second with a tool's picture, work on a chat upstream."""
    tools: list[dict[str, Any]] = [
        {
            "name": name,
            "description": "d " * 50,
            "input_schema": {"$schema": "x", "type": "object", "properties": {"path": {"type": "string"}}},
            "strict": True,
            "defer_loading": True,
        }
        for name in ("Read", "Bash", "Edit")
    ]
    mark = {"cache_control": {"type": "ephemeral"}}
    said = {
        "system": [
            {"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1.329"},
            {"type": "text", "text": "You are Claude Code.", **mark},
        ],
        "tools": tools,
        "thinking": {"type": "adaptive", "display": "omitted"},
        "output_config": {"effort": "medium"},
        "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
        "metadata": {"user_id": json.dumps({"device_id": "d", "session_id": "12345678-1234-1234-1234-123456789012"})},
        "max_tokens": 32_000,
        "stream": True,
    }
    headers = {"anthropic-version": "2023-06-01", "anthropic-beta": "a,b,c", "user-agent": "claude-cli/2.1.329"}
    turns: list[Any] = [{"role": "user", "content": [{"type": "text", "text": "Look at a.png", **mark}]}]
    provider("oai").will(reply="tools", times=1)
    body = messages_request(model="chat", messages=turns) | said
    async with running.post("/v1/messages?beta=true", body, headers=headers) as answer:
        told = read_messages(await answer.read())
        assert answer.status == 200 and answer.headers["request-id"]
    assert told.stop == "tool_use" and told.usage is not None and told.usage["input_tokens"] == 8
    call_id, name, arguments = told.calls[0]
    picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}
    turns.append(
        {
            "role": "assistant",
            "content": [{"type": "tool_use", "id": call_id, "name": name, "input": json.loads(arguments)}],
        }
    )
    turns.append({"role": "user", "content": [{"type": "tool_result", "tool_use_id": call_id, "content": [picture]}]})
    turns.append({"role": "system", "content": "Tools have changed."})
    async with running.post(
        "/v1/messages?beta=true", messages_request(model="chat", messages=turns) | said, headers=headers
    ) as answer:
        assert read_messages(await answer.read()).stop == "end_turn"
    first, second = (seen.json for seen in provider("oai").seen)
    assert second["messages"][: len(first["messages"])] == first["messages"], "the cached prefix stays"
    assert first["messages"][0] == {"role": "system", "content": "You are Claude Code."}
    assert [one["role"] for one in second["messages"]] == ["system", "user", "assistant", "tool", "user", "system"]
    assert first["reasoning_effort"] == "medium" and "context_management" not in first
    assert all("anthropic" not in name.lower() for name in provider("oai").seen[0].headers)
    assert set(first["tools"][0]["function"]) <= {"name", "description", "parameters", "strict"}


@pytest.mark.parametrize("model", ["claude", "chat"])
async def test_a_silent_stream_is_kept_alive(start: Start, provider: Providers, model: str) -> None:
    """In silence Anthropic clients get pings and OpenAI clients comments, never an id line. (EC-214, EC-215)"""
    running = await start(PAIRS.replace("listen:", "keepalive: 40ms, listen:").replace("idle: 300ms", "idle: 5s"))
    provider("ant" if model == "claude" else "oai").will(pace=0.1, text="a b c d e f g h i j k l m n o p q")
    _, data = await stream(running, model)
    assert data.count(b'event: ping\ndata: {"type": "ping"}\n\n') >= 2 and read_messages(data).error is None
    _, data = await running.chat_stream(model)
    assert data.count(b": keep-alive\n\n") >= 2 and b"event: ping" not in data
    assert not any(line.startswith(b"id:") for line in data.splitlines())


async def test_routes_tell_what_is_lost(running: Running) -> None:
    """`gateway routes ALIAS` prints the lanes of each target and what each translation loses."""
    snapshot = running.gateway.snapshot
    said = write_route(snapshot, snapshot.table.resolve("chat_first"))
    assert "translated: /messages into openai_chat" in said and "- message threads: refused" in said
    assert "translated: /chat/completions into anthropic_messages" in said and "raw: /messages" in said
    assert said.count("message threads") == 1 and "on_shed: drop" in said
    assert "on_shed: refuse refuses" in write_route(snapshot, snapshot.table.resolve("strict"))


@pytest.mark.parametrize("name", ["ant:m\r\nX-Evil: 1", "oai:m\nX-Evil: 1", "oai:m\x00", "chat\r\n\r\nbody"])
@pytest.mark.parametrize("is_stream", [False, True])
async def test_no_header_comes_out_of_a_models_name(running: Running, name: str, is_stream: bool) -> None:
    """A model name with control characters is a 400 on every path and adds no header to the response."""
    for path in ("/v1/messages", "/v1/chat/completions", "/v1/messages/count_tokens"):
        async with running.post(path, messages_request(model=name, stream=is_stream)) as answer:
            assert answer.status == 400 and "X-Evil" not in answer.headers
    status, _, headers = await ask(running, "oai:\u00fcber")
    assert status == 200 and headers["x-gateway-model"] == "ber"


async def test_a_refused_effort_leaves_the_schema_alone(running: Running, provider: Providers) -> None:
    """If the upstream refuses `effort`, only `effort` is dropped and reported; a strict route then refuses it."""
    error = {"type": "invalid_request_error", "message": "output_config.effort: Extra inputs are not permitted"}
    provider("ant").will(status=400, error=error, times=1)
    schema = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}
    more: dict[str, Any] = {"reasoning_effort": "high", "response_format": schema}
    async with running.post("/v1/chat/completions", {"model": "claude", "messages": [], **more}) as answer:
        assert answer.status == 200 and answer.headers["x-gateway-dropped"] == "output_config.effort"
    first, second = (seen.json["output_config"] for seen in provider("ant").seen)
    assert set(first) == {"effort", "format"} and set(second) == {"format"}
    status, said = await running.chat("strict_claude", **more)
    assert (status, said["error"]["param"]) == (400, "output_config.effort")


@pytest.mark.parametrize("status", [400, 404, 422, 429])
async def test_anthropics_errors_are_openais_for_openais_clients(
    running: Running, provider: Providers, status: int
) -> None:
    """A chat client gets Anthropic's error in OpenAI's envelope, although Anthropic's has an `error` member too."""
    refusal = {"type": "error", "error": {"type": "invalid_request_error", "message": "no"}, "request_id": "r"}
    provider("ant").will(status=status, body=refusal, times=9)
    async with running.post("/v1/chat/completions", {"model": "claude", "messages": []}) as answer:
        said = await answer.json()
    assert set(said) == {"error"} and {"message", "type", "param", "code"} <= set(said["error"])
    assert said["error"]["message"] == "no"


async def test_a_thought_that_nobody_can_read_is_told(running: Running) -> None:
    """A thinking block with a forged envelope is dropped and reported in x-gateway-dropped."""
    forged = {"type": "thinking", "thinking": "t", "signature": "gw1.AAAA"}
    turns = [
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": [forged, {"type": "text", "text": "y"}]},
        {"role": "user", "content": "z"},
    ]
    _, _, headers = await ask(running, "chat", messages=turns)
    assert "reasoning" in headers["x-gateway-dropped"].split(",")
