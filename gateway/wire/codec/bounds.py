"""Bounds of what is read: the values, members and texts of a JSON body are counted before they are made.

A value costs a few bytes on the wire and some hundred as a Python object: `[{},{},…]` of 16 MiB would fill a
gigabyte. The count is linear, makes nothing, and stops at the bound.
"""

import re

from gateway.errors import BadRequest, Unreadable

MAX_VALUES = 200_000  # of one body that may be translated; a long agent session has some 50,000
MAX_RAW_VALUES = 2_000_000  # of a reply that is passed on: log probabilities have twenty for each token
MAX_MEMBERS = 1_000  # of the top level; the largest known request has some 40
LARGE_BODY = 128 * 1024  # bytes; larger ones are read and translated in a thread: 8,000 tiny turns take 50 ms
# Bytes of one text that may be translated. Reading or writing it is one call into C, in which nobody else runs; plain
# ASCII, as of a picture, is four times as fast. OpenAI takes 10,485,760 characters.
MAX_TEXT = 16 * 1024 * 1024
LARGE_REPLY = 256 * 1024  # bytes; smaller replies cannot have too many values to be read at once
_STEP = 1024 * 1024  # bytes per call into C, so that other threads get their turn
_BRACKETS = re.compile(rb"[][{}]")
_OPENING = b"[{"
_IN_STRING = re.compile(rb'(?:[^"\\]++|\\.)*+', re.DOTALL)


def check_bounds(data: bytes, max_values: int | None = MAX_VALUES) -> None:
    """Raise BadRequest if `data`, JSON or not, has too many values or top-level members, or too long a text.

    None as `max_values` is for what is never translated: any text, and any number of numbers.
    """
    if max_values is not None and has_long_text(data):
        code = "string_above_max_length"
        raise BadRequest(f"The body has a text of more than {MAX_TEXT} bytes that is not plain ASCII", code=code)
    if max_values is None:
        if data.count(b":") <= MAX_MEMBERS:
            return
        # Every string and every bracket is walked over; a string's two quotes may follow backslashes of its text.
        quotes, brackets = data.count(b'"') - data.count(b'\\"'), data.count(b"[") + data.count(b"{")
        if max(quotes // 2, brackets) > MAX_VALUES:
            raise BadRequest(f"The body has more than {MAX_VALUES} values", code="invalid_json")
    elif _at_most(data) <= min(max_values, MAX_MEMBERS):
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


def has_long_text(data: bytes) -> bool:
    """Whether a string of a JSON text is longer than MAX_TEXT bytes, and not plain ASCII with few escapes."""
    at, most = 0, len(data)
    while most - at > MAX_TEXT and (quote := data.find(b'"', at)) >= 0:
        begin, at = quote + 1, _string_end(data, quote + 1)
        if at - begin > MAX_TEXT and not _is_plain(data, begin, at):
            return True
    return False


def _is_plain(data: bytes, begin: int, end: int) -> bool:
    escapes = 0
    for at in range(begin, end, _STEP):
        piece = data[at : min(end, at + _STEP)]
        escapes += piece.count(b"\\")
        if not piece.isascii() or escapes > MAX_TEXT // 16:
            return False
    return True


def _string_end(data: bytes, at: int) -> int:
    """Return the position behind the quote that ends the string whose text begins at `at`."""
    quote = data.find(b'"', at)
    if quote >= 0 and data[quote - 1] != 0x5C:
        return quote + 1  # most strings are short, and have no escape at their end
    while at < len(data):
        found = _IN_STRING.match(data, at, at + _STEP)
        assert found is not None  # it matches nothing, too
        at = found.end()
        if data[at : at + 1] == b'"':
            return at + 1
        if at == found.start():
            break  # a lone backslash is the end of the text
    return len(data)
