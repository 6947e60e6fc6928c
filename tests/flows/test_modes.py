"""Prefixes, modes, the system prefix, and keys that clients bring."""

from typing import Any

import pytest

from tests.conftest import Running, Start
from tests.flows.messages import Providers
from tests.flows.pairs import PAIRS, ask
from tests.wire.crossings import messages_request


@pytest.fixture
async def running(start: Start) -> Running:
    return await start(PAIRS)


@pytest.mark.parametrize("prefix", ["", "/openai", "/full", "/full/openai", "/min", "/min/openai", "/pt", "/pt/openai"])
async def test_every_path_stands_behind_every_prefix(running: Running, prefix: str) -> None:
    """Messages, chat and models answer behind every prefix; `openai` in the prefix gives OpenAI's list shape."""
    status, _, _ = await ask(running, "claude", f"{prefix}/v1/messages")
    assert status == 200
    async with running.post(f"{prefix}/v1/chat/completions", {"model": "chat", "messages": []}) as answer:
        assert answer.status == 200
    headers = {"anthropic-version": "2023-06-01"}
    async with running.session.get(f"{running.url}{prefix}/v1/models", headers=headers) as answer:
        assert ("first_id" in await answer.json()) is ("openai" not in prefix)


async def test_the_modes(start: Start, provider: Providers) -> None:
    """/min adds nothing of the gateway's; /pt changes only the model's name."""
    config = PAIRS.replace(
        "speaks: [anthropic", 'system_prefix: "You are ours."\n    set: {speed: fast}\n    speaks: [anthropic'
    )
    running = await start(config)
    sent: dict[str, Any] = {
        "headers": {"anthropic-beta": "b-1", "anthropic-version": "2026-10-21"},
        "system": "Be brief.",
    }
    for path in ("/v1/messages", "/min/v1/messages", "/pt/v1/messages"):
        assert (await ask(running, "claude", path, **{**sent, "headers": dict(sent["headers"])}))[0] == 200
    full, least, through = provider("ant").seen
    assert [block["text"] for block in full.json["system"]] == ["You are ours.", "Be brief."]
    assert full.json["speed"] == "fast" and full.headers["anthropic-beta"] == "b-1"
    assert least.json["system"] == "Be brief." and "anthropic-beta" not in least.headers
    assert least.headers["anthropic-version"] == "2026-10-21"
    assert through.json == messages_request(model="m", system="Be brief.")
    assert through.headers["anthropic-beta"] == "b-1"
    assert (await ask(running, "chat", "/pt/v1/messages"))[0] == 200
    assert (await ask(running, "chat", "/min/v1/messages"))[0] == 200


async def test_the_system_prefix_is_never_put_twice(start: Start, provider: Providers) -> None:
    """`system_prefix` is added once, in both lanes, and stands behind Claude Code's attribution line. (EC-92)"""
    config = PAIRS.replace("speaks: [", 'system_prefix: "You are ours."\n    speaks: [')
    running = await start(config)
    line = {"type": "text", "text": "x-anthropic-billing-header: cc"}
    for system in ("You are ours. And brief.", [{"type": "text", "text": "You are ours."}]):
        await ask(running, "claude", system=system)
        assert provider("ant").seen[-1].json["system"] == system
    await ask(running, "claude", system=[line, {"type": "text", "text": "s"}])
    sent = provider("ant").seen[-1].json["system"]
    assert sent[0] == line and [block["text"] for block in sent[1:]] == ["You are ours.", "s"]  # EC-92
    await ask(running, "claude")
    assert provider("ant").seen[-1].json["system"] == [{"type": "text", "text": "You are ours."}]
    for system in ("You are ours.", "s"):
        await running.chat("chat", messages=[{"role": "system", "content": system}, {"role": "user", "content": "x"}])
    first, second = (seen.json["messages"] for seen in provider("oai").seen)
    assert [one["content"] for one in first] == ["You are ours.", "x"]
    assert [one["content"] for one in second] == ["You are ours.", "s", "x"]
    await running.chat("claude")
    assert provider("ant").seen[-1].json["system"][0]["text"] == "You are ours."


async def test_a_passed_through_key_is_shown_as_the_upstream_wants_it(start: Start, provider: Providers) -> None:
    """The client's own key goes up in the upstream's header; a bearer token for Anthropic stays a bearer token."""
    config = PAIRS.replace("auth: {x-api-key: {env: TWO}}", "auth: passthrough")
    running = await start(config)
    await ask(running, "claude", headers={"x-api-key": "theirs"})
    await ask(running, "claude", headers={"Authorization": "Bearer theirs"})
    async with running.post(
        "/v1/chat/completions",
        {"model": "claude", "messages": [{"role": "user", "content": "Hi"}]},
        headers={"Authorization": "Bearer theirs"},
    ) as answer:
        assert answer.status == 200
    native, bearer, crossed = (seen.headers for seen in provider("ant").seen)
    assert native["x-api-key"] == "theirs"
    assert bearer["Authorization"] == "Bearer theirs" and "x-api-key" not in bearer
    assert crossed["x-api-key"] == "theirs" and "Authorization" not in crossed
    status, said, _ = await ask(running, "claude")
    assert status == 401 and "requires API key passthrough" in said["error"]["message"]


async def test_envelopes_are_one_owners(start: Start, provider: Providers) -> None:
    """An envelope of another owner, or a forged one, is ignored and the request succeeds. (EC-133)"""
    running = await start(PAIRS + "keys: {a: {secret: {env: KEY}}, b: {secret: {env: OTHER}}}\n")
    provider("oai").will(reply="reasoning")
    first, second = {"x-api-key": "gwk_client-key"}, {"x-api-key": "gwk_other-key"}
    _, said, _ = await ask(running, "chat", headers=first)
    content = said["content"]
    assert content[0]["signature"].startswith("gw1.")
    forged = [{**content[0], "signature": "gw1.AAAA" + content[0]["signature"][8:]}, content[1]]
    for headers, blocks in ((second, content), (first, forged), (first, content)):
        messages = [{"role": "assistant", "content": blocks}, {"role": "user", "content": "Hi"}]
        assert (await ask(running, "chat", headers=headers, messages=messages))[0] == 200
