"""One configuration in force, with everything that requests look up in it."""

import ipaddress
from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from gateway.accounts.budgets import BudgetBook, budgets_of
from gateway.accounts.limits import LimitBook
from gateway.accounts.prices import PriceBook
from gateway.config.schema import Config, Key
from gateway.policy.capabilities import Capabilities
from gateway.policy.routes import Table
from gateway.upstream.credentials import KEY_ID, CredentialPool, make_pool
from gateway.upstream.outbound import Outbound, outbound_of

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


NO_PRICES: Mapping[str, Mapping[str, str]] = {}


@frozen
class Owner:
    """A configured client key, with its name; `key_id` tells its secrets apart in the log."""

    name: str
    key: Key
    key_id: str
    digest: bytes = field(repr=False)


@frozen
class Snapshot:
    """One configuration in force. A reload makes a new snapshot; an exchange keeps the one that it began with.

    `base_urls` are by provider, without a slash at the end, with the built-in mock's real address. `rotating` are the
    providers with several credentials.
    """

    config: Config
    table: Table
    capabilities: Capabilities
    owners: Mapping[bytes, Owner]  # by SHA-256 of the key
    credential_pools: Mapping[str, CredentialPool]
    rotating: frozenset[str]
    limit_book: LimitBook
    budgets: BudgetBook
    prices: PriceBook
    trusted: tuple[Network, ...]
    operators: tuple[Network, ...]  # see operators' pages without a key, where there are no keys
    base_urls: Mapping[str, str]
    outbounds: Mapping[str, Outbound]  # by provider


def make_snapshot(
    config: Config,
    packaged: Mapping[str, Any],
    builtin_url: str = "",
    prices: Mapping[str, Mapping[str, str]] = NO_PRICES,
) -> Snapshot:
    """Derive everything that requests look up from a configuration.

    `packaged` is data/models.yaml, `prices` data/prices.yaml.
    """
    owners = {
        secret.digest: Owner(name, key, secret.digest.hex()[:KEY_ID], secret.digest)
        for name, key in config.keys.items()
        for secret in key.secret
    }
    credential_pools = {name: pool for name, provider in config.providers.items() if (pool := make_pool(provider))}
    return Snapshot(
        config=config,
        table=Table(config),
        capabilities=Capabilities(packaged),
        owners=owners,
        credential_pools=credential_pools,
        rotating=frozenset(name for name, pool in credential_pools.items() if len(pool.credentials) > 1),
        limit_book=LimitBook(config.limits),
        budgets=budgets_of(config),
        prices=PriceBook(prices),
        trusted=tuple(ipaddress.ip_network(text) for text in config.server.trusted_proxies),
        operators=tuple(ipaddress.ip_network(text) for text in config.server.expose.networks),
        base_urls={
            name: builtin_url if provider.base_url == "builtin:mock" else provider.base_url.rstrip("/")
            for name, provider in config.providers.items()
        },
        outbounds={name: outbound_of(provider) for name, provider in config.providers.items()},
    )
