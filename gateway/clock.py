"""The three questions about time that the shell asks, as one value that tests can replace."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

from attrs import frozen


@frozen
class Clock:
    """`monotonic` measures, `time` is shown to people, `sleep` waits. All in seconds."""

    monotonic: Callable[[], float] = time.monotonic
    time: Callable[[], float] = time.time
    sleep: Callable[[float], Coroutine[Any, Any, None]] = asyncio.sleep
