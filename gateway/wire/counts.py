"""A token count, as servers write it."""

from typing import Any


def count(value: Any) -> int | None:
    """A token count: an int, or what servers say instead; None when it is none."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        return int(value) if value.isdecimal() and len(value) < 16 else None
    if isinstance(value, int | float) and 0 <= value < 1e15:
        return int(value)
    return None
