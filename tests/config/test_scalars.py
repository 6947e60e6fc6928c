"""Single values of providers.yaml: strict, and never shown if they may be secrets."""

from datetime import date, datetime
from typing import Any

import pytest

from gateway.config.scalars import (
    exactly,
    guarded,
    read_date,
    read_duration,
    read_mapping,
    read_rate,
    read_size,
    read_text,
    show,
)
from gateway.config.schema import Rate


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("250ms", 0.25), ("30s", 30.0), ("1.5m", 90.0), ("24h", 86400.0), ("2d", 172800.0), ("0s", 0.0)],
)
def test_durations(text: str, seconds: float) -> None:
    """A duration is read as seconds."""
    assert read_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "value", ["30", "-1s", "1 s", "s", "1w", "1.s", "1e3s", "1s\n", "", 30, 1.5, True, None, ["1s"]]
)
def test_not_a_duration(value: Any) -> None:
    """A duration has a number and a unit, and is never a bare number."""
    with pytest.raises(ValueError, match="expected a duration"):
        read_duration(value)


@pytest.mark.parametrize(
    ("value", "size"), [(512, 512), (0, 0), ("512", 512), ("7B", 7), ("2KiB", 2048), ("32MiB", 2**25), ("1GiB", 2**30)]
)
def test_sizes(value: Any, size: int) -> None:
    """A size is read as bytes."""
    assert read_size(value) == size


@pytest.mark.parametrize("value", [-1, True, 1.5, "1.5MiB", "1MB", "1 KiB", "-1", "KiB", "", None])
def test_not_a_size(value: Any) -> None:
    """A size is a whole number of bytes in powers of 1024."""
    with pytest.raises(ValueError, match="expected a size"):
        read_size(value)


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("1/second", Rate(1, 1.0)),
        ("60/minute", Rate(60, 60.0)),
        ("1_000/hour", Rate(1000, 3600.0)),
        ("5/day", Rate(5, 86400.0)),
    ],
)
def test_rates(text: str, rate: Rate) -> None:
    """A rate is a number in a span."""
    assert read_rate(text) == rate


@pytest.mark.parametrize(
    "value", ["0/minute", "_/minute", "60", "60/min", "-1/day", "1.5/day", "60 / minute", 60, None]
)
def test_not_a_rate(value: Any) -> None:
    """A rate is at least one in a named span."""
    with pytest.raises(ValueError, match="expected a rate"):
        read_rate(value)


def test_a_text_is_never_made_of_something_else() -> None:
    """A number or a boolean is no text; a date is written as YAML had it."""
    assert read_text("x") == "x" and read_text(date(2024, 10, 21)) == "2024-10-21"
    for value, shown in ((1, "1"), (True, "True"), (None, "nothing"), ([], "a list"), ({}, "a mapping")):
        with pytest.raises(ValueError, match=f"^expected text, found {shown}: put it in quotes$"):
            read_text(value)


def test_dates_and_mappings() -> None:
    """A date is a date without a time, a mapping is taken as it is."""
    assert read_date(date(2027, 12, 31)) == date(2027, 12, 31)
    given = {"a": [1]}
    assert read_mapping(given) is given
    for read, value in ((read_date, datetime(2027, 12, 31)), (read_date, "2027-12-31"), (read_mapping, [])):
        with pytest.raises(ValueError, match="expected a "):
            read(value)


def test_a_boolean_is_no_number() -> None:
    """A hook takes exactly its types, and makes the value of the wanted type."""
    number = exactly("a number", int, float)
    found = number(3, float)
    assert found == 3.0 and type(found) is float
    for value in (True, "3", None):
        with pytest.raises(ValueError, match="expected a number, found"):
            number(value, float)


def test_the_type_is_looked_at_before_the_inside() -> None:
    """A guarded hook is called only for its type, so that a text is not read as a list of letters."""
    hook = guarded(lambda value, kind: tuple(value), list, "a list")
    assert hook(["a"], tuple) == ("a",)
    with pytest.raises(ValueError, match="expected a list, found text"):
        hook("ab", tuple)


def test_a_wrong_text_is_never_shown() -> None:
    """A message says that a text was found, not which: it may be a secret in a wrong place."""
    assert show("sk-secret") == "text" and "sk-secret" not in show({"sk-secret": "sk-secret"}) + show(["sk-secret"])
    assert show(3) == "3"
