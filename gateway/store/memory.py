"""The store of a single gateway: gone with the process."""

from collections.abc import Sequence

from attrs import define, field

from gateway.clock import Clock
from gateway.limits import Bucket, Buckets, Verdict


@define
class MemoryWindows:
    """Limits kept in this process. Atomic, because nothing here waits."""

    clock: Clock
    _buckets: Buckets = field(factory=Buckets, init=False)

    async def take(self, charges: Sequence[Bucket]) -> Verdict:
        return self._buckets.take(charges, self.clock.monotonic())

    async def peek(self, charges: Sequence[Bucket]) -> Verdict:
        return self._buckets.peek(charges, self.clock.monotonic())
