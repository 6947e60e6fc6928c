"""Chooses the credential of a request to a provider: a static key, in rotation, or the client's own key.

A credential's `id` is safe to log; its value leaves this process in one request header only.
"""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache

from attrs import define, field, frozen

from gateway.config.provider_schema import Auth, Provider
from gateway.errors import Unauthorized
from gateway.policy.health import Health
from gateway.telemetry.redact import Redactor

KEY_ID = 8  # digits of a client key's SHA-256 in log lines


@frozen
class Credential:
    """One header to send. The header name is empty for a provider that needs no credential."""

    id: str
    header: str
    value: str = field(repr=False)


@define
class CredentialPool:
    """The credentials of one provider, used in turn."""

    provider: str
    credentials: Sequence[Credential]
    _turn: int = field(default=0, init=False)

    def has_other(self, used: Credential, target: str, health: Health, now: float) -> bool:
        """Whether another credential than `used` may be used at `target` now."""
        others = (one for one in self.credentials if one.id != used.id)
        return any(health.wait(target, one.id, now) == 0.0 for one in others)

    def is_awake(self, target: str, health: Health, now: float) -> bool:
        """Whether a credential may be used at `target` now."""
        return any(health.wait(target, one.id, now) == 0.0 for one in self.credentials)

    def find(self, wanted: str) -> Credential | None:
        """Return the credential with an id; None if it is no longer configured."""
        return next((one for one in self.credentials if one.id == wanted), None)

    def pick(self, target: str, health: Health, now: float, wanted: str = "") -> tuple[Credential, float]:
        """Return a credential and the seconds until it may be used at `target`, 0 if it may be used now.

        It is the one whose id is `wanted`, if that does not rest; else the next in turn that does not rest; else the
        one with the shortest rest left.
        """
        if len(self.credentials) == 1:
            only = self.credentials[0]
            return only, health.wait(target, only.id, now)
        for one in self.credentials:
            if one.id == wanted and health.wait(target, one.id, now) == 0.0:
                return one, 0.0
        best: tuple[Credential, float] | None = None
        for step in range(len(self.credentials)):
            one = self.credentials[(self._turn + step) % len(self.credentials)]
            wait = health.wait(target, one.id, now)
            if best is None or wait < best[1]:
                best = one, wait
            if wait == 0.0:
                self._turn += step + 1
                break
        assert best is not None  # `make_pool` makes no empty pool
        return best


def make_pool(provider: Provider) -> CredentialPool | None:
    """Make the pool of a provider's credentials; None when they are missing or the client sends its own."""
    auth = provider.auth
    if auth.is_passthrough:
        return None
    if auth.header is None:
        return CredentialPool(provider.name, (Credential(provider.name, "", ""),))
    if auth.oauth is not None:  # the value is empty here: each attempt reads the current token
        return CredentialPool(provider.name, (Credential(f"{provider.name}#oauth", auth.header, ""),))
    found = [_credential(provider.name, auth, secret.value) for secret in auth.secrets if secret.value]
    return CredentialPool(provider.name, found) if found else None


def hash_id(value: str) -> str:
    """Return the first 12 hex digits of a secret's SHA-256: they identify the secret and do not reveal it."""
    return hashlib.sha256(value.encode("utf-8", "replace")).hexdigest()[:12]


def pass_through(
    provider: Provider, headers: Mapping[str, str], native: str, wanted: str, spent: Collection[str]
) -> Credential:
    """Take the client's own provider key (docs/endpoints.md#keys). Raises Unauthorized when there is none.

    The key is in `x-provider-key`, else in the header that is not `native`, else in `native`. `native` is the
    credential header of the client's dialect, `wanted` that of the upstream's. `spent` are the headers that hold a
    gateway key, which never goes upstream.
    """
    chosen, found = headers.get("x-provider-key", "").strip(), ""
    for name in (_other(native), native):
        if not chosen and name not in spent:
            chosen = bare(headers.get(name, ""))
            found = name
    if not chosen:
        raise Unauthorized(
            f"Provider '{provider.name}' requires API key passthrough, but no client API key was provided"
        )
    if native == wanted == "x-api-key" and found:
        wanted = found  # Anthropic's newer SDKs send a bearer token: keep the client's header
    header, value = ("x-api-key", chosen) if wanted == "x-api-key" else ("authorization", f"Bearer {chosen}")
    return Credential(f"{provider.name}#{hash_id(chosen)}", header, value)


def bare(value: str) -> str:
    """Strip `Bearer` from the value of a credential header."""
    scheme, space, rest = value.strip().partition(" ")
    return rest.strip() if space and scheme.lower() == "bearer" else value.strip()


def _other(native: str) -> str:
    return "authorization" if native == "x-api-key" else "x-api-key"


def _credential(provider: str, auth: Auth, value: str) -> Credential:
    return Credential(f"{provider}#{hash_id(value)}", auth.header or "", auth.scheme + value)


@lru_cache(256)
def redactor_of(value: str, others: tuple[str, ...] = ()) -> Redactor:
    """Return a redactor of what one request carries, made once for the many that carry it. Add nothing to it.

    `value` is that of the credential's header, `others` are the further secrets of its provider.
    """
    scheme, space, rest = value.partition(" ")
    return Redactor([rest if space and scheme == "Basic" else bare(value), *others])
