"""How long a provider says to wait, in each of the ways in which providers say it."""

from datetime import UTC, datetime
from email.utils import formatdate

import msgspec
import pytest

from gateway.config.schema import Breaker
from gateway.faults import Fault
from gateway.policy.health import MAX_REST, Health
from gateway.wire.provider_error import MAX_SAID_WAIT, read_declined, read_wait

NOW = 1_700_000_000.0


def iso(seconds: float) -> str:
    return datetime.fromtimestamp(NOW + seconds, UTC).isoformat().replace("+00:00", "Z")


WAITS: list[tuple[dict[str, str], float | None]] = [
    ({"retry-after": "300"}, 300.0),
    ({"retry-after": "3600"}, 3600.0),
    ({"retry-after": "3601"}, 3601.0),
    ({"retry-after": "86400"}, 86400.0),
    ({"retry-after": "0"}, 0.0),
    ({"retry-after": " 7 "}, 7.0),
    ({"retry-after": "1m30s"}, 90.0),
    ({"retry-after": f"{NOW + 45:.0f}"}, 45.0),
    ({"retry-after": formatdate(NOW + 7200, usegmt=True)}, 7200.0),
    ({"retry-after": formatdate(NOW + 20)}, 20.0),
    ({"retry-after": iso(30)}, 30.0),
    ({"retry-after": formatdate(NOW - 20, usegmt=True)}, None),
    ({"retry-after": "1e300"}, None),
    ({"retry-after": "inf"}, None),
    ({"retry-after-ms": "350"}, 0.35),
    ({"retry-after-ms": "7200000"}, 7200.0),
    ({"retry-after-ms": "soon", "retry-after": "9"}, 9.0),
    ({"retry-after-ms": "-1", "retry-after": "9"}, 9.0),
    ({"retry-after": "soon", "x-ratelimit-reset": "12"}, 12.0),
    ({"x-ratelimit-reset-requests": "1s"}, 1.0),
    ({"x-ratelimit-reset-tokens": "6m0s"}, 360.0),
    ({"x-ratelimit-reset-tokens": "120ms"}, 0.12),
    ({"x-ratelimit-reset-requests": "1h2m3.5s"}, 3723.5),
    ({"x-ratelimit-reset": "30"}, 30.0),
    ({"x-ratelimit-reset": f"{NOW + 30:.0f}"}, 30.0),
    ({"x-ratelimit-reset": f"{(NOW + 30) * 1000:.0f}"}, 30.0),
    ({"ratelimit-reset": "15"}, 15.0),
    ({"anthropic-ratelimit-requests-reset": iso(40)}, 40.0),
    ({"anthropic-ratelimit-unified-reset": f"{NOW + 900:.0f}"}, 900.0),
    ({"x-ratelimit-reset-requests": "8s", "x-ratelimit-reset-tokens": "2s"}, 2.0),
    (
        {
            "x-ratelimit-reset-requests": "2s",
            "x-ratelimit-remaining-requests": "9",
            "x-ratelimit-reset-tokens": "8s",
            "x-ratelimit-remaining-tokens": "0",
        },
        8.0,
    ),
    (
        {
            "anthropic-ratelimit-tokens-reset": iso(50),
            "anthropic-ratelimit-tokens-remaining": "0",
            "anthropic-ratelimit-requests-reset": iso(1),
            "anthropic-ratelimit-requests-remaining": "3",
        },
        50.0,
    ),
    ({"x-ratelimit-reset-requests": "0s", "x-ratelimit-reset-tokens": "0"}, None),
    ({"x-ratelimit-limit-requests": "60", "x-ratelimit-remaining-requests": "0"}, None),
    ({"x-ratelimit-reset": "soon"}, None),
]


@pytest.mark.parametrize(("headers", "seconds"), WAITS)
def test_the_wait_is_read_as_it_was_said(headers: dict[str, str], seconds: float | None) -> None:
    """Each header, as seconds, milliseconds, a span, a date or a point in time; odd ones are passed over."""
    assert read_wait(headers, "", NOW) == (None if seconds is None else pytest.approx(seconds))
    error = read_declined("openai_chat", 429, headers, b'{"error":{"message":"m"}}', NOW)
    assert error.retry_after == (None if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize(
    ("message", "seconds"),
    [
        ("Please try again in 9m38.016s. Need more tokens?", MAX_SAID_WAIT),
        ("Please try again in 1m2s", MAX_SAID_WAIT),
        ("Please try again in 7.66s.", 7.66),
        ("Please try again in 1h.", MAX_SAID_WAIT),
        ("Please try again in 20ms", 0.02),
        ("try again in 5 s", 5.0),
        ("try again in 5 sheets", None),
    ],
)
def test_the_words_of_a_message(message: str, seconds: float | None) -> None:
    """A message may say a span; a client may have written it, so that it counts for half a minute at most."""
    assert read_wait({}, message, NOW) == (None if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize("status", [400, 404, 500])
def test_limits_beside_another_refusal_are_no_wait(status: int) -> None:
    """The state of the limits comes with every reply: only a refusal by a limit means them."""
    headers = {"x-ratelimit-reset-requests": "60s"}
    assert read_declined("openai_chat", status, headers, b'{"error":{"message":"m"}}', NOW).retry_after is None


def test_groqs_413_has_a_wait() -> None:
    """A 413 for tokens a minute says by its headers when the minute is over."""
    body = msgspec.json.encode({"error": {"message": "m", "type": "tokens", "code": "rate_limit_exceeded"}})
    assert read_declined("openai_chat", 413, {"x-ratelimit-reset-tokens": "12s"}, body, NOW).retry_after == 12.0


@pytest.mark.parametrize("wait", [300.0, 3600.0, 7200.0, 86400.0 * 30])
def test_a_long_wait_rests_for_five_minutes(wait: float) -> None:
    """However long a provider says, one rest lasts five minutes at most; until then it is the provider's own word."""
    health = Health(Breaker())
    health.fail("t", "c", Fault.LIMITED, wait, 0.0)
    assert health.wait("t", "c", 0.0) == MAX_REST
    assert health.said("t", "c", MAX_REST - 1) is Fault.LIMITED and health.said("t", "c", MAX_REST) is None
    assert health.limited(0.0) == {"t"} and not health.limited(MAX_REST)


def test_a_rest_that_nobody_said_may_be_broken() -> None:
    """Without a word of the provider's a rest is our guess: as a last resort it is broken."""
    health = Health(Breaker())
    health.fail("t", "c", Fault.LIMITED, None, 0.0)
    assert health.wait("t", "c", 0.0) == 30.0 and health.said("t", "c", 0.0) is None
    health.fail("t", "c", Fault.OVERLOADED, 9.0, 0.0)
    assert health.said("t", "c", 0.0) is Fault.OVERLOADED
    health.succeed("t", "c", 0.0)
    assert health.said("t", "c", 0.0) is None and not health.limited(0.0)
