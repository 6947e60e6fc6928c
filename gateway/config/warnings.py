"""Finds settings that are valid and probably not meant: what `gateway check` warns of, and the log at start."""

import importlib.util
import ipaddress
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any

from gateway.config.checks import Found, is_loopback, password_in, split_url
from gateway.config.problems import Path
from gateway.config.provider_schema import Provider
from gateway.config.schema import Budget, Config, Key, Route, Target, is_glob
from gateway.store.schemes import split_scheme
from gateway.wire import DIALECTS

_WITHOUT_VERSION = frozenset({"api.deepseek.com", "api.perplexity.ai", "models.github.ai"})  # nor in a path
_VERSION = re.compile(r"/v\d")
_VARIABLE = re.compile(r"\$\{(\w+)[^}]*\}|\$\((\w+)\)")
_WILD = re.compile(r"[*?\[]")
WARNED_BEFORE = timedelta(days=14)  # the last day of a key
MIN_KEY = 16  # letters of a client key; shorter ones can be guessed


def warnings_of(config: Config, data: Any) -> Found:
    """Yield (path, message) of each setting that is valid and probably not meant; `data` is what stands in the file."""
    if not config.routes and config.default_provider is None and _at(data, "routes") is None:
        yield (
            ("routes",),
            "no routes: only names such as provider:model are served (`routes: {}` says that it is meant)",
        )
    yield from _of_server(config, data)
    if scheme_keeps_nothing(config.store.url) and any(_budgets(config)):
        yield ("store", "url"), "with memory: budgets begin anew at each start: use sqlite:PATH or redis://..."
    yield from _of_variables(data, ())
    for name, key in config.keys.items():
        yield from _of_key(("keys", name), key, config)
    for name, provider in config.providers.items():
        yield from _of_provider(("providers", name), provider, data)
    for alias, route in config.routes.items():
        yield from _of_route(("routes", alias), alias, route, config)


def _of_server(config: Config, data: Any) -> Found:
    if password_in(config.store.url) and _at(data, "store", "url") == config.store.url:
        yield ("store", "url"), "a password stands in the file: write url: {env: NAME} or {file: PATH}"
    scheme, _ = split_scheme(config.store.url)
    if scheme is not None and scheme.is_shared and config.server.secret is None:
        yield ("server", "secret"), "gateways that share a store need the same one, or lose thoughts of other providers"
    if scheme is not None and scheme.needs and importlib.util.find_spec(scheme.needs) is None:
        yield ("store", "url"), f"the package {scheme.needs} is missing, and the gateway will not start: {scheme.hint}"
    exposed = config.server.expose.listen
    if exposed is not None and not is_loopback(exposed):
        yield ("server", "expose", "listen"), f"everybody who reaches {exposed} sees operators' pages without a key"
    for index, network in enumerate(config.server.trusted_proxies):
        if network.endswith("/0"):
            message = f"{network} believes everybody's X-Forwarded-For: name your proxies"
            yield ("server", "trusted_proxies", index), message


def scheme_keeps_nothing(url: str) -> bool:
    """Whether a store's contents end with the process."""
    scheme, _ = split_scheme(url)
    return scheme is not None and not (scheme.has_file or scheme.is_shared)


def _budgets(config: Config) -> Iterator[Budget]:
    """Yield every budget of the file."""
    owners: tuple[Config | Key | Route, ...] = (config, *config.keys.values(), *config.routes.values())
    yield from (owner.budget for owner in owners if owner.budget is not None)


def _of_variables(data: Any, path: Path) -> Found:
    """Find texts such as `${NAME}`, which other programs replace by a variable, and this one does not."""
    if isinstance(data, dict):
        for key, value in data.items():
            yield from _of_variables(value, (*path, key))
    elif isinstance(data, list):
        for index, value in enumerate(data):
            yield from _of_variables(value, (*path, index))
    elif isinstance(data, str) and (found := _VARIABLE.search(data)) is not None:
        yield (
            path,
            f"'{found[0]}' is taken as it stands: where a variable is meant, write {{env: {found[1] or found[2]}}}",
        )


def _of_key(path: Path, key: Key, config: Config) -> Found:
    if any(secret.text and len(secret.text) < MIN_KEY for secret in key.secret):
        yield path, f"shorter than {MIN_KEY} letters, it can be guessed: gateway keys new {path[-1]}"
    today = datetime.now(UTC).date()
    if key.expires is not None and key.expires < today:
        yield (*path, "expires"), f"the key has expired on {key.expires}: its requests are answered 401"
    elif key.expires is not None and key.expires - today <= WARNED_BEFORE:
        yield (
            (*path, "expires"),
            f"the key expires on {key.expires}: gateway keys new {path[-1]}, and list both secrets",
        )
    for index, pattern in enumerate(key.routes):
        if not _can_match(pattern, config):
            yield (*path, "routes", index), f"'{pattern}' matches no route, and no model of a provider"


def _can_match(pattern: str, config: Config) -> bool:
    """Whether a key's glob may match a name that can be resolved. Two globs are compared by how they begin."""
    if config.default_provider is not None and ":" not in pattern:
        return True
    names = [*config.routes, *(f"{name}:*" for name in config.providers)]
    return any(fnmatchcase(name, pattern) or (is_glob(name) and _may_meet(name, pattern)) for name in names)


def _may_meet(one: str, other: str) -> bool:
    begins = sorted((_WILD.split(one, maxsplit=1)[0], _WILD.split(other, maxsplit=1)[0]), key=len)
    return begins[1].startswith(begins[0]) if is_glob(other) else fnmatchcase(other, one)


def _of_provider(path: Path, provider: Provider, data: Any) -> Found:
    url = split_url(provider.base_url)
    if url is not None and url.scheme == "http" and provider.auth.secrets and not _is_here(url.hostname or ""):
        yield path, "its credential is sent over http, for everybody on the way to read: use https"
    is_own = isinstance(_at(data, *path, "base_url"), str)  # it stands in the file, and not in the preset
    if url is not None and is_own and (doubt := _doubt(url.path.rstrip("/"), url.hostname, provider)):
        yield (*path, "base_url"), doubt
    if provider.missing:
        yield path, f"disabled, its settings are missing ({', '.join(provider.missing)})"
    elif not provider.is_live:
        origins = ", ".join(secret.origin for secret in provider.auth.secrets)
        yield path, f"disabled, its credential is missing ({origins})"
    if provider.proxy is not None and password_in(provider.proxy) and _at(data, *path, "proxy") == provider.proxy:
        yield (*path, "proxy"), "a password stands in the file: write proxy: {env: NAME} or {file: PATH}"
    if provider.tls is not None and not provider.tls.verify:
        message = "anybody on the way can read and change what is said there: give its authority as `ca` instead"
        yield (*path, "tls", "verify"), message


def _of_route(path: Path, alias: str, route: Route, config: Config) -> Found:
    if not any(config.providers[target.provider].is_live for target in route.targets):
        yield path, "no live target; requests for it are answered 503"
    if is_glob(alias) and (provider := _shadow(alias, config)) is not None:
        message = f"never asked: names that begin with '{alias[: len(provider) + 1]}' go to the provider '{provider}'"
        yield path, message
    if route.hedge is not None and len(route.targets) < 2:
        yield (*path, "hedge"), "there is no second target that could be asked"
    own = route.retry is not None
    within, place = (route.retry.within, (*path, "retry", "within")) if route.retry else (config.retry.within, path)
    for target in route.targets[:-1]:
        patience, setting = _patience(target, config)
        if within <= patience:
            word = "" if own else "retry."
            yield (
                place,
                f"{word}within ({within:g} s) is shorter than {setting} ({patience:g} s): "
                "a silent target would leave no time for the next",
            )
            break
    total = config.server.timeouts.total
    if len(route.targets) > 1 and total <= (patience := _patience(route.targets[0], config)[0]):
        yield path, f"server.timeouts.total ({total:g} s) ends before a silent target is given up ({patience:g} s)"


def _patience(target: Target, config: Config) -> tuple[float, str]:
    """Return how long a silent target of a stream is waited for, and the setting that says so."""
    if target.timeouts.first_byte is not None:
        return target.timeouts.first_byte, f"timeouts.first_byte of {target.name}"
    provider = config.providers[target.provider]
    return provider.timeouts.first_byte, f"providers.{target.provider}.timeouts.first_byte"


def _shadow(alias: str, config: Config) -> str | None:
    """Return the provider whose own names (`provider:model`) are all that a glob could match."""
    begin = _WILD.split(alias, maxsplit=1)[0]
    names = (begin.partition(separator)[0] for separator in ":/" if separator in begin)
    return next((name for name in names if name in config.providers), None)


def _at(data: Any, *path: str | int) -> Any:
    for step in path:
        data = data.get(step) if isinstance(data, dict) else None
    return data


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
