"""Structured logs: one JSON object a line, or readable lines on a terminal. Secrets are blanked last."""

import asyncio
import atexit
import contextlib
import logging
import sys
import time
from collections.abc import Callable, Mapping
from typing import IO, Any

import msgspec
import structlog
from attrs import frozen
from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

from gateway.telemetry.redact import Redactor

Log = FilteringBoundLogger
# Lines that wait longer than this are of no use to who reads along; fewer writes than this gain nothing.
LINGER_S, MAX_WAITING = 0.1, 256
_ENCODER = msgspec.json.Encoder(enc_hook=repr)


class Lines:
    """Writes whole lines, many at once: a write for each would cost as much as all the rest of a line.

    Inside a running loop lines wait at most `LINGER_S`; a warning or worse takes what waits along at once.
    """

    def __init__(self, out: IO[bytes]) -> None:
        self._out = out
        self._waiting: list[bytes] = []
        self._timer: asyncio.TimerHandle | None = None

    def info(self, line: bytes) -> None:
        """Write soon."""
        self._waiting.append(line)
        if len(self._waiting) >= MAX_WAITING:
            self.flush()
        elif self._timer is None:
            try:
                self._timer = asyncio.get_running_loop().call_later(LINGER_S, self.flush)
            except RuntimeError:  # no loop yet, or no longer
                self.flush()

    def warning(self, line: bytes) -> None:
        """Write now."""
        self._waiting.append(line)
        self.flush()

    error = critical = warning

    def flush(self) -> None:
        """Write what waits. A reader that has gone away costs the lines, not the daemon."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        lines, self._waiting = self._waiting, []
        if lines:
            with contextlib.suppress(OSError, ValueError):
                self._out.write(b"\n".join(lines) + b"\n")
                self._out.flush()


@frozen
class Logs:
    """Both ways to say something: `log` for events, `exchange` for the one line of each exchange."""

    log: Log
    _lines: Lines
    _redactor: Redactor
    _write: Callable[[dict[str, Any]], bytes]

    def exchange(self, members: dict[str, Any]) -> None:
        """Write an exchange's line. Straight to the encoder: structlog's chain costs four times the rest."""
        self._lines.info(self._redactor.clean(self._write(members)))

    def flush(self) -> None:
        """Write what waits."""
        self._lines.flush()


def make_logs(redactor: Redactor, style: str = "json", stream: IO[bytes] | None = None) -> Logs:
    """Build the gateway's logs. `style` is json or console; lines go to standard output.

    Never give them a prompt, an answer or a header: what is not logged cannot leak.
    """
    out = stream if stream is not None else sys.stdout.buffer
    lines = Lines(out)
    atexit.register(lines.flush)
    final: list[Processor]
    if style == "json":
        final = [_stamp, _render]
    else:
        colours = hasattr(out, "isatty") and out.isatty()
        console = structlog.dev.ConsoleRenderer(colors=colours, exception_formatter=structlog.dev.plain_traceback)
        final = [structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False), console, _encode]

    def redact(_: WrappedLogger, __: str, line: Any) -> Any:
        return redactor.clean(line)

    log: Log = structlog.wrap_logger(
        lines,
        processors=[structlog.processors.add_log_level, _tracebacks, *final, redact],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        cache_logger_on_first_use=True,
    ).bind()
    return Logs(log, lines, redactor, _write_json if style == "json" else _write_console)


# Local variables in a traceback would show keys and prompts.
_tracebacks = structlog.processors.ExceptionRenderer(
    structlog.tracebacks.ExceptionDictTransformer(show_locals=False, max_frames=20)
)


def _stamp(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    return {"ts": round(time.time(), 3), "level": event.pop("level"), "event": event.pop("event"), **event}


def _render(_: WrappedLogger, __: str, event: EventDict) -> Any:
    return _write_json(event)


def _write_json(event: Mapping[str, Any]) -> bytes:
    try:
        return _ENCODER.encode(event)
    except UnicodeEncodeError:  # bytes that were no UTF-8 in a header
        return _ENCODER.encode({key: clean(value) for key, value in event.items()})


def _write_console(members: dict[str, Any]) -> bytes:
    """A line for people: time, status, what was asked and who answered."""
    at = time.strftime("%H:%M:%S", time.localtime(members.pop("ts")))
    payload = " ".join(f"{key}={clean(value)}" for key, value in members.items() if key not in ("level", "event"))
    return f"{at} {payload}".encode("utf-8", "replace")


def _encode(_: WrappedLogger, __: str, line: Any) -> Any:
    return line.encode("utf-8", "replace")


def clean(value: Any) -> Any:
    """Replace what UTF-8 cannot carry, in a text; anything else is returned as it is."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
