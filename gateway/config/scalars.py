"""Reads durations, sizes, rates, dates and texts of providers.yaml. Strict: a value is never converted by guess."""

import re
from collections.abc import Callable
from datetime import date
from typing import Any

from gateway.config.fields import Seconds, Share, Size, Workers
from gateway.config.schema import Rate

Hook = Callable[[Any, Any], Any]
_DURATION = re.compile(r"(\d{1,12}(?:\.\d{1,12})?)(ms|s|m|h|d)")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZE = re.compile(r"(\d{1,18})(B|KiB|MiB|GiB)?")
_BYTES = {"B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3, None: 1}
_SHARE = re.compile(r"(\d{1,6})/(\d{1,6})")
_RATE = re.compile(r"([\d_]{1,18})/(second|minute|hour|day)")
MAX_WORKERS = 64
_SPANS = {"second": 1.0, "minute": 60.0, "hour": 3600.0, "day": 86400.0}
_NAMES = {str: "text", dict: "a mapping", list: "a list", type(None): "nothing"}


def read_duration(value: Any) -> Seconds:
    """Read `250ms`, `30s`, `5m`, `24h` as seconds. Raises ValueError."""
    found = _DURATION.fullmatch(value) if type(value) is str else None
    if found is None:
        raise ValueError("expected a duration such as 250ms, 30s, 5m or 24h")
    return Seconds(float(found[1]) * _UNITS[found[2]])


def read_size(value: Any) -> Size:
    """Read `32MiB` or a plain number as bytes. Raises ValueError."""
    if type(value) is int and value >= 0:
        return Size(value)
    found = _SIZE.fullmatch(value) if type(value) is str else None
    if found is None:
        raise ValueError("expected a size such as 512KiB, 32MiB, or a number of bytes")
    return Size(int(found[1]) * _BYTES[found[2]])


def read_rate(value: Any) -> Rate:
    """Read `60/minute`. Raises ValueError."""
    found = _RATE.fullmatch(value) if type(value) is str else None
    amount = int(found[1].replace("_", "") or "0") if found is not None else 0
    if found is None or amount == 0:
        raise ValueError("expected a rate such as 60/minute (second, minute, hour or day)")
    return Rate(amount, _SPANS[found[2]])


def read_share(value: Any) -> Share:
    """Read `3/4`, 0.75 or 1 as a number above 0 and up to 1. Raises ValueError."""
    found = _SHARE.fullmatch(value) if type(value) is str else None
    if found is not None and int(found[2]):
        value = int(found[1]) / int(found[2])
    if type(value) not in (int, float) or not 0 < value <= 1:
        raise ValueError("expected a share such as 3/4 or 0.75, at most 1")
    return Share(float(value))


def read_workers(value: Any) -> Workers:
    """Read a number of processes, or `auto`. Raises ValueError."""
    if value == "auto" or (type(value) is int and 0 < value <= MAX_WORKERS):
        return value  # type: ignore[no-any-return]  # one of the two
    raise ValueError(f"expected a number from 1 to {MAX_WORKERS}, or auto")


def read_text(value: Any) -> str:
    """Read a text. Raises ValueError for a value that YAML reads as a number or a boolean, say; a date is taken."""
    if type(value) is date:
        return value.isoformat()  # api-version: 2024-10-21 without quotes is a date to YAML
    if type(value) is not str:
        raise ValueError(f"expected text, found {show(value)}: put it in quotes")
    return value


def read_date(value: Any) -> date:
    """Read `2027-12-31`. Raises ValueError."""
    if type(value) is not date:
        raise ValueError("expected a date such as 2027-12-31")
    return value


def read_mapping(value: Any) -> dict[str, Any]:
    """Read a mapping whose values only the provider understands. Raises ValueError."""
    if type(value) is not dict:
        raise ValueError("expected a mapping")
    return value


def exactly(words: str, *kinds: type) -> Hook:
    """Make a hook that takes exactly these types. Not isinstance: it would take `true` for a number."""

    def structure(value: Any, kind: Any) -> Any:
        if type(value) not in kinds:
            raise ValueError(f"expected {words}, found {show(value)}")
        return kind(value)

    return structure


def guarded(inner: Hook, kind: type, words: str) -> Hook:
    """Make a hook that checks the type before it calls `inner`, which would take a text for a list."""

    def structure(value: Any, cls: Any) -> Any:
        if type(value) is not kind:
            raise ValueError(f"expected {words}, found {show(value)}")
        return inner(value, cls)

    return structure


def show(value: Any) -> str:
    """Describe a wrong value for a message. A text is never shown: it may be a secret in a wrong place."""
    return _NAMES.get(type(value), repr(value))
