"""The table of stores: which URL names which, and what is wrong with one."""

import importlib

import pytest

from gateway.store.schemes import SCHEMES, split_scheme, store_problem

SHARED = ("redis", "rediss", "valkey", "valkeys", "redis+sentinel", "rediss+sentinel")


@pytest.mark.parametrize(
    "url",
    [
        "redis+sentinel://a:26379,b/main/0",
        "rediss+sentinel://user:pw@a:1/main",
        "memory:",
        "sqlite:state/gateway.db",
        "sqlite:/var/lib/gateway.db",
        "redis://h",
        "redis://h/",
        "redis://h:6379/0",
        "rediss://user:pw@h:1/15",
        "valkey://[::1]:6379/2",
        "valkeys://h",
    ],
)
def test_urls_that_can_be_used(url: str) -> None:
    """A file, the memory and a server with an optional port and number are stores."""
    assert store_problem(url) is None


@pytest.mark.parametrize(
    "url",
    [
        "",
        "state.db",
        "mongo://h/0",
        "sqlite:",
        "redis:",
        "redis://",
        "redis://:pw@/0",
        "redis://h:0/0",
        "redis://h:70000/0",
        "redis://h:port/0",
        "redis://h/name",
        "redis://h/-1",
        "redis://h/0/1",
        "redis://[h/0",
        "REDIS://h",
    ],
)
def test_urls_that_cannot(url: str) -> None:
    """Any other URL is answered with the forms that can be used, never with the URL: it may hold a password."""
    problem = store_problem(url)
    assert problem is not None and problem.startswith("expected sqlite:PATH")
    assert "pw" not in problem


def test_a_url_is_split_at_its_first_colon() -> None:
    """The scheme's entry comes with all that stands behind the colon."""
    assert split_scheme("sqlite:a:b") == (SCHEMES["sqlite"], "a:b")
    assert split_scheme("mongo://x") == (None, "//x")


@pytest.mark.parametrize("name", sorted(SCHEMES))
def test_every_entry_names_a_class_that_opens(name: str) -> None:
    """Each entry's module has its class, with `open`; a store is one file or shared, never both."""
    scheme = SCHEMES[name]
    assert callable(getattr(importlib.import_module(scheme.module), scheme.name).open)
    assert not (scheme.is_shared and scheme.has_file)


def test_what_follows_from_a_scheme() -> None:
    """Only Redis and Valkey are shared by several gateways, only SQLite has a file, only what may be missing a hint."""
    assert {name for name, scheme in SCHEMES.items() if scheme.is_shared} == set(SHARED)
    assert {name for name, scheme in SCHEMES.items() if scheme.has_file} == {"sqlite"}
    assert {name for name, scheme in SCHEMES.items() if not scheme.hint} == {"memory"}
