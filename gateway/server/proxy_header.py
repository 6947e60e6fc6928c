"""Reads the PROXY protocol, by which a TCP balancer says whose connection it passes on.

Versions 1 and 2: https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt. Pure: bytes in, address out.
"""

import ipaddress
import re

from attrs import frozen

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
MAX_LINE = 107  # bytes of version 1's line, with its end
MAX_BLOCK = 4096  # bytes of version 2's addresses and what else it carries; HAProxy's own are below 600
_HEAD = 16  # bytes of version 2 before the addresses
# Version 2's family and transport -> bytes of one address. Everything else (UNSPEC, unix) says no address.
_INET = {0x11: 4, 0x21: 16, 0x12: 4, 0x22: 16}
_LINE = re.compile(rb"PROXY (?:TCP4|TCP6) (\S{1,45}) (\S{1,45}) (\d{1,5}) (\d{1,5})")


class NotAHeader(ValueError):
    """The connection begins like a PROXY header and is none."""


@frozen
class Passed:
    """What a header says: the client's (host, port), None if it says nothing of it; `size` is its length in bytes."""

    client: tuple[str, int] | None
    size: int


def may_begin(data: bytes) -> bool:
    """Whether a connection that begins so may begin with a PROXY header."""
    return data[:12] == SIGNATURE[: len(data)] or data[:6] == b"PROXY "[: len(data)]


def read_header(data: bytes) -> Passed | None:
    """Read the header at the beginning of `data`; None as long as it is not whole. Raises NotAHeader."""
    return _read_line(data) if data[:1] == b"P" else _read_block(data)


def _read_line(data: bytes) -> Passed | None:
    line, end, _ = data[:MAX_LINE].partition(b"\r\n")
    if not end:
        if len(data) >= MAX_LINE:
            raise NotAHeader
        return None
    size = len(line) + 2
    if line.startswith(b"PROXY UNKNOWN"):
        return Passed(None, size)
    if (found := _LINE.fullmatch(line)) is None or int(found[3]) > 65535:
        raise NotAHeader
    try:
        return Passed((str(ipaddress.ip_address(found[1].decode("ascii", "replace"))), int(found[3])), size)
    except ValueError:
        raise NotAHeader from None


def _read_block(data: bytes) -> Passed | None:
    if len(data) < _HEAD:
        return None
    version, command, length = data[12] >> 4, data[12] & 15, int.from_bytes(data[14:16])
    if version != 2 or command > 1 or length > MAX_BLOCK:
        raise NotAHeader
    if len(data) < _HEAD + length:
        return None
    width = _INET.get(data[13])
    if command == 0 or width is None:  # the balancer's own check, or a connection without addresses
        return Passed(None, _HEAD + length)
    if length < 2 * width + 4:
        raise NotAHeader
    host = ipaddress.ip_address(data[_HEAD : _HEAD + width])
    port = int.from_bytes(data[_HEAD + 2 * width : _HEAD + 2 * width + 2])
    return Passed((str(host), port), _HEAD + length)
