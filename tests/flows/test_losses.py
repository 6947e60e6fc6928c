"""What a translation loses, refuses or repairs, as clients are told."""

import asyncio
from typing import Any

import pytest

from tests.conftest import Running, Start
from tests.flows.messages import Providers
from tests.flows.pairs import PAIRS, ask


@pytest.fixture
async def running(start: Start) -> Running:
    return await start(PAIRS)


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
        (
            "strict_claude",
            {"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]},
            "prefill",
        ),
        ("strict_claude", {"user": "u", "metadata": {"a": "b"}}, "metadata"),
    ],
)
async def test_strict_routes_refuse(running: Running, provider: Providers, model: str, more: Any, place: str) -> None:
    """A route with `on_shed: refuse` answers 400 with the member's name, without an upstream call. (EC-70)"""
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


_TURNS: dict[str, Any] = {"messages": [{"role": "user", "content": "Hi"}]}


@pytest.mark.parametrize(
    ("path", "body", "named"),
    [
        ("/messages", _TURNS | {"max_tokens": 9, "fallbacks": [], "mcp_servers": [], "context_management": {}}, None),
        ("/chat/completions", _TURNS | {"store": False, "metadata": {}, "prediction": None}, None),
        ("/responses", {"input": "Hi", "store": False, "prompt_cache_options": {}, "metadata": {}}, None),
        ("/chat/completions", _TURNS | {"store": True}, "store"),
    ],
)
async def test_what_says_nothing_is_no_loss(running: Running, path: str, body: Any, named: str | None) -> None:
    """Members that are empty, or off as they are without being sent, are not named."""
    model = "chat" if path == "/messages" else "claude"
    async with running.post(f"/v1{path}", body | {"model": model}) as answer:
        assert answer.status == 200 and answer.headers.get("x-gateway-dropped") == named
