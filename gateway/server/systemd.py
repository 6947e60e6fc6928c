"""Talks to systemd without a helper: readiness, reload, watchdog (sd_notify(3))."""

import contextlib
import os
import socket
from collections.abc import Mapping


def notify(*lines: str, environ: Mapping[str, str] = os.environ) -> None:
    """Send state lines such as `READY=1`; nothing happens without systemd."""
    address = environ.get("NOTIFY_SOCKET")
    if not address:
        return
    kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC
    with socket.socket(socket.AF_UNIX, kind) as sock, contextlib.suppress(OSError):
        sock.setblocking(False)
        sock.sendto("\n".join(lines).encode(), "\0" + address[1:] if address[0] == "@" else address)


def watchdog_period(environ: Mapping[str, str] = os.environ) -> float | None:
    """Seconds between two signs of life, half of what systemd allows; None without a watchdog."""
    allowed, pid = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID")
    if not allowed.isdecimal() or int(allowed) == 0 or pid not in (None, str(os.getpid())):
        return None
    return int(allowed) / 2_000_000
