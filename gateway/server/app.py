"""Builds the gateway in one function: its parts, its middlewares in their order, its routes."""

import random
import secrets
from collections.abc import AsyncIterator, Mapping
from functools import partial
from typing import Any
from urllib.parse import unquote

from aiohttp import web

from gateway.accounts.budgets import budgets_of
from gateway.accounts.ledger import Ledger
from gateway.accounts.machine_slots import MachineSlots
from gateway.accounts.usage_sums import UsageSums
from gateway.clock import Clock
from gateway.config.checks import password_in
from gateway.config.fields import BUILTIN
from gateway.config.schema import Config
from gateway.config.state import sqlite_file
from gateway.mock.server import MockServer
from gateway.policy.health import Health
from gateway.policy.shares import Divided, Shared
from gateway.proxy.snapshot import make_snapshot
from gateway.proxy.state import GATEWAY, Gateway, Lifecycle, Selection, Setup, Telemetry
from gateway.proxy.tokenizer import Tokenizer, is_installed
from gateway.proxy.trail import loop_mark
from gateway.server.begin_budgets import beginning
from gateway.server.handlers import models, self_test
from gateway.server.handlers.rests import rest_logger
from gateway.server.housekeeping import add_gauges, housekeeping
from gateway.server.middleware.access_log import access_log
from gateway.server.middleware.admit import admit
from gateway.server.middleware.authenticate import authenticate
from gateway.server.middleware.cors import cors
from gateway.server.middleware.limit import limit
from gateway.server.middleware.say_errors import say_errors
from gateway.server.model_lists import ModelLists
from gateway.server.responses.background import RUNS, Runs
from gateway.server.routes import add_routes
from gateway.store.cells import Cells
from gateway.store.open_store import open_counters, open_responses
from gateway.store.watched import WatchedResponses
from gateway.telemetry.logs import Logs
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.redact import Redactor
from gateway.upstream.client import Upstream
from gateway.upstream.http1 import HttpClient

MIDDLEWARES = (
    access_log,  # 1 makes the exchange and its id; counts and logs every end of it
    say_errors,  # 2 needs the exchange; everything inside may raise
    cors,  # 3 answers preflights, which carry no key
    admit,  # 4 refuses what exceeds `max_concurrent`, before any other work
    authenticate,  # 5 finds the owner of the key in the headers; without keys, refuses what cors has not let in
    limit,  # 6 needs the owner; takes a slot of its share, and charges its rates before the body is read
)


def make_app(
    config: Config,
    logs: Logs,
    redactor: Redactor,
    data: Mapping[str, Mapping[str, Any]],
    *,
    clock: Clock | None = None,
    dice: random.Random | None = None,
    secret: bytes | None = None,
    state_dir: str | None = None,
    store_lock: int | None = None,
    cells: Cells | None = None,
) -> web.Application:
    """Build the gateway. `data` is the packaged data by name: models, top_models, prices. `secret` signs envelopes.

    `store_lock` is the descriptor of the store's lock, if the process above this one has claimed it. `cells` are the
    counters that it shares among its workers.
    """
    app = web.Application(middlewares=MIDDLEWARES)
    clock = clock or Clock()

    async def run_parts(app: web.Application) -> AsyncIterator[None]:
        metrics = Metrics(longest=config.server.timeouts.total)
        opened = await open_responses(config.store.url, sqlite_file(config, state_dir), store_lock)
        store = WatchedResponses(opened, clock, logs.log.warning, metrics.store_failures.inc)
        mock = MockServer(keeps=False)
        builtin = await mock.start() if _uses_builtin(config) else ""
        client = HttpClient()
        counters, divide = cells or Cells.alone(), partial(_divided, cells)
        gateway = Gateway(
            snapshot=make_snapshot(config, data["models"], builtin, data["prices"]),
            setup=_setup(data, secret, builtin, state_dir),
            clock=clock,
            upstream=Upstream(client, divide),
            responses=store,
            ledger=_ledger(config, counters, clock, logs, metrics),
            usage_sums=UsageSums(store, logs.log.warning),
            lifecycle=Lifecycle(clock.time(), slots=divide("exchanges")),
            selection=Selection(Health(config.breaker, rest_logger(logs.log)), dice or random.SystemRandom()),
            telemetry=Telemetry(logs, redactor, metrics),
            tokenizer=Tokenizer() if is_installed() else None,
        )
        runs = Runs(gateway)
        app[GATEWAY], app[RUNS] = gateway, runs
        app[models.MODEL_LISTS] = ModelLists(gateway)
        app[self_test.LAST] = self_test.LastTest()
        add_gauges(gateway, runs)
        async with beginning(gateway, gateway.snapshot.budgets) as begun:
            counters.begin(begun)
        gateway.lifecycle.is_started = True
        async with housekeeping(gateway, runs):
            yield
        await client.close()
        await store.close()
        counters.close()
        await mock.stop()

    app.cleanup_ctx.append(run_parts)
    add_routes(app)
    return app


def _divided(cells: Cells | None, name: str) -> Divided:
    """Make what divides something scarce among the keys: in this process, or in all workers of the machine."""
    return Shared() if cells is None else MachineSlots(cells, name)


def _setup(data: Mapping[str, Mapping[str, Any]], secret: bytes | None, builtin: str, state_dir: str | None) -> Setup:
    own_secret = secret or secrets.token_bytes(32)
    return Setup(data["models"], data["top_models"], data["prices"], own_secret, builtin, state_dir)


def _ledger(config: Config, cells: Cells, clock: Clock, logs: Logs, metrics: Metrics) -> Ledger:
    return Ledger(
        cells, clock, logs.log.warning, metrics.limits_alone.inc, open_counters(config.store.url, cells.machine)
    )


async def reload(gateway: Gateway, config: Config) -> None:
    """Put a new configuration into force in one step, and its new budgets with what was spent of them before."""
    async with beginning(gateway, budgets_of(config)) as begun:
        gateway.ledger.cells.begin(begun)
        reload_parts(gateway, config)


def reload_parts(gateway: Gateway, config: Config) -> None:
    """Put a new configuration into force in one step; exchanges in flight keep the one they began with."""
    setup, telemetry = gateway.setup, gateway.telemetry
    if _uses_builtin(config) and not setup.builtin_url:
        telemetry.logs.log.warning("the built-in mock starts only with the daemon: restart to use it")
    gateway.snapshot = make_snapshot(config, setup.models, setup.builtin_url, setup.prices)
    gateway.loop_mark = loop_mark(gateway.secret)
    gateway.selection.health.breaker = config.breaker
    telemetry.redactor.add(secrets_of(config))
    gateway.reload_problems = []
    telemetry.metrics.reloads.inc()


def secrets_of(config: Config) -> list[str]:
    """Return every secret value that the configuration has loaded, for the redactor."""
    password = password_in(config.store.url)
    found: list[str | None] = [password, unquote(password)] if password else []
    found += [secret.text for key in config.keys.values() for secret in key.secret]
    found += [text for provider in config.providers.values() for text in provider.all_secrets]
    if config.server.secret is not None:
        found.append(config.server.secret.value)
    return [text for text in found if text]


def _uses_builtin(config: Config) -> bool:
    return any(provider.base_url == BUILTIN for provider in config.providers.values())
