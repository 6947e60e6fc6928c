"""Bounds the bytes of request bodies that are in memory, of the process and of each key."""

from attrs import define, field

from gateway.errors import RateLimited, Unavailable

RETRY_S = 1.0


@define
class BodyBudget:
    """The bytes that are held now, by the name of the key (empty: clients without one)."""

    total: int = field(default=0, init=False)
    _by_owner: dict[str, int] = field(factory=dict, init=False)

    def take(self, owner: str, count: int, most: int, most_of_owner: int) -> None:
        """Add bytes. Raises Unavailable if the process would hold more than `most`, RateLimited for the owner's."""
        mine = self._by_owner.get(owner, 0) + count
        if mine > most_of_owner and mine != self.total + count:
            raise RateLimited("This key has too many bytes of requests in flight", retry_after=RETRY_S)
        if self.total + count > most:
            raise Unavailable("The gateway holds too many bytes of requests: try again", retry_after=RETRY_S)
        self.total += count
        self._by_owner[owner] = mine

    def give_back(self, owner: str, count: int) -> None:
        """Take off the bytes of an exchange that is over."""
        self.total -= count
        if (left := self._by_owner.get(owner, 0) - count) > 0:
            self._by_owner[owner] = left
        else:
            self._by_owner.pop(owner, None)
