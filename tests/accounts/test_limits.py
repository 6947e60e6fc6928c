"""What limits an exchange, and how clients are told: with the counters of one process and the time passed in."""

import pytest

from gateway.accounts.headers import Reading, tightest, write_duration, write_headers
from gateway.accounts.limits import MAX_MADE, LimitBook, Limited, failed_auth_window
from gateway.config.schema import Key, Limit, Limits, Rate
from gateway.store.counters import Window

MINUTE = Rate(60, 60)


def readings(limited: Limited, left: float) -> list[Reading]:
    return [Reading(meter, left) for meter in (*limited.requests, *limited.tokens)]


def test_a_class_replaces_the_default_and_a_keys_limits_the_common_ones() -> None:
    """A class's limit replaces the default, and a key's own limits replace all common ones."""
    limits = Limits(
        key={"default": Limit(MINUTE, 10), "chat": Limit(Rate(5, 60))},
        address={"default": Limit(Rate(100, 60))},
    )
    book = LimitBook(limits)
    chat, other = book.of("a", Key(()), "1.1.1.1", "chat"), book.of("a", Key(()), "1.1.1.1", "messages")
    assert [one.window.name for one in chat.requests] == ["key:a:chat:requests", "address:1.1.1.1:default:requests"]
    assert [one.window.capacity for one in other.requests] == [70, 100]
    own = book.of("b", Key((), limits={"default": Limit(Rate(7, 1))}), "1.1.1.1", "chat")
    assert next((one.window.name, one.limit) for one in own.requests) == ("key:b:default:requests", 7)
    assert [one.window.name for one in book.of("", None, "9.9.9.9", "chat").requests] == [
        "address:9.9.9.9:default:requests"
    ]


def test_tokens_and_slots_have_names_of_their_own() -> None:
    """Requests, tokens and slots of one class are counted apart."""
    limit = Limit(MINUTE, tokens=Rate(1000, 60), concurrent=3, cached=0.5)
    found = LimitBook(Limits(key={"default": limit})).of("a", Key(()), "1.1.1.1", "chat")
    assert [one.window.name for one in found.tokens] == ["key:a:default:tokens"]
    assert found.tokens[0].cached == 0.5
    assert [(one.name, one.most) for one in found.slots] == [("key:a:default:concurrent", 3)]
    assert not LimitBook(Limits()).of("a", Key(()), "1.1.1.1", "chat")


def test_the_book_stays_small() -> None:
    """A flood of addresses does not fill the memory, and what is remembered can be forgotten."""
    book = LimitBook(Limits(address={"default": Limit(MINUTE)}))
    for number in range(2 * MAX_MADE):
        book.of("", None, f"10.0.{number // 256}.{number % 256}", "chat")
    assert len(book) <= MAX_MADE
    book.forget()
    assert len(book) == 0


def test_headers_of_openai() -> None:
    """What is left is told without the burst, never above the limit and never below 0."""
    limited = LimitBook(Limits(key={"default": Limit(MINUTE, 10, tokens=Rate(1000, 60))})).of("a", Key(()), "", "chat")
    requests, tokens = readings(limited, 65.0)[0], readings(limited, -20.0)[1]
    said = write_headers(requests, tokens, 1000.0)
    assert said["X-RateLimit-Limit"] == "60" and said["X-RateLimit-Remaining"] == "55"
    assert said["x-ratelimit-remaining-requests"] == "55" and said["x-ratelimit-reset-requests"] == "5s"
    assert said["x-ratelimit-limit-tokens"] == "1000" and said["x-ratelimit-remaining-tokens"] == "0"
    assert said["x-ratelimit-reset-tokens"] == "1m2s"
    assert write_headers(None, tokens, 1000.0)["X-RateLimit-Limit"] == "1000"


def test_headers_of_anthropic() -> None:
    """On Anthropic's paths the names are Anthropic's, and the reset is a time."""
    limited = LimitBook(Limits(key={"default": Limit(MINUTE, tokens=Rate(1000, 60))})).of("a", Key(()), "", "messages")
    requests, tokens = readings(limited, 30.0)
    said = write_headers(requests, tokens, 1000.0, is_anthropic=True)
    assert said["anthropic-ratelimit-requests-remaining"] == "30"
    assert said["anthropic-ratelimit-requests-reset"] == "1970-01-01T00:17:10Z"
    assert said["anthropic-ratelimit-tokens-limit"] == "1000"
    assert not any(name.startswith("x-ratelimit") for name in said)


def test_the_tightest_is_told() -> None:
    """Of several limits the one with least left is told; in debt, the one that takes longest."""
    book = LimitBook(Limits(key={"default": Limit(Rate(2, 1))}, address={"default": Limit(Rate(60, 3600))}))
    key, address = book.of("a", Key(()), "x", "chat").requests
    assert tightest([key, address], [1.0, 5.0]) == Reading(key, 1.0)
    assert tightest([key, address], [-5.0, -1.0]) == Reading(address, -1.0)
    assert tightest([], []) is None


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.012, "12ms"), (1, "1s"), (59.2, "1m0s"), (360, "6m0s"), (3661, "1h1m1s"), (0, "0ms")]
)
def test_durations(seconds: float, said: str) -> None:
    """Durations are written as OpenAI writes them."""
    assert write_duration(seconds) == said


def test_wrong_keys_are_counted_by_address() -> None:
    """Each address has a window of its own for wrong keys."""
    window = failed_auth_window(MINUTE, "1.2.3.4")
    assert isinstance(window, Window) and (window.capacity, window.per_second) == (60, 1.0)
