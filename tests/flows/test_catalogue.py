"""The lists of a gateway: models, aliases, recommendations."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import FakeClock, Provider, Running, Start

LISTED = """
store: {url: "memory:"}
providers:
  one: {base_url: MOCK/one/v1, speaks: SPEAKS, models: {demo: {context: 1234, capabilities: [chat]}}}
  two: {base_url: MOCK/two/v1, speaks: SPEAKS}
  byok: {base_url: MOCK/byok/v1, auth: passthrough, speaks: SPEAKS}
  quiet: {base_url: MOCK/quiet/v1, speaks: SPEAKS, lists_models: null}
routes: {alias: "one:demo", "de*": two}
default_provider: one
"""


async def get(running: Running, path: str, **headers: str) -> tuple[int, Any]:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    async with running.session.get(running.url + path, headers=names) as answer:
        return answer.status, await answer.json()


async def test_aliases_come_first_then_what_providers_list(start: Start, provider: Callable[[str], Provider]) -> None:
    """Aliases come first, then the providers' models; a name that would lead elsewhere is provider:model."""
    running = await start(LISTED)
    status, said = await get(running, "/v1/models")
    assert status == 200 and said["object"] == "list"
    ids = [model["id"] for model in said["data"]]
    assert ids[0] == "alias"
    assert {"tools", "one:demo", "demo", "two:tools"} <= set(ids)
    assert len(ids) == len(set(ids))
    alias = said["data"][0]
    assert set(alias) == {
        "id",
        "object",
        "created",
        "owned_by",
        "permission",
        "root",
        "parent",
        "context_length",
        "context_window",
        "max_output_tokens",
        "max_completion_tokens",
        "capabilities",
    }
    assert (alias["root"], alias["owned_by"], alias["context_length"], alias["capabilities"]) == (
        "demo",
        "one",
        1234,
        ["chat"],
    )
    for name, target in (("demo", "two"), ("one:demo", "one"), ("tools", "one"), ("two:tools", "two")):
        async with running.post("/v1/chat/completions", {"model": name, "messages": []}) as answer:
            assert answer.headers["x-gateway-provider"] == target
    assert not provider("byok").seen and not provider("quiet").seen


async def test_lists_are_kept_for_an_hour_and_refreshed_on_demand(
    start: Start, provider: Callable[[str], Provider]
) -> None:
    """A provider's list is fetched once an hour or on refresh; if that fails, the old list is served."""
    clock = FakeClock()
    running = await start(LISTED, clock=clock.clock())

    async def asked() -> int:
        await get(running, "/v1/models")
        return len(provider("one").seen)

    assert [await asked() for _ in range(3)] == [1, 1, 1]
    clock.now += 3601
    assert await asked() == 2
    clock.now += 1
    await get(running, "/v1/models?refresh=true")
    assert len(provider("one").seen) == 3
    provider("one").will(status=500)
    clock.now += 9999
    status, said = await get(running, "/v1/models")
    assert status == 200 and "tools" in [model["id"] for model in said["data"]]
    assert any(line["event"] == "model list failed" for line in running.log)


async def test_the_lists_outlive_the_process(start: Start, provider: Callable[[str], Provider], tmp_path: Path) -> None:
    """The lists are read from disk after a restart; a damaged file is fetched anew."""
    for content, asked in ((None, 1), (None, 1), (b"{damaged", 2)):
        if content is not None:
            (tmp_path / "models.json").write_bytes(content)
        running = await start(LISTED, state_dir=str(tmp_path))
        assert (await get(running, "/v1/models"))[0] == 200
        assert len(provider("one").seen) == asked
    assert json.loads((tmp_path / "models.json").read_bytes())["one"]["raw"]["object"] == "list"


async def test_a_dead_provider_is_not_dialled_for_every_client(
    start: Start, provider: Callable[[str], Provider]
) -> None:
    """A failed list is not fetched again for half a minute, except by `refresh`."""
    clock = FakeClock()
    running = await start(LISTED, clock=clock.clock())
    provider("one").will(status=500, times=99)

    def failures() -> int:
        return sum(line["event"] == "model list failed" for line in running.log)

    for _ in range(3):
        await get(running, "/v1/models")
    assert failures() == 1
    clock.now += 1
    await get(running, "/v1/models?refresh=true")
    assert failures() == 2
    clock.now += 31
    await get(running, "/v1/models")
    assert failures() == 3


@pytest.mark.parametrize("body", ["no json", "[]", '{"data": 5}'])
async def test_a_strange_list_is_left_out(start: Start, provider: Callable[[str], Provider], body: str) -> None:
    """A list that cannot be read is left out, and the other providers' models are shown."""
    running = await start(LISTED)
    provider("one").will(body=body)
    status, said = await get(running, "/v1/models")
    assert status == 200 and {model["owned_by"] for model in said["data"]} == {"one", "two"}


async def test_provider_narrows_and_a_header_beats_the_query(start: Start) -> None:
    """The provider header, or else `provider` in the query, narrows the list; an unknown provider is a 404."""
    running = await start(LISTED)
    _, said = await get(running, "/v1/models?provider=two")
    assert {model["owned_by"] for model in said["data"]} == {"two"}
    _, said = await get(running, "/v1/models?provider=two", provider="one")
    assert {model["owned_by"] for model in said["data"]} == {"one"}
    assert (await get(running, "/v1/models?provider=nope"))[0] == 404
    _, said = await get(running, "/v1/models?provider=two&format=raw")
    assert said["data"][0]["owned_by"] == "mock"
    _, said = await get(running, "/v1/models?format=raw")
    assert set(said) == {"one", "two"}


@pytest.mark.parametrize(
    ("path", "headers", "shape"),
    [
        ("/v1/models", {}, "openai"),
        ("/v1/models?format=anthropic", {}, "anthropic"),
        ("/v1/models?limit=1000", {"anthropic_version": "2023-06-01"}, "anthropic"),
        ("/v1/models?limit=1000", {"x_api_key": "k", "user_agent": "claude-cli/2.1"}, "anthropic"),
        ("/v1/models", {"x_api_key": "k", "user_agent": "Anthropic/Python 2"}, "anthropic"),
        ("/v1/models", {"x_api_key": "k"}, "openai"),
        ("/v1/models", {"x_api_key": "k", "authorization": "Bearer k", "user_agent": "claude-cli"}, "openai"),
        ("/v1/models?format=openai", {"anthropic_version": "2023-06-01"}, "openai"),
        ("/v1/models?format=openai&client_version=0.171.0", {}, "openai"),
    ],
)
async def test_the_shape_follows_the_client(start: Start, path: str, headers: dict[str, str], shape: str) -> None:
    """`format`, or else the client's headers, selects OpenAI's or Anthropic's shape (docs/endpoints.md#model-lists). (EC-8)"""
    running = await start(LISTED)
    status, said = await get(running, path, **headers)
    assert status == 200
    first = said["data"][0]
    if shape == "anthropic":
        assert {"type", "id", "display_name", "lifecycle"} < set(first) and first["created_at"].endswith("Z")
        assert (said["first_id"], said["last_id"]) == (first["id"], said["data"][-1]["id"])
    else:
        assert first["object"] == "model"


async def test_anthropics_paging(start: Start) -> None:
    """Anthropic's list pages by `limit`, `after_id` and `before_id`, both exclusive; an invalid value is a 400."""
    running = await start(LISTED)
    _, everything = await get(running, "/v1/models?format=anthropic&limit=1000")
    ids = [model["id"] for model in everything["data"]]
    assert everything["has_more"] is False

    collected: list[str] = []
    path = "/v1/models?format=anthropic&limit=4"
    while True:
        _, page = await get(running, path + (f"&after_id={collected[-1]}" if collected else ""))
        collected += [model["id"] for model in page["data"]]
        if not page["has_more"]:
            break
    assert collected == ids
    _, page = await get(running, f"/v1/models?format=anthropic&limit=2&before_id={ids[5]}")
    assert [model["id"] for model in page["data"]] == ids[3:5]
    for wrong in ("0", "1001", "x"):
        assert (await get(running, f"/v1/models?format=anthropic&limit={wrong}"))[0] == 400
    assert (await get(running, "/v1/models?format=xml"))[0] == 400


async def test_one_model_can_be_looked_up(start: Start, provider: Callable[[str], Provider]) -> None:
    """An alias is found without a provider call, then a listed model; any other name is a 404."""
    running = await start(LISTED)
    assert (await get(running, "/v1/models/alias"))[1]["root"] == "demo"
    assert not provider("one").seen
    assert (await get(running, "/v1/models/two:tools", anthropic_version="x"))[1]["type"] == "model"
    status, said = await get(running, "/v1/models/no/such:model")
    assert (status, said["error"]["code"]) == (404, "model_not_found")


async def test_aliases_are_grouped(start: Start) -> None:
    """/v1/aliases groups the aliases by provider and suggests names, in its documented shape."""
    running = await start(LISTED)
    _, said = await get(running, "/v1/aliases")
    assert said["object"] == "list" and said["total"] == 2
    assert said["aliases"] == {"one": {"alias": "demo"}, "two": {"de*": "de*"}}
    assert "coding" in said["suggested"]["default"]


async def test_top_models_are_curated(running: Running) -> None:
    """/top-models is a ranked list with `limit`, `provider` and cache info; a limit of 51 is a 400."""
    _, said = await get(running, "/top-models")
    assert said["object"] == "top_models" and len(said["models"]) == 10
    assert [model["ranking"] for model in said["models"]] == list(range(1, 11))
    _, said = await get(running, "/top-models?limit=1&provider=anthropic&include_cache_info=true&refresh=true")
    assert said["providers"] == ["anthropic"] and len(said["models"]) == 1 and "cache_info" in said
    assert (await get(running, "/top-models?limit=51"))[0] == 400
