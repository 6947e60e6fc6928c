"""OpenAI's Agents SDK, which speaks only Responses, on an Anthropic upstream."""

from collections.abc import Callable
from typing import Any

import openai
import pytest

from tests.conftest import Provider, Start
from tests.flows.responses import CONFIG

agents = pytest.importorskip("agents", reason="openai-agents is not installed")
Providers = Callable[[str], Provider]


@pytest.mark.parametrize("chains", [False, True])
@pytest.mark.parametrize("is_stream", [False, True])
async def test_an_agent_with_two_tools_in_three_turns(
    start: Start, provider: Providers, *, chains: bool, is_stream: bool
) -> None:
    """An agent runs two tool turns and an answer, with its own history and with the gateway's stored one."""
    running = await start(CONFIG)
    upstream = provider("ant")
    upstream.will(reply="thinking_tools", times=1)
    upstream.will(reply="parallel_tools", times=1)
    upstream.will(text="It is noon, and sunny.")
    called: list[str] = []

    @agents.function_tool  # type: ignore[untyped-decorator]
    def get_weather(city: str) -> str:
        called.append(f"weather {city}")
        return "sunny"

    @agents.function_tool  # type: ignore[untyped-decorator]
    def get_time(zone: str) -> str:
        called.append(f"time {zone}")
        return "12:00"

    async with openai.AsyncOpenAI(base_url=f"{running.url}/v1", api_key="k", max_retries=0) as client:
        model = agents.OpenAIResponsesModel(model="claude", openai_client=client)
        agent = agents.Agent(name="a", instructions="Help.", tools=[get_weather, get_time], model=model)
        more: dict[str, Any] = {"run_config": agents.RunConfig(tracing_disabled=True)}
        if chains:
            more["auto_previous_response_id"] = True
        if is_stream:
            result = agents.Runner.run_streamed(agent, "How is Paris?", **more)
            async for _ in result.stream_events():
                pass
        else:
            result = await agents.Runner.run(agent, "How is Paris?", **more)
    assert result.final_output == "It is noon, and sunny."
    assert sorted(called) == ["time Europe/Paris", "weather Paris", "weather Paris"]
    assert len(upstream.seen) == 3
    kinds = [[block["type"] for block in one["content"]] for one in upstream.seen[-1].json["messages"]]
    assert kinds[0] == ["text"] and kinds[1][-1] == "tool_use" and kinds[2] == ["tool_result"]
    assert kinds[4][:2] == ["tool_result", "tool_result"]
    assert all(seen.json["system"][0]["text"] == "Help." for seen in upstream.seen)
