"""Where compactions meet tools inside the input, stored conversations and token budgets."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import Provider, Running, Start

Providers = Callable[[str], Provider]
CONFIG = """
server: {listen: ["127.0.0.1:0"]}
store: {url: "memory:"}
providers:
  oai: {base_url: "MOCK/oai/v1", speaks: [openai_chat]}
  ant: {base_url: "MOCK/ant/v1", speaks: [anthropic_messages]}
  rsp: {base_url: "MOCK/rsp/v1", speaks: [openai_responses]}
routes: {chat: "oai:m", claude: "ant:m", native: "rsp:m"}
"""
ROUTES = {"chat": "oai", "claude": "ant", "native": "rsp"}
EXEC = {"type": "namespace", "name": "box", "tools": [{"type": "custom", "name": "exec"}]}
TOOLS = {
    "type": "additional_tools",
    "role": "developer",
    "tools": [EXEC, {"type": "tool_search", "execution": "client"}],
}
SEARCH = {"type": "tool_search_call", "call_id": "s1", "execution": "client", "arguments": {"query": "x"}}
FOUND = {
    "type": "tool_search_output",
    "call_id": "s1",
    "execution": "client",
    "tools": [{"type": "function", "name": "late", "parameters": {"type": "object"}, "defer_loading": True}],
}
TRIGGER = {"type": "compaction_trigger"}


@pytest.fixture
async def running(start: Start) -> Running:
    return await start(CONFIG)


async def ask(running: Running, model: str, given: Any, **more: Any) -> tuple[Any, Any]:
    async with running.post("/v1/responses", {"model": model, "input": given} | more) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.json(), answer.headers


def offered(provider: Provider) -> str:
    """Return the tools of the last request, and the items that bring some, as text."""
    body = provider.seen[-1].json
    return str([body.get("tools"), [item for item in body.get("input", ()) if "tools" in item]])


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


@pytest.mark.parametrize("way", ["previous_response_id", "conversation"])
@pytest.mark.parametrize("route", ROUTES)
async def test_tools_outlive_a_compaction(running: Running, provider: Providers, route: str, way: str) -> None:
    """Tools that came inside the input, and tools that were found, are offered after a compaction as well."""
    upstream, more = provider(ROUTES[route]), {}
    if way == "conversation":
        async with running.post("/v1/conversations", {}) as answer:
            more = {way: (await answer.json())["id"]}
    for given in ([TOOLS, user("old words")], [SEARCH, FOUND], [TRIGGER], [user("Go on.")]):
        said, headers = await ask(running, route, given, **more)
        assert "x-gateway-dropped" not in headers
        more = more if way == "conversation" else {way: said["id"]}
    assert "exec" in offered(upstream) and "late" in offered(upstream)
    assert "Summary of the conversation" in str(upstream.seen[-1].json) and "Go on." in str(upstream.seen[-1].json)
    assert "'old words'" not in str(upstream.seen[-1].json)


@pytest.mark.parametrize("route", ROUTES)
async def test_a_budget_in_a_stored_conversation(running: Running, provider: Providers, route: str) -> None:
    """Below its threshold a continued conversation goes as it is, and no server gets what asks for a compaction."""
    managed = [{"type": "compaction", "compact_threshold": 5000}]
    first, _ = await ask(running, route, [user("Hi")])
    said, headers = await ask(
        running, route, [user("And?")], previous_response_id=first["id"], context_management=managed
    )
    assert [item["type"] for item in said["output"]] == ["message"] and "x-gateway-dropped" not in headers
    assert "context_management" not in provider(ROUTES[route]).seen[-1].json


STRICT = """
server: {listen: ["127.0.0.1:0"]}
store: {url: "memory:"}
providers:
  auto: {base_url: "MOCK/auto/v1", speaks: [openai_chat], models: {"*": {tool_choice: [auto]}}}
  rsp: {base_url: "MOCK/rsp/v1", speaks: [openai_responses]}
routes:
  strict: {targets: ["auto:m"], on_shed: refuse}
  native: "rsp:m"
"""


@pytest.mark.parametrize("managed", [None, [{"type": "compaction", "compact_threshold": 9000}]])
async def test_a_strict_route_makes_summaries(start: Start, provider: Providers, managed: Any) -> None:
    """What the client wants of its replies does not hold for a summary, and so is no loss there."""
    running = await start(STRICT)
    tools = [{"type": "function", "name": "f", "parameters": {"type": "object"}}]
    more = {"tools": tools, "text": {"verbosity": "low"}, "context_management": managed}
    said, headers = await ask(running, "strict", [user("Hi"), TRIGGER], store=False, **more)
    assert [item["type"] for item in said["output"]] == ["compaction"] and "x-gateway-dropped" not in headers
    assert "tool_choice" not in provider("auto").seen[-1].json


async def test_other_edits_of_the_context_stay(start: Start, provider: Providers) -> None:
    """Only what asks for a compaction is kept from a server of the same dialect that makes none."""
    running, other = await start(STRICT), {"type": "trim"}
    managed = [other, {"type": "compaction", "compact_threshold": 9000}]
    await ask(running, "native", [user("Hi")], context_management=managed)
    assert provider("rsp").seen[-1].json["context_management"] == [other]
