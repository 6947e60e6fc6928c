"""Short forms of routes: a target that is a route, a route that keeps the model's name."""

import pytest

from gateway.config.route_targets import Expander
from gateway.config.schema import Route, Target
from gateway.config.yaml_marks import parse

PROVIDERS = ("one", "two")


def short(name: str) -> Target:
    return Target(name.partition(":")[0], name.partition(":")[2] or None)


def expand(text: str = "", /, **routes: Route) -> tuple[dict[str, Route], list[str]]:
    """Return the routes, and each problem as `line:column path: message`."""
    found = parse(text)
    out = Expander(routes, PROVIDERS, found).expand_all()
    return out, [f"{one.line}:{one.column} {one.path}: {one.message}" for one in found.problems]


def route(*names: str, fallback: tuple[str, ...] = ()) -> Route:
    return Route(tuple(map(short, names)), context_fallback=tuple(map(short, fallback)))


def test_a_target_that_is_a_route_becomes_its_targets() -> None:
    """A named route is replaced by its targets in place, over several steps; all else of a route stays."""
    routes, problems = expand(
        a=Route((short("b"), short("two:z")), policy="round_robin"), b=route("one:x", "c"), c=route("one:y")
    )
    assert [target.name for target in routes["a"].targets] == ["one:x", "one:y", "two:z"]
    assert routes["a"].policy == "round_robin" and not problems


def test_a_fallback_is_expanded_too() -> None:
    """The targets of `context_fallback` may name routes as well."""
    routes, problems = expand(a=route("one:x", fallback=("b",)), b=route("two:y"))
    assert routes["a"].context_fallback == (Target("two", "y"),) and not problems


def test_a_provider_alone_keeps_the_models_name_in_a_glob_route() -> None:
    """A glob route may name a provider only; in another route such a name is no route."""
    routes, problems = expand(**{"gpt-*": route("one")})
    assert routes["gpt-*"].targets == (Target("one", None),) and not problems
    _, problems = expand(a=route("one"))
    assert problems == ["1:1 routes.a: 'one' is no route; a target is provider:model"]


@pytest.mark.parametrize(
    ("text", "routes", "told"),
    [
        ("routes: {a: 'x:m'}", {"a": route("x:m")}, "1:10 routes.a: unknown provider 'x'"),
        ("routes: {a: ['one:m', 'x:m']}", {"a": route("one:m", "x:m")}, "1:23 routes.a[1]: unknown provider 'x'"),
        ("routes: {a: []}", {"a": route()}, "1:10 routes.a: a route needs at least one target"),
        ("routes:\n  a: {targets: [b]}", {"a": route("b")}, "2:17 routes.a.targets[0]: 'b' is no route; a target is provider:model"),
        ("routes: {a: [{provider: one}]}", {"a": route("one")}, "1:14 routes.a[0]: missing key 'model'"),
        ("routes: {a: a}", {"a": route("a")}, "1:10 routes.a: routes in a circle: a -> a"),
    ],
)  # fmt: skip
def test_each_problem_has_its_place(text: str, routes: dict[str, Route], told: str) -> None:
    """A wrong target is told at its own place in the file, and left out."""
    out, problems = expand(text, **routes)
    assert problems == [told]
    assert all(target.provider in PROVIDERS for target in out["a"].targets)


def test_a_circle_is_told_once() -> None:
    """Routes in a circle end, and one message shows the way round, at the target that closes it."""
    out, problems = expand("routes: {a: b, b: c, c: a}", a=route("b"), b=route("c"), c=route("a"))
    assert problems == ["1:22 routes.c: routes in a circle: a -> b -> c -> a"]
    assert all(not found.targets for found in out.values())


def test_a_route_that_leads_into_a_circle_is_not_in_it() -> None:
    """The message names the routes of the circle only, however many others lead into it."""
    _, problems = expand("routes: {x: a, y: a, a: b, b: a}", x=route("a"), y=route("a"), a=route("b"), b=route("a"))
    assert problems == ["1:28 routes.b: routes in a circle: a -> b -> a"]


def test_two_circles_are_two_problems() -> None:
    """Each circle is told, also where they share a route."""
    text = "routes: {a: [b, c], b: a, c: a}"
    _, problems = expand(text, a=route("b", "c"), b=route("a"), c=route("a"))
    assert [one.partition(": ")[2] for one in problems] == [
        "routes in a circle: a -> b -> a",
        "routes in a circle: a -> c -> a",
    ]


@pytest.mark.parametrize("first", ["a", "b"])
def test_a_problem_is_told_once_at_its_own_place(first: str) -> None:
    """A wrong target is told where it stands, not again at each route that names its route, in whatever order."""
    routes = {"a": route("b"), "b": route("x:m", "one:m"), "c": route("a", fallback=("b",))}
    names = sorted(routes, key=lambda name: name != first)
    text = "routes:\n  a: b\n  b: ['x:m', 'one:m']\n  c: {targets: [a], context_fallback: [b]}"
    out, problems = expand(text, **{name: routes[name] for name in names})
    assert problems == ["3:7 routes.b[0]: unknown provider 'x'"]
    assert out["c"].targets == out["c"].context_fallback == (Target("one", "m"),)
