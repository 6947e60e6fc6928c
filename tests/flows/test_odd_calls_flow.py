"""Providers with oddly told tool calls, through the gateway to the official SDKs."""

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import anthropic
import openai
import pytest

from tests.conftest import Provider, Running, Start
from tests.wire.crossings import chunk, event
from tests.wire.streams import DONE, STOP, fragment, tools

pytestmark = pytest.mark.sdk
Providers = Callable[[str], Provider]
CONFIG = """
server: {listen: ["127.0.0.1:0"]}
store: {url: "memory:"}
providers:
  oai: {base_url: "MOCK/oai/v1", auth: {bearer: {env: ONE}}, speaks: [openai_chat]}
  resp: {base_url: "MOCK/resp/v1", auth: {bearer: {env: ONE}}, speaks: [openai_responses]}
  ant: {base_url: "MOCK/ant/v1", auth: {x-api-key: {env: TWO}}, speaks: [anthropic_messages]}
routes: {chat: "oai:m", responses: "resp:m", claude: "ant:m"}
"""
ASK: Any = [{"role": "user", "content": "Hi"}]
HALF = '{"n":1,"city":"Par'


@pytest.fixture
async def running(start: Start) -> Running:
    return await start(CONFIG)


@pytest.fixture
async def oai(running: Running) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{running.url}/v1", api_key="k", max_retries=0) as client:
        yield client


@pytest.fixture
async def ant(running: Running) -> AsyncIterator[anthropic.AsyncAnthropic]:
    async with anthropic.AsyncAnthropic(base_url=running.url, api_key="k", max_retries=0) as client:
        yield client


async def claude(ant: anthropic.AsyncAnthropic, route: str) -> Any:
    async with ant.messages.stream(model=route, max_tokens=100, messages=ASK) as stream:
        return await stream.get_final_message()


def half_chat(finish: str) -> list[bytes]:
    pieces = [fragment(HALF[:6], index=0, id="c", name="f"), fragment(HALF[6:], index=0)]
    return [*map(tools, pieces), chunk(finish), DONE]


@pytest.mark.parametrize("finish", ["length", "tool_calls"])
async def test_half_a_call_reaches_anthropics_sdk(
    finish: str, ant: anthropic.AsyncAnthropic, provider: Providers
) -> None:
    """The SDK raises nothing, reads the same from a stream and from a whole reply, and sees the cut."""
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": HALF}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    whole = {"id": "x", "choices": [{"index": 0, "message": message, "finish_reason": finish}], "usage": {}}
    provider("oai").will(frames=half_chat(finish), times=1)
    provider("oai").will(body=whole, times=1)
    streamed = await claude(ant, "chat")
    said: Any = await ant.messages.create(model="chat", max_tokens=100, messages=ASK)
    for one in (streamed, said):
        assert [(block.type, block.input) for block in one.content] == [("tool_use", {"n": 1})]
        assert one.stop_reason == "max_tokens"


@pytest.mark.parametrize("finish", ["length", "tool_calls"])
async def test_half_a_call_reaches_openais_sdk(finish: str, oai: openai.AsyncOpenAI, provider: Providers) -> None:
    """The Responses SDK gets the text as far as it goes, in an item and a response that are incomplete."""
    provider("oai").will(frames=half_chat(finish))
    async with oai.responses.stream(model="chat", input="Hi") as stream:
        events: list[Any] = [one async for one in stream]
    final = events[-1].response
    assert events[-1].type == "response.incomplete"
    assert (final.status, final.output[0].status, final.output[0].arguments) == ("incomplete", "incomplete", HALF)


async def test_half_a_call_of_claude_reaches_openais_sdk(oai: openai.AsyncOpenAI, provider: Providers) -> None:
    """A Chat client gets the text as far as it goes, with the finish reason `length`."""
    usage = {"input_tokens": 5, "output_tokens": 3}
    use = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}}
    frames = [
        event("message_start", message={"id": "m", "model": "up", "content": [], "usage": usage}),
        event("content_block_start", index=0, content_block=use),
        event("content_block_delta", index=0, delta={"type": "input_json_delta", "partial_json": HALF}),
        event("content_block_stop", index=0),
        event("message_delta", delta={"stop_reason": "max_tokens", "stop_sequence": None}, usage=usage),
        event("message_stop"),
    ]
    provider("ant").will(frames=frames)
    stream = await oai.chat.completions.create(model="claude", messages=ASK, stream=True)
    choices = [one.choices[0] async for one in stream if one.choices]
    told = [call.function for choice in choices for call in choice.delta.tool_calls or () if call.function]
    assert "".join(one.arguments or "" for one in told) == HALF
    assert choices[-1].finish_reason == "length"


async def test_oddly_numbered_items_reach_anthropics_sdk_once(
    ant: anthropic.AsyncAnthropic, provider: Providers
) -> None:
    """A Responses provider that numbers all items 0, and shows a thought at the end only, tells each call once."""
    items = [
        {"id": f"fc_{n}", "type": "function_call", "call_id": f"call_{n}", "name": "f", "arguments": f'{{"n":{n}}}'}
        for n in (1, 2)
    ]
    thought = {"id": "rs_1", "type": "reasoning", "summary": []}
    frames = [event("response.created", response={"id": "resp_1", "output": []})]
    for item in items:
        frames.append(event("response.output_item.added", output_index=0, item=item | {"arguments": ""}))
        frames.append(event("response.output_item.done", output_index=0, item=item))
    final = {"id": "resp_1", "status": "completed", "output": [thought, *items]}
    provider("resp").will(frames=[*frames, event("response.completed", response=final)])
    said = await claude(ant, "responses")
    assert [(block.id, block.input) for block in said.content] == [("call_1", {"n": 1}), ("call_2", {"n": 2})]


async def test_odd_calls_of_chat_reach_anthropics_sdk(ant: anthropic.AsyncAnthropic, provider: Providers) -> None:
    """Calls that share index 0 and no id, a late name, and repeated arguments, in one reply."""
    same = {"index": 0, "id": ""}
    frames = [
        tools(fragment('{"a"', name="", **same)),
        tools(fragment(":1}", name="f", **same)),
        tools(fragment('{"a":1}', **same)),
        tools(fragment('{"b":2}', name="g", **same)),
    ]
    provider("oai").will(frames=[*frames, STOP])
    said = await claude(ant, "chat")
    assert [(block.name, block.input) for block in said.content] == [("f", {"a": 1}), ("g", {"b": 2})]


async def test_stray_text_of_claude_reaches_openais_sdk(oai: openai.AsyncOpenAI, provider: Providers) -> None:
    """Text on an open tool_use block is text, and the arguments stay JSON."""
    usage = {"input_tokens": 5, "output_tokens": 3}
    use = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}}
    deltas: list[dict[str, Any]] = [
        {"type": "input_json_delta", "partial_json": '{"a"'},
        {"type": "text_delta", "text": "Hi"},
        {"type": "input_json_delta", "partial_json": ":1}"},
    ]
    frames = [
        event("message_start", message={"id": "m", "model": "up", "content": [], "usage": usage}),
        event("content_block_start", index=0, content_block=use),
        *(event("content_block_delta", index=0, delta=delta) for delta in deltas),
        event("content_block_stop", index=0),
        event("message_delta", delta={"stop_reason": "tool_use", "stop_sequence": None}, usage=usage),
        event("message_stop"),
    ]
    provider("ant").will(frames=frames)
    async with oai.responses.stream(model="claude", input="Hi") as stream:
        final: Any = await stream.get_final_response()
    calls = [json.loads(item.arguments) for item in final.output if item.type == "function_call"]
    assert (final.output_text, calls) == ("Hi", [{"a": 1}])
