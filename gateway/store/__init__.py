"""What several requests, and several gateways, share. A store is looked up by the scheme of its URL."""

from collections.abc import Sequence
from typing import Protocol

from gateway.limits import Bucket, Verdict


class Windows(Protocol):
    """The buckets of all limits. Charging is one atomic step, here or in a shared store."""

    async def take(self, charges: Sequence[Bucket]) -> Verdict:
        """Take one unit from every bucket, or from none."""

    async def peek(self, charges: Sequence[Bucket]) -> Verdict:
        """Say what `take` would say, and take nothing."""
