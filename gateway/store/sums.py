"""The sums of what was used: one row for each day, key, team, alias, provider, model and session. Imports no store."""

from collections.abc import Iterable

from attrs import define, field, frozen

# What a row is for (texts, `day` as 2026-11-28), and what is summed in it (whole numbers; `cost` in 1e-12 US dollars).
NAMES = ("day", "key", "team", "alias", "provider", "model", "session")
NUMBERS = (
    "requests", "errors", "input", "cache_read", "cache_write", "output", "reasoning", "cost", "unpriced", "estimated",
)  # fmt: skip
# Clients make up sessions, and models under a glob: so many a day, and all further ones are one.
MAX_A_DAY = {"session": 10_000, "model": 1000}
OTHER = "other"
KEPT_DAYS = 400
SESSIONS_KEPT_DAYS = 35  # then the sessions of a day are folded into one row
Row = tuple[tuple[str, ...], tuple[int, ...]]  # values of NAMES, or of those asked for; values of NUMBERS


@frozen
class Query:
    """Which rows are wanted: `by` names of NAMES that are told apart, between two days, both included.

    `where` names values that a row must have.
    """

    by: tuple[str, ...]
    since: str
    until: str
    where: tuple[tuple[str, str], ...] = ()


@define
class MemorySums:
    """The sums in the memory of one process."""

    _rows: dict[tuple[str, ...], list[int]] = field(factory=dict, init=False)
    _seen: dict[tuple[str, str], set[str]] = field(factory=dict, init=False)  # by day and kind

    def add(self, rows: Iterable[Row]) -> None:
        """Add to rows."""
        for names, numbers in rows:
            found = list(names)
            for kind, most in MAX_A_DAY.items():
                name = found[place := NAMES.index(kind)]
                seen = self._seen.setdefault((names[0], kind), set())
                if not name or name in seen:
                    continue
                if len(seen) < most:
                    seen.add(name)
                else:
                    found[place] = OTHER
            sums = self._rows.setdefault(tuple(found), [0] * len(NUMBERS))
            for index, number in enumerate(numbers):
                sums[index] += number

    def read(self, query: Query) -> list[Row]:
        """Return the sums by the names that are asked for."""
        return grouped(((names, tuple(numbers)) for names, numbers in self._rows.items()), query)

    def sweep(self, oldest: str) -> None:
        """Forget the days before `oldest`."""
        self._rows = {names: numbers for names, numbers in self._rows.items() if names[0] >= oldest}
        self._seen = {place: names for place, names in self._seen.items() if place[0] >= oldest}


def grouped(rows: Iterable[Row], query: Query) -> list[Row]:
    """Add whole rows up by the names that a query tells apart."""
    places = [NAMES.index(name) for name in query.by]
    wanted = [(NAMES.index(name), value) for name, value in query.where]
    found: dict[tuple[str, ...], list[int]] = {}
    for names, numbers in rows:
        if not query.since <= names[0] <= query.until or any(names[place] != value for place, value in wanted):
            continue
        sums = found.setdefault(tuple(names[place] for place in places), [0] * len(NUMBERS))
        for index, number in enumerate(numbers):
            sums[index] += number
    return [(names, tuple(sums)) for names, sums in sorted(found.items())]
