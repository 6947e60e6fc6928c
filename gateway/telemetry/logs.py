"""Structured logs: one JSON object a line, or readable lines on a terminal.

Secrets are blanked in the finished bytes, as the last step, so that no part of a line escapes it.
"""

import asyncio
import atexit
import contextlib
import json
import logging
import re
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from typing import IO, Any, TextIO

import msgspec
import structlog
from attrs import frozen
from structlog.typing import EventDict, ExcInfo, FilteringBoundLogger, Processor, WrappedLogger

from gateway.telemetry.redact import Redactor

Log = FilteringBoundLogger
# Seconds and lines. A longer wait would disturb a person who follows the log; a larger batch saves nothing more.
LINGER_S, MAX_WAITING = 0.1, 256
_PLAIN = re.compile(r"[A-Za-z0-9_.:/@+-]+")
_ENCODER = msgspec.json.Encoder(enc_hook=repr)


class Lines:
    """Writes whole lines, many in one write: a write costs as much as everything else about a line.

    In a running event loop a line waits for at most `LINGER_S`. A warning or worse is written at once, with all
    lines that wait. The method names are the log levels that structlog calls.
    """

    def __init__(self, out: IO[bytes]) -> None:
        self._out = out
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
        """Write all lines that wait. If the reader has closed the pipe, they are lost and the daemon goes on."""
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
    """Both ways to write a line: `log` for events, `exchange` for the one line of each exchange."""

    log: Log
    _lines: Lines
    _redactor: Redactor
    _write: Callable[[dict[str, Any]], bytes]

    def exchange(self, members: dict[str, Any]) -> None:
        """Write an exchange's line. Without structlog: its processors would cost four times as much as the rest."""
        self._lines.info(self._redactor.clean(self._write(members)))

    def flush(self) -> None:
        """Write all lines that wait."""
        self._lines.flush()


def make_logs(redactor: Redactor, style: str = "json", stream: IO[bytes] | None = None) -> Logs:
    """Make the gateway's logs. `style` is json or console; lines go to `stream`, by default standard output.

    Callers never pass a prompt, a reply or a header: the redactor knows the gateway's secrets only.
    """
    out = stream if stream is not None else sys.stdout.buffer
    lines = Lines(out)
    atexit.register(lines.flush)
    final: list[Processor]
    if style == "json":
        final = [_tracebacks, _stamp, _render]
    else:
        colours = hasattr(out, "isatty") and out.isatty()
        console = structlog.dev.ConsoleRenderer(
            colors=colours, repr_native_str=True, exception_formatter=_write_traceback
        )
        final = [structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False), console, _encode]

    def redact(_: WrappedLogger, __: str, line: Any) -> Any:
        return redactor.clean(line)

    log: Log = structlog.wrap_logger(
        lines,
        processors=[structlog.processors.add_log_level, *final, redact],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        cache_logger_on_first_use=True,
    ).bind()
    return Logs(log, lines, redactor, _write_json if style == "json" else _write_console)


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
    payload = " ".join(f"{key}={_quoted(value)}" for key, value in members.items() if key not in ("level", "event"))
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
