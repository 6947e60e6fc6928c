"""Wires everything, in one function: the parts, the middlewares in their order, the routes."""

import random
import secrets
from collections.abc import AsyncIterator, Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

from aiohttp import web

from gateway.clock import Clock
from gateway.config.checks import BUILTIN
from gateway.config.files import sqlite_file
from gateway.config.schema import Config
from gateway.mock.server import MockServer
from gateway.policy.health import Health
from gateway.proxy.context import ENDPOINTS
from gateway.proxy.snapshot import make_snapshot
from gateway.proxy.state import GATEWAY, Gateway
from gateway.proxy.tokenizer import Tokenizer, is_installed
from gateway.server.handlers import models
from gateway.server.handlers import self_test as connection_test
from gateway.server.housekeeping import _housekeeping, _watch
from gateway.server.middleware.access_log import access_log
from gateway.server.middleware.admit import admit
from gateway.server.middleware.authenticate import authenticate
from gateway.server.middleware.cors import cors
from gateway.server.middleware.limit_rate import limit_rate
from gateway.server.middleware.say_errors import say_errors
from gateway.server.model_lists import Catalogue
from gateway.server.responses.background import RUNS, Runs
from gateway.server.routes import _add_routes
from gateway.store.memory import MemoryWindows
from gateway.store.open_store import open_responses
from gateway.store.watched import WatchedResponses
from gateway.telemetry.logs import Logs
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.redact import Redactor
from gateway.upstream.client import Upstream
from gateway.upstream.http1 import HttpClient

MIDDLEWARES = (
    access_log,  # 1 the exchange and its id; counts and logs whatever happens inside
    say_errors,  # 2 needs the exchange; everything inside may raise
    cors,  # 3 answers preflights, which carry no key
    admit,  # 4 refuses what is too much, before it costs anything
    authenticate,  # 5 finds the owner, on headers alone
    limit_rate,  # 6 needs the owner; charges before the body is read
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
) -> web.Application:
    """Build the gateway. `data` is the packaged data by name: models, top_models. `secret` signs envelopes."""
    app = web.Application(middlewares=MIDDLEWARES)
    clock = clock or Clock()

    async def run_parts(app: web.Application) -> AsyncIterator[None]:
        opened = await open_responses(config.store.url, sqlite_file(config, state_dir))
        metrics = Metrics()
        store = WatchedResponses(opened, clock, logs.log.warning, metrics.store_failures.inc)
        mock = MockServer(keeps=False)
        builtin = await mock.start() if _uses_builtin(config) else ""
        client = HttpClient()
        gateway = Gateway(
            snapshot=make_snapshot(config, data["models"], builtin),
            upstream=Upstream(client),
            health=Health(config.breaker),
            logs=logs,
            redactor=redactor,
            metrics=metrics,
            clock=clock,
            dice=dice or random.SystemRandom(),
            windows=MemoryWindows(clock),
            responses=store,
            packaged=data["models"],
            top_models=data["top_models"],
            started_at=clock.time(),
            own_secret=secret or secrets.token_bytes(32),
            tokenizer=Tokenizer() if is_installed() else None,
            builtin_url=builtin,
            state_dir=state_dir,
        )
        app[GATEWAY] = gateway
        app[models.CATALOGUE] = Catalogue(gateway)
        app[RUNS] = Runs(gateway)
        _watch(gateway, app[RUNS])
        app[connection_test.LAST] = connection_test.LastTest()
        gateway.is_started = True
        async with _housekeeping(gateway, app[RUNS]):
            yield
        if gateway.tokenizer is not None:
            gateway.tokenizer.close()
        await client.close()
        await store.close()
        await mock.stop()

    app.cleanup_ctx.append(run_parts)
    app[ENDPOINTS] = _add_routes(app)
    return app


def reload_parts(gateway: Gateway, config: Config) -> None:
    """Put a new configuration into force in one step; exchanges in flight keep the one they began with."""
    if _uses_builtin(config) and not gateway.builtin_url:
        gateway.logs.log.warning("the built-in mock starts only with the daemon: restart to use it")
    gateway.snapshot = make_snapshot(config, gateway.packaged, gateway.builtin_url)
    gateway.health.breaker = config.breaker
    gateway.redactor.add(secrets_of(config))
    gateway.reload_problems = []
    gateway.metrics.reloads.inc()


def secrets_of(config: Config) -> list[str]:
    """Every secret value that the configuration has loaded, for the redactor."""
    password = urlsplit(config.store.url).password
    found: list[str | None] = [password, unquote(password)] if password else []
    found += [secret.text for key in config.keys.values() for secret in key.secret]
    found += [secret.value for provider in config.providers.values() for secret in provider.auth.secrets]
    if config.server.secret is not None:
        found.append(config.server.secret.value)
    return [text for text in found if text]


def _uses_builtin(config: Config) -> bool:
    return any(provider.base_url == BUILTIN for provider in config.providers.values())
