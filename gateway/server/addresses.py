"""Whose address a request comes from, behind proxies that are trusted or without any."""

import ipaddress

from aiohttp import web

from gateway.proxy.snapshot import Network


def client_address(request: web.Request, trusted: tuple[Network, ...]) -> str:
    """The client's address: the peer, or behind trusted proxies the rightmost hop that is none of them."""
    peer = peer_address(request)
    hops = request.headers.get("X-Forwarded-For") if trusted else None
    if not hops:
        return peer
    for hop in (peer, *(hop.strip() for hop in reversed(hops.split(",")))):
        try:
            address = ipaddress.ip_address(hop)
        except ValueError:
            break
        peer = hop
        if not any(address in network for network in trusted):
            break
    return peer


def peer_address(request: web.Request) -> str:
    """The address of the socket's other end; `unix` for a unix socket."""
    peer = request.protocol.peername
    return str(peer[0]) if isinstance(peer, tuple) else "unix"
