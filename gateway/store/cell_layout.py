"""How the counters lie in memory: windows first, then slots and funds, all in words of 8 bytes."""

import os
from typing import Any, Protocol

# Entries, a power of two. A flood of addresses takes the room of those that need it least, and no more memory.
WINDOWS = 1 << 18
HELD = 1 << 15  # slots that are in use, and funds
PROBES = 16  # places in which a window may lie, one behind the other
HELD_PROBES = 64
WORD = 8
# A window: its place, and when it is full again (monotonic seconds, which is one clock for all processes of a machine).
W_PLACE, W_FULL, W_WORDS = 0, 1, 2
# A slot or a fund: its place, a fund's period, what it has spent in it, then what each worker holds or has reserved.
H_PLACE, H_PERIOD, H_SPENT, H_COLUMNS = 0, 1, 2, 3


class Words(Protocol):
    """A view of memory as numbers of 8 bytes."""

    def __getitem__(self, at: Any) -> Any: ...

    def __setitem__(self, at: Any, value: Any) -> None: ...


def size_of(columns: int, windows: int = WINDOWS, held: int = HELD) -> int:
    """Return the bytes that the memory of so many workers needs."""
    return (windows * W_WORDS + held * (H_COLUMNS + columns)) * WORD


def make_shared(columns: int) -> int:
    """Make memory for so many workers at a time; return its descriptor, which they inherit."""
    descriptor = os.memfd_create("gateway-limits")
    os.ftruncate(descriptor, size_of(columns))
    return descriptor
