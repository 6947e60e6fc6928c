"""Finds the client's address of a request, directly or behind trusted proxies."""

import ipaddress

from aiohttp import web

from gateway.proxy.snapshot import Network


def client_address(request: web.Request, trusted: tuple[Network, ...]) -> str:
    """Return the client's address: the peer, or the rightmost hop of X-Forwarded-For that is no trusted proxy.

    The header counts only if the peer itself is a trusted proxy. A hop that is not a valid IP address ends the search.
    """
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
