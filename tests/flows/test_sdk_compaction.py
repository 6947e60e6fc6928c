"""What the official SDKs do with compactions, on upstreams of all three dialects."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import anthropic
import openai
import pytest

from tests.conftest import Provider, Running, Start
from tests.flows.responses import CONFIG, ROUTES, UPSTREAMS

pytestmark = pytest.mark.slow

Providers = Callable[[str], Provider]
NAMES = CONFIG.replace("routes: {", "routes: {gpt-chat: oai:m, gpt-claude: ant:m, gpt-native: res:m, ")


@pytest.fixture
async def running(start: Start) -> Running:
    return await start(NAMES)


@pytest.fixture
async def client(running: Running) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{running.url}/v1", api_key="k", max_retries=0) as found:
        yield found


@pytest.mark.parametrize("mode", ["auto", "input", "previous_response_id"])
@ROUTES
async def test_the_agents_sdks_session(
    route: str, mode: Any, running: Running, client: openai.AsyncOpenAI, provider: Providers
) -> None:
    """A compaction session shortens its history after a turn, and the agent goes on with the summary."""
    agents = pytest.importorskip("agents", reason="openai-agents is not installed")
    memory = pytest.importorskip("agents.memory", reason="openai-agents is too old")
    upstream = provider(UPSTREAMS[route])
    upstream.will(text="The shed is red now.", times=1)
    upstream.will(text="We painted the shed.", times=1)
    upstream.will(text="You are welcome.", times=1)
    inner = agents.SQLiteSession("s")
    session = memory.OpenAIResponsesCompactionSession(
        "s", inner, client=client, model=f"gpt-{route}", compaction_mode=mode,
        should_trigger_compaction=lambda context: len(context["session_items"]) < 3,
    )  # fmt: skip
    model = agents.OpenAIResponsesModel(model=f"gpt-{route}", openai_client=client)
    agent = agents.Agent(name="a", instructions="Help.", model=model)
    config = agents.RunConfig(tracing_disabled=True)
    await agents.Runner.run(agent, "Paint the shed.", session=session, run_config=config)
    items = await session.get_items()
    assert [item.get("type") for item in items] == ["message", "compaction"], items
    said = await agents.Runner.run(agent, "Thanks.", session=session, run_config=config)
    assert said.final_output == "You are welcome." and len(upstream.seen) == 3
    last = str(upstream.seen[-1].json)
    assert all(text in last for text in ("Paint the shed.", "We painted the shed.", "Thanks."))
    assert "The shed is red now." not in last
    inner.close()


@ROUTES
async def test_the_openai_sdk(route: str, client: openai.AsyncOpenAI, provider: Providers) -> None:
    """`responses.compact`, the trigger and `context_management` give typed items that go back as they came."""
    provider(UPSTREAMS[route]).will(text="A summary.", times=2)
    shorter = await client.responses.compact(model=route, input="Paint the shed.")
    assert shorter.object == "response.compaction" and shorter.output[-1].type == "compaction"
    given: Any = [item.model_dump(exclude_unset=True, warnings=False) for item in shorter.output]
    assert (await client.responses.create(model=route, input=[*given, {"type": "compaction_trigger"}])).output
    provider(UPSTREAMS[route]).will(text="A long summary.", times=1)
    managed: Any = [{"type": "compaction", "compact_threshold": 1000}]
    long: Any = {"role": "user", "content": "shed " * 2000}
    async with client.responses.stream(model=route, input=[long], context_management=managed) as events:
        async for _ in events:
            pass
        said = await events.get_final_response()
    assert [item.type for item in said.output] == ["compaction", "message"] and said.output_text
    await client.responses.create(model=route, input="Go on.", previous_response_id=said.id)
    assert "A long summary." in str(provider(UPSTREAMS[route]).seen[-1].json)


@pytest.mark.parametrize("is_stream", [False, True])
@ROUTES
async def test_anthropics_tool_runner(route: str, running: Running, provider: Providers, *, is_stream: bool) -> None:
    """`compact_before_next_turn` gets a summary in the middle of a tool loop, and the loop goes on with it."""
    upstream = provider(UPSTREAMS[route])
    upstream.will(reply="tools", times=1)
    upstream.will(text="It is sunny in Paris.", times=1)
    upstream.will(text="Sunny, then.", times=1)

    @anthropic.beta_async_tool
    async def get_weather(city: str) -> str:
        """Look up the weather."""
        return "sunny"

    stops = []
    async with anthropic.AsyncAnthropic(base_url=running.url, api_key="k", max_retries=0) as sdk:
        runner: Any = sdk.beta.messages.tool_runner(
            model=route, max_tokens=1000, tools=[get_weather], betas=["compact-2026-09-04"], stream=is_stream,
            messages=[{"role": "user", "content": "How is Paris?"}],
        )  # fmt: skip
        async for turn in runner:
            message = await turn.get_final_message() if is_stream else turn
            stops.append(message.stop_reason)
            if message.stop_reason == "tool_use":
                runner.compact_before_next_turn()
    assert stops == ["tool_use", "compaction", "end_turn"]
    last = str(upstream.seen[-1].json)
    assert "It is sunny in Paris." in last and "How is Paris?" not in last
