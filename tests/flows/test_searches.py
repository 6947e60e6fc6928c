"""Web search of Messages clients: a target that has it is asked first, and without one the loss is told."""

from collections.abc import Callable
from typing import Any

import anthropic
import pytest

from tests.conftest import Provider, Start

CONFIG = """
store: {url: "memory:"}
providers:
  plain: {base_url: MOCK/plain/v1, speaks: [openai_chat]}
  local: {base_url: MOCK/local/v1, speaks: [openai_chat, anthropic_messages], models: {"*": {raw_kinds: [function]}}}
  claude: {base_url: MOCK/claude/v1, speaks: [anthropic_messages], models: {"*": {hosted_tools: [web_search]}}}
  gpt: {base_url: MOCK/gpt/v1, speaks: [openai_chat, openai_responses], models: {"*": {hosted_tools: [web_search]}}}
routes:
  to-claude: [plain:demo, claude:demo]
  to-gpt: [local:demo, gpt:demo]
  turns: {policy: round_robin, targets: [plain:demo, claude:demo]}
  none: [plain:demo, local:demo]
"""
SEARCH: Any = {"type": "web_search_20250305", "name": "web_search", "max_uses": 8}
OWN: Any = {"name": "f", "input_schema": {"type": "object"}}


@pytest.mark.parametrize(
    ("model", "tools", "asked", "dropped"),
    [
        ("to-claude", [SEARCH], "claude", ""),
        ("to-claude", [OWN, SEARCH], "claude", ""),
        ("to-claude", [OWN], "plain", ""),
        ("to-gpt", [SEARCH], "gpt", "tools.max_uses"),
        ("to-gpt", [OWN], "local", ""),
        ("turns", [SEARCH], "claude", ""),
        ("none", [SEARCH], "plain", "tools.web_search"),
    ],
)
async def test_who_is_asked_for_a_search(
    start: Start, provider: Callable[[str], Provider], model: str, tools: list[Any], asked: str, dropped: str
) -> None:
    """The first target that searches is asked, whatever the policy; other requests keep the route's order."""
    running = await start(CONFIG)
    async with anthropic.AsyncAnthropic(api_key="k", base_url=running.url, max_retries=0) as client:
        answer = await client.messages.with_raw_response.create(
            model=model, max_tokens=100, messages=[{"role": "user", "content": "Search"}], tools=tools
        )
    assert answer.headers["x-gateway-provider"] == asked
    assert answer.headers.get("x-gateway-dropped", "") == dropped
    (seen,) = provider(asked).seen
    kinds = [tool["type"] for tool in seen.json.get("tools", ()) if tool.get("type", "function") != "function"]
    assert bool(kinds) == (asked in ("claude", "gpt") and SEARCH in tools)


async def test_a_dead_searcher_is_passed_over(start: Start, provider: Callable[[str], Provider]) -> None:
    """If the target that searches fails, the others answer, and the loss is told."""
    running = await start(CONFIG)
    provider("claude").will(status=500)
    ask = {"model": "to-claude", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}], "tools": [SEARCH]}
    async with running.post("/v1/messages", ask) as answer:
        assert answer.status == 200 and answer.headers["x-gateway-provider"] == "plain"
        assert answer.headers["x-gateway-dropped"] == "tools.web_search"


async def test_a_search_for_tools_goes_to_who_runs_it(start: Start) -> None:
    """Anthropic's searches for tools are OpenAI's tool_search: a target that runs it is asked first."""
    text = CONFIG.replace("none: [plain:demo, local:demo]", "tools: [plain:demo, finder:demo]")
    more = (
        "  finder: {base_url: MOCK/finder/v1, speaks: [openai_responses], models: {'*': {hosted_tools: [tool_search]}}}"
    )
    running = await start(text.replace("routes:", f"{more}\nroutes:"))
    tools = [{"type": "tool_search_tool_bm25_20251119", "name": "tool_search_tool_bm25"}, OWN | {"defer_loading": True}]
    ask = {"model": "tools", "max_tokens": 16, "messages": [{"role": "user", "content": "Hi"}], "tools": tools}
    async with running.post("/v1/messages", ask) as answer:
        assert answer.status == 200 and answer.headers["x-gateway-provider"] == "finder"
        assert "x-gateway-dropped" not in answer.headers


async def test_codex_keeps_the_routes_order(start: Start) -> None:
    """Codex offers a search beside its own tools on every turn: that alone moves no request."""
    running = await start(CONFIG)
    tools = [{"type": "web_search"}, {"type": "function", "name": "f", "parameters": {"type": "object"}}]
    async with running.post("/v1/responses", {"model": "to-gpt", "input": "Hi", "tools": tools}) as answer:
        assert answer.status == 200 and answer.headers["x-gateway-provider"] == "local"
