"""The process above several workers: starts them on shared sockets, restarts who dies, hands out signals.

A worker is a process of its own, `gateway run` again with a WorkerSpec: it imports what is installed when it starts, so
that a rolling restart (SIGUSR2) takes a new version of the gateway into force without a refused connection. All workers
accept from the same sockets (docs/design.md#workers). The supervisor itself serves nothing and can hardly fail.
"""

import asyncio
import contextlib
import errno
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any

import msgspec
from attrs import define, field

from gateway.config.files import read_config
from gateway.config.problems import ConfigError
from gateway.config.schema import Config
from gateway.server.ground import EXIT_CONFIG, EXIT_FAILED, CannotStart, Ground
from gateway.server.reports import ALIVE, ALIVE_EVERY_S, READY, REFUSED, RELOADED, ToSystemd
from gateway.server.serving import LINGER_S, step_aside_of
from gateway.store.cell_layout import make_shared
from gateway.store.cells import Cells
from gateway.telemetry.logs import Logs

READY_WITHIN_S = 60.0  # for a worker to listen
RELOADED_WITHIN_S = 10.0
SILENT_S = 30.0  # without a sign of life a worker is stuck, and is killed; systemd may allow less
FIRST_PAUSE_S, MAX_PAUSE_S = 0.1, 10.0  # before a worker that died is started again: doubled each time
STEADY_S = 60.0  # a worker that lived for so long did not die of its start
SPARE = 4  # workers that may be leaving, for each that serves: so many have room in the shared counters
MARGIN_S = 5.0  # beyond what a drain may take


@define(eq=False)
class Worker:
    """One worker process, as the supervisor sees it."""

    process: asyncio.subprocess.Process
    column: int  # of the shared counters
    started: float = field(factory=time.monotonic)
    heard: float = field(factory=time.monotonic)
    is_ready: asyncio.Event = field(factory=asyncio.Event)
    is_expected_to_end: bool = False
    is_told: bool = False  # to end
    answers: asyncio.Queue[bytes] = field(factory=asyncio.Queue)  # to a reload

    def end(self) -> None:
        """Tell the process to end, for the first time: a second signal would end its drain."""
        if not self.is_told:
            self.is_told = True
            self.send(signal.SIGTERM)

    def send(self, number: signal.Signals) -> None:
        """Send a signal, unless the process is over."""
        if self.process.returncode is None:
            self.process.send_signal(number)


@define
class Supervisor:
    """Keeps `count` workers running until it is told to stop."""

    path: str
    listen: Sequence[str]
    config: Config
    ground: Ground
    logs: Logs
    count: int
    _workers: list[Worker | None] = field(init=False)  # by their number
    _all: set[Worker] = field(factory=set, init=False)  # also those that are leaving
    _folder: Path = field(init=False)
    _limits: int = field(init=False)  # descriptor of the counters that the workers share
    _cells: Cells = field(init=False)
    _free: set[int] = field(init=False)  # columns of the counters that no worker has
    _restarts: int = field(default=0, init=False)
    _pauses: dict[int, float] = field(factory=dict, init=False)  # before the next start, by number
    _is_stopping: bool = field(default=False, init=False)
    _stopped: asyncio.Event = field(factory=asyncio.Event, init=False)
    _tasks: set[asyncio.Task[None]] = field(factory=set, init=False)
    _listening: set[asyncio.Task[None]] = field(factory=set, init=False)  # to workers, until they are over
    _changing: asyncio.Lock = field(
        factory=asyncio.Lock, init=False
    )  # one restart, rolling restart or reload at a time
    _reports: ToSystemd = field(factory=ToSystemd, init=False)

    async def run(self) -> None:
        """Supervise until SIGTERM or SIGINT. Raises CannotStart if a worker cannot start."""
        self._folder = Path(tempfile.mkdtemp(prefix="gateway-"))
        self._workers = [None] * self.count
        columns = self.count * SPARE + SPARE
        self._limits, self._free = make_shared(columns), set(range(columns))
        self._cells = Cells.shared(self._limits, columns, self._free.pop())
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        try:
            await self._start_all()
            loop.add_signal_handler(signal.SIGHUP, self._spawn, self._reload)
            loop.add_signal_handler(signal.SIGUSR2, self._spawn, self._roll)
            self.logs.log.info("workers run", workers=self.count, on=self.ground.places)
            self._reports.ready(self.ground.places)
            self._spawn(self._watch)
            await self._stopped.wait()
        finally:
            for task in self._tasks:
                task.cancel()
            await self._end_all()
            for task in self._listening:
                task.cancel()
            self.ground.remove_files()
            self._cells.close()
            os.close(self._limits)
            shutil.rmtree(self._folder, ignore_errors=True)
        self.logs.log.info("stopped")

    async def _start_all(self) -> None:
        for number in range(self.count):
            if not self._is_stopping:
                self._workers[number] = await self._start(number)
        for worker in self._workers:
            if worker is not None and not await self._is_up(worker) and not self._is_stopping:
                code = worker.process.returncode or EXIT_FAILED
                words = "a worker did not start: its own line says why"
                raise CannotStart(words, code if code == EXIT_CONFIG else EXIT_FAILED)

    async def _start(self, number: int) -> Worker:
        if not self._free:
            raise OSError(errno.EAGAIN, "too many workers are leaving")
        reader, pipe = os.pipe()
        column, columns = self._free.pop(), self.count * SPARE + SPARE
        spec = self.ground.handed_on(number, pipe, str(self._folder), self._limits, columns, column, self._restarts)
        inherited = [*spec.listen, *spec.operators, pipe, spec.limits]
        inherited += [spec.lock] if spec.lock is not None else []
        command = [sys.executable, *sys.orig_argv[1:], "--worker", msgspec.json.encode(spec).decode()]
        # Not systemd's: a worker must not take its sockets twice, nor speak for the whole service.
        hidden = ("NOTIFY_SOCKET", "LISTEN_PID", "LISTEN_FDS", "WATCHDOG_USEC", "WATCHDOG_PID")
        environ = {name: value for name, value in os.environ.items() if name not in hidden}
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                pass_fds=inherited,
                env=environ,
                start_new_session=True,  # a terminal's Ctrl-C is for the supervisor, who hands it on
            )
        except OSError:
            os.close(reader)
            self._free.add(column)
            raise
        finally:
            os.close(pipe)
        worker = Worker(process, column)
        self._all.add(worker)
        listening = asyncio.create_task(self._listen_to(worker, reader))
        self._listening.add(listening)
        listening.add_done_callback(self._listening.discard)
        self._spawn(self._wait_for, number, worker)
        return worker

    async def _is_up(self, worker: Worker) -> bool:
        """Wait until a worker listens. Return whether it does."""
        ready = asyncio.create_task(worker.is_ready.wait())
        over = asyncio.create_task(worker.process.wait())
        await asyncio.wait({ready, over}, timeout=READY_WITHIN_S, return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        over.cancel()
        return worker.is_ready.is_set() and worker.process.returncode is None

    async def _listen_to(self, worker: Worker, pipe: int) -> None:
        """Read what a worker reports, until its pipe closes."""
        reader = asyncio.StreamReader()
        with os.fdopen(pipe, "rb", buffering=0) as file:
            transport, _ = await asyncio.get_running_loop().connect_read_pipe(
                lambda: asyncio.StreamReaderProtocol(reader), file
            )
            try:
                while data := await reader.read(64):
                    worker.heard = time.monotonic()
                    for word in (data[at : at + 1] for at in range(len(data))):
                        if word == READY:
                            worker.is_ready.set()
                        elif word != ALIVE:
                            worker.answers.put_nowait(word)
            finally:
                transport.close()

    async def _wait_for(self, number: int, worker: Worker) -> None:
        """Wait until a worker is over, and start another one in its place if nobody has told it to end."""
        code = await worker.process.wait()
        self._all.discard(worker)
        self._cells.clear(worker.column)  # what it held is nobody's
        self._free.add(worker.column)
        if not (worker.is_expected_to_end or self._is_stopping or not worker.is_ready.is_set()):
            lived = time.monotonic() - worker.started
            self.logs.log.error("worker died", worker=number, code=code, lived_s=round(lived, 1))
            if lived > STEADY_S:
                self._pauses[number] = FIRST_PAUSE_S
            await self._replace(number, worker)

    async def _replace(self, number: int, dead: Worker) -> None:
        """Start workers in place of a dead one until one listens, with longer and longer pauses."""
        while not self._is_stopping:
            self._restarts += 1
            pause = self._pauses.get(number, FIRST_PAUSE_S)
            self._pauses[number] = min(MAX_PAUSE_S, pause * 2)
            await asyncio.sleep(pause)
            async with self._changing:
                if self._workers[number] is not dead or self._is_stopping:
                    return  # a rolling restart was quicker
                if (fresh := await self._start_one(number)) is not None:
                    self._workers[number] = fresh
                    return
            self.logs.log.error("worker did not start", worker=number, again_in_s=self._pauses[number])

    async def _start_one(self, number: int) -> Worker | None:
        """Start a worker and wait until it listens; None if it does not."""
        try:
            worker = await self._start(number)
        except OSError as error:  # no memory, no process left, or the interpreter is just being replaced
            self.logs.log.error("no process can be started", reason=error.strerror)
            return None
        worker.is_expected_to_end = True
        if not await self._is_up(worker):
            worker.send(signal.SIGKILL)
            return None
        worker.is_expected_to_end = False
        return worker

    async def _watch(self) -> None:
        """Kill a worker that gives no sign of life; tell systemd that all is well while some do."""
        period = self._reports.alive_every
        allowed = SILENT_S if period is None else min(SILENT_S, max(2 * ALIVE_EVERY_S, period * 2))
        last = time.monotonic()
        while True:
            now = time.monotonic()
            running = [worker for worker in self._all if worker.is_ready.is_set()]
            if now - last > allowed / 2:  # this process did not run either: the machine was frozen, or is very busy
                for worker in running:
                    worker.heard = now
            last = now
            for worker in running:
                if now - worker.heard > allowed:
                    self.logs.log.error("worker stuck", pid=worker.process.pid, silent_s=round(now - worker.heard))
                    worker.send(signal.SIGKILL)
            if period is not None and any(now - worker.heard < allowed for worker in running):
                self._reports.alive()
            await asyncio.sleep(min(1.0, period or 1.0, allowed / 4))

    async def _reload(self) -> None:
        """Hand a reload to all workers, and wait for their answers."""
        async with self._changing:
            self._reports.reloading()
            workers = [worker for worker in self._all if worker.is_ready.is_set() and not worker.is_expected_to_end]
            for worker in workers:
                while not worker.answers.empty():
                    worker.answers.get_nowait()
                worker.send(signal.SIGHUP)
            words = []
            for worker in workers:
                try:
                    words.append(await asyncio.wait_for(worker.answers.get(), RELOADED_WITHIN_S))
                except TimeoutError:
                    words.append(REFUSED)
            if all(word == RELOADED for word in words):
                with contextlib.suppress(ConfigError):  # it has changed again: the next reload will say so
                    self.config = read_config(self.path, listen=self.listen)
            self._reports.reloaded(is_good=True)

    async def _roll(self) -> None:
        """Put a new worker in the place of each, one by one; an old one leaves when the new one listens."""
        async with self._changing:
            self.logs.log.info("rolling restart", workers=self.count)
            for number in range(self.count):
                new = await self._start_one(number)
                if new is None:
                    self.logs.log.error("rolling restart given up: the new worker did not start", worker=number)
                    return
                old, self._workers[number] = self._workers[number], new
                if old is not None:
                    old.is_expected_to_end = old.is_told = True
                    old.send(signal.SIGUSR1)
            self.logs.log.info("rolling restart done", workers=self.count)

    def _stop(self) -> None:
        """SIGTERM or SIGINT: let the workers drain; the second one ends their drain."""
        if not self._is_stopping:
            self._is_stopping = True
            server = self.config.server
            self._reports.stopping(2 * step_aside_of(server) + server.drain + LINGER_S + 2 * MARGIN_S)
            for worker in self._all:
                worker.end()
        else:
            for worker in self._all:
                worker.send(signal.SIGTERM)
        self._stopped.set()

    async def _end_all(self) -> None:
        """Wait until all workers are over, as long as a drain may take; then kill those that are left."""
        self._is_stopping = True
        server = self.config.server
        for worker in self._all:
            worker.end()
        waits = [asyncio.create_task(worker.process.wait()) for worker in self._all]
        if waits:
            limit = 2 * step_aside_of(server) + server.drain + LINGER_S + MARGIN_S
            _, late = await asyncio.wait(waits, timeout=limit)
            for worker in self._all if late else ():
                worker.send(signal.SIGKILL)
            await asyncio.gather(*waits)

    def _spawn(self, work: Any, *arguments: Any) -> None:
        coroutine: Coroutine[Any, Any, None] = work(*arguments)
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
