"""Reload is all or nothing, and an exchange in flight keeps the configuration that it began with."""

import asyncio
from collections.abc import Callable

from tests.conftest import TWO_TARGETS, Provider, Running, eventually


async def test_a_new_configuration_is_in_force_at_once(running: Running, provider: Callable[[str], Provider]) -> None:
    """After a reload the new routes, keys and limits are in force together, and the metrics count the reload."""
    running.reload(TWO_TARGETS.replace("single: one:m", "fresh: two:m") + "keys: {a: {secret: {env: KEY}}}\n")
    status, _ = await running.chat("fresh")
    assert status == 401
    async with running.post(
        "/v1/chat/completions", {"model": "fresh", "messages": []}, headers={"x-api-key": "gwk_client-key"}
    ) as answer:
        assert answer.status == 200
    async with running.post(
        "/v1/chat/completions", {"model": "single", "messages": []}, headers={"x-api-key": "gwk_client-key"}
    ) as answer:
        assert answer.status == 404
    assert "gateway_config_reloads_total 1.0" in running.gateway.telemetry.metrics.expose().decode()


async def test_an_exchange_in_flight_keeps_its_configuration(
    running: Running, provider: Callable[[str], Provider]
) -> None:
    """An exchange in flight falls back by the old routes although the reload has removed them."""
    provider("one").will(latency=0.15, status=500)
    task = asyncio.create_task(running.chat("both"))
    await eventually(lambda: bool(provider("one").seen))
    running.reload("store: {url: 'memory:'}")
    status, _ = await task
    assert status == 200 and len(provider("two").seen) == 1
    assert (await running.chat("both"))[0] == 404


async def test_rests_live_on_by_name(running: Running, provider: Callable[[str], Provider]) -> None:
    """A target's rest survives a reload: a limited provider is not called again before its time."""
    provider("one").will(status=429, headers={"retry-after": "60"})
    await running.chat("both")
    running.reload(TWO_TARGETS)
    await running.chat("both")
    assert len(provider("one").seen) == 1 and len(provider("two").seen) == 2
