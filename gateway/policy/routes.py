"""Resolves a model name to a route and orders its targets. Pure: the caller passes the dice and the turn."""

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from itertools import accumulate

from attrs import define, evolve, field, frozen

from gateway.config.schema import Config, Key, Retry, Route, Target, is_glob
from gateway.errors import Forbidden, UnknownModel


@frozen
class Resolved:
    """The route that a model name stands for.

    A key's globs are matched against `access`. `label` is the name in metrics: the alias, the glob or `provider:*`,
    never the client's text, since each invented name would be a new time series.
    """

    alias: str
    access: str
    label: str
    route: Route
    retry: Retry


@define
class Table:
    """The routes of one configuration, indexed for `resolve`."""

    config: Config
    _exact: dict[str, Resolved] = field(init=False)
    _globs: list[tuple[str, Route]] = field(init=False)

    def __attrs_post_init__(self) -> None:
        routes = self.config.routes
        self._exact = {
            name: self._resolved(name, name, name, route) for name, route in routes.items() if not is_glob(name)
        }
        globs = [(name, route) for name, route in routes.items() if is_glob(name)]
        self._globs = sorted(globs, key=lambda entry: -len(entry[0]))

    @property
    def aliases(self) -> list[str]:
        """The exact aliases, in the order of the file."""
        return list(self._exact)

    def resolve(self, name: str) -> Resolved:
        """Resolve a model name (docs/endpoints.md#model-names). Raises UnknownModel.

        The first of these wins: an exact alias; `provider:model` in one of its spellings; a glob, the longest first;
        the default provider. After a leading `!` the globs are left out.
        """
        if (found := self._exact.get(name)) is not None:
            return found
        if name.startswith("!"):
            literal = self._direct(name[1:]) or self._default(name[1:])
            if literal is not None:
                return literal
        elif (found := self._direct(name)) is not None:
            return found
        else:
            for pattern, route in self._globs:
                if fnmatchcase(name, pattern):
                    return self._resolved(name, name, pattern, _named(route, name))
            if (found := self._default(name)) is not None:
                return found
        raise UnknownModel(f"The model '{_cut(name)}' does not exist", param="model")

    def _direct(self, name: str) -> Resolved | None:
        """Resolve `provider:model`, `provider/model` or `model#provider`. None when no such provider is configured."""
        providers = self.config.providers
        for separator in ":/":
            provider, found, model = name.partition(separator)
            if found and model and provider in providers:
                return self._single(provider, model)
        model, found, provider = name.rpartition("#")
        if found and model and provider in providers:
            return self._single(provider, model)
        return None

    def _default(self, name: str) -> Resolved | None:
        provider = self.config.default_provider
        return self._single(provider, name) if provider is not None and name else None

    def _single(self, provider: str, model: str) -> Resolved:
        target = Target(provider, model)
        return self._resolved(target.name, target.name, f"{provider}:*", Route(targets=(target,)))

    def _resolved(self, alias: str, access: str, label: str, route: Route) -> Resolved:
        return Resolved(alias, access, label, route, route.retry or self.config.retry)


def check_access(resolved: Resolved, key: Key | None) -> None:
    """Raise Forbidden unless the key's globs allow the alias or the direct name."""
    if key is not None and not may_use(key, resolved.access):
        raise Forbidden(f"This key may not use the model '{_cut(resolved.alias)}'", param="model")


def may_use(key: Key, access: str) -> bool:
    """Whether one of the key's globs matches `access`."""
    return key.has_all_routes or any(fnmatchcase(access, pattern) for pattern in key.routes)


def order(
    route: Route, turn: int, roll: Callable[[], float], latency: Callable[[Target], float | None]
) -> Sequence[Target]:
    """Put the targets in the order of the route's policy.

    `turn` counts the route's exchanges; `roll` returns a random number in [0, 1); `latency` returns a target's
    seconds to first content, None when it is unknown.
    """
    targets = route.targets
    if len(targets) < 2:
        return targets
    match route.policy:
        case "round_robin":
            start = turn % len(targets)
            return targets[start:] + targets[:start]
        case "weighted" | "sticky":  # sticky: of a conversation that nobody serves yet
            return _weighted(targets, roll())
        case "least_latency":
            # A target without a measurement comes first: only a request can measure it.
            return sorted(targets, key=lambda target: latency(target) or 0.0)
        case _:
            return targets


def _weighted(targets: Sequence[Target], roll: float) -> list[Target]:
    sums = list(accumulate(target.weight for target in targets))
    chosen = bisect_right(sums, roll * sums[-1])
    return [targets[chosen], *targets[:chosen], *targets[chosen + 1 :]]


def _named(route: Route, name: str) -> Route:
    """Put the requested name into those targets of a glob route that have no model of their own."""
    targets = tuple(target if target.model else evolve(target, model=name) for target in route.targets)
    fallback = tuple(target if target.model else evolve(target, model=name) for target in route.context_fallback)
    return evolve(route, targets=targets, context_fallback=fallback)


def _cut(name: str) -> str:
    return name if len(name) <= 200 else name[:200] + "…"


def aliases_by_provider(routes: Mapping[str, Route]) -> dict[str, dict[str, str]]:
    """Group the aliases by the provider of their first target: {provider: {alias: model}}."""
    grouped: dict[str, dict[str, str]] = {}
    for alias, route in routes.items():
        first = route.targets[0]
        grouped.setdefault(first.provider, {})[alias] = first.model or alias
    return grouped
