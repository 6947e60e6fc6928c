"""Resolving a model's name to its targets, in the order of docs/endpoints.md#model-names."""

from collections import Counter
from random import Random

import pytest

from gateway.config.provider_schema import Provider
from gateway.config.schema import Config, Key, Route, Target
from gateway.errors import Forbidden, UnknownModel
from gateway.policy.routes import Table, aliases_by_provider, check_access, order

PROVIDERS = {name: Provider(base_url="http://x", name=name) for name in ("openai", "anthropic", "openrouter")}
ROUTES = {
    "fast": Route((Target("openai", "gpt-4o-mini"),)),
    "openai:special": Route((Target("anthropic", "claude"),)),
    "gpt-4o*": Route((Target("openai"),)),
    "gpt-*": Route((Target("anthropic"), Target("openai", "fixed"))),
}
TABLE = Table(Config(providers=PROVIDERS, routes=ROUTES))


def names(model: str, table: Table = TABLE) -> list[str]:
    return [target.name for target in table.resolve(model).route.targets]


@pytest.mark.parametrize(
    ("model", "targets"),
    [
        ("fast", ["openai:gpt-4o-mini"]),
        ("openai:special", ["anthropic:claude"]),  # an exact route comes first
        ("!openai:special", ["openai:special"]),  # unless routes are skipped
        ("openai:gpt-5", ["openai:gpt-5"]),
        ("openai/gpt-5", ["openai:gpt-5"]),
        ("gpt-5#openai", ["openai:gpt-5"]),
        ("openrouter:x/y:free", ["openrouter:x/y:free"]),
        ("openrouter/x/y:free", ["openrouter:x/y:free"]),
        ("gpt-4o-2024", ["openai:gpt-4o-2024"]),  # the longest glob
        ("gpt-5", ["anthropic:gpt-5", "openai:fixed"]),
    ],
)
def test_names_are_resolved_in_order(model: str, targets: list[str]) -> None:
    """An exact route comes first, then `!` (skip the routes), then direct forms, then the longest glob."""
    assert names(model) == targets


@pytest.mark.parametrize("model", ["nope", "x/y:free", "a:b", "m#nope", "!nope", "!fast", "", "openai:", "x" * 500])
def test_an_unknown_name_is_a_404(model: str) -> None:
    """An unknown name raises UnknownModel: it is not cut at an unknown provider nor matched by substring."""
    with pytest.raises(UnknownModel) as caught:
        TABLE.resolve(model)
    assert caught.value.code == "model_not_found"
    assert len(caught.value.message) < 300


def test_the_default_provider_takes_the_rest() -> None:
    """The default provider gets every other name whole, whatever is in it."""
    table = Table(Config(providers=PROVIDERS, routes=ROUTES, default_provider="openrouter"))
    assert names("x/y:free", table) == ["openrouter:x/y:free"]
    assert names("!fast", table) == ["openrouter:fast"]
    assert names("fast", table) == ["openai:gpt-4o-mini"]


def test_labels_are_bounded_whatever_clients_ask_for() -> None:
    """A label is a glob or `provider:*`, so that no name of a client's making gets into metrics."""
    labels = {TABLE.resolve(f"gpt-4o-{n}").label for n in range(50)} | {
        TABLE.resolve(f"openai:{n}").label for n in range(50)
    }
    assert labels == {"gpt-4o*", "openai:*"}


@pytest.mark.parametrize(
    ("globs", "model", "allowed"),
    [
        (("*",), "fast", True),
        (("fast",), "fast", True),
        (("f*",), "fast", True),
        (("slow",), "fast", False),
        (("fast",), "openai:gpt-4o-mini", False),  # a direct name is matched as provider:model
        (("openai:*",), "openai/gpt-5", True),
        (("openai:*",), "gpt-5#openai", True),
        (("gpt-4o*",), "gpt-4o-mini", True),
    ],
)
def test_a_key_may_use_what_its_globs_allow(globs: tuple[str, ...], model: str, allowed: bool) -> None:
    """A key's globs match the alias or, for a direct name, provider:model; else Forbidden is raised."""
    key = Key(secret=(), routes=globs)
    if allowed:
        check_access(TABLE.resolve(model), key)
    else:
        with pytest.raises(Forbidden):
            check_access(TABLE.resolve(model), key)
    check_access(TABLE.resolve(model), None)


A, B, C = Target("openai", "a", weight=1), Target("openai", "b", weight=3), Target("openai", "c", weight=6)


def ordered(policy: str, turn: int = 0, roll: float = 0.0, latency: dict[str, float] | None = None) -> str:
    route = Route((A, B, C), policy=policy)
    found = order(route, turn, lambda: roll, lambda target: (latency or {}).get(target.name))
    return "".join(target.model or "" for target in found)


def test_policies_order_the_targets() -> None:
    """A policy chooses the first target, and every other target stays in the list."""
    assert ordered("ordered") == "abc"
    assert [ordered("round_robin", turn) for turn in range(4)] == ["abc", "bca", "cab", "abc"]
    assert [ordered("weighted", roll=roll) for roll in (0.0, 0.0999, 0.1, 0.39, 0.4, 0.999)] == [
        "abc",
        "abc",
        "bac",
        "bac",
        "cab",
        "cab",
    ]
    assert ordered("least_latency", latency={"openai:a": 3.0, "openai:b": 1.0, "openai:c": 2.0}) == "bca"
    assert ordered("least_latency", latency={"openai:a": 1.0, "openai:b": 2.0}) == "cab"  # the unknown one is tried


def test_weights_are_shares() -> None:
    """Over many rolls each target comes first as often as its weight says."""
    dice = Random(7)
    counts = Counter(ordered("weighted", roll=dice.random())[0] for _ in range(5000))
    assert abs(counts["a"] / 5000 - 0.1) < 0.02 and abs(counts["c"] / 5000 - 0.6) < 0.03


def test_aliases_are_grouped_by_their_first_provider() -> None:
    """Aliases are grouped by the provider of their first target, as /v1/aliases shows them."""
    assert aliases_by_provider(ROUTES)["openai"] == {"fast": "gpt-4o-mini", "gpt-4o*": "gpt-4o*"}
