"""The wheel that is built from this checkout, put somewhere else, answers the README's curl.

`.ci/run` installs it into an environment of its own as well, each package by its hash.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.flows.processes import free_port

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.exhaustive
def test_the_wheel_answers(tmp_path: Path) -> None:
    """Built, unpacked elsewhere and started in an empty folder, it answers as the README shows."""
    source, wheels, home = tmp_path / "source", tmp_path / "wheels", tmp_path / "home"
    ignored = shutil.ignore_patterns(
        ".git", ".venv*", "*.egg-info", "build", ".mypy_cache", ".ruff_cache", "docs", "tests"
    )
    shutil.copytree(ROOT, source, ignore=ignored)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", str(wheels), str(source)], check=True)
    shutil.rmtree(source)
    (wheel,) = wheels.glob("*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", str(tmp_path / "site"), str(wheel)], check=True)
    environ = os.environ | {"PYTHONPATH": str(tmp_path / "site")}  # before this checkout
    gateway = [sys.executable, "-m", "gateway"]
    home.mkdir()
    where = [sys.executable, "-c", "import gateway; print(gateway.__file__)"]
    found = subprocess.run(where, cwd=home, env=environ, capture_output=True, text=True, check=True).stdout
    assert found.startswith(str(tmp_path / "site"))
    subprocess.run([*gateway, "init", "--systemd"], cwd=home, env=environ, check=True)
    assert (home / "gateway.service").exists()
    port = free_port()
    command = [*gateway, "run", "--listen", f"127.0.0.1:{port}"]
    with (home / "log").open("wb") as log:
        daemon = subprocess.Popen(command, cwd=home, env=environ, stdout=log, stderr=subprocess.STDOUT)
    try:
        readme = (ROOT / "README.md").read_text()
        (body,) = re.findall(r"-d '([^']+)'", readme)
        shown = re.findall(r"```json\n(.*?)```", readme, re.DOTALL)[0].strip()
        url = f"http://127.0.0.1:{port}/v1/chat/completions"
        request = urllib.request.Request(url, body.encode(), {"Content-Type": "application/json"})
        for _ in range(200):
            try:
                with urllib.request.urlopen(request, timeout=5) as answer:
                    assert json.loads(answer.read()) == json.loads(shown)
                    break
            except (urllib.error.URLError, ConnectionError):
                assert daemon.poll() is None, (home / "log").read_text()
                time.sleep(0.05)
        else:
            pytest.fail((home / "log").read_text())
    finally:
        daemon.terminate()
        assert daemon.wait(15) == 0
