"""Reads the first items of a JSON array without looking at the rest, which may have megabytes."""

import re
from collections.abc import Iterator

import msgspec

# A whole string, or a sign that opens, closes or separates. Between two of them stand numbers, names and white space.
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[\[\]{},]', re.DOTALL)


def first_items(array: bytes | msgspec.Raw) -> Iterator[bytes]:
    """Yield the items of a JSON array one by one, as they are written. Yield nothing if `array` is another value."""
    view, depth, start = memoryview(array), 0, 0
    for found in _TOKEN.finditer(view):
        sign = view[found.start()]
        if sign in b"[{":
            if depth == 0 and sign != b"["[0]:
                return
            depth += 1
            if depth == 1:
                start = found.end()
        elif depth == 0:
            return
        elif sign in b"]}":
            depth -= 1
            if depth == 0:
                if last := bytes(view[start : found.start()]).strip():
                    yield last
                return
        elif sign in b"," and depth == 1:
            yield bytes(view[start : found.start()]).strip()
            start = found.end()
