"""What runs beside the requests: the store's health, expiry, and gauges of what lives elsewhere."""

import asyncio
import ctypes
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime

from gateway.accounts.budgets import shown
from gateway.config.warnings import WARNED_BEFORE
from gateway.policy.health import TargetState
from gateway.proxy.state import Gateway
from gateway.server.responses.background import Runs
from gateway.store.protocol import StoreDown, StoreState
from gateway.telemetry.metrics import Sample
from gateway.upstream.http1 import DIRECT

CHECK_EVERY_S, SWEEP_EVERY_S, WARN_EVERY_S = 10.0, 300.0, 86400.0
# Exchanges in flight up to which garbage is collected here: the daemon's high threshold leaves a cycle and all that it
# holds for a long time. With more of them the collector comes by itself, and a collection would take too long.
QUIET = 200
# Seconds that the end of the process waits for `background_tasks`: they store the partial replies of clients that left.
STORE_PARTIAL_S = 2.0


@asynccontextmanager
async def housekeeping(gateway: Gateway, runs: Runs) -> AsyncIterator[None]:
    """Keep house while the process serves; then wait for the replies that ended exchanges are still storing."""
    keeping_house = asyncio.create_task(_keep_house(gateway, runs))
    summing = asyncio.create_task(gateway.usage_sums.run())
    await gateway.ledger.start()
    yield
    keeping_house.cancel()
    summing.cancel()  # not the flush that it may wait for
    if gateway.lifecycle.background_tasks:
        await asyncio.wait(gateway.lifecycle.background_tasks, timeout=STORE_PARTIAL_S)
    await gateway.usage_sums.flush()
    await gateway.ledger.close()
    if gateway.tokenizer is not None:
        gateway.tokenizer.close()


async def _keep_house(gateway: Gateway, runs: Runs) -> None:
    """Forget ended runs and check the store every ten seconds; delete expired responses every five minutes."""
    swept = -SWEEP_EVERY_S
    warned = gateway.clock.monotonic()  # the start has warned
    while True:
        runs.forget()
        now = gateway.clock.monotonic()
        if now - warned >= WARN_EVERY_S:
            warned = now
            warn_of_expiry(gateway)
        with suppress(StoreDown):  # the store has logged it
            if now - swept >= SWEEP_EVERY_S:
                await gateway.responses.sweep(gateway.clock.time())
                swept = now
            await gateway.responses.check()
        gateway.snapshot.limit_book.forget()
        await gateway.upstream.client.close_unused(set(gateway.snapshot.outbounds.values()) | {DIRECT})
        if len(gateway.lifecycle.exchanges) <= QUIET:
            give_back_memory()
        await asyncio.sleep(CHECK_EVERY_S)


def warn_of_expiry(gateway: Gateway) -> None:
    """Log each key that ends within a fortnight: a gateway that runs for months says so each day."""
    today = datetime.fromtimestamp(gateway.clock.time(), UTC).date()
    for name, key in gateway.snapshot.config.keys.items():
        if key.expires is not None and key.expires - today <= WARNED_BEFORE:
            gateway.telemetry.logs.log.warning("key expires", key=name, on=key.expires.isoformat())


def give_back_memory() -> None:
    """Collect garbage, and give what is free back to the system: glibc keeps what many threads have used and freed."""
    gc.collect()
    with suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


def add_gauges(gateway: Gateway, runs: Runs) -> None:
    """Add the gauges whose values are computed at each scrape, from the state that they describe."""

    def target_states() -> list[Sample]:
        now, health = gateway.clock.monotonic(), gateway.selection.health
        routes = gateway.snapshot.config.routes.values()
        names = {target.name for route in routes for target in route.targets if target.model}
        rests = gateway.selection.rests(gateway.snapshot, now)
        states = {name: health.state(name, now) for name in sorted(names)}
        states |= {name: TargetState.RESTING for name in names & rests.keys() if states[name] is TargetState.LIVE}
        return [
            ((name, state.value), 1.0 if states[name] is state else 0.0) for name in states for state in TargetState
        ]

    def store_states() -> list[Sample]:
        now = gateway.responses.state
        return [((state.value,), float(state is now)) for state in StoreState]

    def budgets_left() -> list[Sample]:
        now, cells = gateway.clock.time(), gateway.ledger.cells
        found = [(budget, cells.spent(budget.fund(now))[0]) for budget in gateway.snapshot.budgets]
        return [((one.name, one.unit), shown(one.unit, max(0.0, one.most - spent))) for one, spent in found]

    telemetry, lifecycle = gateway.telemetry, gateway.lifecycle
    watch = telemetry.metrics.watch
    telemetry.metrics.watch_count(
        "log_lines_dropped", "Log lines that were dropped, because nobody read the log.", lambda: telemetry.logs.dropped
    )
    counted = telemetry.metrics.watch_counts
    totals = gateway.running_totals
    counted("tokens", "Tokens; reasoning is a part of output.", totals.tokens, "key", "team", "provider", "part")
    counted("cost_usd", "What is known of the cost, in US dollars.", totals.cost, "key", "team", "provider")
    watch("in_flight", "Exchanges in flight.", lambda: [((), float(len(lifecycle.exchanges)))])
    watch("target_state", "How each target stands: 1 for the state it is in.", target_states, "target", "state")
    watch(
        "tasks",
        "Tasks of the event loop: some for each open connection.",
        lambda: [((), float(len(asyncio.all_tasks())))],
    )
    watch("background_runs", "Responses that run in the background.", lambda: [((), float(runs.running))])
    watch("store_state", "How the store stands: 1 for the state it is in.", store_states, "state")
    watch("budget_left", "What is left of each budget, in dollars or tokens.", budgets_left, "name", "unit")
    watch("draining", "Whether the daemon is stopping.", lambda: [((), float(lifecycle.is_draining))])
