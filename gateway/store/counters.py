"""What is counted against a limit, and the answer to a request to take some of it. No store is imported here.

There are three kinds. A *window* is a token bucket that refills evenly (requests, LLM tokens). A *slot* is held for as
long as something lasts (an exchange, a connection). A *fund* is spent and never refills, until its period is over
(money). A claim names what one exchange needs of all of them, and is granted whole or not at all.

Each is known by its name, in memory that several processes share by the name's hash (`cells`), in Redis by the name
itself (`redis_counters`).
"""

import hashlib
from collections.abc import Sequence
from typing import NewType, Protocol

import msgspec
from attrs import define, field, frozen

Place = NewType("Place", int)  # the hash of a name: 64 bits, never 0


def place_of(name: str) -> Place:
    """Return the hash by which a name is found in shared memory: the same in every process."""
    return Place(int.from_bytes(hashlib.blake2b(name.encode("utf-8", "surrogateescape"), digest_size=8).digest()) or 1)


@define(eq=False)
class Window:
    """A token bucket: `per_second` is its refill and `capacity` its most, both in units.

    `at` is where the cells have found it last.
    """

    name: str
    per_second: float
    capacity: float
    place: Place = field(init=False)
    at: int = field(default=-1, init=False)

    def __attrs_post_init__(self) -> None:
        self.place = place_of(self.name)


@define(eq=False)
class Slot:
    """Something that at most `most` may hold at the same time."""

    name: str
    most: float
    place: Place = field(init=False)
    at: int = field(default=-1, init=False)

    def __attrs_post_init__(self) -> None:
        self.place = place_of(self.name)


@define(eq=False)
class Fund:
    """What may be spent in one period, in units (1e-12 US dollars, or tokens).

    `period` numbers the periods; `ends` is when it is over, in Unix seconds.
    """

    name: str
    most: float
    period: int
    ends: float
    place: Place = field(init=False)
    at: int = field(default=-1, init=False)

    def __attrs_post_init__(self) -> None:
        self.place = place_of(self.name)


Counted = Window | Slot | Fund


class Claim(msgspec.Struct, frozen=True, eq=False):
    """What one exchange needs: units of windows, slots, and what it may cost at most out of funds."""

    windows: Sequence[tuple[Window, float]] = ()
    slots: Sequence[Slot] = ()
    funds: Sequence[tuple[Fund, float]] = ()


class Taken(msgspec.Struct, frozen=True, eq=False):
    """The answer to a claim.

    `refused` is what had too little, None if the claim was granted; `wait` the seconds until it will have enough.
    `left` are the units of each window of the claim, after it was taken; as they are now, if it was refused. `spent` is
    what each fund has spent, and `open` what is reserved of it, this claim included.
    """

    refused: Counted | None
    wait: float
    left: Sequence[float] = ()
    spent: Sequence[float] = ()
    open: Sequence[float] = ()


@frozen
class Settlement:
    """What one exchange gives back and adds: units of windows, slots, and (fund, reserved until now, spent)."""

    windows: Sequence[tuple[Window, float]] = ()
    slots: Sequence[Slot] = ()
    funds: Sequence[tuple[Fund, float, float]] = ()


class SharedCounters(Protocol):
    """Counters that several gateways share. Every method may raise StoreDown."""

    gateways: int  # that share them, as their last answer said
    heard: float  # loop time of their last answer

    async def take(self, claim: Claim, now: float) -> Taken:
        """Take a claim whole, or nothing of it. `now` is in Unix seconds."""

    async def settle(self, batch: str, settlements: Sequence[Settlement], now: float) -> None:
        """Settle many exchanges at once; a `batch` that was settled already is not settled again."""

    async def renew(self) -> None:
        """Say that this gateway lives."""

    async def spent(self, funds: Sequence[Fund]) -> list[tuple[float, float]]:
        """Return what each fund has spent in its period, and what is reserved of it."""

    async def close(self) -> None:
        """Let go of all that this gateway holds."""
