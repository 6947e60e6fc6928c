"""Where affinity meets searches and compactions: the session keeps its place, and the call gets what it needs."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import Provider, Running, Start
from tests.flows.sessions import places

Providers = Callable[[str], Provider]
CONFIG = """
server: {listen: ["127.0.0.1:0"]}
store: {url: "memory:"}
providers:
  plain: {base_url: MOCK/plain/v1, auth: {bearer: [{env: ONE}, {env: TWO}]}, speaks: [openai_chat]}
  claude:
    base_url: MOCK/claude/v1
    auth: {bearer: [{env: ONE}, {env: TWO}]}
    speaks: [anthropic_messages]
    models: {"*": {hosted_tools: [web_search]}}
  one: {base_url: MOCK/one/v1, auth: {bearer: [{env: ONE}, {env: TWO}]}, speaks: [openai_responses, openai_compact]}
  two: {base_url: MOCK/two/v1, auth: {bearer: [{env: ONE}, {env: TWO}]}, speaks: [openai_responses, openai_compact]}
routes:
  agent: {policy: sticky, targets: ["plain:m", "claude:m"]}
  openai: {policy: sticky, targets: ["one:m", "two:m"]}
  ordered: ["one:m"]
"""
SEARCH: Any = {"type": "web_search_20250305", "name": "web_search", "max_uses": 8}
OWN: Any = {"name": "f", "input_schema": {"type": "object"}}
ASK: Any = {"role": "user", "content": "Hi"}
SEALED: Any = {"type": "compaction", "id": "cmp_1", "encrypted_content": "gAAAA-sealed"}


@pytest.fixture
async def running(start: Start) -> Running:
    return await start(CONFIG)


async def say(running: Running, model: str, tool: Any) -> str:
    body = {"model": model, "max_tokens": 9, "messages": [ASK], "tools": [tool]}
    async with running.post("/v1/messages", body, headers={"x-claude-code-session-id": "s"}) as answer:
        assert answer.status == 200
        return str(answer.headers.get("x-gateway-dropped", ""))


async def respond(running: Running, model: str, given: list[Any], path: str = "", session: str = "s") -> Any:
    body = {"model": model, "input": given} | ({} if path else {"store": False})
    async with running.post(f"/v1/responses{path}", body, headers={"session-id": session}) as answer:
        assert answer.status == 200
        return (await answer.json())["output"]


async def test_a_search_leaves_its_session_where_it_is(running: Running, provider: Providers) -> None:
    """Claude Code's search goes to the target that searches, with one key; the session it belongs to does not move."""
    for tool in (OWN, SEARCH, OWN, SEARCH, OWN):
        assert await say(running, "agent", tool) == ""
    plain, claude = places(provider("plain")), places(provider("claude"))
    assert len(plain) == 3 and len(set(plain)) == 1
    assert len(claude) == 2 and len(set(claude)) == 1
    assert [line["affinity"] for line in running.exchanges] == ["new", "new", "kept", "kept", "kept"]


async def test_a_search_goes_back_to_who_searches(running: Running, provider: Providers) -> None:
    """A search that another target has answered without its tool is no reason to stay there."""
    provider("claude").will(status=500, times=1)
    for _ in range(3):
        assert await say(running, "agent", SEARCH) in ("", "tools.web_search")
    assert [seen.name for seen in provider("plain").server.seen] == ["claude", "plain", "claude", "claude"]


@pytest.mark.parametrize("model", ["openai", "ordered"])
async def test_a_compaction_is_asked_where_the_session_is(running: Running, provider: Providers, model: str) -> None:
    """/compact goes to the target and the key of the session, so that its cache and its reasoning are read."""
    for number in range(4):
        await respond(running, model, [ASK], session=f"s{number}")
        before = places(provider("one"), provider("two"))[-1]
        output = await respond(running, model, [ASK], "/compact", session=f"s{number}")
        await respond(running, model, [*output, ASK], session=f"s{number}")
        assert places(provider("one"), provider("two"))[-2:] == [before, before]


async def test_a_compaction_of_unknown_origin_stays_with_its_session(running: Running, provider: Providers) -> None:
    """If nobody remembers who made it, the session's own target is the first of those that can read it."""
    provider("one").will(status=500, times=1)
    for given in ([ASK], [ASK], [SEALED, ASK], [SEALED, ASK]):
        await respond(running, "openai", given)
    assert [seen.name for seen in provider("one").server.seen] == ["one", "two", "two", "two", "two"]
    assert len(set(places(provider("two")))) == 1
