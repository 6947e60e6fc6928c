"""Finds the client's address of a request, directly or behind trusted proxies, and the network that it counts by."""

import ipaddress
import re
from functools import lru_cache

from aiohttp import hdrs, web

from gateway.proxy.snapshot import Network

UNIX = "unix"  # the address of all clients of a unix socket
# RFC 7239 4: elements between commas, pairs between semicolons; an IPv6 address and a port stand in quotes.
_ELEMENT = re.compile(r'(?:[^",]|"[^"]*")+')
_FOR = re.compile(r'(?:^|;)\s*for=(?:"([^"]*)"|([^;"\s]+))', re.IGNORECASE)
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def client_address(request: web.Request, trusted: tuple[Network, ...]) -> str:
    """Return the client's address: the peer, or the rightmost hop of X-Forwarded-For that is no trusted proxy.

    Forwarded (RFC 7239) is read where there is no X-Forwarded-For. Either counts only if the peer itself is a trusted
    proxy; several lines of it are one list (RFC 9110 5.3). A hop that is not a valid IP address, with or without a
    port, ends the search. The address is written in one way: without a scope id, and IPv4 inside IPv6 as IPv4.
    """
    peer = peer_address(request)
    if not trusted or (address := read_address(peer)) is None:
        return _write_address(peer)
    hops = _hops(request)
    while hops and any(address in network for network in trusted):
        if (hop := read_address(hops.pop().strip())) is None:
            break
        address = hop
    return str(address)


def _hops(request: web.Request) -> list[str]:
    """Return the addresses that proxies have written down, the nearest one last."""
    headers = request.headers
    if hdrs.X_FORWARDED_FOR in headers:
        return ",".join(headers.getall(hdrs.X_FORWARDED_FOR)).split(",")
    if hdrs.FORWARDED not in headers:
        return []
    elements = _ELEMENT.findall(",".join(headers.getall(hdrs.FORWARDED)))
    found = (_FOR.search(element) for element in elements if element.strip())
    return [(one[1] or one[2]) if one is not None else "" for one in found]


@lru_cache(4096)
def _write_address(text: str) -> str:
    address = read_address(text)
    return text if address is None else str(address)


@lru_cache(4096)
def read_address(text: str) -> Address | None:
    """Read an IP address, which may have a scope id, brackets and a port; None if it is not one."""
    if text.startswith("["):
        text, _, port = text[1:].partition("]")
        if port and not port.startswith(":"):
            return None
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        found = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return found.ipv4_mapped or found if isinstance(found, ipaddress.IPv6Address) else found


@lru_cache(4096)
def network_of(address: str, v4: int, v6: int) -> str:
    """Return the network that limits count an address by, as a text: all of `2001:db8::/64` are one client.

    `v4` and `v6` are the bits of an address that count.
    """
    found = read_address(address)
    if found is None:
        return address
    bits = v4 if found.version == 4 else v6
    if bits == found.max_prefixlen:
        return str(found)
    return str(ipaddress.ip_network((found, bits), strict=False))


def peer_address(request: web.Request) -> str:
    """Return the address of the socket's other end; `unix` for a unix socket."""
    protocol = request.protocol
    passed = getattr(protocol, "passed", None)  # by a balancer that speaks the PROXY protocol
    peer = passed if passed is not None else protocol.peername
    return str(peer[0]) if isinstance(peer, tuple) else UNIX
