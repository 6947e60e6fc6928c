"""Log lines: one object each, without secrets, written together."""

import io
import json

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
    out = io.BytesIO()
    lines = Lines(out)
    lines.info(b"a")  # no loop is running: written at once
    assert out.getvalue() == b"a\n"
    out.close()
    lines.warning(b"b")


async def test_lines_wait_for_company_inside_a_loop() -> None:
    """Inside a loop 256 lines are one write, and a warning writes at once.

    A write for each line would cost as much as the rest of that line.
    """
    out = io.BytesIO()
    lines = Lines(out)
    lines.info(b"a")
    assert out.getvalue() == b""
    for _ in range(255):
        lines.info(b"x")
    assert out.getvalue().count(b"\n") == 256
    lines.info(b"b")
    lines.warning(b"c")
    assert out.getvalue().endswith(b"b\nc\n")
