"""The way to a provider: which proxy it goes through, by which certificates both ends know each other.

Each provider has connections of its own, so that one in trouble takes no slot and no TLS session of another.
"""

import base64
import socket
import ssl
from collections.abc import Collection, Mapping
from typing import Any
from urllib.parse import unquote

import aiohttp
from attrs import define, field, frozen
from yarl import URL

from gateway.aiohttp_internals import connection_key, is_idle
from gateway.config.provider_schema import Provider, Tls

# Shorter than the providers' own keep-alive: we drop an idle connection before the provider closes it.
KEEPALIVE_S = 15.0
# A connection on which nothing comes for a minute is asked whether the other end is still there, every 15 s, four
# times: firewalls and NAT forget a connection that is silent for some minutes, as a model that thinks is.
PROBE_AFTER_S, PROBE_EVERY_S, PROBES = 60, 15, 4


@frozen(cache_hash=True)
class Outbound:
    """How a provider is reached. Compared as a whole: after a reload an equal one keeps its connections."""

    provider: str = ""
    proxy: str | None = field(default=None, repr=False)
    tls: Tls | None = None


def outbound_of(provider: Provider) -> Outbound:
    """Return the way to a provider."""
    return Outbound(provider.name, provider.proxy, provider.tls)


def tls_context(tls: Tls) -> ssl.SSLContext:
    """Make the TLS settings of a provider. Raises OSError (ssl.SSLError is one) if a file cannot be used."""
    context = ssl.create_default_context(cafile=tls.ca)
    if tls.cert is not None:
        context.load_cert_chain(tls.cert, tls.key, password="")
    if not tls.verify:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


@define(eq=False)
class Way:
    """The open connections to one provider, by the address that they lead to."""

    outbound: Outbound
    connector: aiohttp.TCPConnector = field(init=False)
    proxy: URL | None = field(init=False)  # without its user
    credential: str = field(default="", init=False, repr=False)  # of the proxy: the value of Proxy-Authorization
    _addresses: dict[tuple[str, str | None, int | None], aiohttp.ClientRequest] = field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        tls = self.outbound.tls
        context: ssl.SSLContext | bool = tls_context(tls) if tls is not None else True
        self.connector = aiohttp.TCPConnector(
            limit=0, limit_per_host=0, keepalive_timeout=KEEPALIVE_S, ssl=context, socket_factory=_make_socket
        )
        self.proxy = URL(self.outbound.proxy) if self.outbound.proxy is not None else None
        if self.proxy is not None and self.proxy.raw_user is not None:
            user, password = unquote(self.proxy.raw_user), unquote(self.proxy.raw_password or "")
            self.credential = f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"
            self.proxy = self.proxy.with_user(None)

    def address(self, url: URL) -> aiohttp.ClientRequest:
        """Return the ClientRequest that tells the connector where to connect. It is cached and never sent."""
        place = (url.scheme, url.raw_host, url.port)
        found = self._addresses.get(place)
        if found is None:
            tls = self.outbound.tls
            found = self._addresses[place] = connection_key(
                url, self.proxy, self.credential, tls.server_name if tls is not None else None
            )
        return found

    def head_of(self, url: URL) -> tuple[str, Mapping[str, str]]:
        """Return the request target, and the headers for the proxy, which reads the requests of a plain http target."""
        if self.proxy is None or url.scheme != "http":
            return url.raw_path_qs, {}
        return str(url), {"Proxy-Authorization": self.credential} if self.credential else {}


@define(eq=False)
class Ways:
    """The ways to all providers, made when they are first used.

    After a reload exchanges in flight still use the ways of the configuration that they began with.
    """

    _ways: dict[Outbound, Way] = field(factory=dict, init=False)

    def to(self, outbound: Outbound) -> Way:
        """Return the way that is open, or open it. Raises OSError."""
        way = self._ways.get(outbound)
        if way is None:
            way = self._ways[outbound] = Way(outbound)
        return way

    async def close(self) -> None:
        """Close every connection."""
        for way in self._ways.values():
            await way.connector.close()

    async def close_unused(self, current: Collection[Outbound]) -> None:
        """Close the ways that are not `current` any more, and on which nothing is under way."""
        for outbound in [one for one, way in self._ways.items() if one not in current and is_idle(way.connector)]:
            await self._ways.pop(outbound).connector.close()


def _make_socket(info: Any) -> socket.socket:
    sock = socket.socket(*info[:3])
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", PROBE_AFTER_S), ("TCP_KEEPINTVL", PROBE_EVERY_S), ("TCP_KEEPCNT", PROBES)):
        if hasattr(socket, name):  # another system than Linux has other names
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    return sock
