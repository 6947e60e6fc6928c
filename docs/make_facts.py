"""Prints what the packaged facts do not know of the providers' model lists: `make facts CONFIG=providers.yaml`.

Asks each provider of the file that has a credential and a list for its list, once. Changes nothing.
"""

import sys
from urllib.error import URLError
from urllib.request import Request, urlopen

from gateway.config.fields import BUILTIN
from gateway.config.files import packaged, read_config
from gateway.config.problems import ConfigError
from gateway.config.schema import Provider
from gateway.errors import UpstreamFault
from gateway.proxy.snapshot import Snapshot, make_snapshot
from gateway.server.facts import missing_facts
from gateway.server.model_lists import read_list

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
            models = fetch(snapshot, provider)
        except (URLError, OSError, UpstreamFault) as error:
            print(f"{name}: no list: {error}", file=sys.stderr)
            failed = True
            continue
        lines = list(missing_facts(provider, models, snapshot.capabilities))
        print("\n".join([f"# {name}: {len(models)} models, {len(lines)} facts missing or different", *lines]))
    return int(failed)


def fetch(snapshot: Snapshot, provider: Provider) -> list[object]:
    """Return the models of a provider's list. Raises OSError or UpstreamFault."""
    credential = snapshot.credential_pools[provider.name].credentials[0]
    headers = {"Accept": "application/json", "User-Agent": "gateway-facts", **provider.headers}
    if credential.header:
        headers[credential.header] = credential.value
    query = "&".join(f"{key}={value}" for key, value in provider.query.items())
    url = f"{snapshot.base_urls[provider.name]}{provider.lists_models}{'?' if query else ''}{query}"
    with urlopen(Request(url, headers=headers), timeout=PATIENCE) as reply:  # noqa: S310 - the operator's own URL
        found: list[object] = read_list(reply.status, reply.read())["data"]
    return found


if __name__ == "__main__":
    sys.exit(main())
