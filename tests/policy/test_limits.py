"""Token buckets: exact, charged together or not at all, with the time passed in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.schema import Key, Limit, Limits, Rate
from gateway.policy.limits import (
    SWEEP_AT,
    Bucket,
    Buckets,
    ChargeBook,
    failed_auth_bucket,
    write_duration,
    write_headers,
)

MINUTE = Bucket("m", 1.0, 60, 60)


def test_a_full_bucket_holds_rate_and_burst() -> None:
    """60 a minute with burst 0 admits 60 at once, then one for each second."""
    buckets = Buckets()
    assert sum(buckets.take([MINUTE], 0.0).wait == 0.0 for _ in range(200)) == 60
    assert buckets.take([MINUTE], 0.5).wait == pytest.approx(0.5)
    assert sum(buckets.take([MINUTE], 3.0).wait == 0.0 for _ in range(200)) == 3


@given(st.lists(st.floats(0, 120), min_size=1, max_size=200), st.integers(1, 100), st.integers(0, 50))
def test_never_more_than_allowed_in_any_window(times: list[float], amount: int, burst: int) -> None:
    """For any arrival times a window admits at most the capacity plus what has refilled."""
    bucket = Bucket("b", amount / 60, amount + burst, amount)
    buckets = Buckets()
    admitted = [now for now in sorted(times) if buckets.take([bucket], now).wait == 0.0]
    for index, start in enumerate(admitted):
        for count, end in enumerate(admitted[index:], 1):
            assert count <= bucket.capacity + (end - start) * bucket.per_second + 1e-3


def test_all_buckets_are_charged_or_none() -> None:
    """A refused request charges no bucket."""
    small, large = Bucket("small", 1.0, 1, 1), Bucket("large", 1.0, 100, 100)
    buckets = Buckets()
    assert buckets.take([large, small], 0.0).wait == 0.0
    refused = buckets.take([large, small], 0.0)
    assert refused.wait == pytest.approx(1.0) and refused.bucket == small
    assert buckets.take([large], 0.0).remaining == pytest.approx(98)


def test_the_tightest_bucket_is_told() -> None:
    """The verdict names the bucket with least left or, if refused, the one with the longest wait."""
    few, slow = Bucket("few", 10.0, 2, 2), Bucket("slow", 0.01, 5, 5)
    buckets = Buckets()
    assert buckets.take([few, slow], 0.0).bucket == few
    for _ in range(4):
        buckets.take([slow], 0.0)
    buckets.take([few], 0.0)
    refused = buckets.take([few, slow], 0.0)
    assert refused.bucket == slow and refused.wait == pytest.approx(100)


def test_what_is_given_back_can_be_taken_again() -> None:
    """A reservation that is given back can be taken again."""
    one = Bucket("one", 0.1, 1, 1)
    buckets = Buckets()
    buckets.take([one], 0.0)
    assert buckets.peek([one], 0.0).wait > 0
    buckets.give_back([one], 0.0)
    assert buckets.take([one], 0.0).wait == 0.0


def test_full_buckets_are_forgotten() -> None:
    """Full buckets are forgotten, so that the table does not grow for ever."""
    buckets = Buckets()
    for number in range(SWEEP_AT + 1):
        buckets.take([Bucket(f"b{number}", 100.0, 10, 10)], float(number))
    assert len(buckets) < SWEEP_AT


def test_a_class_replaces_the_default_and_a_keys_limits_the_common_ones() -> None:
    """A class replaces the default, and a key's limits replace the common ones.

    See docs/endpoints.md#model-names and docs/endpoints.md#rate-limit-headers.
    """
    common = {"default": Limit(Rate(60, 60.0), burst=10), "chat": Limit(Rate(20, 60.0))}
    own = {"default": Limit(Rate(5, 1.0))}
    book = ChargeBook(Limits(key=common, address=common))
    plain, special, free = Key(()), Key((), limits=own), Key((), limits={})

    def charged(key: Key | None, kind: str) -> list[tuple[str, float]]:
        name = {id(plain): "p", id(special): "s", id(free): "f"}.get(id(key), "")
        return [(bucket.name, bucket.capacity) for bucket in book.charges(name, key, "1.2.3.4", kind)]

    assert charged(plain, "chat") == [("key:p:chat", 20), ("address:1.2.3.4:chat", 20)]
    assert charged(plain, "embeddings") == [("key:p:default", 70), ("address:1.2.3.4:default", 70)]
    assert charged(special, "chat") == [("key:s:default", 5), ("address:1.2.3.4:chat", 20)]
    assert charged(free, "chat") == [("address:1.2.3.4:chat", 20)]
    assert charged(None, "chat") == [("address:1.2.3.4:chat", 20)]
    assert book.charges("p", plain, "1.2.3.4", "chat") is book.charges("p", plain, "1.2.3.4", "chat")


def test_a_limit_without_requests_charges_nothing() -> None:
    """A limit without `requests` charges nothing, and a flood of addresses does not grow the book without bound."""
    book = ChargeBook(Limits(address={"default": Limit()}))
    for number in range(SWEEP_AT + 10):
        assert not book.charges("", None, str(number), "chat")
    assert len(book) <= SWEEP_AT


def test_headers_say_the_limit_in_both_vocabularies() -> None:
    """The headers give the limit in X-RateLimit-* and in OpenAI's x-ratelimit-*-requests."""
    verdict = Buckets().take([MINUTE], 0.0)
    assert write_headers(verdict, 1000.2) == {
        "X-RateLimit-Limit": "60",
        "X-RateLimit-Remaining": "59",
        "X-RateLimit-Reset": "1002",
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-remaining-requests": "59",
        "x-ratelimit-reset-requests": "1s",
    }


@pytest.mark.parametrize("is_anthropic", [False, True])
def test_what_is_left_is_never_above_the_limit(is_anthropic: bool) -> None:
    """Remaining does not count the burst: 59 of 60 after the first, as the seed shows; 0 while the burst lasts."""
    bucket, buckets = Bucket("b", 1.0, 70, 60), Buckets()
    found = []
    for _ in range(71):
        headers = write_headers(buckets.take([bucket], 0.0), 1000.0, is_anthropic=is_anthropic)
        (own,) = [value for name, value in headers.items() if "requests" in name and "remaining" in name]
        assert own == headers["X-RateLimit-Remaining"]
        found.append(int(own))
    assert found == [*range(59, -1, -1), *[0] * 11]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.0, "0ms"), (0.0115, "12ms"), (1.0, "1s"), (59.2, "1m0s"), (360, "6m0s"), (3661, "1h1m1s")]
)
def test_durations_are_written_as_openai_does(seconds: float, text: str) -> None:
    """Durations are written like `1s`, `6m0s` and `12ms` (docs/wire/rate-limits.md)."""
    assert write_duration(seconds) == text


def test_wrong_keys_have_a_bucket_per_address() -> None:
    """Wrong keys have a bucket for each address, with a name that no other bucket can have."""
    assert failed_auth_bucket(Rate(30, 60.0), "1.2.3.4") == Bucket("failed_auth:1.2.3.4", 0.5, 30, 30)
