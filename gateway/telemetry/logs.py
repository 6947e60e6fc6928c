"""Structured logs: one JSON object a line, or readable lines on a terminal.

Secrets are blanked in the finished bytes, as the last step, so that no part of a line escapes it. `log_writer` writes
them, in a thread: nothing here waits for whoever reads the log.
"""

import asyncio
import json
import logging
import re
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import IO, Any, TextIO

import msgspec
import structlog
from attrs import frozen
from structlog.typing import EventDict, ExcInfo, FilteringBoundLogger, Processor, WrappedLogger

from gateway.telemetry.log_writer import LogWriter
from gateway.telemetry.redact import Redactor

Log = FilteringBoundLogger
# Seconds and lines. A longer wait would disturb a person who follows the log; a larger batch saves nothing more.
LINGER_S, MAX_WAITING = 0.1, 256
_PLAIN = re.compile(r"[A-Za-z0-9_.:/@+-]+")
_ENCODER = msgspec.json.Encoder(enc_hook=repr)


class Lines:
    """Collects lines, to write many at once: a write costs as much as everything else about a line.

    In a running event loop a line waits for at most `LINGER_S`. A warning or worse is handed over at once, with all
    lines that wait. The method names are the log levels that structlog calls.
    """

    def __init__(self, writer: LogWriter) -> None:
        self._writer = writer
        self._waiting: list[bytes] = []
        self._timer: asyncio.TimerHandle | None = None

    def info(self, line: bytes) -> None:
        """Write `line` within LINGER_S."""
        self._waiting.append(line)
        if len(self._waiting) >= MAX_WAITING:
            self.flush()
        elif self._timer is None:
            try:
                self._timer = asyncio.get_running_loop().call_later(LINGER_S, self.flush)
            except RuntimeError:  # no loop yet, or no longer
                self.flush()

    def warning(self, line: bytes) -> None:
        """Write `line` and all lines that wait, now."""
        self._waiting.append(line)
        self.flush()

    error = critical = warning

    def flush(self) -> None:
        """Hand over all lines that wait."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        lines, self._waiting = self._waiting, []
        if lines:
            self._writer.hand_over(lines)


@frozen
class Logs:
    """Both ways to write a line: `log` for events, `exchange` for the one line of each exchange."""

    log: Log
    _lines: Lines
    _writer: LogWriter
    _write: Callable[[dict[str, Any]], bytes]

    def exchange(self, members: dict[str, Any]) -> None:
        """Write an exchange's line. Without structlog: its processors would cost four times as much as the rest."""
        self._lines.info(self._write(members))

    @property
    def dropped(self) -> int:
        """How many lines were dropped since the start, because nobody read the log."""
        return self._writer.dropped

    def flush(self) -> None:
        """Write all lines that wait. It waits for the reader, a second at most: not for use in an event loop."""
        self._lines.flush()
        self._writer.wait()

    def close(self) -> None:
        """Write all lines that wait, as `flush` does, and end the thread that writes."""
        self._lines.flush()
        self._writer.close()


def make_logs(
    redactor: Redactor, style: str = "json", stream: IO[bytes] | None = None, worker: int | None = None
) -> Logs:
    """Make the gateway's logs. `style` is json or console; lines go to `stream`, by default standard output.

    `worker` is the number of a worker that shares its output with others, to stand in each line.

    Close them at the end of the process, or the last lines may be lost.

    Callers never pass a prompt, a reply or a header: the redactor knows the gateway's secrets only.
    """
    # Without Python's buffer: its lock would be held by the thread that waits for a reader, also at the very end.
    out: IO[bytes] = stream if stream is not None else getattr(sys.stdout.buffer, "raw", sys.stdout.buffer)
    final: list[Processor]
    if style == "json":
        final = [_tracebacks, _stamp, _render]
    else:
        colours = out.isatty()
        console = structlog.dev.ConsoleRenderer(
            colors=colours, repr_native_str=True, exception_formatter=_write_traceback
        )
        final = [structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False), console, _encode]

    def finish(lines: Sequence[bytes]) -> bytes:
        return b"\n".join(redactor.clean_lines(lines)) + b"\n"

    inner = _write_json if style == "json" else _write_console
    own = {} if worker is None else {"worker": worker}

    def write(members: dict[str, Any]) -> bytes:
        return inner(members | own if own else members)

    def mark(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
        return {**event, **own}

    writer = LogWriter(out, finish, lambda count: write(_dropped(count)), is_shared=worker is not None)
    lines = Lines(writer)
    log: Log = structlog.wrap_logger(
        lines,
        processors=[structlog.processors.add_log_level, *([mark] if own else []), *final],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        cache_logger_on_first_use=True,
    ).bind()
    return Logs(log, lines, writer, write)


class _Other(logging.Handler):
    """Writes what libraries log."""

    def __init__(self, logs: Logs) -> None:
        super().__init__(logging.WARNING)
        self._logs = logs

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record as a line, with its traceback if it has one."""
        self._logs.log.warning("library", logger=record.name, detail=record.getMessage(), exc_info=record.exc_info)


def take_over(logs: Logs) -> None:
    """Write here what Python and the libraries would print of themselves: crashes, warnings; without any secret."""

    def crash(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        logs.log.critical("crashed", exc_info=(kind, error, trace))
        logs.close()

    sys.excepthook = crash
    threading.excepthook = lambda found: logs.log.error("thread crashed", error=repr(found.exc_value))
    sys.unraisablehook = lambda found: logs.log.error("crashed while cleaning up", error=repr(found.exc_value))
    logging.captureWarnings(True)
    logging.root.handlers = [_Other(logs)]


def _dropped(count: int) -> dict[str, Any]:
    reason = "nobody read the log"
    return {"ts": round(time.time(), 3), "level": "warning", "event": "lines dropped", "lines": count, "reason": reason}


def _write_traceback(out: TextIO, exc_info: ExcInfo) -> None:
    """Write a traceback for people, without characters that a terminal would obey."""
    for line in traceback.format_exception(*exc_info, limit=-20):
        out.write("".join(letter if letter.isprintable() or letter == "\n" else "?" for letter in line))


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
    except UnicodeEncodeError:  # a lone surrogate, from header bytes that are not UTF-8
        return _ENCODER.encode({key: clean(value) for key, value in event.items()})


def _write_console(members: dict[str, Any]) -> bytes:
    """Write an exchange's line for people: the time, then `key=value` for all members but level and event."""
    at = time.strftime("%H:%M:%S", time.localtime(members.pop("ts")))
    payload = " ".join(
        f"{key}={_quoted(value)}"
        for key, value in members.items()
        if key != "level" and (key, value) != ("event", "exchange")
    )
    return f"{at} {payload}".encode("utf-8", "replace")


def _quoted(value: Any) -> str:
    """Write a value for people: in quotes if it has anything but plain letters.

    So no text of a client can forge a second `key=value`, a second line or a terminal's commands.
    """
    text = str(clean(value))
    return text if _PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=not text.isprintable())


def _encode(_: WrappedLogger, __: str, line: Any) -> Any:
    return line.encode("utf-8", "replace")


def clean(value: Any) -> Any:
    """Replace lone surrogates in a text by `?`. Any other value is returned unchanged."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
