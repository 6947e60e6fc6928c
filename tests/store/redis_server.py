"""A redis-server of our own for tests, which are skipped where it is not installed, but never in CI."""

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import define

from tests.flows.processes import free_port

needs_redis = [
    pytest.mark.system,
    pytest.mark.skipif(
        not shutil.which("redis-server") and not os.environ.get("GATEWAY_CI"), reason="redis-server is not installed"
    ),
]


def with_redis(test: Any) -> Any:
    for mark in needs_redis:
        test = mark(test)
    return test


@define
class Redis:
    """A redis-server of our own."""

    folder: Path
    port: int
    popen: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://:sesame@127.0.0.1:{self.port}/0"

    def begin_tls(self) -> bool:
        """Start again behind TLS, with a certificate of its own; return False without openssl."""
        self.end()
        made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
        made += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "key.pem", "-out", "cert.pem"]
        if shutil.which("openssl") is None:
            return False
        subprocess.run(made, cwd=self.folder, check=True, capture_output=True)
        files = ["--tls-cert-file", "cert.pem", "--tls-key-file", "key.pem", "--tls-ca-cert-file", "cert.pem"]
        self.begin("--port", "0", "--tls-port", str(self.port), "--tls-auth-clients", "no", *files)
        return True

    def begin(self, *more: str) -> None:
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--requirepass", "sesame"]
        command += ["--dir", str(self.folder), "--save", "", "--appendonly", "yes", "--daemonize", "no", *more]
        with (self.folder / "log").open("ab") as out:
            self.popen = subprocess.Popen(command, stdout=out, stderr=out)
        for _ in range(200):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            time.sleep(0.02)
        raise AssertionError((self.folder / "log").read_text())

    def end(self) -> None:
        if self.popen is not None:
            self.popen.terminate()
            self.popen.wait(5)
            self.popen = None


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Redis]:
    made = Redis(tmp_path, free_port())
    made.begin()
    yield made
    made.end()
