"""Conversations go back to the target and the key that served them last, where their prompt cache is."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import FakeClock, Provider, Start
from tests.flows.sessions import CHAT, Place, moves, places, take_turn, turns_of

Providers = Callable[[str], Provider]


async def test_twenty_sessions_stay_where_they_were(start: Start, provider: Providers) -> None:
    """Of 20 sessions of 10 turns over two targets with two keys each, every turn goes where the last one went."""
    running = await start(CHAT)
    one, two = provider("one"), provider("two")
    trails: dict[int, list[Place]] = {session: [] for session in range(20)}
    for turn in range(10):
        for session, trail in trails.items():
            assert await take_turn(running, "stay", f"session {session}", turn) == 200
            trail.append(places(one, two)[-1])
    kept = 1 - sum(map(moves, trails.values())) / (20 * 9)
    assert kept >= 0.95
    assert len({trail[0] for trail in trails.values()}) == 4  # and they are spread over all places


async def test_a_dead_target_moves_its_sessions_once(start: Start, provider: Providers) -> None:
    """Sessions of a target that dies go to the other one, and stay there when the dead one is well again."""
    clock = FakeClock()
    running = await start(CHAT, clock=clock.clock())
    one, two = provider("one"), provider("two")
    trails: dict[int, list[str]] = {session: [] for session in range(12)}
    for turn in range(6):
        if turn == 2:
            one.will(status=500, times=2 * len(trails))
        if turn == 4:
            one.server.script.rules.clear()
            clock.now += 60
        for session, trail in trails.items():
            headers = {"session-id": f"s{session}"}
            assert await take_turn(running, "stay", "somebody", turn, headers=headers) == 200
            trail.append(places(one, two)[-1][0])
    assert {trail[0] for trail in trails.values()} == {"one", "two"}
    for trail in trails.values():
        assert trail == [trail[0]] * 2 + ["two"] * 4
    # Two attempts opened its breaker; after that nobody lost time with the dead target.
    assert sum(line["attempts"] for line in running.exchanges) == 12 * 6 + 2


@pytest.mark.parametrize(("model", "targets"), [("stay", 1), ("first", 1), ("turns", 2)])
async def test_the_key_stays_under_any_policy(start: Start, provider: Providers, model: str, targets: int) -> None:
    """Whatever the policy does with the targets, a conversation shows each of them one key."""
    running = await start(CHAT)
    for turn in range(8):
        await take_turn(running, model, "Ada", turn)
    assert len(set(places(provider("one"), provider("two")))) == targets


@pytest.mark.parametrize("model", ["stay", "first"])
async def test_new_conversations_are_spread(start: Start, provider: Providers, model: str) -> None:
    """Conversations that begin in other ways take the keys in turn."""
    running = await start(CHAT)
    for session in range(16):
        await take_turn(running, model, f"session {session}", 0)
    assert len(set(places(provider("one"), provider("two")))) == {"stay": 4, "first": 2}[model]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"headers": {"session-id": "a"}}, {"headers": {"session-id": "a"}}),
        ({"headers": {"thread-id": "a"}}, {"headers": {"thread-id": "a"}}),
        ({"headers": {"x-claude-code-session-id": "a"}}, {"headers": {"X-Claude-Code-Session-Id": "a"}}),
        ({"prompt_cache_key": "a"}, {"prompt_cache_key": "a"}),
        (
            {"metadata": {"user_id": "user_1_account_2_session_0a1b2c3d-1111"}},
            {"metadata": {"user_id": "user_9_account_9_session_0a1b2c3d-1111"}},
        ),
    ],
)
async def test_a_session_has_an_id(start: Start, provider: Providers, first: Any, second: Any) -> None:
    """Two requests of one session id go to one place, though they begin differently; the client's own id decides."""
    running = await start(CHAT)
    for number in range(4):
        await take_turn(running, "stay", f"begins {number}", 0, **(second if number else first))
    assert len(set(places(provider("one"), provider("two")))) == 1


async def test_another_key_has_other_sessions(start: Start) -> None:
    """A session id is one client's: with another gateway key it names another session."""
    keys = "keys: {ada: {secret: {env: KEY}}, bob: {secret: {env: OTHER}}}\n"
    running = await start(keys + CHAT)
    said = []
    for secret in ("gwk_client-key", "gwk_client-key", "gwk_other-key"):
        await take_turn(running, "stay", "x", 0, headers={"session-id": "a", "x-api-key": secret})
        said.append(running.exchanges[-1]["affinity"])
    assert said == ["new", "kept", "new"]


async def test_a_cold_cache_holds_nobody(start: Start) -> None:
    """After `affinity.warm` the policy decides anew; each turn within it makes the time begin again."""
    clock = FakeClock()
    running = await start(CHAT.replace("warm: 5m", "warm: 100s"), clock=clock.clock())
    said = []
    for pause in (0, 90, 90, 101):
        clock.now += pause
        await take_turn(running, "stay", "Ada", 0)
        said.append(running.exchanges[-1]["affinity"])
    assert said == ["new", "kept", "kept", "new"]


async def test_a_resting_key_is_left(start: Start, provider: Providers) -> None:
    """A conversation whose key is rate limited moves in the same exchange, and stays where it has moved to."""
    running = await start(CHAT)
    one, two = provider("one"), provider("two")
    await take_turn(running, "stay", "Ada", 0)
    home = places(one, two)[-1]
    provider(home[0]).will(status=429, headers={"Retry-After": "60"}, times=1)
    for turn in (1, 2, 3):
        assert await take_turn(running, "stay", "Ada", turn) == 200
    found = places(one, two)
    assert found[1] == home and home not in found[2:] and len(set(found[2:])) == 1
    assert [line["affinity"] for line in running.exchanges] == ["new", "moved", "kept", "kept"]


async def test_it_is_shown(start: Start) -> None:
    """The log says of each turn whether it was kept; metrics count the prompt's tokens with and without that."""
    running = await start(CHAT)
    for turn in range(3):
        await take_turn(running, "stay", "Ada", turn)
    assert [line["affinity"] for line in running.exchanges] == ["new", "kept", "kept"]
    shown = running.gateway.telemetry.metrics.expose().decode()
    name = running.exchanges[0]["provider"]
    assert f'gateway_affinity_total{{affinity="kept",provider="{name}"}} 2.0' in shown
    reads = [line.get("cache_read", 0) for line in running.exchanges]
    assert f'affinity="kept",part="cache_read",provider="{name}"}} {float(reads[1] + reads[2])}' in shown
    assert f'affinity="new",part="cache_read",provider="{name}"}} {float(reads[0])}' in shown


@pytest.mark.parametrize("text", ["stay", "off"])
async def test_a_stream_that_its_client_leaves_counts_too(start: Start, text: str) -> None:
    """A turn counts from its first content on, and as a stream as well; `warm: 0s` turns all of it off."""
    running = await start(CHAT if text == "stay" else CHAT.replace("warm: 5m", "warm: 0s"))
    for turn in range(3):
        await take_turn(running, "stay", "Ada", turn, stream=True)
    found = [line.get("affinity") for line in running.exchanges]
    assert found == (["new", "kept", "kept"] if text == "stay" else [None] * 3)


async def test_one_place_needs_no_name(start: Start) -> None:
    """Where there is one target with one key nothing is looked up, remembered or logged."""
    running = await start(CHAT.replace(", {env: TWO}]", "]"))
    assert await take_turn(running, "first", "Ada", 0) == 200
    assert "affinity" not in running.exchanges[-1] and len(running.gateway.sessions.trails) == 0


async def test_messages_and_responses_stay_too(start: Start, provider: Providers) -> None:
    """All three dialects know their conversations, on raw lanes and on crossings."""
    running = await start(CHAT)
    one, two = provider("one"), provider("two")
    for path, member, more in (
        ("/v1/messages", "messages", {"max_tokens": 9}),
        ("/v1/responses", "input", {"store": False}),
        ("/v1/responses", "input", {"store": True}),
    ):
        seen = len(places(one, two))
        for turn in range(4):
            body = {"model": "stay", member: turns_of(f"{path} {more}", turn), **more}
            async with running.post(path, body) as answer:
                assert answer.status == 200, await answer.text()
        assert len(set(places(one, two)[seen:])) == 1, (path, more)
