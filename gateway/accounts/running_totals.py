"""What was used since the start, by provider and model, streamed or not: for `/metrics/running-totals`."""

from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

from attrs import define, field

from gateway.accounts.budgets import PICO
from gateway.accounts.charges import Charge

NUMBERS = ("requests", "errors", "input", "cache_read", "cache_write", "output", "reasoning", "cost", "unpriced")
TOKENS = ("input", "cache_read", "cache_write", "output")
KINDS = ("total", "streaming", "non_streaming")
MAX_MODELS = 5000  # of all keys together: clients make up names under a glob
OTHER = "other"
Counts = dict[str, float]


@define
class RunningTotals:
    """Counts of one process, by key, team, provider, model, and whether streamed.

    The metrics by key are made of the same counts when they are asked for, so that an exchange counts once.
    """

    _counts: dict[tuple[str, str, str, str, bool], list[int]] = field(factory=dict, init=False)

    def add(self, key: str, team: str, charge: Charge, *, is_stream: bool) -> None:
        """Add what an attempt has cost."""
        counts = self._of(key, team, charge.provider, charge.model, is_stream)
        if (usage := charge.usage) is not None:
            counts[2] += usage.input or 0
            counts[3] += usage.cache_read or 0
            counts[4] += usage.cache_write or 0
            counts[5] += usage.output or 0
            counts[6] += usage.reasoning or 0
        if charge.cost is None:
            counts[8] += 1
        else:
            counts[7] += charge.cost

    def count_request(self, key: str, team: str, provider: str, model: str, *, is_stream: bool) -> None:
        """Count an exchange, for whoever was asked last."""
        self._of(key, team, provider, model, is_stream)[0] += 1

    def count_error(self, provider: str, model: str, *, is_stream: bool) -> None:
        """Count an attempt that failed."""
        self._of("", "", provider, model, is_stream)[1] += 1

    def tokens(self) -> Iterator[tuple[tuple[str, ...], float]]:
        """Yield the tokens by key, team, provider and part."""
        sums: dict[tuple[str, ...], float] = {}
        for (key, team, provider, _, _), counts in self._counts.items():
            for index, part in enumerate(NUMBERS[2:7], 2):
                if counts[index]:
                    labels = (key, team, provider, part)
                    sums[labels] = sums.get(labels, 0.0) + counts[index]
        yield from sums.items()

    def cost(self) -> Iterator[tuple[tuple[str, ...], float]]:
        """Yield what is known of the cost in dollars, by key, team and provider."""
        sums: dict[tuple[str, ...], int] = {}
        for (key, team, provider, _, _), counts in self._counts.items():
            if counts[7]:
                sums[key, team, provider] = sums.get((key, team, provider), 0) + counts[7]
        yield from ((labels, cost / PICO) for labels, cost in sums.items())

    def report(self, active: int) -> dict[str, Any]:
        """Return all totals; `active` is the number of exchanges in flight."""
        providers: dict[str, Any] = {}
        for (_, _, provider, model, is_stream), counts in self._counts.items():
            named = _named(counts)
            whole = providers.setdefault(provider, {"rollup": {}, "models": {}})
            for place in (whole["rollup"], whole["models"].setdefault(model, {})):
                for kind in ("total", KINDS[1] if is_stream else KINDS[2]):
                    place[kind] = _sum(place.get(kind, {}), named)
        return summed(providers, active)

    def _of(self, key: str, team: str, provider: str, model: str, is_stream: bool) -> list[int]:
        place = (key, team, provider, model, is_stream)
        found = self._counts.get(place)
        if found is None:
            if len(self._counts) >= MAX_MODELS:
                place = (key, team, provider, OTHER, is_stream)
            found = self._counts.setdefault(place, [0] * len(NUMBERS))
        return found


def summed(providers: dict[str, Any], active: int) -> dict[str, Any]:
    """Put the summary before the totals of each provider."""
    whole: Counts = {}
    for one in providers.values():
        whole = _sum(whole, one["rollup"].get("total", {}))
    names = ("requests", "errors", "tokens", "cost", "unpriced")
    return {"summary": {**{name: whole.get(name, 0) for name in names}, "active": active}, "providers": providers}


def merged(reports: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Add the totals of several workers up."""
    providers: dict[str, Any] = {}
    active = 0
    for report in reports:
        active += report["summary"]["active"]
        for name, one in report["providers"].items():
            into = providers.setdefault(name, {"rollup": {}, "models": {}})
            _merge(into["rollup"], one["rollup"])
            for model, kinds in one["models"].items():
                _merge(into["models"].setdefault(model, {}), kinds)
    return summed(providers, active)


def chosen(report: Mapping[str, Any], provider: str, model: str) -> dict[str, Any]:
    """Return the part of a report whose providers and models match these globs."""
    providers: dict[str, Any] = {}
    for name, one in report["providers"].items():
        if not fnmatchcase(name, provider):
            continue
        models = {key: kinds for key, kinds in one["models"].items() if fnmatchcase(key, model)}
        rollup: dict[str, Any] = {}
        for kinds in models.values():
            _merge(rollup, kinds)
        if models:
            providers[name] = {"rollup": rollup, "models": models}
    return summed(providers, report["summary"]["active"])


def _merge(into: dict[str, Any], kinds: Mapping[str, Any]) -> None:
    for kind, counts in kinds.items():
        into[kind] = _sum(into.get(kind, {}), counts)


def _named(counts: list[int]) -> Counts:
    named: Counts = dict(zip(NUMBERS, counts, strict=True))
    named["tokens"] = sum(named[name] for name in TOKENS)
    named["cost"] /= PICO
    return named


def _sum(first: Counts, second: Mapping[str, float]) -> Counts:
    return {name: first.get(name, 0) + number for name, number in second.items()}
