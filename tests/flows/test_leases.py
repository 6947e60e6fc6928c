"""Background runs between two gateways and a store that fails: leases, outages, housekeeping."""

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gateway.server import housekeeping
from gateway.server.responses import background, stored
from gateway.store import watched
from tests.conftest import Running, Start, eventually
from tests.flows.stored import CONFIG, MODELS, STORES, Providers, _Broken, ask, call, ended, events

pytestmark = pytest.mark.slow


@pytest.fixture(params=STORES)
async def running(request: pytest.FixtureRequest, start: Start, tmp_path: Path) -> Running:
    return await start(CONFIG.replace("STORE", request.param), state_dir=str(tmp_path))


@pytest.mark.parametrize("model", MODELS)
async def test_what_was_said_before_a_cancel_is_kept(running: Running, provider: Providers, model: str) -> None:
    """Output sent before a cancel is the same in the cancel's reply, in the store and in the stream."""
    provider(MODELS[model]).will(text="one two three four five six", pace=0.05)
    _, said = await ask(running, model, background=True)
    run = running.app[background.RUNS].get("anonymous", said["id"])
    assert run is not None
    await eventually(lambda: b"output_text.delta" in run.event_log.data)
    status, final = await call(running, "POST", f"{said['id']}/cancel")
    assert (status, final["status"]) == (200, "cancelled")
    assert final["output"][0]["content"][0]["text"].startswith("one")
    assert await call(running, "GET", said["id"]) == (200, final)
    assert (await events(running, said["id"]))[-1]["response"] == final
    line = next(line for line in running.exchanges if line["id"].endswith("-run"))
    assert line["stored"] is True and line["response"] == said["id"] and line["outcome"] == "abandoned"


async def test_a_client_that_leaves_too_early_leaves_nothing(running: Running) -> None:
    """A client that leaves before its response is stored leaves no run behind."""
    store = running.gateway.responses.store
    runs = running.app[background.RUNS]
    slow: Any = _Slow(store)
    running.gateway.responses.store = slow
    body = {"model": "chat", "input": "Hi", "background": True}
    with pytest.raises(TimeoutError):
        async with running.post("/v1/responses", body, timeout=aiohttp.ClientTimeout(total=0.02)):
            pass
    await eventually(lambda: not running.gateway.lifecycle.exchanges)
    assert runs.running == 0
    running.gateway.responses.store = store


class _Slow:
    def __init__(self, store: Any) -> None:
        self.store = store

    async def put(self, *given: Any, **more: Any) -> Any:
        await asyncio.sleep(0.05)
        return await self.store.put(*given, **more)


async def test_an_outage_longer_than_the_lease(
    start: Start, provider: Providers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an outage longer than a lease no other gateway takes the run for dead before it could renew."""
    monkeypatch.setattr(watched, "REST_S", 0.02)
    monkeypatch.setattr(background, "LEASE_S", 0.05)
    monkeypatch.setattr(background, "AGAIN_S", 10.0)  # it has not renewed its lease when the other gateway looks
    text = CONFIG.replace("STORE", "memory:")
    one, two = await start(text), await start(text)
    store = one.gateway.responses.store
    two.gateway.responses.store = store
    provider("oai").will(latency=2)
    _, said = await ask(one, "chat", background=True)
    broken: Any = _Broken()
    monkeypatch.setattr(background, "RENEW_S", 0.05)
    one.gateway.responses.store = two.gateway.responses.store = broken
    await eventually(lambda: broken.asked > 0, 5)
    assert (await call(two, "GET", said["id"]))[0] == 503
    one.gateway.responses.store = two.gateway.responses.store = store
    await asyncio.sleep(0.05)  # the gateway leaves a failed store alone for REST_S
    status, found = await call(two, "GET", said["id"])
    assert status == 200 and found["status"] in ("queued", "in_progress")
    assert (await ended(one, said["id"]))["status"] == "completed"


@pytest.fixture
async def pair(start: Start) -> tuple[Running, Running]:
    """Start two gateways on one store."""
    text = CONFIG.replace("STORE", "memory:")
    one, two = await start(text), await start(text)
    two.gateway.responses.store = one.gateway.responses.store
    return one, two


async def test_a_run_shows_that_it_lives(
    pair: tuple[Running, Running], provider: Providers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run renews its lease: at another gateway it is in progress long after the first lease."""
    monkeypatch.setattr(background, "LEASE_S", 0.04)
    monkeypatch.setattr(background, "RENEW_S", 0.01)
    one, two = pair
    provider("oai").will(latency=0.5)
    _, said = await ask(one, "chat", background=True)
    await eventually(lambda: len(provider("oai").seen) == 1)
    await asyncio.sleep(0.05)
    assert (await call(two, "GET", said["id"]))[1]["status"] == "in_progress"
    assert (await ended(two, said["id"]))["status"] == "completed"


@pytest.mark.parametrize("method", ["POST", "DELETE"])
async def test_a_run_is_ended_from_elsewhere(
    pair: tuple[Running, Running], provider: Providers, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """A run that is cancelled or deleted at another gateway closes its upstream."""
    monkeypatch.setattr(background, "RENEW_S", 0.05)
    one, two = pair
    provider("oai").will(latency=30)
    _, said = await ask(one, "chat", background=True)
    await eventually(lambda: len(provider("oai").seen) == 1)
    path = f"{said['id']}/cancel" if method == "POST" else said["id"]
    assert (await call(two, method, path))[0] == 200
    await eventually(lambda: not one.gateway.lifecycle.exchanges and provider("oai").seen[0].was_cut)
    status, found = await call(one, "GET", said["id"])
    assert (status, found.get("status")) == ((200, "cancelled") if method == "POST" else (404, None))


async def test_a_follower_waits_for_a_store_that_is_away(
    pair: tuple[Running, Running], provider: Providers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A follower's stream stays open while the store is away, and ends as the run does."""
    monkeypatch.setattr(stored, "POLL_S", 0.01)
    one, two = pair
    provider("oai").will(latency=0.3)
    _, said = await ask(one, "chat", background=True)
    async with two.session.get(f"{two.url}/v1/responses/{said['id']}?stream=true") as answer:
        assert (await answer.content.readuntil(b"\n\n")).startswith(b":")
        whole, two.gateway.responses.store = two.gateway.responses.store, _broken()
        await asyncio.sleep(0.05)
        two.gateway.responses.store = whole
        rest = await answer.read()
    assert b"event: response.completed" in rest and b"event: error" not in rest


def _broken() -> Any:
    return _Broken()


async def test_an_idle_gateway_lets_go_as_well(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """An idle gateway forgets ended runs and sweeps expired responses without any request."""
    monkeypatch.setattr(housekeeping, "CHECK_EVERY_S", 0.05)
    monkeypatch.setattr(housekeeping, "SWEEP_EVERY_S", 0.05)
    monkeypatch.setattr(background, "KEPT_S", -1)
    running = await start(CONFIG.replace('"STORE"', '"memory:", ttl: 1s'))
    store: Any = running.gateway.responses.store
    _, said = await ask(running, "chat", background=True)
    runs = running.app[background.RUNS]
    await eventually(lambda: runs.get("anonymous", said["id"]) is None)
    assert (await call(running, "GET", said["id"]))[1]["status"] == "completed"
    await eventually(lambda: len(store) == 0, 5)
