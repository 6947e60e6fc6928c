"""Log lines: one object each, without secrets, written together."""

import io
import json
import os

from gateway.telemetry.log_writer import LogWriter
from gateway.telemetry.logs import Lines, make_logs
from gateway.telemetry.redact import Redactor


def test_a_log_line_is_one_object_whatever_is_in_it() -> None:
    """Line breaks, lone surrogates and secrets of clients cannot forge or break a line."""
    out = io.BytesIO()
    logs = make_logs(Redactor(["the-secret"]), "json", out)
    logs.log.info("hello", a="line\nbreak", b="\udcff", c="the-secret", d=object)
    logs.exchange({"ts": 1.0, "event": "exchange", "alias": "\udcff the-secret"})
    logs.flush()
    first, second = (json.loads(line) for line in out.getvalue().splitlines())
    assert (first["event"], first["level"], first["a"], first["c"]) == ("hello", "info", "line\nbreak", "[redacted]")
    assert second["alias"] == "? [redacted]"


def test_a_traceback_shows_no_local_variables() -> None:
    """A logged traceback shows no local variables: they hold keys and prompts."""
    out = io.BytesIO()
    logs = make_logs(Redactor(), "json", out)
    prompt = "a very private prompt"
    try:
        raise ValueError("boom")
    except ValueError:
        logs.log.exception("bug")
    logs.flush()
    assert b"boom" in out.getvalue() and prompt.encode() not in out.getvalue()


def test_console_lines_are_for_people() -> None:
    """Console lines are readable text, also without secrets."""
    out = io.BytesIO()
    logs = make_logs(Redactor(["the-secret"]), "console", out)
    logs.log.warning("config", detail="the-secret")
    logs.exchange({"ts": 1.0, "level": "info", "event": "exchange", "status": 200, "alias": "fast"})
    logs.flush()
    assert b"[redacted]" in out.getvalue() and b"status=200 alias=fast" in out.getvalue()


def test_lines_are_written_together_and_a_closed_pipe_is_survived() -> None:
    """Without a loop a line is written at once; a closed stream raises nothing."""
    out, lines, writer = _lines()
    lines.info(b"a")  # no loop is running: handed over at once
    assert writer.wait() and out.getvalue() == b"a\n"
    out.close()
    lines.warning(b"b")
    assert writer.wait()
    writer.close()


async def test_lines_wait_for_company_inside_a_loop() -> None:
    """Inside a loop 256 lines are one write, and a warning is handed over at once.

    A write for each line would cost as much as the rest of that line.
    """
    out, lines, writer = _lines()
    lines.info(b"a")
    assert writer.wait() and out.getvalue() == b""
    for _ in range(255):
        lines.info(b"x")
    assert writer.wait() and out.getvalue().count(b"\n") == 256
    lines.info(b"b")
    lines.warning(b"c")
    assert writer.wait() and out.getvalue().endswith(b"b\nc\n")
    writer.close()


def test_a_reader_that_stops_costs_lines_and_no_time() -> None:
    """A full pipe holds nobody up: lines beyond the bound are dropped and counted, and the number is said once."""
    reader, pipe = os.pipe()
    with os.fdopen(pipe, "wb", buffering=0) as out, os.fdopen(reader, "rb") as read:
        logs = make_logs(Redactor(), "json", out)
        for number in range(20_000):
            logs.log.warning("w", number=number, fill="x" * 400)
        assert logs.dropped > 5_000
        logs.log.warning("after")
        assert logs.dropped > 5_000 and b"lines dropped" not in read.read1(100_000)
        found = b""
        while b"lines dropped" not in found:
            found = (found + read.read1(1_000_000))[-100_000:]
        (said,) = (line for line in found.splitlines() if b"lines dropped" in line)
        assert json.loads(said)["lines"] == logs.dropped
        logs.log.warning("and on")
        while b"and on" not in found:
            found = (found + read.read1(1_000_000))[-100_000:]
        logs.close()


def test_a_pipe_that_somebody_made_non_blocking_gets_whole_lines() -> None:
    """What a non-blocking pipe does not take at once is written when it has room."""
    reader, pipe = os.pipe()
    os.set_blocking(pipe, False)
    with os.fdopen(pipe, "wb", buffering=0) as out, os.fdopen(reader, "rb") as read:
        logs = make_logs(Redactor(), "json", out)
        for number in range(500):
            logs.log.warning("w", number=number, fill="x" * 400)
        found = b""
        while found.count(b"\n") < 500:
            found += read.read1(100_000)
        assert [json.loads(line)["number"] for line in found.splitlines()] == list(range(500))
        logs.close()


def _lines() -> tuple[io.BytesIO, Lines, LogWriter]:
    out = io.BytesIO()
    writer = LogWriter(out, lambda lines: b"\n".join(lines) + b"\n", lambda count: b"%d" % count)
    return out, Lines(writer), writer
