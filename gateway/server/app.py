"""Wires everything, in one function: the parts, the middlewares in their order, the routes."""

import asyncio
import random
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any
from urllib.parse import unquote, urlsplit

from aiohttp import web

from gateway.clock import Clock
from gateway.config.checks import BUILTIN
from gateway.config.files import sqlite_file
from gateway.config.schema import MIB, Config, Seconds
from gateway.mock.server import MockServer
from gateway.policy.health import Health, State
from gateway.proxy.context import ENDPOINTS, Endpoint
from gateway.proxy.snapshot import make_snapshot
from gateway.proxy.state import GATEWAY, Gateway
from gateway.proxy.tokenizer import Tokenizer, is_installed
from gateway.server.bodies import hold_continue
from gateway.server.handlers import models, probes
from gateway.server.handlers import self_test as connection_test
from gateway.server.handlers.count_tokens import count_input, count_tokens
from gateway.server.handlers.generate import create
from gateway.server.middleware.access_log import access_log
from gateway.server.middleware.admit import admit
from gateway.server.middleware.authenticate import authenticate
from gateway.server.middleware.cors import cors
from gateway.server.middleware.limit_rate import limit_rate
from gateway.server.middleware.say_errors import say_errors
from gateway.server.model_lists import Catalogue
from gateway.server.responses import create as responses
from gateway.server.responses import stored
from gateway.server.responses.background import RUNS, Runs
from gateway.store.memory import MemoryWindows
from gateway.store.open_store import open_responses
from gateway.store.protocol import StoreDown, StoreState
from gateway.store.watched import WatchedResponses
from gateway.telemetry.logs import Logs
from gateway.telemetry.metrics import Metrics, Sample
from gateway.telemetry.redact import Redactor
from gateway.upstream.client import Upstream
from gateway.upstream.http1 import HttpClient
from gateway.wire import DIALECTS
from gateway.wire.anthropic_messages import ANTHROPIC_MESSAGES
from gateway.wire.anthropic_messages.counting import COUNT_TOKENS
from gateway.wire.openai_chat import OPENAI_CHAT, WORKER_CHAT
from gateway.wire.openai_responses import OPENAI_RESPONSES
from gateway.wire.openai_responses.other_endpoints import COMPACT, INPUT_TOKENS

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
LIMIT_CLASSES = {
    "openai_chat": "chat",
    "openai_embeddings": "embeddings",
    "anthropic_messages": "messages",
    "openai_responses": "responses",
}
HANDLERS: dict[str, Handler] = {
    COUNT_TOKENS.name: count_tokens,
    INPUT_TOKENS.name: count_input,
    COMPACT.name: responses.compact,
    OPENAI_RESPONSES.name: responses.create,
}
# Every /v1 path stands behind each of these (PRODUCT.md section 6).
PREFIXES = {
    "": "", "/openai": "", "/full": "", "/full/openai": "", "/min": "min", "/min/openai": "min",
    "/pt": "pt", "/pt/openai": "pt",
}  # fmt: skip
# The worker's bounds (PRODUCT.md section 3).
WORKER_BODY, WORKER_FIRST_BYTE = 1 * MIB, Seconds(30)
CHECK_EVERY_S, SWEEP_EVERY_S = 10.0, 300.0
LEFT_S = 2.0  # for storing what clients that left have been told
AZURE_PATH = "/openai/deployments/{deployment}"
PROBE = Endpoint("probe", OPENAI_CHAT, is_public=True, is_limited=False, is_quiet=True, is_shed=False)
CATALOGUE = Endpoint(
    "catalogue", OPENAI_CHAT, is_shed=False, anthropic=Endpoint("catalogue", ANTHROPIC_MESSAGES, is_shed=False)
)
STORED = Endpoint("responses_stored", OPENAI_RESPONSES, "default", is_shed=False)  # a cancel makes room
OPERATORS = Endpoint("operators", OPENAI_CHAT, is_operators=True, is_limited=False, is_quiet=True, is_shed=False)


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


def _add_routes(app: web.Application) -> dict[web.AbstractRoute, Endpoint]:
    """Add every path; return what the middlewares have to know of each."""
    endpoints: dict[web.AbstractRoute, Endpoint] = {}

    def add(method: str, path: str, handler: Handler, endpoint: Endpoint) -> None:
        if method == "GET":
            resource = app.router.add_get(path, handler, expect_handler=hold_continue)
            for route in resource.resource or ():  # GET and its HEAD
                endpoints[route] = endpoint
        else:
            endpoints[app.router.add_route(method, path, handler, expect_handler=hold_continue)] = endpoint

    for prefix, mode in PREFIXES.items():
        for dialect in DIALECTS.values():
            name = dialect.path.strip("/").replace("/", "_")
            endpoint = Endpoint(name, dialect, LIMIT_CLASSES.get(dialect.name, "default"), mode=mode)
            handler = HANDLERS.get(dialect.name, create)
            add("POST", f"{prefix}/v1{dialect.path}", handler, endpoint)
        one = f"{prefix}/v1/responses/{{id}}"
        add("GET", f"{prefix}/v1/responses", responses.refuse_websocket, STORED)
        add("GET", one, stored.show, STORED)
        add("DELETE", one, stored.delete, STORED)
        add("GET", f"{one}/input_items", stored.list_input, STORED)
        add("POST", f"{one}/cancel", stored.cancel, STORED)
        add("GET", f"{prefix}/v1/models", models.list_models, CATALOGUE)
        add("GET", f"{prefix}/v1/models/{{id:.+}}", models.show_model, CATALOGUE)
        add("GET", f"{prefix}/v1/aliases", models.list_aliases, CATALOGUE)
    for dialect in DIALECTS.values():
        if not dialect.is_anthropic:
            name = dialect.path.strip("/").replace("/", "_")
            endpoint = Endpoint(name, dialect, LIMIT_CLASSES.get(dialect.name, "default"))
            add("POST", f"{AZURE_PATH}{dialect.path}", HANDLERS.get(dialect.name, create), endpoint)
    worker = Endpoint("chat", WORKER_CHAT, "chat", most_body=WORKER_BODY, first_byte=WORKER_FIRST_BYTE)
    add("POST", "/chat", create, worker)
    add("GET", "/top-models", models.top_models, CATALOGUE)
    add("GET", "/test-connection", connection_test.test_connection, CATALOGUE)
    add("GET", "/", probes.root, PROBE)
    add("GET", "/health", probes.health, PROBE)
    add("GET", "/livez", probes.livez, PROBE)
    add("GET", "/readyz", probes.readyz, PROBE)
    add("GET", "/metrics", probes.metrics, OPERATORS)
    return endpoints


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


@asynccontextmanager
async def _housekeeping(gateway: Gateway, runs: Runs) -> AsyncIterator[None]:
    """What is done beside the requests; at the end, what they have left to be stored."""
    housekeeping = asyncio.create_task(_keep_house(gateway, runs))
    yield
    housekeeping.cancel()
    if gateway.chores:
        await asyncio.wait(gateway.chores, timeout=LEFT_S)


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


def _uses_builtin(config: Config) -> bool:
    return any(provider.base_url == BUILTIN for provider in config.providers.values())


def _watch(gateway: Gateway, runs: Runs) -> None:
    """Gauges of what lives elsewhere."""

    def target_states() -> list[Sample]:
        now = gateway.clock.monotonic()
        names = {
            target.name for route in gateway.snapshot.config.routes.values() for target in route.targets if target.model
        }
        states = {name: gateway.health.state(name, now) for name in sorted(names)}
        return [((name, state.value), 1.0 if states[name] is state else 0.0) for name in states for state in State]

    watch = gateway.metrics.watch
    watch("in_flight", "Exchanges in flight.", lambda: [((), float(len(gateway.exchanges)))])
    watch("target_state", "How each target stands: 1 for the state it is in.", target_states, "target", "state")

    def store_states() -> list[Sample]:
        now = gateway.responses.state
        return [((state.value,), float(state is now)) for state in StoreState]

    watch("background_runs", "Responses that run in the background.", lambda: [((), float(runs.running))])
    watch("store_state", "How the store stands: 1 for the state it is in.", store_states, "state")
    watch("draining", "Whether the daemon is stopping.", lambda: [((), float(gateway.is_draining))])
