"""A flood of keys and addresses: what it costs in memory, and that it is given back."""

import os
from pathlib import Path

import pytest

from gateway.accounts.limits import LimitBook, failed_auth_window
from gateway.config.schema import Key, Limit, Limits, Rate
from gateway.server.housekeeping import give_back_memory
from gateway.store.cells import Cells
from gateway.store.counters import Claim

pytestmark = [pytest.mark.slow, pytest.mark.exhaustive]
MIB = 1 << 20
SEEN = 50_000


def resident() -> int:
    give_back_memory()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_fifty_thousand_keys_and_addresses() -> None:
    """50,000 keys and 50,000 addresses cost less than 30 MiB; most of it is free again when the flood is over."""
    limit = {"default": Limit(Rate(60, 60), tokens=Rate(1000, 60), concurrent=4)}
    book, cells = LimitBook(Limits(key=limit, address=limit)), Cells.alone()
    key = Key(())
    book.of("warm", key, "::", "chat")
    before = resident()
    for number in range(SEEN):
        address = f"2001:db8:{number:x}::/64"
        limited = book.of(f"key{number}", key, address, "chat")
        windows = [(meter.window, 1.0) for meter in (*limited.requests, *limited.tokens)]
        assert cells.take(Claim(windows, limited.slots), float(number) / 1000).refused is None
        cells.leave(limited.slots)
        cells.take(Claim(((failed_auth_window(Rate(30, 60), address), 1.0),)), float(number) / 1000)
    most = resident() - before
    assert most < 30 * MIB
    book.forget()
    cells.close()
    assert resident() - before < most / 2, f"{most >> 20} MiB"
