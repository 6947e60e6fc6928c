"""Stored responses with the official SDK, on all three upstream dialects."""

import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.conftest import Provider, Running, Start
from tests.flows.responses import CONFIG, ROUTES, TOOLS, UPSTREAMS

Providers = Callable[[str], Provider]
pytestmark = [pytest.mark.slow, pytest.mark.sdk]


@pytest.fixture
async def running(start: Start, tmp_path: Path) -> Running:
    return await start(CONFIG.replace("memory:", "sqlite:state.db"), state_dir=str(tmp_path))


@pytest.fixture
async def client(running: Running) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{running.url}/v1", api_key="k", max_retries=0) as made:
        yield made


@ROUTES
async def test_retrieve_list_delete(route: str, client: openai.AsyncOpenAI) -> None:
    """The SDK retrieves, lists the input of, and deletes a stored response; then it is not found."""
    said = await client.responses.create(model=route, input="Hi", metadata={"a": "b"})
    assert (await client.responses.retrieve(said.id)).to_dict() == said.to_dict()
    given: list[Any] = [{"role": "user", "content": f"{number}"} for number in range(5)]
    last = await client.responses.create(model=route, input=given, previous_response_id=said.id)
    items = [item async for item in client.responses.input_items.list(last.id, limit=3)]
    assert [item.type for item in items] == ["message"] * 7
    assert [part.text for item in items for part in item.content][:5] == ["4", "3", "2", "1", "0"]  # type: ignore[union-attr]
    await client.responses.delete(last.id)
    with pytest.raises(openai.NotFoundError, match=last.id):
        await client.responses.retrieve(last.id)
    with pytest.raises(openai.BadRequestError, match="not found") as caught:
        await client.responses.create(model=route, input="x", previous_response_id=last.id)
    assert caught.value.code == "previous_response_not_found"


@ROUTES
@pytest.mark.parametrize("sample", ["", "reasoning", "parallel_tools"])
async def test_a_stream_is_retrieved_as_one(
    route: str, sample: str, client: openai.AsyncOpenAI, provider: Providers
) -> None:
    """A stored response streams from any number on, and the SDK folds it into the same output. (EC-265)"""
    provider(UPSTREAMS[route]).will(reply=sample)
    async with client.responses.stream(model=route, input="Hi", tools=TOOLS) as events:
        async for _ in events:
            pass
        told = await events.get_final_response()
    assert told.id.startswith("resp_")
    again = [event async for event in await client.responses.retrieve(told.id, stream=True)]
    assert [event.sequence_number for event in again] == list(range(len(again)))
    assert again[-1].type == "response.completed" and again[-1].response.output_text == told.output_text
    rest = [event async for event in await client.responses.retrieve(told.id, stream=True, starting_after=5)]
    assert [event.sequence_number for event in rest] == list(range(6, len(again)))
    async with client.responses.stream(response_id=told.id) as events:
        async for _ in events:
            pass
        folded = await events.get_final_response()
    assert [item.to_dict() for item in folded.output] == [item.to_dict() for item in told.output]


@ROUTES
@pytest.mark.parametrize("is_stream", [False, True])
async def test_a_tool_loop_by_previous_response_id(
    route: str, is_stream: bool, client: openai.AsyncOpenAI, provider: Providers
) -> None:
    """Two tool turns and an answer work while the client sends only results and the previous id."""
    upstream = provider(UPSTREAMS[route])
    upstream.will(reply="thinking_tools" if route != "chat" else "parallel_tools", times=2)
    upstream.will(text="It is sunny.")
    given: Any = "How is the weather?"
    previous: Any = None
    for _ in range(3):
        more: Any = {"model": route, "tools": TOOLS, "input": given, "previous_response_id": previous}
        if is_stream:
            async with client.responses.stream(**more) as events:
                async for _event in events:
                    pass
                said: Any = await events.get_final_response()
        else:
            said = await client.responses.create(**more)
        previous = said.id
        given = [
            {"type": "function_call_output", "call_id": item.call_id, "output": "22"}
            for item in said.output
            if item.type == "function_call"
        ]
    assert said.output_text == "It is sunny." and said.previous_response_id
    sent = json.dumps(upstream.seen[-1].json)
    assert sent.count("How is the weather?") == 1 and "previous_response_id" not in sent
    assert len(upstream.seen) == 3


@ROUTES
async def test_the_background(route: str, client: openai.AsyncOpenAI, provider: Providers) -> None:
    """A background response is polled, followed, cancelled and continued by the SDK. (EC-263)"""
    begun = await client.responses.create(model=route, input="Hi", background=True)
    assert begun.status in ("queued", "in_progress")
    events = [event async for event in await client.responses.retrieve(begun.id, stream=True)]
    assert events[-1].type == "response.completed"
    done = await client.responses.retrieve(begun.id)
    assert done.status == "completed" and done.output_text == "Hello from the mock provider. You said: Hi"
    assert (await client.responses.cancel(begun.id)).status == "completed"
    following = await client.responses.create(
        model=route, input="And?", background=True, stream=True, previous_response_id=begun.id
    )
    kinds = [event.type async for event in following]
    assert kinds[0] in ("response.created", "response.queued") and kinds[-1] == "response.completed"
    provider(UPSTREAMS[route]).will(latency=30)
    slow = await client.responses.create(model=route, input="Hi", background=True)
    assert (await client.responses.cancel(slow.id)).status == "cancelled"
    assert (await client.responses.retrieve(slow.id)).status == "cancelled"
    said = await client.responses.create(model="native" if route != "native" else "chat", input="Hi")
    with pytest.raises(openai.BadRequestError, match="Only responses created with background=true"):
        await client.responses.cancel(said.id)
