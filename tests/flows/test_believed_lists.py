"""Model lists that agents believe: an alias is what its first target with a credential is."""

import json
from collections.abc import Callable
from typing import Any

import anthropic
import openai
import pytest

from tests.conftest import Provider, Running, Start

CONFIG = """
store: {url: "memory:"}
providers:
  mock:
  dead: {base_url: MOCK/dead/v1, auth: {bearer: {env: MISSING}}, speaks: [openai_chat], models: {"*": {context: 5}}}
  gone: {base_url: MOCK/gone/v1, auth: {bearer: {env: MISSING}}, speaks: [openai_chat]}
  live:
    base_url: MOCK/live/v1
    speaks: [openai_chat]
    models: {big: {context: 400000, max_output: 128000, efforts: [low, high], capabilities: [chat, reasoning, vision]}}
  byok: {base_url: MOCK/byok/v1, auth: passthrough, speaks: [openai_chat]}
routes:
  smart: [dead:small, live:big]
  listed: live:from-list
  unreachable: [dead:small, gone:small]
  theirs: byok:m
  demo: mock:demo
  gpt-5.6-sol: live:big
  "dead-*": dead
"""
LIST = {
    "object": "list",
    "data": [
        {"id": "from-list", "object": "model", "created": 1, "context_length": 77_000, "max_output_tokens": 7_000}
    ],
}
LIVE = {"smart", "listed", "theirs", "demo", "gpt-5.6-sol"}


@pytest.fixture
async def believed(start: Start, provider: Callable[[str], Provider]) -> Running:
    provider("live").will(body=json.dumps(LIST))
    return await start(CONFIG)


async def listed(running: Running, query: str = "") -> dict[str, Any]:
    async with running.session.get(f"{running.url}/v1/models{query}") as answer:
        assert answer.status == 200
        said = await answer.json()
    return {one.get("id") or one["slug"]: one for one in said.get("data") or said["models"]}


async def test_an_alias_is_its_first_target_with_a_credential(believed: Running) -> None:
    """A first target without a credential says nothing of the alias; the next one does."""
    smart = (await listed(believed))["smart"]
    assert (smart["root"], smart["owned_by"]) == ("big", "live")
    assert (smart["context_length"], smart["max_output_tokens"]) == (400_000, 128_000)


async def test_a_providers_own_list_tells_the_limits(believed: Running) -> None:
    """Limits that the provider's list gives stand above the packaged data, for its models and for aliases of them."""
    found = await listed(believed)
    for name in ("listed", "live:from-list"):
        assert (found[name]["context_length"], found[name]["max_output_tokens"]) == (77_000, 7_000)


@pytest.mark.parametrize("query", ["", "?format=anthropic&limit=1000"])
async def test_routes_without_a_credential_are_not_listed(believed: Running, query: str) -> None:
    """A route that nobody can serve is in no list; one whose client brings the key is."""
    assert set(await listed(believed, query)) == {*LIVE, "live:from-list"}
    for name, status in (("unreachable", 404), ("smart", 200)):
        async with believed.session.get(f"{believed.url}/v1/models/{name}") as answer:
            assert answer.status == status


async def test_the_mocks_scripts_are_listed_only_where_they_are_routed(believed: Running) -> None:
    """The built-in mock has no models of its own: only an alias of a script is shown."""
    found = await listed(believed)
    assert "demo" in found and not {"tools", "mock:tools", "mock:demo"} & set(found)


async def test_health_shows_the_routes_that_are_not_listed(believed: Running) -> None:
    """/health names the routes without a credential, for operators."""
    async with believed.session.get(f"{believed.url}/health?format=json") as answer:
        assert (await answer.json())["routes_without_credential"] == ["unreachable", "dead-*"]


async def test_codexs_manifest(believed: Running) -> None:
    """With `client_version` the answer is Codex's manifest of the aliases, without names that Codex knows itself."""
    found = await listed(believed, "?client_version=0.171.0")
    assert set(found) == LIVE - {"gpt-5.6-sol"}
    assert found["smart"]["context_window"] == 400_000
    assert [level["effort"] for level in found["smart"]["supported_reasoning_levels"]] == ["low", "high"]


async def test_the_sdks_read_the_lists(believed: Running) -> None:
    """Anthropic's SDK gets a whole ModelInfo, OpenAI's its model."""
    async with anthropic.AsyncAnthropic(api_key="k", base_url=believed.url) as claude:
        info = await claude.models.retrieve("smart")
    assert (info.max_input_tokens, info.max_tokens, info.lifecycle) == (400_000, 128_000, "active")
    assert info.capabilities is not None and info.capabilities.effort.high.supported
    async with openai.AsyncOpenAI(api_key="k", base_url=f"{believed.url}/v1") as client:
        assert {model.id async for model in client.models.list()} == {*LIVE, "live:from-list"}
