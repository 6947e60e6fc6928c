"""The clock of everything that does I/O, as one value that tests replace. Pure code gets the time as a number."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

from attrs import frozen


@frozen
class Clock:
    """All in seconds: `monotonic` measures spans, `time` is Unix time for people and stores, `sleep` waits."""

    monotonic: Callable[[], float] = time.monotonic
    time: Callable[[], float] = time.time
    sleep: Callable[[float], Coroutine[Any, Any, None]] = asyncio.sleep
