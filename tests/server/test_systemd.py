"""The protocol of sd_notify."""

import os
import socket
import tempfile

import pytest

from gateway.server.systemd import notify, watchdog_period


@pytest.mark.parametrize("is_abstract", [False, True])
def test_systemd_is_told_over_its_socket(is_abstract: bool) -> None:
    """`notify` writes to a path or an abstract name; without a usable socket it does nothing."""
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        name = f"gateway-test-{os.getpid()}" if is_abstract else f"{folder}/notify"
        sock.bind("\0" + name if is_abstract else name)
        sock.settimeout(1)
        notify("READY=1", "STATUS=x", environ={"NOTIFY_SOCKET": "@" + name if is_abstract else name})
        assert sock.recv(100) == b"READY=1\nSTATUS=x"
    notify("READY=1", environ={})
    notify("READY=1", environ={"NOTIFY_SOCKET": "/nowhere/at/all"})


@pytest.mark.parametrize(
    ("environ", "period"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
    ],
)
def test_the_watchdog_is_fed_twice_a_period(environ: dict[str, str], period: float | None) -> None:
    """The watchdog's period is half of WATCHDOG_USEC, if it is meant for this process; else None."""
    assert watchdog_period(environ) == period
