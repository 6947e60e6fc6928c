"""Counts the values and the top-level members of a JSON body before they are made.

A value costs a few bytes on the wire and some hundred as a Python object: `[{},{},…]` of 16 MiB would fill a
gigabyte. The count is linear, makes nothing, and stops at the bound.
"""

import re

from gateway.errors import BadRequest, Unreadable

MAX_VALUES = 200_000  # of one body that may be translated; a long agent session has some 50,000
MAX_RAW_VALUES = 2_000_000  # of a reply that is passed on: log probabilities have twenty for each token
MAX_MEMBERS = 1_000  # of the top level; the largest known request has some 40
LARGE_REPLY = 256 * 1024  # bytes; smaller replies cannot have too many values to be read at once
_STEP = 1024 * 1024  # bytes per call into C, so that other threads get their turn
_BRACKETS = re.compile(rb"[][{}]")
_OPENING = b"[{"


def check_bounds(data: bytes, max_values: int | None = MAX_VALUES) -> None:
    """Raise BadRequest if `data`, JSON or not, has too many values or top-level members. None: any number of values."""
    most = MAX_MEMBERS if max_values is None else min(max_values, MAX_MEMBERS)
    if _at_most(data) <= most:
        return
    values, members = count(data, max_values, MAX_MEMBERS)
    if max_values is not None and values > max_values:
        raise BadRequest(f"The body has more than {max_values} values", code="invalid_json")
    if members > MAX_MEMBERS:
        raise BadRequest(f"The body has more than {MAX_MEMBERS} members", code="invalid_json")


def check_reply(data: bytes, most: int = MAX_VALUES) -> None:
    """Raise Unreadable if a provider's JSON has more values than a reply can have."""
    if _at_most(data) > most and count(data, most, most)[0] > most:
        raise Unreadable(f"The provider's reply has more than {most} values in one piece")


def count(data: bytes, max_values: int | None, max_members: int) -> tuple[int, int]:
    """Return the values and the top-level members of a JSON text, or numbers beyond a bound as soon as one is passed.

    Values are counted by their commas and opening brackets outside strings, members by the commas at depth one.
    """
    values = members = 1
    depth = at = 0
    while at < len(data):
        quote = data.find(b'"', at)
        gap_end = len(data) if quote < 0 else quote
        while at < gap_end:
            stop = min(gap_end, at + _STEP)
            commas = data.count(b",", at, stop)
            values += commas
            opened, inside, depth = _brackets(data, at, stop, depth)
            values += opened
            members += inside
            at = stop
            if members > max_members or (max_values is not None and values > max_values):
                return values, members
        at = len(data) if quote < 0 else _string_end(data, quote + 1)
    return values, members


def _at_most(data: bytes) -> int:
    """Return a bound of the number of values, at the speed of memchr."""
    return data.count(b",") + data.count(b"[") + data.count(b"{") + 1


def _brackets(data: bytes, begin: int, end: int, depth: int) -> tuple[int, int, int]:
    """Walk over a piece without strings. Return (brackets opened, commas at depth one, depth at its end)."""
    opened = inside = 0
    at = begin
    if end - begin > 2 or data[begin:end].strip(b" \t\r\n:,"):  # most pieces are one colon or one comma
        for found in _BRACKETS.finditer(data, begin, end):
            if depth == 1:
                inside += data.count(b",", at, found.start())
            at = found.end()
            if found[0] in _OPENING:
                opened += 1
                depth += 1
            else:
                depth -= 1
    if depth == 1:
        inside += data.count(b",", at, end)
    return opened, inside, depth


def _string_end(data: bytes, at: int) -> int:
    """Return the position behind the quote that ends the string whose text begins at `at`."""
    while (quote := data.find(b'"', at)) >= 0:
        is_escaped = False
        if data[quote - 1] == 0x5C:
            piece = data[at:quote]
            is_escaped = (len(piece) - len(piece.rstrip(b"\\"))) % 2 == 1
        at = quote + 1
        if not is_escaped:
            return at
    return len(data)
