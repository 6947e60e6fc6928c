"""What `gateway check` warns of: valid, and probably not meant."""

import importlib.util
from datetime import UTC, datetime, timedelta

import pytest

from gateway.accounts.prices import price_warnings
from gateway.config.files import packaged, packaged_prices
from gateway.config.load import load

ENVIRON = {"K": "sk-0123456789abcdef", "G": "gwk_0123456789abcdef"}
BASE = """
providers:
  openai: {auth: {bearer: {env: K}}}
  slow: {base_url: "https://slow.example/v1", speaks: [openai_chat], timeouts: {first_byte: 10m}}
"""


def said(text: str, base: str = BASE) -> list[str]:
    config = load(base + text, "f", lambda _, name: ENVIRON.get(name), packaged("presets.yaml"))
    return [one.said("f", "warning: ") for one in config.warnings]


GOOD = 'routes: {a: ["openai:x", "slow:y"], "gpt-*": openai}'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "f:2:1: warning: routes: no routes"),
        ('routes: {"openai/*": slow, a: "openai:x"}', "f:5:10: warning: routes.openai/*: never asked"),
        ('routes: {"openai:gpt*": slow}', "routes.openai:gpt*: never asked"),
        (GOOD + "\nkeys: {k: {secret: {env: G}, routes: [a, 'b*']}}", "keys.k.routes[1]: 'b*' matches no route"),
        (GOOD + "\nkeys: {k: {secret: {env: G}, routes: [other:x]}}", "keys.k.routes[0]: 'other:x' matches no route"),
        (GOOD + "\nkeys: {k: {secret: {env: G}, expires: 2020-01-01}}", "keys.k.expires: the key has expired"),
        ('routes: {a: ["slow:x", "openai:y"]}', "retry.within (300 s) is shorter than providers.slow.timeouts.first_byte"),
        (
            'routes: {a: {targets: ["openai:x", "slow:y"], retry: {within: 60s}}}',
            "routes.a.retry.within: within (60 s) is shorter than providers.openai.timeouts.first_byte (120 s)",
        ),
        (
            'routes: {a: [{provider: openai, model: x, timeouts: {first_byte: 6m}}, "slow:y"]}',
            "is shorter than timeouts.first_byte of openai:x (360 s): a silent target would leave no time for the next",
        ),
        (GOOD + "\nserver: {timeouts: {total: 100s}}", "server.timeouts.total (100 s) ends before"),
        (GOOD + "\nserver: {hosts: ['${HOST}']}", "server.hosts[0]: '${HOST}' is taken as it stands"),
        ('routes: {a: {targets: ["openai:x"], hedge: 1s}}', "routes.a.hedge: there is no second target"),
    ],
)  # fmt: skip
def test_each_has_its_place(text: str, words: str) -> None:
    """A warning names the line, the column and the key."""
    lines = said(text)
    assert any(words in line for line in lines), lines
    assert all(line.startswith("f:") and ": warning: " in line for line in lines)


def test_what_is_meant_is_not_warned_of() -> None:
    """Last targets may be slow, a key may name a glob route's model or a provider's, a `$` may be a dollar."""
    assert said(GOOD) == []
    keys = "\nkeys: {k: {secret: {env: G}, routes: [a, gpt-5, 'gpt-4*', 'openai:*', 'slow:y', '*']}}"
    assert said(GOOD + keys) == []
    assert said("routes: {}") == []
    assert said(GOOD + "\nserver: {hosts: ['$5.example']}") == []


def test_an_extra_that_is_missing_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store whose package is not installed would keep the gateway from starting."""
    text = GOOD + '\nstore: {url: "redis://h:6379"}\nserver: {secret: {env: G}}'
    assert said(text) == []
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "redis" else real(name))
    assert "store.url: the package redis is missing" in said(text)[0]


def test_ways_that_are_not_safe_are_named() -> None:
    """A certificate that is not looked at, a password in the file, a setting that is missing."""
    providers = """
providers:
  a: {base_url: {env: NOWHERE}, speaks: [openai_chat]}
  b: {base_url: "https://b.example/v1", speaks: [openai_chat], headers: {x-id: {env: NOT}}, tls: {verify: false}}
  c: {base_url: "https://c.example/v1", speaks: [openai_chat], proxy: "http://me:secret@p:1"}
routes: {}
"""
    lines = said("", providers)
    assert "providers.a: disabled, its settings are missing (env NOWHERE)" in lines[0]
    assert "providers.b: disabled, its settings are missing (env NOT)" in lines[1]
    assert "providers.b.tls.verify: anybody on the way" in lines[2]
    assert "providers.c.proxy: a password stands in the file" in lines[3] and "secret@" not in lines[3]


def test_a_key_that_ends_soon_is_told_of() -> None:
    """An expiry is warned of fourteen days before, not earlier."""
    today = datetime.now(UTC).date()
    for days, is_told in ((0, True), (14, True), (15, False)):
        expires = (today + timedelta(days)).isoformat()
        lines = said(f"{GOOD}\nkeys: {{k: {{secret: {{env: G}}, expires: {expires}}}}}")
        assert any(f"the key expires on {expires}" in line for line in lines) is is_told


def test_budgets_that_would_not_hold_are_told_of() -> None:
    """A budget over models without a price, and one whose sums end with the process, are warned of."""
    base = BASE.replace("providers:", 'store: {url: "memory:"}\nproviders:')
    assert any("budgets begin anew" in line for line in said(f"{GOOD}\nbudget: {{usd: 5}}", base))
    assert not any("budgets begin anew" in line for line in said(f"{GOOD}\nbudget: {{usd: 5}}"))
    text = (
        f"{BASE}\n{GOOD}\nkeys: {{k: {{secret: {{env: G}}, routes: [a], budget: {{usd: 1}}}}}}\nbudget: {{tokens: 5}}"
    )
    config = load(text, "f", lambda _, name: ENVIRON.get(name), packaged("presets.yaml"))
    (warning,) = price_warnings(config, packaged_prices())
    assert (
        warning.said("f", "").startswith("f:7:43: keys.k.budget")
        and "a part of the price is not known of openai:x, slow:y" in warning.message
    )
