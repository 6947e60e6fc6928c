"""Token buckets for the rate limits, and the headers that show them. The caller passes the time.

A request is charged to several buckets at once, such as its key's and its address's: it is taken from all of them
or from none. Each bucket is kept as one number, the time at which it will be full again (GCRA, the generic cell
rate algorithm). A charge moves that time on by cost / rate; time fills the bucket without any work, and a time in
the past is a full bucket. What is left now is capacity - (full_at - now) * rate. A bucket's name and its numbers
are all that a shared store would need to do the same for several gateways.
"""

import math
from collections.abc import Sequence
from datetime import UTC, datetime

from attrs import define, field, frozen

from gateway.config.schema import Key, Limit, LimitClasses, Limits, Rate

# Above this many buckets, those that are full again are dropped: a missing bucket is a full one. The next sweep comes
# when there are twice as many as were left, so that each charge pays for a part of one sweep.
SWEEP_AT = 10_000
# Above this many, the fullest half is dropped as well: a flood of addresses must not fill the memory.
MAX_BUCKETS = 200_000
# In units. Tolerates rounding: without it, a unit that has refilled just now may still be a hair short.
_PATIENCE = 1e-6


@frozen
class Bucket:
    """One bucket: `per_second` is its refill and `capacity` its most, both in units (requests).

    `limit` is the number in the headers to clients: the configured amount without the burst.
    """

    name: str
    per_second: float
    capacity: float
    limit: int


@frozen
class Verdict:
    """The result of a charge, for the tightest bucket of those charged.

    `wait` is 0 when the charge fits, else the seconds until it will; `remaining` is in units; `reset` is in
    seconds until the bucket is full.
    """

    bucket: Bucket
    remaining: float
    reset: float
    wait: float


@define
class Buckets:
    """All buckets of one process: {name: time at which the bucket is full again}."""

    _full_at: dict[str, float] = field(factory=dict, init=False)
    _sweep_at: int = field(default=SWEEP_AT, init=False)

    def __len__(self) -> int:
        """Return the number of buckets that are not full."""
        return len(self._full_at)

    def take(self, charges: Sequence[Bucket], now: float, cost: float = 1.0) -> Verdict:
        """Take `cost` from every bucket in `charges`, at least one, or from none. Atomic: nothing is awaited."""
        verdict = self.peek(charges, now, cost)
        if verdict.wait == 0.0:
            self._book(charges, now, cost)
        return verdict

    def peek(self, charges: Sequence[Bucket], now: float, cost: float = 1.0) -> Verdict:
        """Return what `take` would return, and take nothing."""
        tightest, least = charges[0], math.inf
        for bucket in charges:
            full = self._full_at.get(bucket.name, 0.0)
            left = bucket.capacity - cost - (full - now) * bucket.per_second if full > now else bucket.capacity - cost
            # The tightest bucket is the one that takes longest to refill; if the charge fits, the one with least left.
            rank = left / bucket.per_second if left < -_PATIENCE else left
            if rank < least:
                tightest, least, remaining = bucket, rank, left
        if least < -_PATIENCE:
            debt = tightest.capacity - cost - remaining
            return Verdict(tightest, max(0.0, remaining + cost), debt / tightest.per_second, -least)
        return Verdict(tightest, remaining, (tightest.capacity - remaining) / tightest.per_second, 0.0)

    def give_back(self, charges: Sequence[Bucket], now: float, cost: float = 1.0) -> None:
        """Put back units that were taken and not used."""
        self._book(charges, now, -cost)

    def _book(self, charges: Sequence[Bucket], now: float, cost: float) -> None:
        full_at = self._full_at
        for bucket in charges:
            full = full_at.get(bucket.name, 0.0)
            full_at[bucket.name] = (full if full > now else now) + cost / bucket.per_second
        if len(full_at) > self._sweep_at:
            self._sweep(now)

    def _sweep(self, now: float) -> None:
        left = {name: full for name, full in self._full_at.items() if full > now}
        if len(left) > MAX_BUCKETS:
            emptiest = sorted(left, key=lambda name: left[name])[MAX_BUCKETS // 2 :]
            left = {name: left[name] for name in emptiest}
        self._full_at = left
        self._sweep_at = min(max(SWEEP_AT, 2 * len(left)), MAX_BUCKETS)


@define
class ChargeBook:
    """Finds the buckets that an exchange is charged to: its key's and its address's. Caches them."""

    limits: Limits
    _made: dict[tuple[str, str, str], Sequence[Bucket]] = field(factory=dict, init=False)

    def __len__(self) -> int:
        """Return the number of entries that were made."""
        return len(self._made)

    def charges(self, key_name: str, key: Key | None, address: str, endpoint_class: str) -> Sequence[Bucket]:
        """Return the request buckets of a key (None: a client without one) and an address, for an endpoint class."""
        place = (key_name, address, endpoint_class)
        found = self._made.get(place)
        if found is None:
            made = []
            if key is not None:
                classes = key.limits if key.limits is not None else self.limits.key
                made += _request_bucket("key", key_name, classes, endpoint_class)
            made += _request_bucket("address", address, self.limits.address, endpoint_class)
            if len(self._made) >= SWEEP_AT:
                self._made.clear()
            found = self._made[place] = tuple(made)
        return found


def failed_auth_bucket(rate: Rate, address: str) -> Bucket:
    """Make the bucket that counts wrong keys from one address."""
    return Bucket(f"failed_auth:{address}", rate.per_second, rate.amount, rate.amount)


def _request_bucket(kind: str, name: str, classes: LimitClasses, endpoint_class: str) -> list[Bucket]:
    chosen = endpoint_class if endpoint_class in classes else "default"
    limit: Limit | None = classes.get(chosen)
    if limit is None or limit.requests is None:
        return []
    rate = limit.requests
    # The class is part of the name: a class with a limit of its own has its own bucket, all others share one.
    return [Bucket(f"{kind}:{name}:{chosen}", rate.per_second, rate.amount + limit.burst, rate.amount)]


def write_headers(verdict: Verdict, unix_now: float, *, is_anthropic: bool = False) -> dict[str, str]:
    """Write the limit in force as headers: `X-RateLimit-*`, and those of OpenAI or Anthropic.

    What is left is told without the burst, so that it is never above the limit: see
    docs/endpoints.md#rate-limit-headers.

    Anthropic's reset is an RFC 3339 time, OpenAI's a duration; `X-RateLimit-Reset` is in Unix seconds.
    """
    burst = verdict.bucket.capacity - verdict.bucket.limit
    limit, remaining = str(verdict.bucket.limit), str(max(0, int(verdict.remaining - burst + _PATIENCE)))
    if is_anthropic:
        reset = datetime.fromtimestamp(math.ceil(unix_now + verdict.reset), UTC)
        return {
            "X-RateLimit-Limit": limit,
            "X-RateLimit-Remaining": remaining,
            "X-RateLimit-Reset": str(math.ceil(unix_now + verdict.reset)),
            "anthropic-ratelimit-requests-limit": limit,
            "anthropic-ratelimit-requests-remaining": remaining,
            "anthropic-ratelimit-requests-reset": reset.isoformat().replace("+00:00", "Z"),
        }
    return {
        "X-RateLimit-Limit": limit,
        "X-RateLimit-Remaining": remaining,
        "X-RateLimit-Reset": str(math.ceil(unix_now + verdict.reset)),
        "x-ratelimit-limit-requests": limit,
        "x-ratelimit-remaining-requests": remaining,
        "x-ratelimit-reset-requests": write_duration(verdict.reset),
    }


def write_duration(seconds: float) -> str:
    """Write seconds as OpenAI does in rate-limit headers: `12ms`, `1s`, `6m0s`."""
    if seconds < 1:
        return f"{math.ceil(seconds * 1000)}ms"
    whole = math.ceil(seconds)
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return (f"{hours}h" if hours else "") + (f"{minutes}m" if hours or minutes else "") + f"{rest}s"
