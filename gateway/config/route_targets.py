"""Expands the short forms of `routes`: a target that names another route, a glob route that keeps the model name."""

from collections.abc import Collection, Mapping, Sequence

from attrs import define, evolve, field

from gateway.config.problems import Path
from gateway.config.schema import Route, Target, is_glob
from gateway.config.yaml_marks import Text


@define
class Expander:
    """Replaces every target that names a route by the targets of that route; notes unknown names and circles."""

    routes: Mapping[str, Route]
    providers: Collection[str]  # all names in the file, also of providers with wrong settings
    text: Text
    _complained: set[Path] = field(factory=set, init=False)
    _circles: set[frozenset[str]] = field(factory=set, init=False)

    def expand_all(self) -> dict[str, Route]:
        """Return the routes with (provider, model) targets only. In a glob route `model` may be None."""
        return {name: self._expand_route(name) for name in self.routes}

    def _expand_route(self, name: str) -> Route:
        route = self.routes[name]
        inner = self._place(name)
        targets = self._expand(name, route.targets, inner, (name,))
        fallback = self._expand(name, route.context_fallback, ("routes", name, "context_fallback"), (name,))
        if not route.targets:
            self._complain(inner, "a route needs at least one target")
        return evolve(route, targets=targets, context_fallback=fallback)

    def _place(self, name: str) -> Path:
        """Return where a route's targets stand in the file."""
        place: Path = ("routes", name)
        return (*place, "targets") if (*place, "targets") in self.text.marks else place

    def _expand(self, name: str, targets: Sequence[Target], place: Path, above: tuple[str, ...]) -> tuple[Target, ...]:
        out: list[Target] = []
        for index, target in enumerate(targets):
            here = (*place, index) if (*place, index) in self.text.marks else place
            out += self._expand_one(name, target, here, above)
        return tuple(out)

    def _expand_one(self, name: str, target: Target, here: Path, above: tuple[str, ...]) -> Sequence[Target]:
        if target.provider in self.providers and (target.model is not None or is_glob(name)):
            return [target]
        if target.model is not None:
            self._complain(here, f"unknown provider '{target.provider}'")
        elif (*here, "provider") in self.text.marks:
            self._complain(here, "missing key 'model'")
        elif target.provider in above:
            self._complain_of_circle(here, (*above[above.index(target.provider) :], target.provider))
        elif target.provider in self.routes:
            other = self.routes[target.provider]
            return self._expand(target.provider, other.targets, self._place(target.provider), (*above, target.provider))
        else:
            self._complain(here, f"'{target.provider}' is no route; a target is provider:model")
        return []

    def _complain_of_circle(self, place: Path, names: tuple[str, ...]) -> None:
        """Report a circle at the first of its routes from which it is seen, not once more from each of the others."""
        if frozenset(names) not in self._circles:
            self._circles.add(frozenset(names))
            self._complain(place, f"routes in a circle: {' -> '.join(names)}")

    def _complain(self, place: Path, message: str) -> None:
        # A wrong route is expanded again for each route that names it: report its problem once.
        if place not in self._complained:
            self._complained.add(place)
            self.text.complain(place, message)
