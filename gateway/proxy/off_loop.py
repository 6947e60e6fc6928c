"""Works on a large input in a thread: the event loop must not stand still for it."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from gateway.wire.codec.bounds import LARGE_BODY

Made = TypeVar("Made")


async def off_loop(size: int, work: Callable[..., Made], *given: object) -> Made:
    """Return `work(*given)`, made in a thread if it works on more than LARGE_BODY bytes.

    A hop to a thread and back costs some 50 us, which a small input must not pay.
    """
    return work(*given) if size <= LARGE_BODY else await asyncio.to_thread(work, *given)
