"""`gateway run`: reads the configuration, opens what is needed, and serves, in one process or in several workers."""

import asyncio
import os
from collections.abc import Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from gateway.aiohttp_internals import has_compiled_parser
from gateway.config.files import STDIN, read_config
from gateway.config.problems import ConfigError, problem_at
from gateway.config.schema import Config
from gateway.server.app import secrets_of
from gateway.server.ground import EXIT_CONFIG, EXIT_OK, CannotStart, WorkerSpec, open_ground, taken_over
from gateway.server.reports import ToSupervisor, ToSystemd
from gateway.server.serving import Serving
from gateway.server.siblings import Siblings
from gateway.server.supervisor import Supervisor
from gateway.store.schemes import split_scheme
from gateway.telemetry.logs import Logs, make_logs, take_over
from gateway.telemetry.redact import Redactor

try:
    import uvloop
except ImportError:  # pragma: no cover - there is none for this platform; asyncio's own loop does the same
    uvloop = None  # type: ignore[assignment]


def start(
    path: str, listen: Sequence[str], log_format: str, worker: str = "", environ: Mapping[str, str] = os.environ
) -> int:
    """Run the daemon in the foreground and return its exit code. Each problem is one line of the log.

    `worker` is the WorkerSpec of a worker, as JSON; empty for the process that the operator starts.
    """
    redactor = Redactor(deep=True)
    spec = msgspec.json.decode(worker, type=WorkerSpec) if worker else None
    logs = make_logs(redactor, log_format, worker=spec.number if spec is not None else None)
    take_over(logs)
    try:
        config = read_config(path, environ, listen)
        redactor.add(secrets_of(config))
        if not has_compiled_parser():
            raise CannotStart("aiohttp's compiled HTTP parser is missing: install aiohttp from a wheel")
        run_loop(_main(path, listen, config, logs, redactor, spec))
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


def workers_of(config: Config) -> int:
    """Return how many processes serve."""
    wanted = config.server.workers
    return len(os.sched_getaffinity(0)) if wanted == "auto" else wanted


def run_loop(main: Coroutine[Any, Any, None]) -> None:
    """Run `main` to its end, on uvloop where it is installed."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop if uvloop is not None else None) as runner:
        runner.run(main)


async def _main(
    path: str, listen: Sequence[str], config: Config, logs: Logs, redactor: Redactor, spec: WorkerSpec | None
) -> None:
    if spec is not None:
        siblings, reports = Siblings(Path(spec.folder), spec.restarts), ToSupervisor(spec.report)
        await Serving(path, listen, config, taken_over(spec), reports, logs, redactor, siblings).run()
        return
    count = workers_of(config)
    if count > 1:
        _check_workers(path, config)
    ground = open_ground(config, logs, for_workers=count > 1)
    if count == 1:
        await Serving(path, listen, config, ground, ToSystemd(), logs, redactor).run()
    else:
        await Supervisor(path, listen, config, ground, logs, count).run()


def _check_workers(path: str, config: Config) -> None:
    """Raise ConfigError for what several processes cannot share."""
    scheme, _ = split_scheme(config.store.url)
    if path == STDIN:
        message = "workers read the file themselves: give it a name in place of -"
        raise ConfigError(path, [problem_at(config.places, ("server", "workers"), message)])
    if scheme is not None and not scheme.has_file and not scheme.is_shared:
        message = "each worker would have a memory of its own: use sqlite:PATH or redis://..."
        raise ConfigError(path, [problem_at(config.places, ("store", "url"), message)])
