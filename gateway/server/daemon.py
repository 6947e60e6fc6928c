"""The life of the process: start, signals, reload, watchdog, drain, stop."""

import asyncio
import contextlib
import gc
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import define, field

from gateway.aiohttp_internals import has_compiled_parser
from gateway.clock import Clock
from gateway.config.checks import open_to_all
from gateway.config.files import packaged, read_config
from gateway.config.problems import ConfigError, Problem, problem_at
from gateway.config.schema import Config
from gateway.config.server_schema import Server
from gateway.config.state import CONTROL, own_secret, state_dir
from gateway.proxy.state import GATEWAY, Gateway
from gateway.server.app import make_app, reload_parts, secrets_of
from gateway.server.listener import CannotListen, open_sockets, open_unix, serve, unix_paths
from gateway.server.systemd import notify, watchdog_period
from gateway.store.protocol import StoreUnusable
from gateway.telemetry.logs import Logs, make_logs, take_over
from gateway.telemetry.redact import Redactor
from gateway.upstream.oauth import token_warnings

try:
    import uvloop
except ImportError:  # pragma: no cover - there is none for this platform; asyncio's own loop does the same
    uvloop = None  # type: ignore[assignment]

# Streams allocate much and free it at once: Python's collector would run far too often
# (docs/design.md#what-costs-what: 156 to 139 us a request; freezing alone does nothing).
GC_THRESHOLD = 50_000
EXIT_OK, EXIT_FAILED, EXIT_CONFIG = 0, 1, 78
# Seconds between two log lines of `_complain`: without this bound an accept loop that has run out of file
# descriptors would log at every turn (docs/reliability.md P20).
COMPLAIN_EVERY_S = 5.0
# Seconds between /readyz answering 503 and the end of listening, under a supervisor: a balancer asks every two seconds
# or so, and takes the gateway out after two or three bad answers.
STEP_ASIDE_S = 5.0
LAST_WORDS_S = 2.0  # for exchanges that are cut to send their clients an error
CONTROL_MODE = 0o600
ADVICE = "add keys, or set server.open: true"


class CannotStart(Exception):
    """The daemon cannot start. Carries one line for the operator and the exit code of the process."""

    def __init__(self, line: str, code: int = EXIT_FAILED) -> None:
        super().__init__(line)
        self.code = code


@define
class Daemon:
    """One run of the gateway, from its configuration file to its last exchange."""

    path: str
    listen: Sequence[str]
    config: Config
    logs: Logs
    redactor: Redactor
    _stop: asyncio.Event = field(factory=asyncio.Event, init=False)
    _hurry: asyncio.Event = field(factory=asyncio.Event, init=False)
    _bound: list[str] = field(factory=list, init=False)  # where it really listens
    _complained: float = field(default=0.0, init=False)

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT. Raises CannotStart."""
        if not has_compiled_parser():
            raise CannotStart("aiohttp's compiled HTTP parser is missing: install aiohttp from a wheel")
        _raise_descriptors()
        folder = _state_dir(self.config)
        sockets = _open(self.config.server.listen)
        self._bound = [place_of(sock) for sock in sockets]
        if address := open_to_all(self.config, self._bound):  # systemd may have handed over other ones than the file's
            raise CannotStart(no_keys_problem(address).message, EXIT_CONFIG)
        exposed = self.config.server.expose.listen
        operators = [] if exposed is None else _open([exposed], {})
        operators += self._open_control(folder)
        files = unix_paths(operators if os.environ.get("LISTEN_PID") == str(os.getpid()) else [*sockets, *operators])
        data = {"models": packaged("models.yaml"), "top_models": packaged("top_models.yaml")}
        app = make_app(self.config, self.logs, self.redactor, data, state_dir=folder, secret=_own_secret(folder))
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._complain)
        try:
            runner, servers = await serve(app, self.config, sockets, operators)
        except StoreUnusable as error:
            raise CannotStart(str(error), EXIT_CONFIG) from None
        gateway = app[GATEWAY]
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end)
        loop.add_signal_handler(signal.SIGHUP, self._reload, gateway)
        self._announce([*sockets, *operators], folder)
        gc.collect()
        gc.freeze()
        gc.set_threshold(GC_THRESHOLD, 20, 20)
        async with asyncio.TaskGroup() as group:
            watchdog = group.create_task(_watchdog())
            await self._stop.wait()
            await self._drain(gateway, servers)
            watchdog.cancel()
        await runner.cleanup()
        for path in files:
            path.unlink(missing_ok=True)
        self.logs.log.info("stopped")

    def _open_control(self, folder: str | None) -> list[socket.socket]:
        """Listen for the gateway's own command line: operators' pages, for this user only."""
        if folder is None:
            return []
        try:
            return open_unix(str(Path(folder, CONTROL)), CONTROL_MODE)
        except OSError as error:  # a path of over 107 letters, or another gateway with this state directory
            self.logs.log.warning("no control socket", folder=folder, reason=error.strerror or str(error))
            return []

    def _warn(self, config: Config) -> None:
        for warning in (*config.warnings, *token_warnings(config, Clock())):
            self.logs.log.warning("config", detail=warning.said(self.path))

    def _announce(self, sockets: Sequence[Any], folder: str | None) -> None:
        places = [place_of(sock) for sock in sockets]
        self._warn(self.config)
        config = self.config
        self.logs.log.info("listening", on=places, keys=len(config.keys), routes=len(config.routes), state=folder)
        notify("READY=1", f"STATUS=listening on {', '.join(places)}")

    def _reload(self, gateway: Gateway) -> None:
        """SIGHUP: parse, check, swap in one step; a bad file changes nothing."""
        notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
        try:
            config = read_config(self.path, listen=self.listen)
            if address := open_to_all(config, self._bound):
                raise ConfigError(self.path, [no_keys_problem(address)])
            if problem := _loses_all(gateway.snapshot.config, config):
                raise ConfigError(self.path, [problem])
        except ConfigError as error:
            gateway.reload_problems = error.lines()
            gateway.telemetry.metrics.reload_failures.inc()
            self.logs.log.error("reload refused, the old configuration stays", problems=error.lines())
        else:
            if config.server.listen != self.config.server.listen:
                self.logs.log.warning("server.listen changes with a restart only", now=self.config.server.listen)
            if config.store.url != self.config.store.url:
                self.logs.log.warning("store.url changes with a restart only")
            reload_parts(gateway, config)
            self._warn(config)
            self.logs.log.info("reloaded", routes=len(config.routes), providers=len(config.providers))
        notify("READY=1")

    def _end(self) -> None:
        """SIGTERM or SIGINT: begin the drain; the second one ends it."""
        (self._hurry if self._stop.is_set() else self._stop).set()

    async def _drain(self, gateway: Gateway, servers: Sequence[asyncio.Server]) -> None:
        """Fail /readyz and go on serving for a while; stop listening; let exchanges finish, cut those that are left."""
        server, lifecycle = gateway.snapshot.config.server, gateway.lifecycle
        aside = step_aside_of(server)
        lifecycle.is_draining = True
        notify("STOPPING=1", f"EXTEND_TIMEOUT_USEC={int((aside + server.drain + 10) * 1e6)}")
        self.logs.log.info("draining", exchanges=len(lifecycle.exchanges), step_aside_s=aside, limit_s=server.drain)
        hurry = asyncio.create_task(self._hurry.wait())
        await asyncio.wait([hurry], timeout=aside)
        for one in servers:
            one.close()
        if lifecycle.exchanges and not self._hurry.is_set():
            finish = asyncio.create_task(_finish(gateway, server.drain))
            await asyncio.wait([hurry, finish], return_when=asyncio.FIRST_COMPLETED)
            finish.cancel()
        hurry.cancel()
        if not lifecycle.exchanges:
            return
        self.logs.log.warning("cut off", exchanges=len(lifecycle.exchanges), hurried=self._hurry.is_set())
        lifecycle.is_cutting = True
        for task in list(lifecycle.exchanges.values()):
            task.cancel()
        await _finish(gateway, LAST_WORDS_S)

    def _complain(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Log an error that no code handled: at most once in five seconds, and without the objects it concerns."""
        now = time.monotonic()
        if now - self._complained >= COMPLAIN_EVERY_S:
            self._complained = now
            self.logs.log.error("loop", detail=context.get("message"), error=repr(context.get("exception")))


def start(path: str, listen: Sequence[str], log_format: str, environ: Mapping[str, str] = os.environ) -> int:
    """Run the daemon in the foreground and return its exit code. Each problem is one line of the log."""
    redactor = Redactor(deep=True)
    logs = make_logs(redactor, log_format)
    take_over(logs)
    try:
        config = read_config(path, environ, listen)
        redactor.add(secrets_of(config))
        run_loop(Daemon(path, listen, config, logs, redactor).run())
    except ConfigError as error:
        for line in error.lines():
            logs.log.error("config", detail=line)
        return EXIT_CONFIG
    except CannotStart as error:
        logs.log.error("cannot start", detail=str(error))
        return error.code
    finally:
        logs.close()
    return EXIT_OK


def run_loop(main: Coroutine[Any, Any, None]) -> None:
    """Run `main` to its end, on uvloop where it is installed."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop if uvloop is not None else None) as runner:
        runner.run(main)


def _loses_all(old: Config, new: Config) -> Problem | None:
    """Say that a reload would leave no route; not if the new file says so by `routes: {}`."""
    if not old.routes or new.routes or ("routes",) in new.places:
        return None
    message = "no routes, where the running configuration has some: write `routes: {}` if that is meant"
    return problem_at(new.places, ("routes",), message)


def no_keys_problem(address: str) -> Problem:
    """Make the problem of a gateway without keys that would listen on a public address."""
    return Problem(1, 1, "server.listen", f"no keys are configured, and {address} is not loopback: {ADVICE}")


async def _watchdog() -> None:
    """Send systemd a sign of life from the event loop: when the loop is stuck it sends none, and systemd kills us."""
    period = watchdog_period()
    while period is not None:
        notify("WATCHDOG=1")
        await asyncio.sleep(period)


def step_aside_of(server: Server) -> float:
    """Return the seconds for which a stopping gateway goes on serving; at a terminal nobody waits for a balancer."""
    if server.step_aside is not None:
        return server.step_aside
    return 0.0 if sys.stdin is not None and sys.stdin.isatty() else STEP_ASIDE_S


async def _finish(gateway: Gateway, seconds: float) -> None:
    """Wait for the exchanges in flight, also for those that begin on connections that are still open."""
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    while (tasks := set(gateway.lifecycle.exchanges.values())) and loop.time() < until:
        await asyncio.wait(tasks, timeout=until - loop.time())
        await asyncio.sleep(0)  # the exchange takes itself off the list


def _state_dir(config: Config) -> str | None:
    try:
        found = state_dir(config)
    except OSError as error:
        raise CannotStart(f"state directory {error.filename}: {error.strerror}") from None
    return str(found) if found is not None else None


def _own_secret(folder: str | None) -> bytes:
    try:
        return own_secret(Path(folder) if folder is not None else None)
    except OSError as error:
        raise CannotStart(f"state directory {folder}: the file 'secret': {error.strerror}") from None


def _open(addresses: Sequence[str], environ: Mapping[str, str] = os.environ) -> list[socket.socket]:
    try:
        return open_sockets(addresses, environ)
    except CannotListen as error:
        raise CannotStart(str(error)) from None


def place_of(sock: socket.socket) -> str:
    """Return the address that a socket is bound to, as `server.listen` writes it."""
    place = sock.getsockname()
    if not isinstance(place, tuple):
        return f"unix:{place}"
    return f"[{place[0]}]:{place[1]}" if sock.family == socket.AF_INET6 else f"{place[0]}:{place[1]}"


def _raise_descriptors() -> None:
    """Raise the soft limit of file descriptors to the hard limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
