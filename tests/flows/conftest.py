"""Fixtures for tests that start whole processes."""

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.mock.server import MockServer
from tests.flows.processes import CONFIG, Process, Run, free_port


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@pytest.fixture
def run(folder: Path, mock: MockServer) -> Iterator[Run]:
    """Start daemons: `run()` returns once the daemon has sent READY=1 to systemd's socket, or has exited."""
    started: list[Process] = []

    def start(
        text: str = CONFIG, *arguments: str, port: int | None = None, environ: dict[str, str] | None = None
    ) -> Process:
        port = port or free_port()
        config, log, notify = folder / "providers.yaml", folder / f"log{len(started)}", folder / f"notify{len(started)}"
        config.write_text(text.replace("PORT", str(port)).replace("MOCK", mock.url))
        notices = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        notices.bind(str(notify))
        notices.settimeout(5)
        command = [sys.executable, "-m", "gateway", "run", "--config", str(config), *arguments]
        environment = os.environ | {"NOTIFY_SOCKET": str(notify)} | (environ or {})
        with log.open("wb") as out:
            popen = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env=environment, cwd=folder)
        process = Process(popen, config, f"http://127.0.0.1:{port}", log, notices)
        started.append(process)
        while popen.poll() is None:
            with contextlib.suppress(TimeoutError):
                notices.settimeout(0.05)
                if notices.recv(4096).startswith(b"READY=1"):
                    break
        notices.settimeout(5)
        return process

    yield start
    for process in started:
        process.popen.terminate()
        try:
            process.popen.wait(5)
        except subprocess.TimeoutExpired:
            process.popen.kill()
            process.popen.wait()
        process.notices.close()
