"""Asks each provider for its model list, for `gateway check --probe`: is it there, is the credential good?"""

import asyncio
from collections.abc import Sequence

from attrs import frozen

from gateway.config.fields import BUILTIN
from gateway.config.files import packaged
from gateway.config.provider_schema import Provider
from gateway.config.schema import Config
from gateway.errors import GatewayError
from gateway.proxy.snapshot import Snapshot, make_snapshot
from gateway.server.app import secrets_of
from gateway.server.model_lists import fetch_list
from gateway.telemetry.redact import Redactor
from gateway.upstream.client import Upstream
from gateway.upstream.http1 import HttpClient

PATIENCE_S = 10.0


@frozen
class Probed:
    """What a provider said: how many models it lists, or what is wrong; neither if it could not be asked."""

    provider: str
    models: int | None = None
    problem: str = ""
    reason: str = ""  # why it was not asked


async def probe(config: Config) -> Sequence[Probed]:
    """Ask all providers at the same time."""
    snapshot = make_snapshot(config, packaged("models.yaml"))
    client = HttpClient()
    try:
        upstream, redactor = Upstream(client), Redactor(secrets_of(config), deep=True)
        providers = config.providers.values()
        return await asyncio.gather(*(_probe(upstream, snapshot, one, redactor) for one in providers))
    finally:
        await client.close()


async def _probe(upstream: Upstream, snapshot: Snapshot, provider: Provider, redactor: Redactor) -> Probed:
    name = provider.name
    if reason := _reason_not_to(provider):
        return Probed(name, reason=reason)
    try:
        found = await fetch_list(upstream, snapshot, provider, redactor.clean, patience=PATIENCE_S)
    except GatewayError as error:
        return Probed(name, problem=f"{error.message} ({snapshot.base_urls[name]}{provider.lists_models})")
    return Probed(name, models=len(found["data"]))


def _reason_not_to(provider: Provider) -> str:
    if provider.base_url == BUILTIN:
        return "built in"
    if provider.auth.is_passthrough:
        return "its clients bring the key"
    if not provider.is_live:
        return "its credential is missing"
    if provider.auth.oauth is not None:
        return "its token is refreshed by the daemon only"
    return "" if provider.lists_models is not None else "it has no model list"
