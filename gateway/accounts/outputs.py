"""How long the replies of each key are: what is reserved for a call that does not say how long its reply may be."""

from attrs import define, field

from gateway.store.cells import Cells
from gateway.store.counters import Fund

WEIGHT = 0.1  # of the newest reply
MAX_KEPT = 10_000
MAX_OUTPUT = 128_000  # tokens that one reply moves the average by at most


@define
class Outputs:
    """The moving average of the output tokens of each key (empty: clients without one), for all workers together."""

    _cells: Cells
    _made: dict[str, Fund] = field(factory=dict, init=False)

    def note(self, key: str, tokens: int) -> None:
        """Note the output of a reply."""
        self._cells.average(self._fund(key), min(tokens, MAX_OUTPUT), WEIGHT)

    def of(self, key: str) -> int:
        """Return the average of a key, 0 if nothing is known."""
        return round(self._cells.spent(self._fund(key))[0])

    def _fund(self, key: str) -> Fund:
        found = self._made.get(key)
        if found is None:
            if len(self._made) >= MAX_KEPT:
                self._made.clear()
            found = self._made[key] = Fund(f"outputs:{key}", 0.0, 1, 0.0)
        return found
