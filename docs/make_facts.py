"""Prints what the packaged facts do not know of the providers' model lists: `make facts CONFIG=providers.yaml`.

Asks each provider of the file that has a credential and a list for its list, once. Changes nothing.
"""

import asyncio
import sys

from gateway.config.fields import BUILTIN
from gateway.config.files import packaged, read_config
from gateway.config.problems import ConfigError
from gateway.config.provider_schema import Provider
from gateway.errors import UpstreamFault
from gateway.proxy.snapshot import Snapshot, make_snapshot
from gateway.server.facts import missing_facts
from gateway.server.model_lists import fetch_list
from gateway.upstream.client import Upstream
from gateway.upstream.http1 import HttpClient

PATIENCE = 20.0  # seconds


def main() -> int:
    """Print the facts that are missing, by provider; return 1 if the file or a list cannot be read."""
    try:
        config = read_config(sys.argv[1] if len(sys.argv) > 1 else "providers.yaml")
    except ConfigError as error:
        print("\n".join(error.lines()), file=sys.stderr)
        return 1
    snapshot, failed = make_snapshot(config, packaged("models.yaml")), False
    for name, provider in config.providers.items():
        pool = snapshot.credential_pools.get(name)
        if (
            provider.lists_models is None
            or provider.base_url == BUILTIN
            or pool is None
            or provider.auth.oauth is not None
        ):
            continue
        try:
            models = asyncio.run(fetch(snapshot, provider))
        except UpstreamFault as error:
            print(f"{name}: no list: {error}", file=sys.stderr)
            failed = True
            continue
        lines = list(missing_facts(provider, models, snapshot.capabilities))
        print("\n".join([f"# {name}: {len(models)} models, {len(lines)} facts missing or different", *lines]))
    return int(failed)


async def fetch(snapshot: Snapshot, provider: Provider) -> list[object]:
    """Return the models of a provider's list. Raises UpstreamFault."""
    client = HttpClient()
    try:
        raw = await fetch_list(Upstream(client), snapshot, provider, bytes, patience=PATIENCE)
    finally:
        await client.close()
    found: list[object] = raw["data"]
    return found


if __name__ == "__main__":
    sys.exit(main())
