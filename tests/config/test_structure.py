"""Plain data becomes the classes of the schema, or problems with their paths."""

import hashlib
from typing import Any

import pytest
from cattrs.errors import BaseValidationError

from gateway.config.fields import KeySecret, ModelSettings, Secret, StoreUrl
from gateway.config.problems import Path
from gateway.config.provider_schema import Auth, OAuth, Provider
from gateway.config.schema import Breaker, Config, Route, Target
from gateway.config.structure import Converter, problems_of

FOUND = {("env", "K"): "key-1", ("env", "EMPTY"): "", ("file", "/run/k"): "key-2"}


def converter() -> Converter:
    return Converter(lambda kind, name: FOUND.get((kind, name)))


def problems(data: Any, kind: Any = Config) -> list[tuple[Path, str]]:
    with pytest.raises((BaseValidationError, ValueError)) as caught:
        converter().structure(data, kind)
    return list(problems_of(caught.value))


def test_every_problem_has_its_path() -> None:
    """All problems of one structure come at once, each with the path to its value."""
    data = {
        "breaker": {"failures": "5", "rest": 3},
        "routes": {"a": {"targets": [{"provider": "p", "model": 1}]}, "b": {}},
        "limits": {"key": {"default": {"burst": -1}}},
        "nope": 1,
    }
    assert {path for path, _ in problems(data)} == {
        ("breaker", "failures"),
        ("breaker", "rest"),
        ("routes", "a", "targets", 0, "model"),
        ("routes", "b"),
        ("limits", "key", "default"),
        ("nope",),
    }


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ({"a": 1, "b": 2}, [(("a",), "unknown key 'a'"), (("b",), "unknown key 'b'")]),
        ({"routes": {"a": {}}}, [(("routes", "a"), "missing key 'targets'")]),
        ({"retry": []}, [(("retry",), "expected a mapping, found a list")]),
        ([], [((), "expected a mapping, found a list")]),
        ({"server": {"listen": "x"}}, [(("server", "listen"), "expected a list, found text")]),
        ({"warnings": []}, [(("warnings",), "unknown key 'warnings'")]),
        (
            {"server": {"expose": {"dashboard": True}}},
            [(("server", "expose", "dashboard"), "'dashboard' is not built in this version: take it out")],
        ),
    ],
)
def test_what_a_problem_says(data: Any, problem: list[tuple[Path, str]]) -> None:
    """An unknown, missing or unbuilt key and a wrong type are told in words for the operator."""
    assert problems(data) == problem


@pytest.mark.parametrize(
    ("value", "target"),
    [
        ("p:m", Target("p", "m")),
        ("p:a:b", Target("p", "a:b")),
        ("fast", Target("fast", None)),
        ({"provider": "p", "model": "m", "weight": 2}, Target("p", "m", 2)),
    ],
)
def test_short_targets(value: Any, target: Target) -> None:
    """A target is `provider:model`, a bare name or a mapping; a route may be one target or a list."""
    assert converter().structure(value, Target) == target
    assert converter().structure([value], Route) == Route((target,))
    if isinstance(value, str):
        assert converter().structure(value, Route) == Route((target,))


@pytest.mark.parametrize(
    ("value", "auth"),
    [
        ("passthrough", Auth(is_passthrough=True)),
        ({"bearer": {"env": "K"}}, Auth("authorization", "Bearer ", (Secret("env K", "key-1"),))),
        (
            {"x-api-key": [{"env": "K"}, {"file": "/run/k"}]},
            Auth("x-api-key", "", (Secret("env K", "key-1"), Secret("file /run/k", "key-2"))),
        ),
        ({"api-key": {"env": "NONE"}}, Auth("api-key", "", (Secret("env NONE", None),))),
        (
            {"oauth": {"credentials_file": "f", "token_url": "u", "client_id": "c", "refresh_before": "1m"}},
            Auth("authorization", "Bearer ", oauth=OAuth("f", "u", "c", 60.0)),  # type: ignore[arg-type]
        ),
    ],
)
def test_forms_of_auth(value: Any, auth: Auth) -> None:
    """Each form of `auth` names its header, its scheme and where its secrets are."""
    assert converter().structure(value, Auth) == auth


@pytest.mark.parametrize(
    "value", ["sk-1", {}, {"bearer": "sk-1"}, {"bearer": {"env": 1}}, {"bearer": {"env": ""}}, {"basic": {}}]
)
def test_a_secret_in_the_file_is_refused_and_not_shown(value: Any) -> None:
    """A secret that stands in the file, or a form that nobody knows, is a problem without the secret's text."""
    ((_, message),) = problems(value, Auth)
    assert "sk-1" not in message


def test_keys_of_clients_are_kept_as_hashes() -> None:
    """A client's key is kept by its SHA-256, given as such or made from the secret; one may stand for a list."""
    digest = hashlib.sha256(b"key-1").digest()
    assert converter().structure({"sha256": digest.hex()}, KeySecret) == KeySecret("sha256", digest)
    assert converter().structure({"env": "K"}, KeySecret) == KeySecret("env K", digest, "key-1")
    for value in ({"env": "K"}, [{"env": "K"}]):
        config = converter().structure({"keys": {"a": {"secret": value}}}, Config)
        assert [secret.digest for secret in config.keys["a"].secret] == [digest]


@pytest.mark.parametrize(
    "value", [{"env": "NONE"}, {"env": "EMPTY"}, {"sha256": "A" * 64}, {"sha256": "0" * 63}, {"sha256": 1}]
)
def test_a_key_without_its_secret_is_a_problem(value: Any) -> None:
    """A key whose secret is missing, empty or no hash would let nobody or everybody in."""
    assert len(problems(value, KeySecret)) == 1


def test_a_stores_url_may_be_a_secret() -> None:
    """The store's URL is a text, or is found where a secret is."""
    config = converter().structure({"store": {"url": "memory:"}}, Config)
    assert config.store.url == StoreUrl("memory:")
    assert converter().structure({"store": {"url": {"env": "K"}}}, Config).store.url == "key-1"
    assert problems({"store": {"url": {"env": "EMPTY"}}}) == [
        (("store", "url"), "the store's URL is missing: env EMPTY")
    ]


def test_only_the_settings_of_a_model_that_are_given_count() -> None:
    """Settings of a model are checked as a whole profile, and kept only where the file sets them."""
    data = {"base_url": "http://x", "models": {"m-*": {"stops": 2, "efforts": ["low"]}}}
    provider = converter().structure(data, Provider)
    assert provider.models == {"m-*": ModelSettings({"stops": 2, "efforts": ("low",)})}
    assert problems({"base_url": "http://x", "models": {"m": {"stops": "2"}}}, Provider) == [
        (("models", "m", "stops"), "expected a whole number, found text")
    ]


def test_nothing_given_is_the_default() -> None:
    """An empty mapping is the default of each class, and a null where one may stand is None."""
    assert converter().structure({}, Config) == Config()
    assert converter().structure({}, Breaker) == Breaker()
    assert converter().structure({"server": {"commit_after": None}}, Config) == Config()
