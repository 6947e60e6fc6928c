"""The one table of stores: the scheme of `store.url`, and what follows from it. Imports no store.

A store is added here, with one module that has a class with `open(url, file)` (see `protocol.Responses`).
"""

import re
from urllib.parse import urlsplit

from attrs import frozen


@frozen
class Scheme:
    """One kind of `store.url`.

    `module` and `name` are the class, `needs` the package of an extra that it imports; `hint` says what to do if it
    cannot be imported. `is_shared`: several
    gateways may use it at once. `has_file`: the rest of the URL is a path, and the state directory lies there.
    `counters` is the class of the counters that those gateways share.
    """

    module: str
    name: str
    hint: str = ""
    needs: str = ""
    is_shared: bool = False
    has_file: bool = False
    counters: str = ""


_SENTINELS = re.compile(r"rediss?\+sentinel://([^/@]*@)?[^/@,]+(,[^/@,]+)*/[^/?]+(/\d+)?/?(\?.*)?")
_REDIS = Scheme(
    "gateway.store.redis",
    "RedisResponses",
    "pip install 'aiohttp-llm-gateway[redis]'",
    "redis",
    is_shared=True,
    counters="gateway.store.redis_counters.RedisCounters",
)
SCHEMES: dict[str, Scheme] = {
    "memory": Scheme("gateway.store.memory", "MemoryResponses"),
    "sqlite": Scheme(
        "gateway.store.sqlite", "SqliteResponses", "use a Python that was built with SQLite", has_file=True
    ),
    "redis": _REDIS,
    "rediss": _REDIS,
    "valkey": _REDIS,
    "valkeys": _REDIS,
    "redis+sentinel": _REDIS,
    "rediss+sentinel": _REDIS,
}


def split_scheme(url: str) -> tuple[Scheme | None, str]:
    """Return the entry of a URL's scheme, None if there is none, and what stands behind the colon."""
    name, _, rest = url.partition(":")
    return SCHEMES.get(name), rest


def store_problem(url: str) -> str | None:
    """Say what is wrong with a `store.url`; None if it can be used."""
    scheme, rest = split_scheme(url)
    if scheme is not None and not scheme.is_shared and (bool(rest) or not scheme.has_file):
        return None
    if "+cluster:" in url:
        return "a cluster is not supported: use a server of its own, or several behind Sentinel (redis+sentinel://)"
    if "+sentinel:" in url:
        return None if _SENTINELS.fullmatch(url) else "expected redis+sentinel://HOST:PORT,HOST:PORT/SERVICE/NUMBER"
    try:
        parts = urlsplit(url)
        is_whole = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        is_whole = False
    if scheme is not None and scheme.is_shared and is_whole and (parts.path.strip("/") or "0").isdecimal():
        return None
    return "expected sqlite:PATH, memory:, or redis://HOST:PORT/NUMBER (rediss, valkey, valkeys as well)"
