"""Checks of a Config that the types cannot express: names that must exist, valid addresses, an open gateway."""

import contextlib
import ipaddress
import re
from collections.abc import Collection, Iterable, Iterator
from urllib.parse import SplitResult, urlsplit

from gateway.config.fields import ANONYMOUS, BUILTIN, MISSING, ORIGIN, Secret
from gateway.config.problems import Path
from gateway.config.provider_schema import Provider
from gateway.config.schema import Budget, Config
from gateway.store.schemes import store_problem
from gateway.wire import DIALECTS

# Headers that providers.yaml may not set: credentials belong in `auth`, the others to the connection.
_RESERVED_HEADERS = frozenset(
    {
        "authorization", "x-api-key", "api-key", "cookie", "host", "content-length", "content-encoding",
        "transfer-encoding", "connection", "te", "trailer", "upgrade", "proxy-authorization",
    }
)  # fmt: skip
# Headers that mean something to the gateway, so that no other text may come in them.
_OWN_HEADERS = frozenset(
    {"x-provider-key", "content-type", "accept", "accept-encoding", "user-agent", "x-gateway-loop", "traceparent"}
)
_ANY = ("0.0.0.0", "::")  # noqa: S104 - compared with, never bound to
_NO_HEADER = "has characters that no header can carry, such as a line break or one that is not ASCII: set it anew"
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\t\x20-\x7e]*")
_URL = re.compile(r"[\x21-\x7e]+")
# The endpoint classes that `limits` may name; `default` is every other one.
LIMIT_CLASSES = tuple(dict.fromkeys(("default", *(dialect.limit_class for dialect in DIALECTS.values()))))
Found = Iterator[tuple[Path, str]]


def check(config: Config, providers: Collection[str]) -> Found:
    """Yield (path, message) for every problem that the types did not find.

    `providers` are all provider names in the file, also those whose settings were wrong and are missing in `config`.
    """
    yield from _check_server(config)
    yield from _check_keys(config)
    yield from _check_limits(config)
    yield from _check_budget(("budget",), config.budget)
    for alias, route in config.routes.items():
        yield from _check_budget(("routes", alias, "budget"), route.budget)
    for name, provider in config.providers.items():
        yield from _check_provider(("providers", name), provider)
    yield from _check_names(config, providers)


def check_to_run(config: Config) -> Found:
    """Yield (path, message) for what keeps a valid configuration from running: nothing to serve, a call to itself."""
    if not config.providers:  # said before it takes the place of a good one
        yield ("providers",), "no providers, so that nothing can be served: is the file empty, or was it cut off?"
    own = set(_own_ports(config))
    for name, provider in config.providers.items():
        if is_own(provider.base_url, own):
            yield (
                ("providers", name, "base_url"),
                "this address is this gateway itself (server.listen): its requests would come back to it",
            )


def split_url(text: str) -> SplitResult | None:
    """Split a URL; None if it is not valid, as with a port that is no number."""
    try:
        found = urlsplit(text)
        return found if found.port is None or found.port else None
    except ValueError:
        return None


def password_in(url: str) -> str | None:
    """Return the password that stands in a URL, None if there is none."""
    found = split_url(url)
    return found.password if found is not None else None


def is_loopback(address: str) -> bool:
    """Whether a listen address can be reached from this machine only."""
    if address.startswith("unix:"):
        return True
    host = split_address(address)[0]
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def split_address(text: str) -> tuple[str, int]:
    """Split `host:port` or `[::1]:port`. Raises ValueError."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535 or not host:
        raise ValueError(f"'{text}' is no address: write host:port, [::1]:port or unix:/path")
    if host.startswith("[") and host.endswith("]") and len(host) > 2:
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f"'{text}': put an IPv6 address in brackets")
    return host, int(port)


def open_to_all(config: Config, listen: Iterable[str]) -> str | None:
    """Return the first address in `listen` that others can reach without a key.

    None when keys are configured, when `server.open` is true, or when every address is loopback or a Unix socket.
    """
    if config.keys or config.server.open:
        return None
    return next((address for address in listen if not is_loopback(address)), None)


def _check_server(config: Config) -> Found:
    server = config.server
    addresses_hold = True
    for index, address in enumerate(server.listen):
        if not address.startswith("unix:"):
            try:
                split_address(address)
            except ValueError as error:
                addresses_hold = False
                yield ("server", "listen", index), str(error)
    exposed = server.expose.listen
    if exposed is not None and not exposed.startswith("unix:"):
        try:
            split_address(exposed)
        except ValueError as error:
            yield ("server", "expose", "listen"), str(error)
    if not server.listen:
        yield ("server", "listen"), "at least one address is needed"
    elif addresses_hold and (address_ := open_to_all(config, server.listen)):
        yield (
            ("server", "listen"),
            (f"no keys are configured, and {address_} is not loopback: add keys, or set server.open: true"),
        )
    for where, networks in (
        (("server", "trusted_proxies"), server.trusted_proxies),
        (("server", "expose", "networks"), server.expose.networks),
    ):
        for index, network in enumerate(networks):
            try:
                ipaddress.ip_network(network)
            except ValueError:
                yield (*where, index), f"'{network}' is no network such as 10.0.0.0/8"
    if config.keys and server.expose.networks:
        yield ("server", "expose", "networks"), "there are keys: give a key operator: true, or use expose.listen"
    name = server.request_id_header
    if name is not None and (not _TOKEN.fullmatch(name) or name.lower() in _RESERVED_HEADERS | _OWN_HEADERS):
        yield ("server", "request_id_header"), f"'{name}' is no header that may be passed on"
    for index, origin in enumerate(server.cors.origins if server.cors else ()):
        parts = split_url(origin)
        if parts is None or not parts.scheme or not parts.netloc or parts.path or parts.query:
            yield ("server", "cors", "origins", index), f"'{origin}' is no origin such as https://app.example"
    if problem := store_problem(config.store.url):
        yield ("store", "url"), problem


def _own_ports(config: Config) -> Iterator[tuple[str, int]]:
    """Yield (host, port) of every address that this gateway listens on, without unix sockets."""
    for address in (*config.server.listen, config.server.expose.listen or "unix:"):
        if not address.startswith("unix:"):
            with contextlib.suppress(ValueError):  # has been complained about
                yield split_address(address)


def is_own(base_url: str, own: Collection[tuple[str, int]]) -> bool:
    """Whether a base URL leads to one of the `own` addresses: the same port, and the same host or any of this machine.

    Names that a resolver would have to be asked for are taken for other machines.
    """
    url = split_url(base_url)
    if url is None or url.hostname is None or url.scheme not in ("http", "https"):
        return False
    port = url.port or (443 if url.scheme == "https" else 80)
    host = url.hostname
    is_here = host.endswith(".localhost") or is_loopback(f"[{host}]:1" if ":" in host else f"{host}:1")
    return any(
        port == other_port and (host == other or (is_here and (other in _ANY or is_loopback(f"[{other}]:1"))))
        for other, other_port in own
    )


def _check_keys(config: Config) -> Found:
    owners: dict[bytes, str] = {}
    for name, key in config.keys.items():
        if name == ANONYMOUS:
            yield ("keys", name), "this name stands for clients that show no key: use another one"
        if not key.secret:
            yield ("keys", name, "secret"), "at least one secret is needed"
        for secret in key.secret:
            if secret.text is not None and not (secret.text.isascii() and secret.text.isprintable()):
                yield ("keys", name, "secret"), f"the secret from {secret.origin} {_NO_HEADER}"
            other = owners.setdefault(secret.digest, name)
            if other != name:
                yield ("keys", name, "secret"), f"the same secret as key '{other}'"
        yield from _check_classes(("keys", name, "limits"), key.limits or {})
        yield from _check_budget(("keys", name, "budget"), key.budget)


def _check_limits(config: Config) -> Found:
    yield from _check_classes(("limits", "key"), config.limits.key)
    yield from _check_classes(("limits", "address"), config.limits.address)


def _check_classes(path: Path, classes: Iterable[str]) -> Found:
    for name in classes:
        if name not in LIMIT_CLASSES:
            yield (*path, name), f"unknown endpoint class '{name}': one of {', '.join(LIMIT_CLASSES)}"


def _check_budget(path: Path, budget: Budget | None) -> Found:
    if budget is not None and budget.usd is None and budget.tokens is None:
        yield path, "it limits nothing: say usd, tokens, or both, such as {usd: 20, per: month}"


def _check_provider(path: Path, provider: Provider) -> Found:
    url = split_url(provider.base_url)
    is_http = url is not None and url.scheme in ("http", "https") and url.hostname
    if provider.base_url.startswith(MISSING):
        pass  # it is disabled, with a warning
    elif provider.base_url != BUILTIN and (not is_http or not _URL.fullmatch(provider.base_url)):
        yield (
            (*path, "base_url"),
            "this is no http or https URL",
        )  # not shown: it may be a secret that was put in the wrong place
    elif any(mark in provider.base_url for mark in "?#@"):
        yield (*path, "base_url"), "a base URL has no query, fragment or user: use `query` and `auth`"
    if not provider.speaks:
        yield path, "missing key 'speaks': say which dialects it speaks"
    for dialect, where in provider.speaks.items():
        if not where.startswith(("/", f"{ORIGIN}/")):
            yield (*path, "speaks", dialect), f"'{where}' is no path: it begins with /"
    for place, text in (("base_url", provider.base_url), ("proxy", provider.proxy or "")):
        host = (found.hostname or "") if (found := split_url(text)) is not None else ""
        if not _is_name(host):
            yield (*path, place), f"'{host}' cannot be the name of a host"
    if provider.tls is not None and not _is_name(provider.tls.server_name or ""):
        yield (*path, "tls", "server_name"), "it cannot be the name of a host"
    for name, value in provider.plain_headers.items():
        given = provider.headers[name]
        if name.lower() in _RESERVED_HEADERS:
            yield (*path, "headers", name), f"'{name}' cannot be set here: credentials belong in `auth`"
        elif isinstance(given, Secret) and not _VALUE.fullmatch(value):
            yield (*path, "headers", name), f"the secret from {given.origin} {_NO_HEADER}"
        elif not _TOKEN.fullmatch(name) or not _VALUE.fullmatch(value):
            yield (*path, "headers", name), "not a valid header name or value"
    if provider.proxy is not None:
        proxy = split_url(provider.proxy)
        if proxy is None or proxy.scheme not in ("http", "https") or not proxy.hostname:
            yield (*path, "proxy"), "expected http(s)://host:port, {env: NAME}, or env"
    if provider.tls is not None and provider.tls.key is not None and provider.tls.cert is None:
        yield (*path, "tls", "key"), "a key without `cert`: say the file of its certificate"
    for secret in provider.auth.secrets:
        if secret.value is not None and not (secret.value.isascii() and secret.value.isprintable()):
            yield (*path, "auth"), f"the secret from {secret.origin} {_NO_HEADER}"


def _is_name(host: str) -> bool:
    """Whether a text can be looked up as the name of a host, or is an address."""
    try:
        host.encode("idna")
    except UnicodeError:
        return False
    return "\0" not in host and not host.startswith(".")


def _check_names(config: Config, providers: Collection[str]) -> Found:
    if config.default_provider is not None and config.default_provider not in providers:
        yield ("default_provider",), f"unknown provider '{config.default_provider}'"
    for name in ("chat_model", "probe"):
        alias = getattr(config.defaults, name)
        known = alias is None or alias in config.routes or alias.partition(":")[0] in providers
        if not known:
            yield ("defaults", name), f"'{alias}' is neither a route nor provider:model"
