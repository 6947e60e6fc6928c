"""The life of one process that serves: ready, reload, watchdog, drain, stop."""

import asyncio
import gc
import signal
import sys
import time
from collections.abc import Sequence
from typing import Any

from aiohttp import web
from attrs import define, field

from gateway.accounts.prices import price_warnings
from gateway.clock import Clock
from gateway.config.checks import open_to_all
from gateway.config.files import packaged, packaged_prices, read_config
from gateway.config.problems import ConfigError, Problem, problem_at
from gateway.config.schema import Config
from gateway.config.server_schema import Server
from gateway.proxy.state import GATEWAY, Gateway
from gateway.server.app import make_app, reload
from gateway.server.ground import EXIT_CONFIG, CannotStart, Ground, no_keys_problem
from gateway.server.listener import serve
from gateway.server.reports import Reports
from gateway.server.siblings import SIBLINGS, Siblings
from gateway.store.protocol import StoreUnusable
from gateway.telemetry.logs import Logs
from gateway.telemetry.redact import Redactor
from gateway.upstream.oauth import token_warnings

# Streams allocate much and free it at once: Python's collector would run far too often
# (docs/design.md#what-costs-what: 156 to 139 us a request; freezing alone does nothing).
GC_THRESHOLD = 50_000
# Seconds between two log lines of `_complain`: without this bound an accept loop that has run out of file
# descriptors would log at every turn (docs/reliability.md P20).
COMPLAIN_EVERY_S = 5.0
# Seconds between /readyz answering 503 and the end of listening, under a supervisor: a balancer asks every two seconds
# or so, and takes the gateway out after two or three bad answers.
STEP_ASIDE_S = 5.0
LAST_WORDS_S = 2.0  # for exchanges that are cut to send their clients an error
# After it, requests that are not probes show that somebody has not noticed yet: then it goes on, until none has come
# for a second, at most as long again. (HAProxy's default is three bad answers, two seconds apart.)
QUIET_S, LOOK_S = 1.0, 0.1
# For connections that are open and silent at the end: whoever uses one meanwhile is answered, and told that it closes.
LINGER_S, LINGER_STEP_S = 3.0, 0.05


@define
class Serving:
    """One process that serves clients, from its configuration to its last exchange."""

    path: str
    listen: Sequence[str]
    config: Config
    ground: Ground
    reports: Reports
    logs: Logs
    redactor: Redactor
    siblings: Siblings | None = None
    _stop: asyncio.Event = field(factory=asyncio.Event, init=False)
    _hurry: asyncio.Event = field(factory=asyncio.Event, init=False)
    _is_leaving: bool = field(default=False, init=False)  # other workers serve on: only this one goes
    _swapping: asyncio.Lock = field(factory=asyncio.Lock, init=False)
    _complained: float = field(default=0.0, init=False)

    async def run(self) -> None:
        """Serve until SIGTERM, SIGINT or SIGUSR1. Raises CannotStart."""
        ground, config = self.ground, self.config
        data = {
            "models": packaged("models.yaml"),
            "top_models": packaged("top_models.yaml"),
            "prices": packaged_prices(),
        }
        app = make_app(
            config,
            self.logs,
            self.redactor,
            data,
            state_dir=ground.state,
            secret=ground.secret,
            store_lock=ground.lock,
            cells=ground.cells,
        )
        if self.siblings is not None:
            app[SIBLINGS] = self.siblings
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._complain)
        try:
            runner, servers = await serve(app, config, ground.sockets, ground.operators)
        except StoreUnusable as error:
            raise CannotStart(str(error), EXIT_CONFIG) from None
        gateway = app[GATEWAY]
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end)
        if self.siblings is not None:
            self.siblings.watch(gateway)
            loop.add_signal_handler(signal.SIGUSR1, self._leave)
        else:
            for number in (signal.SIGUSR1, signal.SIGUSR2):  # else they would end the process at once
                loop.add_signal_handler(number, self._cannot_roll)
        loop.add_signal_handler(signal.SIGHUP, self._reload, gateway)
        self._announce()
        gc.collect()
        gc.freeze()
        gc.set_threshold(GC_THRESHOLD, 20, 20)
        async with asyncio.TaskGroup() as group:
            living = group.create_task(self._live())
            await self._stop.wait()
            await self._drain(gateway, servers, runner)
            living.cancel()
        ground.remove_files()
        if self.siblings is not None:
            self.siblings.leave(gateway)
        for one in servers:
            one.close()
        await runner.cleanup()
        self.logs.log.info("stopped")

    def _announce(self) -> None:
        config, places = self.config, self.ground.places
        self._warn(config)
        state = self.ground.state
        self.logs.log.info("listening", on=places, keys=len(config.keys), routes=len(config.routes), state=state)
        self.reports.ready(places)

    def _warn(self, config: Config) -> None:
        found = (*config.warnings, *token_warnings(config, Clock()), *price_warnings(config, packaged_prices()))
        for warning in found:
            self.logs.log.warning("config", detail=warning.said(self.path))

    async def _live(self) -> None:
        """Give a sign of life from the event loop: when the loop is stuck there is none, and we are killed."""
        while (period := self.reports.alive_every) is not None:
            self.reports.alive()
            await asyncio.sleep(period)

    def _reload(self, gateway: Gateway) -> None:
        """SIGHUP: parse, check, swap in one step; a bad file changes nothing."""
        self.reports.reloading()
        try:
            config = read_config(self.path, listen=self.listen)
            if address := open_to_all(config, self.ground.places):
                raise ConfigError(self.path, [no_keys_problem(address)])
            if problem := loses_all(gateway.snapshot.config, config):
                raise ConfigError(self.path, [problem])
        except ConfigError as error:
            gateway.reload_problems = error.lines()
            gateway.telemetry.metrics.reload_failures.inc()
            self.logs.log.error("reload refused, the old configuration stays", problems=error.lines())
            self.reports.reloaded(is_good=False)
        else:
            for name in self._unchangeable(config):
                self.logs.log.warning(f"{name} changes with a restart only")
            gateway.lifecycle.spawn(self._swap(gateway, config))

    async def _swap(self, gateway: Gateway, config: Config) -> None:
        """Put a good configuration into force; one after the other, should several come."""
        async with self._swapping:
            await reload(gateway, config)
        self._warn(config)
        self.logs.log.info("reloaded", routes=len(config.routes), providers=len(config.providers))
        self.reports.reloaded(is_good=True)

    def _unchangeable(self, config: Config) -> list[str]:
        """Return the settings that a new configuration has otherwise, and that a reload cannot change."""
        old, new = self.config, config
        pairs = {
            "server.listen": (old.server.listen, new.server.listen),
            "server.timeouts.header": (old.server.timeouts.header, new.server.timeouts.header),
            "server.workers": (old.server.workers, new.server.workers),
            "server.expose.listen": (old.server.expose.listen, new.server.expose.listen),
            "store.url": (old.store.url, new.store.url),
        }
        return [name for name, (before, now) in pairs.items() if before != now]

    def _end(self) -> None:
        """SIGTERM or SIGINT: begin the drain; the second one ends it."""
        (self._hurry if self._stop.is_set() else self._stop).set()

    def _cannot_roll(self) -> None:
        self.logs.log.warning("a rolling restart needs server.workers above 1: nothing is done")

    def _leave(self) -> None:
        """SIGUSR1: another worker takes the place of this one."""
        self._is_leaving = True
        self._stop.set()

    async def _drain(self, gateway: Gateway, servers: Sequence[asyncio.Server], runner: web.AppRunner) -> None:
        """Fail /readyz and go on serving for a while; stop listening; let exchanges finish, cut those that are left."""
        server, lifecycle = gateway.snapshot.config.server, gateway.lifecycle
        aside = 0.0 if self._is_leaving else step_aside_of(server)
        lifecycle.is_leaving, lifecycle.is_draining = True, not self._is_leaving
        self.reports.stopping(2 * aside + server.drain + LINGER_S + 10)
        self.logs.log.info("draining", exchanges=len(lifecycle.exchanges), step_aside_s=aside, limit_s=server.drain)
        hurry = asyncio.create_task(self._hurry.wait())
        await asyncio.wait([hurry], timeout=aside)
        await self._until_quiet(gateway, hurry, aside)
        # A worker's own socket, the last one, stays open: its part of the metrics is asked for until it is over.
        for one in servers[: len(servers) - 1] if self.siblings is not None else servers:
            one.close()
        if not self._hurry.is_set():
            waits = self._is_leaving or aside > 0
            ending = asyncio.create_task(_finish(gateway, server.drain, runner if waits else None))
            await asyncio.wait([hurry, ending], return_when=asyncio.FIRST_COMPLETED)
            ending.cancel()
        hurry.cancel()
        if not lifecycle.exchanges:
            return
        self.logs.log.warning("cut off", exchanges=len(lifecycle.exchanges), hurried=self._hurry.is_set())
        lifecycle.is_cutting = True
        for task in list(lifecycle.exchanges.values()):
            task.cancel()
        await _finish(gateway, LAST_WORDS_S)

    async def _until_quiet(self, gateway: Gateway, hurry: asyncio.Task[Any], seconds: float) -> None:
        """Go on serving while requests still come, for `seconds` at most."""
        clock = gateway.clock.monotonic
        until = clock() + seconds
        while not hurry.done() and clock() < until and clock() - gateway.lifecycle.last_request < QUIET_S:
            await asyncio.wait([hurry], timeout=LOOK_S)

    def _complain(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Log an error that no code handled: at most once in five seconds, and without the objects it concerns."""
        now = time.monotonic()
        if now - self._complained >= COMPLAIN_EVERY_S:
            self._complained = now
            self.logs.log.error("loop", detail=context.get("message"), error=repr(context.get("exception")))


def step_aside_of(server: Server) -> float:
    """Return the seconds for which a stopping gateway goes on serving; at a terminal nobody waits for a balancer."""
    if server.step_aside is not None:
        return server.step_aside
    return 0.0 if sys.stdin is not None and sys.stdin.isatty() else STEP_ASIDE_S


def loses_all(old: Config, new: Config) -> Problem | None:
    """Say that a reload would leave no route; not if the new file says so by `routes: {}`."""
    if not old.routes or new.routes or ("routes",) in new.places:
        return None
    message = "no routes, where the running configuration has some: write `routes: {}` if that is meant"
    return problem_at(new.places, ("routes",), message)


async def _finish(gateway: Gateway, seconds: float, runner: web.AppRunner | None = None) -> None:
    """Wait for the exchanges in flight, also for those that begin on connections that are still open.

    With `runner`, wait LINGER_S more for open connections: an end at the very moment of a next request would lose it.
    """
    loop = asyncio.get_running_loop()
    until, linger = loop.time() + seconds, loop.time() + LINGER_S
    while loop.time() < until:
        if tasks := set(gateway.lifecycle.exchanges.values()):
            await asyncio.wait(tasks, timeout=until - loop.time())
            await asyncio.sleep(0)  # the exchange takes itself off the list
        elif runner is not None and runner.server is not None and runner.server.connections and loop.time() < linger:
            await asyncio.sleep(LINGER_STEP_S)
        else:
            return
