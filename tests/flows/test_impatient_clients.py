"""A client's own timeout is its own: its SDK raises it, and the gateway sees it leave."""

import anthropic
import openai
import pytest

from tests.conftest import Running, Start, eventually
from tests.flows.messages import Providers
from tests.flows.pairs import PAIRS

pytestmark = pytest.mark.slow

PATIENT = PAIRS.replace("first_byte: 300ms, whole: 300ms", "first_byte: 9s, whole: 9s")


@pytest.fixture
async def slow(start: Start, provider: Providers) -> Running:
    """A gateway whose providers answer after seconds."""
    running = await start(PATIENT)
    for name in ("oai", "ant"):
        provider(name).will(latency=8)
    return running


async def left(running: Running, provider: Providers, name: str) -> None:
    """Check that the one exchange ended by its client, and cost the target nothing."""
    await eventually(lambda: bool(running.exchanges))
    assert (running.exchanges[-1]["status"], running.exchanges[-1]["outcome"]) == (499, "abandoned")
    assert len(provider(name).seen) == 1
    assert not list(running.gateway.selection.health.resting(running.gateway.clock.monotonic()))


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize(("model", "name"), [("chat", "oai"), ("claude", "ant")])
async def test_openais_sdk(slow: Running, provider: Providers, model: str, name: str, is_stream: bool) -> None:
    """OpenAI's SDK raises its own timeout on both surfaces, raw and crossed."""
    async with openai.AsyncOpenAI(base_url=f"{slow.url}/v1", api_key="k", timeout=0.15, max_retries=0) as client:
        with pytest.raises(openai.APITimeoutError):
            await client.chat.completions.create(
                model=model, messages=[{"role": "user", "content": "Hi"}], stream=is_stream
            )
        await left(slow, provider, name)
        with pytest.raises(openai.APITimeoutError):
            await client.responses.create(model=model, input="Hi", stream=is_stream)


@pytest.mark.slow
@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize(
    "config",
    [
        PAIRS,  # the provider's own timeouts are the client's: 300ms
        PATIENT.replace("server: {", "server: {timeouts: {total: 300ms}, "),
    ],
    ids=["providers", "total"],
)
async def test_the_same_timeout_on_both_sides(start: Start, provider: Providers, config: str, is_stream: bool) -> None:
    """Where the operator's timeout is the client's (both 600 s by default), the client's comes first."""
    running = await start(config)
    provider("oai").will(latency=8)
    async with openai.AsyncOpenAI(base_url=f"{running.url}/v1", api_key="k", timeout=0.3, max_retries=0) as client:
        with pytest.raises(openai.APITimeoutError):
            await client.chat.completions.create(
                model="chat", messages=[{"role": "user", "content": "Hi"}], stream=is_stream
            )
    await left(running, provider, "oai")


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize(("model", "name"), [("chat", "oai"), ("claude", "ant")])
async def test_anthropics_sdk(slow: Running, provider: Providers, model: str, name: str, is_stream: bool) -> None:
    """Anthropic's SDK raises its own timeout, raw and crossed."""
    async with anthropic.AsyncAnthropic(base_url=slow.url, api_key="k", timeout=0.15, max_retries=0) as client:
        with pytest.raises(anthropic.APITimeoutError):
            await client.messages.create(
                model=model, max_tokens=9, messages=[{"role": "user", "content": "Hi"}], stream=is_stream
            )
        await left(slow, provider, name)
