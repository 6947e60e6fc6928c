"""How long the replies of each key are: what is reserved for a call that does not say how long its reply may be."""

from attrs import define, field

WEIGHT = 0.1  # of the newest reply
MAX_KEYS = 10_000
MAX_OUTPUT = 128_000  # tokens that one reply moves the average by at most


@define
class Outputs:
    """The moving average of the output tokens of each key (empty: clients without one)."""

    _averages: dict[str, float] = field(factory=dict, init=False)

    def note(self, key: str, tokens: int) -> None:
        """Note the output of a reply."""
        tokens = min(tokens, MAX_OUTPUT)
        average = self._averages.get(key)
        if average is None and len(self._averages) >= MAX_KEYS:
            return
        self._averages[key] = tokens if average is None else average + WEIGHT * (tokens - average)

    def of(self, key: str) -> int:
        """Return the average of a key, 0 if nothing is known."""
        return round(self._averages.get(key, 0.0))
