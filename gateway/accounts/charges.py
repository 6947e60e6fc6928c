"""What one attempt at a target has cost, and what is known of it."""

from collections.abc import Iterable

import msgspec

from gateway.wire.neutral import Usage

PROVIDER, ESTIMATED, UNKNOWN = "provider", "estimated", "unknown"  # where the counts come from


class Charge(msgspec.Struct, frozen=True, eq=False):
    """One attempt that cost something. `cost` is in PICO, None if it is not known.

    `source` says where `usage` comes from: the provider told it, the gateway estimates it, or nobody knows.
    """

    provider: str
    model: str
    usage: Usage | None
    source: str
    cost: int | None


def weighed(usage: Usage, cached: float) -> float:
    """Return the tokens that a window counts; each one that was read from a cache counts `cached`."""
    return (usage.input or 0) + cached * (usage.cache_read or 0) + (usage.cache_write or 0) + (usage.output or 0)


def tokens_of(charges: Iterable[Charge], cached: float = 1.0) -> float:
    """Return the tokens of several attempts."""
    return sum(weighed(charge.usage, cached) for charge in charges if charge.usage is not None)


def cost_of_all(charges: Iterable[Charge]) -> int:
    """Return what is known of the cost of several attempts, in PICO."""
    return sum(charge.cost or 0 for charge in charges)
