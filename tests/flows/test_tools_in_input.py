"""Tools that come inside the input, and searches for tools, over real sockets with the official SDKs."""

import json
from collections.abc import Callable
from typing import Any

import anthropic
import openai
import pytest

from tests.conftest import Provider, Start
from tests.flows.responses import CONFIG

Providers = Callable[[str], Provider]
EXEC = {"type": "custom", "name": "exec", "description": "Runs code"}
FUNCTIONS = {"type": "namespace", "name": "functions", "description": "d", "tools": [EXEC]}
ADDED: Any = {"type": "additional_tools", "role": "developer", "tools": [FUNCTIONS]}
USER: Any = {"role": "user", "content": "Hi"}
ROUTES = CONFIG.replace("routes: {", "routes: {moved: [res:m, ant:m], moved_chat: [res:m, oai:m], ")
KNOWING = CONFIG.replace(
    "speaks: [openai_responses]}", 'speaks: [openai_responses], models: {"*": {additional_tools: true}}}'
)


def chat_call(name: str, **arguments: Any) -> dict[str, Any]:
    """A whole Chat reply that calls a tool."""
    call = {"id": "c1", "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    return {"id": "x", "model": "m", "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]}


@pytest.mark.parametrize(("route", "second"), [("moved", "ant"), ("moved_chat", "oai")])
async def test_tools_survive_a_failover(start: Start, provider: Providers, route: str, second: str) -> None:
    """Where OpenAI fails, the next provider gets the tools that Codex put into the input."""
    running = await start(ROUTES)
    provider("res").will(status=500)
    async with running.post("/v1/responses", {"model": route, "input": [ADDED, USER]}) as answer:
        assert answer.status == 200 and "x-gateway-dropped" not in answer.headers
    (tool,) = provider(second).seen[0].json["tools"]
    assert tool.get("function", tool)["name"] == "functions__exec"


async def test_a_server_that_does_not_know_the_item(start: Start, provider: Providers) -> None:
    """On the raw lane the tools are lifted, unless the profile says that the server knows the item."""
    for config, members in ((CONFIG, ([USER], [FUNCTIONS])), (KNOWING, ([ADDED, USER], None))):
        running = await start(config)
        async with running.post("/v1/responses", {"model": "native", "input": [ADDED, USER], "store": False}) as answer:
            assert answer.status == 200
        sent = provider("res").seen[-1].json
        assert (sent["input"], sent.get("tools")) == members


async def test_codexs_call_comes_back_to_its_namespace(start: Start, provider: Providers) -> None:
    """The SDK reads the freeform call with its namespace, and the next turn sends it back to the same tool."""
    running = await start(CONFIG)
    provider("oai").will(body=chat_call("functions__exec", input="ls()"), times=1)
    async with openai.AsyncOpenAI(base_url=f"{running.url}/v1", api_key="k", max_retries=0) as client:
        said = await client.responses.create(model="chat", input=[ADDED, USER], store=False)
        (call,) = said.output
        assert call.type == "custom_tool_call"
        assert (call.namespace, call.name, call.input) == ("functions", "exec", "ls()")
        result: Any = {"type": "custom_tool_call_output", "call_id": call.call_id, "output": "a.txt"}
        history: Any = [ADDED, USER, call.model_dump(), result]
        await client.responses.create(model="chat", input=history, store=False)
    past = provider("oai").seen[-1].json["messages"][-2]["tool_calls"][0]["function"]
    assert (past["name"], json.loads(past["arguments"])) == ("functions__exec", {"input": "ls()"})


async def test_a_clients_search_finds_a_tool(start: Start, provider: Providers) -> None:
    """The model searches, the SDK's client answers with a tool, and the model can call it."""
    running = await start(CONFIG)
    provider("oai").will(body=chat_call("tool_search", query="calendar"), times=1)
    search: Any = {"type": "tool_search", "execution": "client", "parameters": {"type": "object"}}
    async with openai.AsyncOpenAI(base_url=f"{running.url}/v1", api_key="k", max_retries=0) as client:
        said = await client.responses.create(model="chat", input=[USER], tools=[search], store=False)
        (call,) = said.output
        assert call.type == "tool_search_call" and call.execution == "client"
        assert call.arguments == {"query": "calendar"}
        found: Any = [{"type": "function", "name": "add", "parameters": {"type": "object"}, "defer_loading": True}]
        output: Any = {"type": "tool_search_output", "call_id": call.call_id, "tools": found}
        history: Any = [USER, call.model_dump(), output]
        await client.responses.create(model="chat", input=history, tools=[search], store=False)
    names = [[tool["function"]["name"] for tool in seen.json["tools"]] for seen in provider("oai").seen]
    assert names == [["tool_search"], ["tool_search", "add"]]


@pytest.mark.parametrize(("route", "upstream"), [("chat", "oai"), ("native", "res")])
async def test_claudes_deferred_tools_elsewhere(start: Start, provider: Providers, route: str, upstream: str) -> None:
    """A search that only Anthropic can run is named in the header; two hundred deferred tools are no error."""
    running = await start(CONFIG)
    schema: Any = {"type": "object", "properties": {}}
    deferred: Any = [{"name": f"t{number}", "input_schema": schema, "defer_loading": True} for number in range(200)]
    search: Any = {"type": "tool_search_tool_regex_20251119", "name": "tool_search_tool_regex"}
    placeholder: Any = {"name": "DeferredToolPlaceholder", "input_schema": schema, "defer_loading": True}
    tools: Any = [search, {"name": "Read", "input_schema": schema}, placeholder, *deferred]
    async with anthropic.AsyncAnthropic(base_url=running.url, api_key="k", max_retries=0) as client:
        said = await client.messages.with_raw_response.create(
            model=route, max_tokens=100, messages=[{"role": "user", "content": "Hi"}], tools=tools
        )
    assert said.headers["x-gateway-dropped"] == "tools.tool_search"
    (tool,) = provider(upstream).seen[0].json["tools"]
    assert tool.get("function", tool)["name"] == "Read"
