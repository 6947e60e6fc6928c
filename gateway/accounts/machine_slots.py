"""Divides what is scarce on a machine among the keys of all its workers: see `policy/shares`."""

import math

from attrs import define, field

from gateway.policy.shares import Full
from gateway.store.cells import Cells
from gateway.store.counters import Slot

MAX_MADE = 4096


@define
class MachineSlots:
    """How much of one thing is held now, by all workers of the machine, in all and by each owner."""

    cells: Cells
    name: str
    _made: dict[str, tuple[Slot, Slot]] = field(factory=dict, init=False)  # of all and of the owner, by owner

    @property
    def total(self) -> int:
        """How many are held now."""
        return int(self.cells.held(self._slots("")[0]))

    def take(self, owner: str, most: int, share: float, count: int = 1) -> Full | None:
        """Take one of `most`, of which the owner may hold a `share`, rounded up. Return who has none left."""
        assert count == 1
        whole, own = self._slots(owner)
        whole.most, own.most = most, math.ceil(most * share)
        refused = self.cells.hold_kept((whole, own))
        if refused is None:
            return None
        return Full.ALL if refused is whole else Full.OWNER

    def give_back(self, owner: str, count: int = 1) -> None:
        """Give one back."""
        assert count == 1
        self.cells.leave_kept(self._slots(owner))

    def _slots(self, owner: str) -> tuple[Slot, Slot]:
        found = self._made.get(owner)
        if found is None:
            if len(self._made) >= MAX_MADE:
                self._made.clear()
            found = self._made[owner] = (Slot(self.name, 0), Slot(f"{self.name}:{owner}", 0))
        return found
