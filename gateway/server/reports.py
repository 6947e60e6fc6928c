"""Tells whoever watches over the process how it stands: systemd, or the supervisor of several workers."""

import os
import signal
import time
from collections.abc import Sequence
from typing import Protocol

from attrs import define, frozen

from gateway.server.systemd import notify, watchdog_period

ALIVE_EVERY_S = 1.0
READY, ALIVE, RELOADED, REFUSED = b"R", b"A", b"O", b"F"


class Reports(Protocol):
    """What is told. `alive_every` is how often `alive` is expected, in seconds; None: never."""

    @property
    def alive_every(self) -> float | None: ...

    def ready(self, places: Sequence[str]) -> None: ...

    def alive(self) -> None: ...

    def reloading(self) -> None: ...

    def reloaded(self, *, is_good: bool) -> None: ...

    def stopping(self, seconds: float) -> None: ...


@frozen
class ToSystemd:
    """Tells systemd, if it is there (sd_notify(3))."""

    @property
    def alive_every(self) -> float | None:
        return watchdog_period()

    def ready(self, places: Sequence[str]) -> None:
        notify("READY=1", f"STATUS=listening on {', '.join(places)}")

    def alive(self) -> None:
        notify("WATCHDOG=1")

    def reloading(self) -> None:
        notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def reloaded(self, *, is_good: bool) -> None:
        notify("READY=1")

    def stopping(self, seconds: float) -> None:
        notify("STOPPING=1", f"EXTEND_TIMEOUT_USEC={int(seconds * 1e6)}")


@define
class ToSupervisor:
    """Writes single bytes into a worker's pipe. If the supervisor is gone, the worker ends as well."""

    pipe: int
    alive_every: float | None = ALIVE_EVERY_S
    _is_alone: bool = False

    def ready(self, places: Sequence[str]) -> None:
        self._say(READY)

    def alive(self) -> None:
        self._say(ALIVE)

    def reloading(self) -> None:
        """Say nothing: the supervisor has asked for it."""

    def reloaded(self, *, is_good: bool) -> None:
        self._say(RELOADED if is_good else REFUSED)

    def stopping(self, seconds: float) -> None:
        """Say nothing: the supervisor has asked for it."""

    def _say(self, word: bytes) -> None:
        try:
            os.write(self.pipe, word)
        except OSError:  # the supervisor is gone, and nobody would start or stop this worker any more
            if not self._is_alone:  # once: a second signal would end the drain
                self._is_alone = True
                os.kill(os.getpid(), signal.SIGTERM)
