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
    lines = [f"X-Forwarded-For: {value}" for value in forwarded]
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
