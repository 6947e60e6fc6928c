"""Conversations with the official SDK and the Agents SDK, on all three upstream dialects."""

import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.conftest import Provider, Running, Start
from tests.flows.responses import CONFIG, ROUTES, UPSTREAMS

Providers = Callable[[str], Provider]
pytestmark = [pytest.mark.slow, pytest.mark.sdk]


@pytest.fixture
async def running(start: Start, tmp_path: Path) -> Running:
    return await start(CONFIG.replace("memory:", "sqlite:state.db"), state_dir=str(tmp_path))


@pytest.fixture
async def client(running: Running) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{running.url}/v1", api_key="k", max_retries=0) as made:
        yield made


async def test_all_eight_calls(client: openai.AsyncOpenAI) -> None:
    """The SDK creates, retrieves, updates and deletes conversations, and creates, reads, lists and deletes items."""
    one = await client.conversations.create(metadata={"a": "b"}, items=[{"role": "user", "content": "zero"}])
    assert (await client.conversations.retrieve(one.id)).to_dict() == one.to_dict()
    assert (await client.conversations.update(one.id, metadata={"c": "d"})).metadata == {"c": "d"}
    given: list[Any] = [{"type": "message", "role": "user", "content": f"{number}"} for number in range(20)]
    added = await client.conversations.items.create(one.id, items=given)
    assert len(added.data) == 20 and added.first_id == added.data[0].id
    listed = [item async for item in client.conversations.items.list(one.id, order="asc", limit=7)]
    texts = [item.content[0].text for item in listed if item.type == "message"]  # type: ignore[union-attr]
    assert texts == ["zero", *(f"{number}" for number in range(20))]
    found = await client.conversations.items.retrieve(listed[3].id or "", conversation_id=one.id)
    assert found.to_dict() == listed[3].to_dict()
    left = await client.conversations.items.delete(listed[3].id or "", conversation_id=one.id)
    assert (left.id, left.object) == (one.id, "conversation")
    assert len([item async for item in client.conversations.items.list(one.id)]) == 20
    assert (await client.conversations.delete(one.id)).deleted
    with pytest.raises(openai.NotFoundError, match=one.id):
        await client.conversations.retrieve(one.id)
    with pytest.raises(openai.NotFoundError, match=one.id):
        await client.responses.create(model="chat", input="x", conversation=one.id)


@ROUTES
@pytest.mark.parametrize("is_stream", [False, True])
async def test_a_conversation_of_three_turns(
    route: str, is_stream: bool, client: openai.AsyncOpenAI, provider: Providers
) -> None:
    """Three responses in one conversation each get what was said before, whole and streamed."""
    one = await client.conversations.create()
    for text in ("one", "two", "three"):
        if is_stream:
            async with client.responses.stream(model=route, input=text, conversation=one.id) as events:
                async for _ in events:
                    pass
                said: Any = await events.get_final_response()
        else:
            said = await client.responses.create(model=route, input=text, conversation={"id": one.id})
        assert said.conversation is not None and said.conversation.id == one.id
    sent = json.dumps(provider(UPSTREAMS[route]).seen[-1].json)
    assert sent.index('"one"') < sent.index('"two"') < sent.index('"three"')
    assert len([item async for item in client.conversations.items.list(one.id)]) == 6


@ROUTES
async def test_the_agents_session(route: str, client: openai.AsyncOpenAI, provider: Providers) -> None:
    """OpenAIConversationsSession keeps an agent's tool loop between runs, takes items back, and clears itself."""
    agents = pytest.importorskip("agents", reason="openai-agents is not installed")
    upstream = provider(UPSTREAMS[route])
    upstream.will(reply="parallel_tools", times=1)
    upstream.will(text="It is noon, and sunny.")

    @agents.function_tool  # type: ignore[untyped-decorator]
    def get_weather(city: str) -> str:
        return "sunny"

    @agents.function_tool  # type: ignore[untyped-decorator]
    def get_time(zone: str) -> str:
        return "12:00"

    model = agents.OpenAIResponsesModel(model=route, openai_client=client)
    agent = agents.Agent(name="a", instructions="Help.", tools=[get_weather, get_time], model=model)
    session = agents.OpenAIConversationsSession(openai_client=client)
    config = agents.RunConfig(tracing_disabled=True)
    first = await agents.Runner.run(agent, "How is Paris?", session=session, run_config=config)
    assert first.final_output == "It is noon, and sunny."
    again = await agents.Runner.run(agent, "And now?", session=session, run_config=config)
    assert again.final_output == "It is noon, and sunny."
    sent = json.dumps(upstream.seen[-1].json)
    assert sent.count("How is Paris?") == 1 and sent.count("And now?") == 1 and "sunny" in sent

    items = await session.get_items()
    kinds = [item["type"] for item in items]
    assert kinds.count("function_call") == kinds.count("function_call_output") == 2 and kinds.count("message") == 5
    assert [item["id"] for item in await session.get_items(limit=2)] == [item["id"] for item in items[-2:]]
    assert (await session.pop_item())["id"] == items[-1]["id"]
    assert len(await session.get_items()) == len(items) - 1
    await session.add_items([{"role": "user", "content": f"{number}"} for number in range(45)])
    assert [item["content"][0]["text"] for item in (await session.get_items())[-45:]] == [f"{n}" for n in range(45)]
    name = session.session_id
    await session.clear_session()
    with pytest.raises(openai.NotFoundError):
        await client.conversations.retrieve(name)
    assert await session.get_items() == []


@ROUTES
async def test_an_agent_with_a_conversation_id(route: str, client: openai.AsyncOpenAI, provider: Providers) -> None:
    """An agent that names the conversation sends only what is new, and the provider gets all of it."""
    agents = pytest.importorskip("agents", reason="openai-agents is not installed")
    upstream = provider(UPSTREAMS[route])
    upstream.will(reply="tools", times=1)
    upstream.will(text="Sunny.")

    @agents.function_tool  # type: ignore[untyped-decorator]
    def get_weather(city: str) -> str:
        return "warm"

    model = agents.OpenAIResponsesModel(model=route, openai_client=client)
    agent = agents.Agent(name="a", instructions="Help.", tools=[get_weather], model=model)
    one = await client.conversations.create()
    more: Any = {"conversation_id": one.id, "run_config": agents.RunConfig(tracing_disabled=True)}
    assert (await agents.Runner.run(agent, "How is Paris?", **more)).final_output == "Sunny."
    assert (await agents.Runner.run(agent, "And Rome?", **more)).final_output == "Sunny."
    sent = json.dumps(upstream.seen[-1].json)
    assert sent.count("How is Paris?") == 1 and sent.count("And Rome?") == 1 and "warm" in sent
