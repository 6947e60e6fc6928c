"""The systemd unit is valid, and sandboxes the daemon."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

UNITS = Path(__file__).parents[2] / "gateway" / "data"
pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(
        not shutil.which("systemd-analyze") and not os.environ.get("GATEWAY_CI"),
        reason="systemd-analyze is not installed",
    ),
]


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """Copy the unit beside its socket, with a program that exists on this machine."""
    text = (UNITS / "gateway.service").read_text()
    found = tmp_path / "gateway.service"
    found.write_text(text.replace("/opt/gateway/bin/python", "/bin/true"))
    shutil.copy(UNITS / "gateway.socket", tmp_path)
    return found


def test_both_units_are_valid(unit: Path) -> None:
    """`systemd-analyze verify` prints nothing: it exits 0 for unknown keys and only warns."""
    command = ["systemd-analyze", "verify", str(unit), str(unit.with_suffix(".socket"))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_exposure_is_low(unit: Path) -> None:
    """`systemd-analyze security` rates the unit's exposure at 1.2 of 10 or less."""
    command = ["systemd-analyze", "security", "--offline=yes", "--no-pager", str(unit)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.search(r"exposure level for gateway.service: (\d+\.\d)", done.stdout)
    assert found is not None and float(found[1]) <= 1.2


def test_the_unit_says_what_the_daemon_does() -> None:
    """The unit has notify, reload by SIGHUP, no restart on 78, and a stop timeout above the drain."""
    text = (UNITS / "gateway.service").read_text()
    for line in (
        "Type=notify",
        "ExecReload=/bin/kill -HUP $MAINPID",
        "RestartPreventExitStatus=78",
        "WatchdogSec=30s",
        "TimeoutStopSec=150s",
        "/opt/gateway/bin/python -I -m gateway run",
        "LimitCORE=0",
        "MemoryHigh=",
        "MemoryMax=",
        "TasksMax=",
    ):
        assert line in text
    assert "Environment=" not in text  # every user may read a unit: no secret stands in it
    assert "LoadCredential=" in text
