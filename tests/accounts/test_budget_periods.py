"""Periods of budgets: of UTC, weeks from Monday, each ending where the next begins."""

from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.accounts.budgets import PICO, budgets_of, period_of
from gateway.config.schema import Budget, Config, Key


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("per", "now", "first", "ends"),
    [
        ("day", "2026-11-28T23:59:59", "2026-11-28", "2026-11-29T00:00:00"),
        ("week", "2026-11-28T12:00:00", "2026-11-23", "2026-11-30T00:00:00"),
        ("week", "2026-11-23T00:00:00", "2026-11-23", "2026-11-30T00:00:00"),
        ("week", "2026-11-22T23:59:59", "2026-11-16", "2026-11-23T00:00:00"),
        ("month", "2026-12-31T23:59:59", "2026-12-01", "2027-01-01T00:00:00"),
        ("month", "2028-02-29T00:00:00", "2028-02-01", "2028-03-01T00:00:00"),
    ],
)
def test_when_a_period_begins_and_ends(per: str, now: str, first: str, ends: str) -> None:
    """Days begin at midnight UTC, weeks on Monday, months on the first."""
    _, begins, over = period_of(per, at(now))
    assert (begins, over) == (date.fromisoformat(first), at(ends))


@given(st.sampled_from(["day", "week", "month"]), st.integers(0, 4_000_000_000))
def test_periods_follow_each_other(per: str, now: int) -> None:
    """A moment is in the period that began before it and ends after it; the next has the next number."""
    number, first, ends = period_of(per, now)
    assert datetime(first.year, first.month, first.day, tzinfo=UTC).timestamp() <= now < ends
    assert period_of(per, ends - 1)[0] == number and period_of(per, ends)[0] == number + 1


def test_a_fund_is_that_of_the_present_period() -> None:
    """The fund changes with the period, also when the clock is set back, and money is counted in whole units."""
    key = Key((), budget=Budget(usd=0.1, tokens=5, per="day"))
    book = budgets_of(Config(keys={"a": key}, budget=Budget(usd=2)))
    dollars, tokens, whole = book.of("a", "route")
    assert (dollars.most, tokens.most, whole.name) == (PICO // 10, 5, "gateway")
    first = dollars.fund(at("2026-11-28T10:00:00"))
    assert dollars.fund(at("2026-11-28T23:00:00")) is first
    assert dollars.fund(at("2026-11-29T00:00:00")).period == first.period + 1
    assert dollars.fund(at("2026-01-01T00:00:00")).period < first.period
    assert book.of("", "") == (whole,) and len(list(book)) == 3
