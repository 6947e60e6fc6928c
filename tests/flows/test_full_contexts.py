"""A conversation that does not fit: asked of a larger model, never repeated, and told so that agents compact."""

from typing import Any

import pytest

from gateway.policy.health import TargetState
from tests.conftest import Running, Start, chat_body
from tests.flows.messages import Providers
from tests.wire.crossings import messages_request

ROUTES = """
server: {listen: ["127.0.0.1:0"]}
store: {url: "memory:"}
breaker: {failures: 1}
providers:
  one: {base_url: MOCK/one/v1, speaks: [openai_chat]}
  two: {base_url: MOCK/two/v1, speaks: [openai_chat]}
routes:
  plain: one:m
  both: [one:m, two:m]
  roomy: {targets: [one:m], context_fallback: [two:long]}
"""
FULL = {"code": 500, "message": "Context size has been exceeded.", "type": "server_error"}


async def messages(running: Running, model: str, **more: Any) -> tuple[int, Any]:
    async with running.post("/v1/messages", messages_request(model=model) | more) as answer:
        return answer.status, await answer.json()


@pytest.mark.parametrize("header", [{}, {"x-should-retry": "true"}, {"retry-after": "1"}])
async def test_a_500_about_the_context_is_no_failure(start: Start, provider: Providers, header: dict[str, str]) -> None:
    """llama.cpp's 500 is told as the client's own fault: one attempt, no other target, nothing rests, no repeats."""
    running = await start(ROUTES)
    provider("one").will(status=500, headers=header, error=FULL)
    async with running.post("/v1/chat/completions", chat_body("both")) as answer:
        said = await answer.json()
        assert (answer.status, said["error"]["code"]) == (400, "context_length_exceeded")
        assert answer.headers["x-should-retry"] == "false"
    status, said = await messages(running, "both")
    assert status == 400 and said["error"]["message"] == "prompt is too long: Context size has been exceeded."
    assert len(provider("one").seen) == 2 and not provider("two").seen
    assert running.gateway.selection.health.state("one:m", running.gateway.clock.monotonic()) is TargetState.LIVE


@pytest.mark.parametrize("is_stream", [False, True])
async def test_the_larger_model_is_asked(start: Start, provider: Providers, is_stream: bool) -> None:
    """`context_fallback` answers after any server's sentence, also inside a 200 of either kind."""
    running = await start(ROUTES)
    sentence = "The number of tokens to keep from the initial prompt is greater than the context length"
    for behaviour in (
        {"status": 400, "error": {"message": sentence}},
        {"body": {"error": sentence}},
        {"frames": [f'event: error\ndata: {{"error":{{"message":"{sentence}"}}}}\n\n'.encode()]},
    ):
        provider("one").server.script.rules.clear()
        provider("one").will(**behaviour)
        if is_stream:
            status, stream = await running.chat_stream("roomy")
            assert status == 200 and b"error" not in stream
        elif "frames" not in behaviour:
            assert (await running.chat("roomy"))[0] == 200
        assert provider("two").seen[-1].json["model"] == "long"


@pytest.mark.parametrize(
    "behaviour",
    [
        {"status": 413, "error": {"message": "prompt is too long"}},
        {"status": 413, "body": "<html>Request Entity Too Large</html>"},
        {"status": 400, "body": "context length exceeded"},
        {"status": 413, "error": {"message": "Request too large", "type": "tokens", "code": "rate_limit_exceeded"}},
    ],
)
async def test_a_servers_own_limit_moves_on(start: Start, provider: Providers, behaviour: dict[str, Any]) -> None:
    """A 413, a page, or Groq's tokens a minute: the next target is asked, and the breaker stays shut."""
    running = await start(ROUTES)
    provider("one").will(**behaviour)
    assert (await running.chat("both"))[0] == 200
    assert len(provider("two").seen) == 1 and len(provider("one").seen) == 1
    assert running.gateway.selection.health.state("one:m", running.gateway.clock.monotonic()) is TargetState.LIVE


async def test_a_413_that_is_left_is_a_413(start: Start, provider: Providers) -> None:
    """If nobody takes it, the client reads a 413 in its own dialect."""
    running = await start(ROUTES)
    provider("one").will(status=413, body="<html>no</html>")
    status, said = await running.chat("plain")
    assert (status, said["error"]["code"]) == (413, "request_too_large")
    status, said = await messages(running, "plain")
    assert (status, said["error"]["type"]) == (413, "request_too_large")
