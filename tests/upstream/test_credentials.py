"""Credentials in rotation, and keys that clients bring."""

from typing import Any

import pytest

from gateway.config.fields import Secret
from gateway.config.provider_schema import Auth, Provider
from gateway.config.schema import Breaker
from gateway.errors import Unauthorized
from gateway.faults import Fault
from gateway.policy.health import Health
from gateway.upstream.credentials import CredentialPool, bare, hash_id, make_pool, pass_through


def provider(**auth: Any) -> Provider:
    return Provider(base_url="http://x", name="p", auth=Auth(**auth))


def test_credentials_take_turns_and_a_resting_one_is_passed_over() -> None:
    """A provider's keys take turns, and a resting key is passed over.

    If all rest, the one that is free soonest is picked, with its wait in seconds.
    """
    secrets = tuple(Secret(f"env K{n}", f"secret-{n}") for n in range(3))
    pool = make_pool(provider(header="authorization", scheme="Bearer ", secrets=(*secrets, Secret("env NONE"))))
    health = Health(Breaker())
    assert isinstance(pool, CredentialPool)
    used = [pool.pick("t", health, 0.0)[0].value for _ in range(4)]
    assert used == ["Bearer secret-0", "Bearer secret-1", "Bearer secret-2", "Bearer secret-0"]

    second = pool.credentials[1]
    health.fail("t", second.id, Fault.CREDENTIALS, None, 0.0)
    assert second.id not in {pool.pick("t", health, 0.0)[0].id for _ in range(6)}
    assert pool.has_other(pool.credentials[0], "t", health, 0.0)
    for one in pool.credentials:
        health.fail("t", one.id, Fault.LIMITED, 20.0 if one is pool.credentials[2] else 90.0, 0.0)
    assert pool.pick("t", health, 0.0) == (pool.credentials[2], 20.0)
    assert not pool.has_other(pool.credentials[0], "t", health, 0.0)
    assert "secret" not in repr(pool)


def test_no_secret_no_pool() -> None:
    """A provider without its secret, or with passthrough, has no pool; one that needs no secret has one."""
    assert make_pool(provider(header="x-api-key", secrets=(Secret("env NONE"),))) is None
    assert make_pool(provider(is_passthrough=True)) is None
    free = make_pool(provider())
    assert free is not None and free.credentials[0].header == ""


@pytest.mark.parametrize(
    ("headers", "spent", "sent"),
    [
        ({"x-provider-key": "pk", "authorization": "Bearer a"}, ["authorization"], "Bearer pk"),
        ({"authorization": "Bearer gw", "x-api-key": "pk"}, ["authorization"], "Bearer pk"),
        ({"authorization": "bearer pk"}, [], "Bearer pk"),
    ],
)
def test_passthrough_takes_the_clients_provider_key(headers: dict[str, str], spent: list[str], sent: str) -> None:
    """The client's key is x-provider-key, else the other header, else the native header of an open gateway."""
    found = pass_through(provider(is_passthrough=True), headers, "authorization", "authorization", spent)
    assert (found.header, found.value) == ("authorization", sent)
    assert found.id == f"p#{hash_id('pk')}"


@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer gw"}])
def test_a_gateway_key_is_never_passed_through(headers: dict[str, str]) -> None:
    """If the client shows no key but the gateway's, the error is a 401 in the documented words."""
    with pytest.raises(
        Unauthorized, match="Provider 'p' requires API key passthrough, but no client API key was provided"
    ):
        pass_through(provider(is_passthrough=True), headers, "authorization", "authorization", ["authorization"])


@pytest.mark.parametrize(
    ("value", "key"),
    [("Bearer a b", "a b"), ("bearer  x ", "x"), ("BEARER x", "x"), ("x", "x"), ("Basic x", "Basic x")],
)
def test_the_scheme_is_taken_off_in_any_case(value: str, key: str) -> None:
    """`Bearer` in any case is taken off a header; any other scheme stays."""
    assert bare(value) == key
