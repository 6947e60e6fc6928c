"""Anthropic's `fallbacks`: on a raw lane the provider's business, on a crossing the gateway's."""

from typing import Any

import pytest

from tests.conftest import Running, Start
from tests.flows.messages import Providers
from tests.wire.crossings import messages_request

FALLBACKS = """
server: {listen: ["127.0.0.1:0"]}
store: {url: "memory:"}
providers:
  ant: {base_url: MOCK/ant/v1, speaks: [anthropic_messages]}
  oai: {base_url: MOCK/oai/v1, speaks: [openai_chat]}
  new: {base_url: MOCK/new/v1, speaks: [openai_responses]}
routes:
  claude-fable-5: ["oai:m", "new:m"]
  claude-opus-5: "new:opus"
  claude-haiku-5: ["ant:haiku", "oai:haiku"]
  raw: ["ant:m", "oai:m"]
  alone: "oai:m"
"""
KEYS = """
keys: {ada: {secret: {env: KEY}, routes: [claude-fable-5, claude-opus-5]}}
"""
REFUSED = {
    "choices": [{"index": 0, "message": {"role": "assistant", "content": None}, "finish_reason": "content_filter"}]
}
FRAMES = [
    b'data: {"id":"c","model":"m","choices":[{"index":0,"delta":{},"finish_reason":"content_filter"}]}\n\n',
    b"data: [DONE]\n\n",
]
STREAMS = pytest.mark.parametrize("stream", [False, True])


async def ask(running: Running, fallbacks: Any, model: str = "claude-fable-5", **more: Any) -> tuple[Any, str]:
    body = messages_request(model=model, fallbacks=fallbacks, **more)
    async with running.post("/v1/messages", body, headers={"x-api-key": "gwk_client-key"}) as answer:
        text = await answer.text()
        assert answer.status == 200, text
        return answer.headers, text


def refuse(provider: Providers, *, stream: bool = False) -> None:
    provider("oai").will(**({"frames": FRAMES} if stream else {"body": REFUSED}))


@STREAMS
async def test_the_named_model_answers(start: Start, provider: Providers, stream: bool) -> None:
    """After a refusal the first model that the gateway knows is asked, with its own settings over the request's."""
    running = await start(FALLBACKS)
    refuse(provider, stream=stream)
    fallbacks = [{"model": "unknown"}, {"model": "claude-opus-5", "max_tokens": 77, "output_config": {"effort": "low"}}]
    headers, text = await ask(running, fallbacks, stream=stream)
    assert "Hello" in text
    assert (headers["x-gateway-provider"], headers["x-gateway-model"]) == ("new", "opus")
    assert headers["x-gateway-refused"] == "oai:m" and "x-gateway-dropped" not in headers
    sent = provider("new").seen[-1].json
    assert sent["max_output_tokens"] == 77 and sent["reasoning"]["effort"] == "low"
    assert (
        provider("oai").seen[-1].json.get("max_completion_tokens", provider("oai").seen[-1].json.get("max_tokens"))
        == 1000
    )


async def test_a_model_of_the_same_dialect(start: Start, provider: Providers) -> None:
    """A fallback that speaks the client's dialect gets the request as it is, without the member."""
    running = await start(FALLBACKS)
    refuse(provider)
    headers, _ = await ask(running, [{"model": "claude-haiku-5", "thinking": None}], thinking={"type": "adaptive"})
    sent = provider("ant").seen[-1].json
    assert headers["x-gateway-provider"] == "ant" and sent["model"] == "haiku"
    assert "fallbacks" not in sent and "thinking" not in sent


@STREAMS
async def test_the_default_is_the_next_target(start: Start, provider: Providers, stream: bool) -> None:
    """`default` leaves the choice to the server: the route's next target."""
    running = await start(FALLBACKS)
    refuse(provider, stream=stream)
    headers, _ = await ask(running, "default", stream=stream)
    assert (headers["x-gateway-provider"], headers["x-gateway-model"]) == ("new", "m")


@pytest.mark.parametrize(
    "fallbacks", [[{"model": "unknown"}], [{"model": "claude-haiku-5"}], "default", "x", [7], [{}]]
)
async def test_what_cannot_be_done_is_named(start: Start, provider: Providers, fallbacks: Any) -> None:
    """Models that are unknown or not the key's, and a default without a second target, are named as lost."""
    alone = KEYS.replace("claude-opus-5]", "alone]")
    running = await start(FALLBACKS + alone)
    refuse(provider)
    headers, text = await ask(running, fallbacks, "alone")
    assert '"refusal"' in text and headers["x-gateway-attempts"] == "1"
    assert headers["x-gateway-dropped"] == "fallbacks"


async def test_no_refusal_no_fallback(start: Start, provider: Providers) -> None:
    """A model that answers is not doubted, and a fault of a target still leads to the route's next one."""
    running = await start(FALLBACKS)
    headers, _ = await ask(running, [{"model": "claude-haiku-5"}])
    assert headers["x-gateway-provider"] == "oai" and "x-gateway-dropped" not in headers
    provider("oai").will(status=500, times=1)
    headers, _ = await ask(running, [{"model": "claude-haiku-5"}])
    assert headers["x-gateway-provider"] == "new" and "x-gateway-refused" not in headers


@STREAMS
async def test_on_a_raw_lane_the_provider_does_it(start: Start, provider: Providers, stream: bool) -> None:
    """Anthropic tries the fallbacks itself: the member goes up, and its refusal is final."""
    running = await start(FALLBACKS)
    provider("ant").will(reply="refusal")
    fallbacks = [{"model": "claude-opus-5"}]
    headers, text = await ask(running, fallbacks, "raw", stream=stream)
    assert headers["x-gateway-provider"] == "ant" and '"refusal"' in text
    assert provider("ant").seen[-1].json["fallbacks"] == fallbacks


async def test_one_further_model_at_most(start: Start, provider: Providers) -> None:
    """If the fallback refuses as well, its refusal is the answer."""
    running = await start(FALLBACKS)
    refuse(provider)
    provider("ant").will(reply="refusal")
    headers, text = await ask(running, [{"model": "claude-haiku-5"}, {"model": "claude-opus-5"}])
    assert headers["x-gateway-provider"] == "ant" and headers["x-gateway-attempts"] == "2" and '"refusal"' in text
    assert not provider("new").seen


async def test_a_fallback_asks_for_no_further_one(start: Start, provider: Providers) -> None:
    """The route's own next target is asked without the member, so that its provider tries no third model."""
    running = await start(FALLBACKS.replace('["oai:m", "new:m"]', '["oai:m", "ant:m"]'))
    refuse(provider)
    headers, _ = await ask(running, "default")
    assert headers["x-gateway-provider"] == "ant" and "fallbacks" not in provider("ant").seen[-1].json
