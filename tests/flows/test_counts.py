"""Token counts in both dialects, by providers of both."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import Provider, Running, Start

Providers = Callable[[str], Provider]
CONFIG = """
server: {listen: ["127.0.0.1:0"]}
store: {url: "memory:"}
providers:
  oai: {base_url: "MOCK/oai/v1", speaks: [openai_chat, openai_responses, openai_input_tokens, openai_compact]}
  ant: {base_url: "MOCK/ant/v1", speaks: [anthropic_messages, anthropic_count_tokens]}
  old: {base_url: "MOCK/old/v1", speaks: [openai_chat]}
routes: {openai: "oai:m", claude: ["ant:m", "oai:m"], plain: ["old:m", "ant:m"]}
"""
TOOL = {"type": "function", "name": "f", "parameters": {"type": "object"}}
OPENAI, CLAUDE = "/v1/responses/input_tokens", "/v1/messages/count_tokens"


@pytest.fixture
async def running(start: Start) -> Running:
    return await start(CONFIG)


async def count(running: Running, path: str, model: str, **more: Any) -> tuple[int, Any, Any]:
    given: dict[str, Any] = {"input": "Hi"} if path == OPENAI else {"messages": [{"role": "user", "content": "Hi"}]}
    async with running.post(path, {"model": model} | given | more) as answer:
        return answer.status, await answer.json(), answer.headers


async def test_counted_by_the_provider(running: Running, provider: Providers) -> None:
    """The provider counts, raw or translated, and gets only the members that counting takes. (EC-266)"""
    status, said, headers = await count(running, OPENAI, "openai", tools=[TOOL], instructions="Be brief.")
    assert (status, said["object"]) == (200, "response.input_tokens") and said["input_tokens"] > 0
    assert "x-gateway-usage" not in headers and provider("oai").seen[-1].path == "/responses/input_tokens"
    assert set(provider("oai").seen[-1].json) == {"model", "input", "tools", "instructions"}

    tool = {"name": "f", "input_schema": {"type": "object"}}
    status, said, headers = await count(running, CLAUDE, "openai", tools=[tool], system="Be brief.")
    assert status == 200 and set(said) == {"input_tokens"} and "x-gateway-usage" not in headers
    sent = provider("oai").seen[-1]
    assert sent.path == "/responses/input_tokens" and sent.json["instructions"] == "Be brief."
    assert set(sent.json) <= {"model", "input", "instructions", "tools", "reasoning", "text", "tool_choice"}

    status, said, headers = await count(running, OPENAI, "claude", tools=[TOOL], instructions="Be brief.")
    assert status == 200 and said["object"] == "response.input_tokens" and "x-gateway-usage" not in headers
    sent = provider("ant").seen[-1]
    assert sent.path == "/messages/count_tokens" and "max_tokens" not in sent.json and sent.json["tools"]
    assert not any(line.get("input") for line in running.exchanges), "a count is no use"


async def test_what_is_stored_counts_as_well(running: Running, provider: Providers) -> None:
    """A count with a previous id includes the stored conversation, and an unknown id is a 400."""
    async with running.post("/v1/responses", {"model": "openai", "input": "one " * 100}) as answer:
        previous = (await answer.json())["id"]
    _, short, _ = await count(running, OPENAI, "openai")
    _, long, _ = await count(running, OPENAI, "openai", previous_response_id=previous)
    assert long["input_tokens"] > short["input_tokens"] + 90
    assert set(provider("oai").seen[-1].json) == {"model", "input"}
    status, error, _ = await count(running, OPENAI, "openai", previous_response_id="resp_0")
    assert (status, error["error"]["code"]) == (400, "previous_response_not_found")


@pytest.mark.parametrize("path", [OPENAI, CLAUDE])
@pytest.mark.parametrize("model", ["openai", "claude", "plain"])
async def test_estimated_where_nobody_counts(running: Running, provider: Providers, path: str, model: str) -> None:
    """If the first target cannot count, the result is an estimate with 200; no other is called. (EC-267)"""
    provider("oai").will(status=500)
    provider("ant").will(body="no count")
    status, said, headers = await count(running, path, model)
    assert status == 200 and headers["x-gateway-usage"] == "estimated" and said["input_tokens"] > 0
    assert not (provider("oai").seen and provider("ant").seen) and not provider("old").seen


@pytest.mark.parametrize("path", [OPENAI, CLAUDE])
async def test_refusals_are_told(running: Running, provider: Providers, path: str) -> None:
    """A provider's 400 and an invalid body are a 400 in the client's dialect; an unknown model is a 404."""
    provider("oai").will(status=400)
    assert (await count(running, path, "openai"))[0] == 400
    bad: dict[str, Any] = {"input": 5} if path == OPENAI else {"messages": [{"role": "nobody", "content": "x"}]}
    assert (await count(running, path, "plain", **bad))[0] == 400
    assert (await count(running, path, "nothing"))[0] == 404


async def test_a_conversation_is_compacted_where_it_can_be(running: Running, provider: Providers) -> None:
    """/compact goes to a target that has it, with the stored items joined; elsewhere of a summary."""
    async with running.post("/v1/responses", {"model": "openai", "input": "one"}) as answer:
        previous = (await answer.json())["id"]
    body = {"model": "claude", "input": "two", "previous_response_id": previous}
    async with running.post("/v1/responses/compact", body) as answer:
        said = await answer.json()
        assert answer.status == 200 and said["object"] == "response.compaction"
    sent = provider("oai").seen[-1]
    assert sent.path == "/responses/compact" and set(sent.json) == {"model", "input"}
    assert [item["role"] for item in sent.json["input"]] == ["user", "assistant", "user"] and not provider("ant").seen
    async with running.post("/v1/responses", {"model": "plain", "input": [*said["output"], "x"][:2]}) as answer:
        assert answer.status == 200
    async with running.post("/v1/responses/compact", {"model": "plain", "input": "x"}) as answer:
        said = await answer.json()
    assert [item["type"] for item in said["output"]] == ["message", "compaction"]


async def test_compactions_count(running: Running, provider: Providers) -> None:
    """A summary of ours counts wherever the count is made, and OpenAI's sealed compaction goes to OpenAI unchanged."""
    provider("old").will(text="shed " * 400, times=1)
    given = [{"role": "user", "content": "Hi"}, {"type": "compaction_trigger"}]
    async with running.post("/v1/responses", {"model": "plain", "input": given, "store": False}) as answer:
        ours = (await answer.json())["output"][0]
    for model in ("plain", "openai", "claude"):
        _, said, headers = await count(running, OPENAI, model, input=[ours, given[0]])
        assert said["input_tokens"] > 400 and "x-gateway-dropped" not in headers

    sealed = {"type": "compaction", "id": "cmp_1", "encrypted_content": "gAAAA-sealed"}
    _, _, headers = await count(running, OPENAI, "openai", input=[sealed, given[0]])
    assert provider("oai").seen[-1].json["input"] == [sealed, given[0]] and "x-gateway-dropped" not in headers


async def test_what_asks_for_a_compaction_is_not_counted(running: Running, provider: Providers) -> None:
    """A server that makes no compactions is not sent what asks for one; a trigger is none of its business either."""
    edits = {"edits": [{"type": "compact_20260112"}, {"type": "clear_tool_uses_20250919"}]}
    await count(running, CLAUDE, "claude", context_management=edits, compaction={"type": "enabled"})
    sent = provider("ant").seen[-1].json
    assert sent["context_management"] == {"edits": edits["edits"][1:]} and "compaction" not in sent
    given = [{"role": "user", "content": "Hi"}, {"type": "compaction_trigger"}]
    for model, status in (("plain", 200), ("claude", 200)):
        assert (await count(running, OPENAI, model, input=given))[0] == status
