"""Writes what is left of the limits as headers: `X-RateLimit-*`, and those of OpenAI or Anthropic.

See docs/endpoints.md#rate-limit-headers. What is left is told without the burst, so that it is never above the limit.
"""

import math
from collections.abc import Sequence
from datetime import UTC, datetime

from attrs import frozen

from gateway.accounts.limits import REQUESTS, TOKENS, Meter

LAST = 253_402_300_799  # Unix seconds of the last time that can be written
_HAIR = 1e-6  # units: a window that has refilled just now may be a hair short


@frozen
class Reading:
    """What is left of a window now, in units (below 0: debt)."""

    meter: Meter
    left: float

    @property
    def shown(self) -> int:
        """What is left, as clients are told."""
        burst = self.meter.window.capacity - self.meter.limit
        return max(0, math.floor(self.left - burst + _HAIR))

    @property
    def reset(self) -> float:
        """Seconds until the window is full."""
        return max(0.0, (self.meter.window.capacity - self.left) / self.meter.window.per_second)


def tightest(meters: Sequence[Meter], left: Sequence[float]) -> Reading | None:
    """Return the window with the least left: of those in debt, that which takes longest to be paid."""
    best, least = -1, math.inf
    for index, units in enumerate(left):
        rank = units / meters[index].window.per_second if units < 0 else units
        if rank < least:
            best, least = index, rank
    return None if best < 0 else Reading(meters[best], left[best])


def write_headers(
    requests: Reading | None, tokens: Reading | None, unix_now: float, *, is_anthropic: bool = False
) -> dict[str, str]:
    """Write the tightest limits in force. `X-RateLimit-*` are those of requests, or of tokens where only they are."""
    headers: dict[str, str] = {}
    if (main := requests or tokens) is not None:
        headers["X-RateLimit-Limit"] = str(main.meter.limit)
        headers["X-RateLimit-Remaining"] = str(main.shown)
        headers["X-RateLimit-Reset"] = str(math.ceil(unix_now + main.reset))
    for reading in (requests, tokens):
        if reading is not None:
            headers |= _of_anthropic(reading, unix_now) if is_anthropic else _of_openai(reading)
    return headers


def _of_openai(reading: Reading) -> dict[str, str]:
    limit, remaining, reset = _OPENAI[reading.meter.unit]
    return {
        limit: str(reading.meter.limit),
        remaining: str(reading.shown),
        reset: write_duration(reading.reset),
    }


_OPENAI = {
    unit: (f"x-ratelimit-limit-{unit}", f"x-ratelimit-remaining-{unit}", f"x-ratelimit-reset-{unit}")
    for unit in (REQUESTS, TOKENS)
}


def _of_anthropic(reading: Reading, unix_now: float) -> dict[str, str]:
    """Write them with a reset that is an RFC 3339 time."""
    reset = (
        datetime.fromtimestamp(min(LAST, math.ceil(unix_now + reading.reset)), UTC).isoformat().replace("+00:00", "Z")
    )
    name = f"anthropic-ratelimit-{'requests' if reading.meter.unit == REQUESTS else 'tokens'}"
    return {f"{name}-limit": str(reading.meter.limit), f"{name}-remaining": str(reading.shown), f"{name}-reset": reset}


def write_duration(seconds: float) -> str:
    """Write seconds as OpenAI does in rate-limit headers: `12ms`, `1s`, `6m0s`."""
    if seconds < 1:
        return f"{math.ceil(seconds * 1000)}ms"
    whole = math.ceil(seconds)
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return (f"{hours}h" if hours else "") + (f"{minutes}m" if hours or minutes else "") + f"{rest}s"
