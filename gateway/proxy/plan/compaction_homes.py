"""Remembers which target and credential made a sealed compaction, so that the conversation goes back there.

A client that keeps its own history sends no name of its provider, and a provider's compaction can be read by the same
account only. The memory is bounded; the oldest go first. What was forgotten is asked where compactions are made.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Iterable

from attrs import define, field

from gateway.policy.affinity import NO_AFFINITY, Affinity

MAX_ENTRIES = 20_000


@define
class CompactionHomes:
    """Affinities by (owner, digest of the sealed content)."""

    _homes: OrderedDict[tuple[str, bytes], Affinity] = field(factory=OrderedDict, init=False)

    def remember(self, owner: str, sealed: Iterable[str], home: Affinity) -> None:
        """Remember where compactions were made."""
        for content in sealed:
            self._homes[owner, _digest(content)] = home
        while len(self._homes) > MAX_ENTRIES:
            self._homes.popitem(last=False)

    def find(self, owner: str, sealed: Iterable[str]) -> Affinity:
        """Return where the last known one of these compactions was made; NO_AFFINITY if none is known."""
        found = [home for content in sealed if (home := self._homes.get((owner, _digest(content)))) is not None]
        return found[-1] if found else NO_AFFINITY


def _digest(content: str) -> bytes:
    return hashlib.sha256(content.encode("utf-8", "replace")).digest()
