"""A session of Claude Code as it was seen on the wire, and what follows from long silences."""

import json
from typing import Any

import pytest

from gateway.server.report import write_route
from tests.conftest import Running, Start
from tests.flows.messages import Providers, stream
from tests.flows.pairs import PAIRS, ask
from tests.wire.crossings import PIXEL, messages_request
from tests.wire.grammar import read_messages


@pytest.fixture
async def running(start: Start) -> Running:
    return await start(PAIRS)


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


@pytest.mark.slow
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
    async with running.post(
        "/v1/chat/completions", {"model": "claude", "messages": [{"role": "user", "content": "Hi"}], **more}
    ) as answer:
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
    async with running.post(
        "/v1/chat/completions", {"model": "claude", "messages": [{"role": "user", "content": "Hi"}]}
    ) as answer:
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
