"""Finds settings that are valid and probably not meant: what `gateway check` warns of, and the log at start."""

import ipaddress
import re
from collections.abc import Iterator

from gateway.config.checks import is_loopback, password_in, split_url
from gateway.config.schema import Config, Provider
from gateway.store.schemes import split_scheme
from gateway.wire import DIALECTS

_WITHOUT_VERSION = frozenset({"api.deepseek.com", "api.perplexity.ai", "models.github.ai"})  # nor in a path
_VERSION = re.compile(r"/v\d")
MIN_KEY = 16  # letters of a client key; shorter ones can be guessed


def warnings_of(config: Config, text: str) -> Iterator[str]:
    """Describe each setting that is valid and probably not meant, such as a provider whose credential is missing."""
    if password_in(config.store.url) and config.store.url in text:
        yield "store.url: a password stands in the file: write url: {env: NAME} or {file: PATH}"
    scheme, _ = split_scheme(config.store.url)
    if scheme is not None and scheme.is_shared and config.server.secret is None:
        yield "server.secret: gateways that share a store need the same one, or lose thoughts of other providers"
    exposed = config.server.expose.listen
    if exposed is not None and not is_loopback(exposed):
        yield f"server.expose.listen: everybody who reaches {exposed} sees operators' pages without a key"
    for network in config.server.trusted_proxies:
        if network.endswith("/0"):
            yield f"server.trusted_proxies: {network} believes everybody's X-Forwarded-For: name your proxies"
    for name, key in config.keys.items():
        if any(secret.text and len(secret.text) < MIN_KEY for secret in key.secret):
            yield f"keys.{name}: shorter than {MIN_KEY} letters, it can be guessed: gateway keys new {name}"
    for name, provider in config.providers.items():
        url = split_url(provider.base_url)
        if url is not None and url.scheme == "http" and provider.auth.secrets and not _is_here(url.hostname or ""):
            yield f"providers.{name}: its credential is sent over http, for everybody on the way to read: use https"
        if (
            url is not None
            and provider.base_url in text
            and (doubt := _doubt(url.path.rstrip("/"), url.hostname, provider))
        ):
            yield f"providers.{name}.base_url: {doubt}"
        if not provider.is_live:
            origins = ", ".join(secret.origin for secret in provider.auth.secrets)
            yield f"providers.{name}: disabled, its credential is missing ({origins})"
    for alias, route in config.routes.items():
        if not any(config.providers[target.provider].is_live for target in route.targets):
            yield f"routes.{alias}: no live target; requests for it are answered 503"


def _doubt(path: str, host: str | None, provider: Provider) -> str:
    """Say why a base URL is probably not where the API begins; empty if nothing speaks against it."""
    ends = [dialect for dialect in DIALECTS.values() if path.endswith(dialect.path)]
    if ends:
        longest = max(ends, key=lambda dialect: len(dialect.path))
        return f"it ends with the path of {longest.name}: leave {longest.path} out"
    for name, usual in provider.speaks.items():
        is_own, first = usual != DIALECTS[name].path, "/" + usual.split("/")[1]
        if is_own and path and (f"{path}/".startswith(f"{first}/") or ("/v1/" in usual and path.endswith("/v1"))):
            return f"the path of {name} is {usual}: leave {path} out"
        if not is_own and not _VERSION.search(path) and host not in _WITHOUT_VERSION:
            return f"it has no {'version' if path else 'path'}, and most APIs begin at /v1: does it lack it?"
    return ""


def _is_here(host: str) -> bool:
    """Whether a host name is this machine: nobody else reads what is sent to it."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
