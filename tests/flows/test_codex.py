"""Codex itself, under a real name of OpenAI's, on providers of the other dialects: how it is set up, and its tools."""

import json
from pathlib import Path

import pytest

from tests.conftest import Start
from tests.flows.codex import CODEX_ROUTES, LIMIT, MODEL, NEEDS_CODEX, Codex, Providers, call, command

pytestmark = [pytest.mark.slow, NEEDS_CODEX]
MAKE = command("echo made > made.txt; cat made.txt")


@pytest.mark.parametrize("second", ["oai", "ant"])
async def test_codex_keeps_its_tools_when_openai_fails(
    start: Start, provider: Providers, tmp_path: Path, second: str
) -> None:
    """The first target is dead; on the second the model calls Codex's own tool, and the file is made."""
    running = await start(CODEX_ROUTES.replace("SECOND", second))
    provider("res").will(status=500)
    provider(second).will(**call(second, MAKE), times=1)
    provider(second).will(text="It is done.")
    out = await Codex(tmp_path, running.url).run("Make a file")
    assert "unsupported" not in out and "It is done." in out, out
    assert (tmp_path / "made.txt").read_text() == "made\n", out
    first, last = provider(second).seen[0].json, provider(second).seen[-1].json
    names = [tool.get("function", tool)["name"] for tool in first["tools"]]
    assert "functions__exec" in names and len(names) >= 9
    assert first["tools"] == last["tools"] and "made" in json.dumps(last["messages"][-1])


async def test_codex_compacts_by_itself_under_another_name(start: Start, provider: Providers, tmp_path: Path) -> None:
    """If its provider is not named OpenAI, Codex asks for the summary with an ordinary request, which works as well."""
    running = await start(CODEX_ROUTES.replace("SECOND", "oai"))
    provider("res").will(status=500)
    provider("oai").will(**call("oai", MAKE, LIMIT + 1), times=1)
    provider("oai").will(text="The file is made.", times=1)
    provider("oai").will(text="It is done.")
    out = await Codex(tmp_path, running.url, name="gateway").run("Make a file")
    assert "context compacted" in out and "It is done." in out, out
    assert "compaction_trigger" not in json.dumps([seen.json for seen in provider("res").seen])
    assert "The file is made." in json.dumps(provider("oai").seen[-1].json)


async def test_codex_goes_on_without_a_websocket(start: Start, provider: Providers, tmp_path: Path) -> None:
    """Told that its provider has WebSockets, Codex tries one, is refused, and goes on over HTTP."""
    running = await start(CODEX_ROUTES.replace("SECOND", "oai"))
    provider("res").will(text="It is done.")
    setting = "model_providers.gateway.supports_websockets=true"
    out = await Codex(tmp_path, running.url).run("-c", setting, "Say something")
    assert "It is done." in out, out
    assert [line["status"] for line in running.exchanges] == [426, 200]


async def test_codex_believes_our_list(start: Start, provider: Providers, tmp_path: Path) -> None:
    """From the gateway's list Codex knows an alias, and brings its tool for edits; without it, it warns."""
    running = await start(CODEX_ROUTES.replace("SECOND", "oai"))
    provider("oai").will(text="It is done.")
    async with running.session.get(f"{running.url}/v1/models?client_version=0.171.0") as answer:
        (tmp_path / "models.json").write_bytes(await answer.read())
    known = f'model_catalog_json = "{tmp_path}/models.json"\n'
    without, told = [await Codex(tmp_path, running.url, settings, "chat").run("Hi") for settings in ("", known)]
    assert "metadata for `chat` not found" in without and "not found" not in told, told
    offers = [{tool["function"]["name"] for tool in seen.json["tools"]} for seen in provider("oai").seen if seen.body]
    assert offers[1] - offers[0] == {"apply_patch"} and MODEL not in (tmp_path / "models.json").read_text()
