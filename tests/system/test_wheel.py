"""The wheel that is built from this checkout, installed somewhere else, answers the README's curl."""

import json
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
    """Built, installed into a fresh environment and started in an empty folder, it answers as the README shows."""
    source, wheels, home = tmp_path / "source", tmp_path / "wheels", tmp_path / "home"
    ignored = shutil.ignore_patterns(
        ".git", ".venv*", "*.egg-info", "build", ".mypy_cache", ".ruff_cache", "docs", "tests"
    )
    shutil.copytree(ROOT, source, ignore=ignored)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", str(wheels), str(source)], check=True)
    shutil.rmtree(source)
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "env")], check=True)
    (wheel,) = wheels.glob("*.whl")
    install = [str(tmp_path / "env/bin/pip"), "--disable-pip-version-check", "--quiet", "install", str(wheel)]
    subprocess.run(install, check=True)
    home.mkdir()
    subprocess.run([str(tmp_path / "env/bin/gateway"), "init", "--systemd"], cwd=home, check=True)
    assert (home / "gateway.service").exists()
    port = free_port()
    command = [str(tmp_path / "env/bin/gateway"), "run", "--listen", f"127.0.0.1:{port}"]
    with (home / "log").open("wb") as log:
        daemon = subprocess.Popen(command, cwd=home, stdout=log, stderr=subprocess.STDOUT)
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
