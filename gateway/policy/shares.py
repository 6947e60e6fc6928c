"""Divides what is scarce among the keys, so that one of them cannot take it all: a quarter stays for the others.

Three things are divided: exchanges in flight, connections to a provider, and bytes of bodies in memory. The first two
are of the machine, and counted for all of its workers (`accounts/machine_slots`).
"""

import math
from enum import Enum
from typing import Protocol

from attrs import define, field

from gateway.config.schema import Config, Key

RETRY_S = 1.0
DEFAULT_SHARE = 0.75  # where there are several keys


class Full(Enum):
    """Who has none left."""

    ALL = "all"
    OWNER = "owner"


class Divided(Protocol):
    """Something scarce, of which each owner may hold a share."""

    @property
    def total(self) -> int:
        """How much is held now."""

    def take(self, owner: str, most: int, share: float, count: int = 1) -> Full | None:
        """Take `count` of `most`, of which the owner may hold a `share`, rounded up. Return who has none left."""

    def give_back(self, owner: str, count: int = 1) -> None:
        """Give back what was taken."""


@define
class Shared:
    """How much is held now, in all and by each owner (the name of a key; empty: clients without one)."""

    total: int = field(default=0, init=False)
    _by_owner: dict[str, int] = field(factory=dict, init=False)

    def take(self, owner: str, most: int, share: float, count: int = 1) -> Full | None:
        """Take `count` of `most`, of which the owner may hold a `share`, rounded up. Return who has none left."""
        if self.total + count > most:
            return Full.ALL
        mine = self._by_owner.get(owner, 0) + count
        if share < 1.0 and mine > math.ceil(most * share):
            return Full.OWNER
        self.total += count
        self._by_owner[owner] = mine
        return None

    def give_back(self, owner: str, count: int = 1) -> None:
        """Give back what was taken."""
        self.total -= count
        if (left := self._by_owner.get(owner, 0) - count) > 0:
            self._by_owner[owner] = left
        else:
            self._by_owner.pop(owner, None)


def share_of(key: Key, config: Config) -> float:
    """Return a key's share of all that is divided, from 0 to 1."""
    if key.share is not None:
        return key.share
    return DEFAULT_SHARE if len(config.keys) > 1 else 1.0
