"""What a process stands on before it serves: sockets, the state directory, the gateway's own secret, the store's lock.

One process opens it; where there are workers, it hands it to them (`handed_on`, `taken_over`).
"""

import contextlib
import os
import resource
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
from attrs import define, field

from gateway.config.checks import open_to_all
from gateway.config.problems import Problem
from gateway.config.schema import Config
from gateway.config.state import CONTROL, own_secret, sqlite_file, state_dir
from gateway.server.listener import CannotListen, open_sockets, open_unix, unix_paths
from gateway.store.cells import Cells
from gateway.store.protocol import StoreUnusable
from gateway.store.sqlite_file import claim_file
from gateway.telemetry.logs import Logs

EXIT_OK, EXIT_FAILED, EXIT_CONFIG = 0, 1, 78
CONTROL_MODE = 0o600
ADVICE = "add keys, or set server.open: true"


class CannotStart(Exception):
    """The daemon cannot start. Carries one line for the operator and the exit code of the process."""

    def __init__(self, line: str, code: int = EXIT_FAILED) -> None:
        super().__init__(line)
        self.code = code


class WorkerSpec(msgspec.Struct, frozen=True):
    """What a worker is told by the supervisor: who it is, and the descriptors that it has inherited.

    `folder` holds a socket of each worker; `restarts` counts the workers that have died until now. `limits` is the
    memory of the counters, in which this worker's own `column` of `columns` is.
    """

    number: int
    listen: list[int]
    operators: list[int]
    report: int
    folder: str
    state: str | None
    lock: int | None
    limits: int
    columns: int
    column: int
    restarts: int = 0


@define
class Ground:
    """What a process stands on. `files` are those of unix sockets, which have to be removed at the end."""

    sockets: Sequence[socket.socket]
    operators: Sequence[socket.socket]
    state: str | None
    secret: bytes = field(repr=False)
    lock: int | None = None
    files: Sequence[Path] = ()
    cells: Cells | None = None  # the counters that workers share

    @property
    def places(self) -> list[str]:
        """Where clients are answered."""
        return [place_of(sock) for sock in self.sockets]

    def handed_on(
        self, number: int, report: int, folder: str, limits: int, columns: int, column: int, restarts: int
    ) -> WorkerSpec:
        """Return what a worker is told."""
        return WorkerSpec(
            number,
            [sock.fileno() for sock in self.sockets],
            [sock.fileno() for sock in self.operators],
            report,
            folder,
            self.state,
            self.lock,
            limits,
            columns,
            column,
            restarts,
        )

    def remove_files(self) -> None:
        """Remove the files of unix sockets."""
        for path in self.files:
            path.unlink(missing_ok=True)


def open_ground(config: Config, logs: Logs, *, for_workers: bool) -> Ground:
    """Open everything. Raises CannotStart."""
    raise_descriptors()
    state = _state_dir(config)
    sockets = _open(config.server.listen)
    places = [place_of(sock) for sock in sockets]
    if address := open_to_all(config, places):  # systemd may have handed over other ones than the file's
        raise CannotStart(no_keys_problem(address).message, EXIT_CONFIG)
    exposed = config.server.expose.listen
    operators = [] if exposed is None else _open([exposed], {})
    operators += _open_control(state, logs)
    files = unix_paths(operators if os.environ.get("LISTEN_PID") == str(os.getpid()) else [*sockets, *operators])
    lock = None
    if for_workers and (file := sqlite_file(config, state)) is not None:
        try:
            lock = claim_file(file)
        except StoreUnusable as error:
            raise CannotStart(str(error), EXIT_CONFIG) from None
    return Ground(sockets, operators, state, _own_secret(state), lock, files)


def taken_over(spec: WorkerSpec) -> Ground:
    """Take over what the supervisor has opened. Raises CannotStart."""
    raise_descriptors()
    sockets, operators = ([_inherited(number) for number in numbers] for numbers in (spec.listen, spec.operators))
    try:
        own = open_unix(str(socket_of(Path(spec.folder), os.getpid())), CONTROL_MODE)
    except OSError as error:
        raise CannotStart(f"the worker's own socket: {error.strerror or error}") from None
    cells = Cells.shared(spec.limits, spec.columns, spec.column, Path(spec.folder).name)
    return Ground(sockets, [*operators, *own], spec.state, _own_secret(spec.state), spec.lock, unix_paths(own), cells)


def socket_of(folder: Path, pid: int) -> Path:
    """Return where a worker answers the others."""
    return folder / f"worker-{pid}.sock"


def place_of(sock: socket.socket) -> str:
    """Return the address that a socket is bound to, as `server.listen` writes it."""
    place = sock.getsockname()
    if not isinstance(place, tuple):
        return f"unix:{place}"
    return f"[{place[0]}]:{place[1]}" if sock.family == socket.AF_INET6 else f"{place[0]}:{place[1]}"


def no_keys_problem(address: str) -> Problem:
    """Make the problem of a gateway without keys that would listen on a public address."""
    return Problem(1, 1, "server.listen", f"no keys are configured, and {address} is not loopback: {ADVICE}")


def raise_descriptors() -> None:
    """Raise the soft limit of file descriptors to the hard limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _inherited(number: int) -> socket.socket:
    sock = socket.socket(fileno=number)
    sock.setblocking(False)
    sock.set_inheritable(False)
    return sock


def _open_control(folder: str | None, logs: Logs) -> list[socket.socket]:
    """Listen for the gateway's own command line: operators' pages, for this user only."""
    if folder is None:
        return []
    try:
        return open_unix(str(Path(folder, CONTROL)), CONTROL_MODE)
    except OSError as error:  # a path of over 107 letters, or another gateway with this state directory
        logs.log.warning("no control socket", folder=folder, reason=error.strerror or str(error))
        return []


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
