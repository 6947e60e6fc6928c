"""What was used since the start, by provider and model, streamed or not: for `/metrics/running-totals`."""

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any

from attrs import define, field

from gateway.accounts.budgets import PICO
from gateway.accounts.charges import Charge
from gateway.wire.neutral import Usage

NUMBERS = ("requests", "errors", "input", "cache_read", "cache_write", "output", "reasoning", "cost", "unpriced")
TOKENS = ("input", "cache_read", "cache_write", "output")
KINDS = ("total", "streaming", "non_streaming")
MAX_MODELS = 2000  # clients make up names under a glob
OTHER = "other"
Counts = dict[str, float]


@define
class RunningTotals:
    """Counts of one process."""

    _counts: dict[tuple[str, str, bool], list[int]] = field(factory=dict, init=False)  # by provider, model, is_stream

    def add(self, charge: Charge, *, is_stream: bool) -> None:
        """Add what an attempt has cost."""
        counts = self._of(charge.provider, charge.model, is_stream)
        usage = charge.usage or Usage()
        for index, name in enumerate(NUMBERS[2:7], 2):
            counts[index] += getattr(usage, name) or 0
        counts[7] += charge.cost or 0
        counts[8] += charge.cost is None

    def count_request(self, provider: str, model: str, *, is_stream: bool) -> None:
        """Count an exchange, for whoever was asked last."""
        self._of(provider, model, is_stream)[0] += 1

    def count_error(self, provider: str, model: str, *, is_stream: bool) -> None:
        """Count an attempt that failed."""
        self._of(provider, model, is_stream)[1] += 1

    def report(self, active: int) -> dict[str, Any]:
        """Return all totals; `active` is the number of exchanges in flight."""
        providers: dict[str, Any] = {}
        for (provider, model, is_stream), counts in self._counts.items():
            named = _named(counts)
            whole = providers.setdefault(provider, {"rollup": {}, "models": {}})
            for place in (whole["rollup"], whole["models"].setdefault(model, {})):
                for kind in ("total", KINDS[1] if is_stream else KINDS[2]):
                    place[kind] = _sum(place.get(kind, {}), named)
        return summed(providers, active)

    def _of(self, provider: str, model: str, is_stream: bool) -> list[int]:
        place = (provider, model, is_stream)
        if place not in self._counts and len(self._counts) >= MAX_MODELS:
            place = (provider, OTHER, is_stream)
        return self._counts.setdefault(place, [0] * len(NUMBERS))


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
