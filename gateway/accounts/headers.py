"""Writes what is left of the limits as headers: `X-RateLimit-*`, and those of OpenAI or Anthropic.

See docs/endpoints.md#rate-limit-headers. What is left is told without the burst, so that it is never above the limit.
"""

import math
from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

from gateway.accounts.limits import REQUESTS, TOKENS, Meter

LAST = 253_402_300_799  # Unix seconds of the last time that can be written
_HAIR = 1e-6  # units: a window that has refilled just now may be a hair short


class Reading(msgspec.Struct, frozen=True):
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
    for reading in (requests, tokens):
        if reading is None:
            continue
        limit, shown, reset = str(reading.meter.limit), str(reading.shown), reading.reset
        if not headers:
            headers["X-RateLimit-Limit"], headers["X-RateLimit-Remaining"] = limit, shown
            headers["X-RateLimit-Reset"] = str(math.ceil(unix_now + reset))
        names = (_ANTHROPIC if is_anthropic else _OPENAI)[reading.meter.unit]
        headers[names[0]], headers[names[1]] = limit, shown
        headers[names[2]] = _write_time(unix_now + reset) if is_anthropic else write_duration(reset)
    return headers


_OPENAI = {
    unit: (f"x-ratelimit-limit-{unit}", f"x-ratelimit-remaining-{unit}", f"x-ratelimit-reset-{unit}")
    for unit in (REQUESTS, TOKENS)
}


_ANTHROPIC = {
    unit: tuple(f"anthropic-ratelimit-{unit}-{part}" for part in ("limit", "remaining", "reset"))
    for unit in (REQUESTS, TOKENS)
}


def _write_time(seconds: float) -> str:
    """Write Unix seconds as an RFC 3339 time, as Anthropic does in its headers."""
    return datetime.fromtimestamp(min(LAST, math.ceil(seconds)), UTC).isoformat().replace("+00:00", "Z")


def write_duration(seconds: float) -> str:
    """Write seconds as OpenAI does in rate-limit headers: `12ms`, `1s`, `6m0s`."""
    if seconds < 1:
        return f"{math.ceil(seconds * 1000)}ms"
    whole = math.ceil(seconds)
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return (f"{hours}h" if hours else "") + (f"{minutes}m" if hours or minutes else "") + f"{rest}s"
