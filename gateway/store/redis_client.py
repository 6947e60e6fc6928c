"""The connection to Redis or Valkey: a URL's server or that which its Sentinels name, and every fault in words."""

import asyncio
import socket
import ssl
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import redis.asyncio
from attrs import define, field
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff
from redis.exceptions import (
    AskError,
    AuthenticationError,
    ClusterCrossSlotError,
    ClusterDownError,
    NoPermissionError,
    OutOfMemoryError,
    RedisError,
    ResponseError,
)
from redis.exceptions import ConnectionError as Disconnected
from redis.exceptions import TimeoutError as Silent

from gateway.store.protocol import StoreBusy, StoreDown, StoreFull, StoreUnusable

PREFIX = "gateway:"
PATIENCE = 5.0  # seconds to wait for an answer, and for a free connection
CONNECTIONS = 32
SENTINEL_PORT = 26379
# What a server of a cluster answers to a script whose keys lie elsewhere.
_OF_CLUSTER = (AskError, ClusterCrossSlotError, ClusterDownError)


@define
class RedisClient:
    """A pool of connections with the scripts of whoever uses it. A lost one is opened again by the next request."""

    _client: Any
    _scripts: dict[str, Any]
    _place: str
    _has_tls: bool
    _sentinels: Sequence[Any] = ()  # clients of the Sentinels, which say where the server is
    _free: asyncio.Semaphore = field(factory=lambda: asyncio.Semaphore(CONNECTIONS), init=False)

    @classmethod
    def open(cls, url: str, scripts: Mapping[str, str]) -> "RedisClient":
        """Make the client without connecting. Raises StoreUnusable if `url` has an option that is not valid."""
        url = "redis" + url.removeprefix("valkey") if url.startswith("valkey") else url
        given = {
            "socket_timeout": PATIENCE,
            "socket_connect_timeout": PATIENCE / 2,
            "retry": Retry(NoBackoff(), 1, (Disconnected,)),  # once: the server may have closed the connection
        }
        try:
            client, place, sentinels = _of_sentinels(url, given) if "+sentinel:" in url else _of_server(url, given)
        except (ValueError, TypeError) as error:
            raise StoreUnusable(f"store.url: its options are not understood: {error}") from None
        made = {name: client.register_script(text) for name, text in scripts.items()}
        return cls(client, made, place, url.startswith("rediss"), sentinels)

    async def run(self, name: str, given: Sequence[Any], keys: Sequence[str] = ()) -> Any:
        """Run a script. Raises StoreDown."""
        return await self._ask(self._scripts[name], keys=list(keys), args=list(given))

    async def call(self, command: str, *values: Any, **given: Any) -> Any:
        """Send a command. Raises StoreDown."""
        return await self._ask(getattr(self._client, command), *values, **given)

    async def close(self) -> None:
        """Close all connections."""
        for client in (self._client, *self._sentinels):
            await client.aclose()

    async def _ask(self, do: Any, *values: Any, **given: Any) -> Any:
        try:
            async with asyncio.timeout(PATIENCE):
                await self._free.acquire()
        except TimeoutError:
            raise StoreBusy(f"{self._place}: no connection was free for {PATIENCE:g} s") from None
        try:
            async with asyncio.timeout(PATIENCE):
                return await do(*values, **given)
        except OutOfMemoryError:
            raise StoreFull(f"{self._place}: its memory is full (maxmemory)") from None
        except (AuthenticationError, NoPermissionError):
            raise StoreDown(f"{self._place}: the user or password in store.url is refused") from None
        except ResponseError as error:
            raise self._refused(error) from None
        except (Silent, TimeoutError):
            hint = " (is TLS spoken there?)" if self._has_tls else ""
            raise StoreBusy(f"{self._place}: no answer for {PATIENCE:g} s{hint}") from None
        except (RedisError, OSError) as error:
            raise StoreDown(f"{self._place}: {_reason(error)}") from None
        finally:
            self._free.release()

    def _refused(self, error: ResponseError) -> StoreDown:
        words = str(error)
        if isinstance(error, _OF_CLUSTER) or "in a cluster" in words:
            return StoreDown(f"{self._place}: it is part of a cluster: use a server of its own, or Sentinel")
        return (StoreFull if words.startswith("MISCONF") else StoreDown)(f"{self._place}: {words[:100]}")


def _of_server(url: str, given: Mapping[str, Any]) -> tuple[Any, str, Sequence[Any]]:
    pool: Any = redis.asyncio.ConnectionPool.from_url(url, max_connections=CONNECTIONS, **given)
    pool.make_connection()  # checks the URL's options; nothing is sent
    where = pool.connection_kwargs
    place = f"{where.get('host') or where.get('path')}:{where.get('port', '')}".rstrip(":")
    return redis.asyncio.Redis.from_pool(pool), place, ()


def _of_sentinels(url: str, given: Mapping[str, Any]) -> tuple[Any, str, Sequence[Any]]:
    """Find the server through Sentinels: `redis+sentinel://[user:password@]host[:port][,…]/service[/number]`.

    User and password are the server's; the query may hold `sentinel_username` and `sentinel_password`. Raises
    ValueError.
    """
    scheme, _, rest = url.partition("://")
    authority, _, path = rest.partition("/")
    path, _, query = path.partition("?")
    service, _, number = path.partition("/")
    users, _, hosts = authority.rpartition("@")
    places = []
    for host in hosts.split(","):
        found = urlsplit(f"//{host}")
        if not found.hostname:
            raise ValueError("a Sentinel's host is missing")
        places.append((found.hostname, found.port or SENTINEL_PORT))
    if not service or not (number or "0").isdecimal():
        raise ValueError("expected redis+sentinel://HOST:PORT,HOST:PORT/SERVICE/NUMBER")
    options = dict(parse_qsl(query))
    own = {name.removeprefix("sentinel_"): options.pop(name) for name in list(options) if name.startswith("sentinel_")}
    user, _, password = users.partition(":")
    server: dict[str, Any] = {**given, **options, "db": int(number or 0), "ssl": scheme.startswith("rediss")}
    if users:
        server |= {"username": unquote(user) or None, "password": unquote(password)}
    sentinel: Any = Sentinel(  # type: ignore[no-untyped-call]
        places, sentinel_kwargs={**given, **own}, **server
    )
    client = sentinel.master_for(service, max_connections=CONNECTIONS)
    client.connection_pool.make_connection()  # checks the options; nothing is sent
    return client, f"{service} by Sentinel", sentinel.sentinels


def _reason(error: BaseException) -> str:
    """Say why there is no connection, and what to do. Never shows the URL: it may hold a password."""
    for cause in _causes(error):
        match cause:
            case socket.gaierror():
                return "its name is not found"
            case ConnectionRefusedError():
                return "connection refused"
            case ssl.SSLCertVerificationError():
                return f"{cause.verify_message}: name who signed it with ?ssl_ca_certs=PATH in store.url"
            case ssl.SSLError():
                return f"TLS failed: {cause.reason}"
            case FileNotFoundError() | PermissionError():
                return f"a file that store.url names: {cause.filename or ''} {cause.strerror}"
    if type(error).__name__ in ("MasterNotFoundError", "SlaveNotFoundError"):
        return "no Sentinel knows a server of this name that is up"
    if isinstance(error, Disconnected):
        return "it closes the connection: is TLS wanted (rediss://)?"
    return type(error).__name__


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
