"""The clock of everything that does I/O, as one value that tests replace. Pure code gets the time as a number."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any

from attrs import frozen


@frozen
class Clock:
    """All in seconds: `monotonic` measures spans, `time` is Unix time for people and stores, `sleep` waits."""

    monotonic: Callable[[], float] = time.monotonic
    time: Callable[[], float] = time.time
    sleep: Callable[[float], Coroutine[Any, Any, None]] = asyncio.sleep


def write_time(seconds: float) -> str:
    """Write Unix seconds as a time in UTC with milliseconds: `2025-01-01T12:00:00.000Z`."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
