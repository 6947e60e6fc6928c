"""Whose address a request comes from."""

import ipaddress

import pytest
from aiohttp import web

from gateway.proxy.snapshot import Network
from gateway.server.addresses import client_address, peer_address
from tests.raw_requests import serve_once

LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"),)
PROXIES = (*LOOPBACK, ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("fd00::/8"))


async def address(trusted: tuple[Network, ...], *forwarded: str) -> str:
    """Return whose address the server sees of a request from 127.0.0.1."""

    async def handler(request: web.Request) -> web.Response:
        return web.Response(text=f"{client_address(request, trusted)} {peer_address(request)}")

    ask, stop = await serve_once(handler)
    lines = [value if ": " in value else f"X-Forwarded-For: {value}" for value in forwarded]
    got = await ask("\r\n".join(["GET / HTTP/1.1", "Host: x", "Connection: close", *lines, "", ""]).encode())
    await stop()
    found, peer = got.decode().rpartition("\r\n\r\n")[2].split()
    assert peer == "127.0.0.1"
    return found


async def test_without_trusted_proxies_the_peer_counts() -> None:
    """Without trusted proxies, or without the header, the client is who has connected."""
    assert await address((), "203.0.113.7") == "127.0.0.1"
    assert await address(LOOPBACK) == "127.0.0.1"


async def test_a_peer_that_is_not_trusted_is_not_believed() -> None:
    """The header of a peer outside the trusted networks means nothing."""
    assert await address((ipaddress.ip_network("10.0.0.0/8"),), "203.0.113.7") == "127.0.0.1"


@pytest.mark.parametrize(
    ("forwarded", "found"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("198.51.100.1, 203.0.113.7", "203.0.113.7"),
        ("203.0.113.7, 10.0.0.2,10.0.0.1", "203.0.113.7"),
        ("198.51.100.1, 203.0.113.7, 10.0.0.1", "203.0.113.7"),
        ("2001:db8::1, fd00::1", "2001:db8::1"),
        ("10.0.0.2, 10.0.0.1", "10.0.0.2"),
    ],
)
async def test_the_rightmost_hop_that_is_no_proxy_counts(forwarded: str, found: str) -> None:
    """What stands left of the first hop that is no proxy of ours may be made up by the client."""
    assert await address(PROXIES, forwarded) == found


@pytest.mark.parametrize(
    ("forwarded", "found"),
    [
        ("unknown", "127.0.0.1"),
        ("203.0.113.7, unknown", "127.0.0.1"),
        ("203.0.113.7, , 10.0.0.1", "10.0.0.1"),
        ("203.0.113.7:x:y, 10.0.0.1", "10.0.0.1"),
        ("", "127.0.0.1"),
    ],
)
async def test_what_is_no_address_ends_the_belief(forwarded: str, found: str) -> None:
    """A hop that is no address hides who stands behind it: the last one that was read counts."""
    assert await address(PROXIES, forwarded) == found


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        (["Forwarded: for=203.0.113.7"], "203.0.113.7"),
        (['Forwarded: for="203.0.113.7:51844";proto=https, for=10.0.0.1'], "203.0.113.7"),
        (['forwarded: proto=http;FOR="[2001:db8::1]:443";by=x, For=10.0.0.1:80'], "2001:db8::1"),
        (["Forwarded: for=198.51.100.1", "Forwarded: for=203.0.113.7"], "203.0.113.7"),
        (["Forwarded: for=203.0.113.7, for=unknown, for=10.0.0.1"], "10.0.0.1"),
        (["Forwarded: for=203.0.113.7, by=10.0.0.1"], "127.0.0.1"),
        (['Forwarded: for="_x, for=203.0.113.7"'], "127.0.0.1"),
        (["Forwarded: for=198.51.100.1", "X-Forwarded-For: 203.0.113.7"], "203.0.113.7"),
        (["X-Forwarded-For: 203.0.113.7:51844, [2001:db8::1]:443"], "2001:db8::1"),
        (["X-Forwarded-For: 203.0.113.7:51844"], "203.0.113.7"),
    ],
)
async def test_forwarded_is_read_where_there_is_no_x_forwarded_for(lines: list[str], found: str) -> None:
    """RFC 7239's header means the same, with ports, brackets and quotes; X-Forwarded-For wins over it."""
    assert await address(PROXIES, *lines) == found
