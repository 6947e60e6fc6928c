"""What runs beside the requests: the store's health, expiry, gauges."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from gateway.policy.health import TargetState
from gateway.proxy.state import Gateway
from gateway.server.responses.background import Runs
from gateway.store.protocol import StoreDown, StoreState
from gateway.telemetry.metrics import Sample

CHECK_EVERY_S, SWEEP_EVERY_S = 10.0, 300.0


LEFT_S = 2.0  # for storing what clients that left have been told


@asynccontextmanager
async def _housekeeping(gateway: Gateway, runs: Runs) -> AsyncIterator[None]:
    """What is done beside the requests; at the end, what they have left to be stored."""
    housekeeping = asyncio.create_task(_keep_house(gateway, runs))
    yield
    housekeeping.cancel()
    if gateway.background_tasks:
        await asyncio.wait(gateway.background_tasks, timeout=LEFT_S)


async def _keep_house(gateway: Gateway, runs: Runs) -> None:
    """Now and then: ask how the store is, take what has expired out of it, let go of runs that have ended."""
    swept = -SWEEP_EVERY_S
    while True:
        runs.forget()
        now = gateway.clock.monotonic()
        with suppress(StoreDown):  # it has been told of
            if now - swept >= SWEEP_EVERY_S:
                await gateway.responses.sweep(gateway.clock.time())
                swept = now
            await gateway.responses.check()
        await asyncio.sleep(CHECK_EVERY_S)


def _watch(gateway: Gateway, runs: Runs) -> None:
    """Gauges of what lives elsewhere."""

    def target_states() -> list[Sample]:
        now = gateway.clock.monotonic()
        names = {
            target.name for route in gateway.snapshot.config.routes.values() for target in route.targets if target.model
        }
        states = {name: gateway.health.state(name, now) for name in sorted(names)}
        return [
            ((name, state.value), 1.0 if states[name] is state else 0.0) for name in states for state in TargetState
        ]

    watch = gateway.metrics.watch
    watch("in_flight", "Exchanges in flight.", lambda: [((), float(len(gateway.exchanges)))])
    watch("target_state", "How each target stands: 1 for the state it is in.", target_states, "target", "state")

    def store_states() -> list[Sample]:
        now = gateway.responses.state
        return [((state.value,), float(state is now)) for state in StoreState]

    watch("background_runs", "Responses that run in the background.", lambda: [((), float(runs.running))])
    watch("store_state", "How the store stands: 1 for the state it is in.", store_states, "state")
    watch("draining", "Whether the daemon is stopping.", lambda: [((), float(gateway.is_draining))])
