"""The PROXY protocol: whose connection a TCP balancer passes on."""

import asyncio
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.server.proxy_header import SIGNATURE, NotAHeader, may_begin, read_header
from tests.conftest import TWO_TARGETS, Start

HEAD = b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
V4 = bytes([203, 0, 113, 7, 127, 0, 0, 1]) + (51844).to_bytes(2) + (80).to_bytes(2)
V6 = socket.inet_pton(socket.AF_INET6, "2001:db8::1") * 2 + (51844).to_bytes(2) + (80).to_bytes(2)


def block(family: int, addresses: bytes, command: int = 0x21) -> bytes:
    return SIGNATURE + bytes([command, family]) + len(addresses).to_bytes(2) + addresses


GOOD = {
    "v1": (b"PROXY TCP4 203.0.113.7 127.0.0.1 51844 80\r\n", ("203.0.113.7", 51844)),
    "v1 of IPv6": (b"PROXY TCP6 2001:db8::1 ::1 51844 80\r\n", ("2001:db8::1", 51844)),
    "v1 unknown": (b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n", None),
    "v2": (block(0x11, V4), ("203.0.113.7", 51844)),
    "v2 of IPv6, with more behind": (block(0x21, V6 + b"\x04\0\x01x"), ("2001:db8::1", 51844)),
    "v2 of the balancer itself": (block(0x11, V4, 0x20), None),
    "v2 of a unix socket": (block(0x31, b"\0" * 216), None),
}


@pytest.mark.parametrize(("data", "client"), GOOD.values(), ids=GOOD)
def test_a_header_is_read_however_it_is_cut(data: bytes, client: tuple[str, int] | None) -> None:
    """A header is not whole until its last byte, and what is behind it is not a part of it."""
    for end in range(len(data)):
        assert not data[:end] or (may_begin(data[:end]) and read_header(data[:end]) is None)
    found = read_header(data + HEAD)
    assert found is not None and (found.client, found.size) == (client, len(data))


@pytest.mark.parametrize(
    "data",
    [
        b"PROXY TCP4 203.0.113.7 127.0.0.1 51844 99\r\r" + b"x" * 100,
        b"PROXY TCP4 203.0.113 127.0.0.1 1 2\r\n",
        b"PROXY TCP4 203.0.113.7 127.0.0.1 65536 2\r\n",
        b"PROXY TCP5 203.0.113.7 127.0.0.1 1 2\r\n",
        block(0x11, V4[:4]),
        block(0x11, V4, 0x31),
        block(0x11, V4, 0x22),
        SIGNATURE + b"\x21\x11\xff\xff",
    ],
)
def test_what_is_none_is_said(data: bytes) -> None:
    """A line that is too long or says no address, a block of another version or with too little in it."""
    with pytest.raises(NotAHeader):
        read_header(data)


@given(st.binary(max_size=200))
def test_no_bytes_do_harm(data: bytes) -> None:
    """Any bytes behind either beginning are a header, not yet one, or none."""
    for begin in (b"PROXY ", SIGNATURE):
        try:
            found = read_header(begin + data)
        except NotAHeader:
            continue
        assert found is None or found.size <= len(begin + data)


async def ask(url: str, *pieces: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0.02)
    async with asyncio.timeout(3):
        found = await reader.read()
    writer.close()
    return found


@pytest.mark.parametrize(("data", "client"), GOOD.values(), ids=GOOD)
async def test_the_address_counts_behind_a_trusted_peer(
    start: Start, data: bytes, client: tuple[str, int] | None
) -> None:
    """Behind a trusted peer the address of the header is the client's, also when it comes in pieces."""
    running = await start(TWO_TARGETS.replace("server: {", "server: {trusted_proxies: [127.0.0.0/8], "))
    for pieces in ((data + HEAD,), (data[:3], data[3:] + HEAD[:5], HEAD[5:])):
        assert (await ask(running.url, *pieces)).startswith(b"HTTP/1.1 200")
        assert running.exchanges[-1]["address"] == (client[0] if client else "127.0.0.1")
    assert (await ask(running.url, HEAD)).startswith(b"HTTP/1.1 200")  # a peer that does not speak it


async def test_nobody_else_is_believed(start: Start) -> None:
    """From a peer that is not trusted the header is no HTTP; so is a broken one from anybody."""
    running = await start()
    assert (await ask(running.url, GOOD["v1"][0] + HEAD)).split()[1] == b"400"
    running = await start(TWO_TARGETS.replace("server: {", "server: {trusted_proxies: [127.0.0.0/8], "))
    assert (await ask(running.url, b"PROXY TCP9 x\r\n" + HEAD)).split()[1] == b"400"


async def test_half_a_header_has_to_come_in_time(start: Start) -> None:
    """A PROXY header is a part of the head, which has to be there within `timeouts.header`."""
    text = "server: {trusted_proxies: [127.0.0.0/8], timeouts: {header: 200ms}, "
    running = await start(TWO_TARGETS.replace("server: {", text))
    assert (await ask(running.url, b"PROXY TCP4 203")).startswith(b"HTTP/1.1 408")
