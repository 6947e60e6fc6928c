"""Finds what limits an exchange: the windows and slots of its key and of its address.

The counting itself is in `store/cells` and `store/redis_counters`; this says what is counted, and under which name.
"""

from collections.abc import Iterator
from functools import cached_property

from attrs import define, field, frozen

from gateway.config.schema import Key, Limit, LimitClasses, Limits, Rate
from gateway.store.counters import Claim, Slot, Window

MAX_MADE = 4096  # entries that are kept: a flood of addresses must not fill the memory
REQUESTS, TOKENS, CONCURRENT = "requests", "tokens", "concurrent"


@frozen
class Meter:
    """A window, and how clients are told of it.

    `limit` is the number in the headers: the configured amount without the burst. `whose` is `key` or `address`,
    `unit` what is counted. `cached` is what a token counts that was read from a cache.
    """

    window: Window
    limit: int
    whose: str
    unit: str
    per: float
    limit_class: str
    cached: float = 1.0


@frozen(slots=False)
class Limited:
    """All that limits one kind of exchange of one key from one address. `claim` is what it needs before its body."""

    requests: tuple[Meter, ...] = ()
    tokens: tuple[Meter, ...] = ()
    slots: tuple[Slot, ...] = ()
    claim: Claim = field(init=False)

    @claim.default
    def _claim(self) -> Claim:
        return Claim(tuple((meter.window, 1.0) for meter in self.requests), self.slots)

    @cached_property
    def rates(self) -> "Limited":
        """The same without slots: for what does not last."""
        return Limited(self.requests, self.tokens) if self.slots else self

    def __bool__(self) -> bool:
        return bool(self.requests or self.tokens or self.slots)

    def meter_of(self, window: Window) -> Meter:
        """Return the meter of a window that is one of these."""
        return next(meter for meter in (*self.requests, *self.tokens) if meter.window is window)


_SPANS = {1.0: "second", 60.0: "minute", 3600.0: "hour", 86400.0: "day"}


def span(seconds: float) -> str:
    """Return the word for a rate's span of time."""
    return _SPANS.get(seconds, f"{seconds:g} s")


NO_LIMITS = Limited()


@define
class LimitBook:
    """Finds the limits of exchanges. Remembers what it has found."""

    limits: Limits
    _made: dict[tuple[str, str, str], Limited] = field(factory=dict, init=False)

    def __len__(self) -> int:
        """Return the number of entries that were made."""
        return len(self._made)

    def forget(self) -> None:
        """Forget all entries: they are made again when they are needed."""
        self._made.clear()

    def of(self, key_name: str, key: Key | None, address: str, endpoint_class: str) -> Limited:
        """Return the limits of a key (None: a client without one) and an address, for an endpoint class."""
        place = (key_name, address, endpoint_class)
        found = self._made.get(place)
        if found is None:
            if len(self._made) >= MAX_MADE:
                self._made.clear()
            found = self._made[place] = self._make(key_name, key, address, endpoint_class)
        return found

    def of_key(self, key_name: str, key: Key) -> Iterator[Limited]:
        """Yield the limits of a key in each class that it has limits for, without those of any address."""
        classes = key.limits if key.limits is not None else self.limits.key
        for endpoint_class in classes:
            yield _join(_of_classes("key", key_name, classes, endpoint_class))

    def _make(self, key_name: str, key: Key | None, address: str, endpoint_class: str) -> Limited:
        parts = [_of_classes("address", address, self.limits.address, endpoint_class)]
        if key is not None:
            classes = key.limits if key.limits is not None else self.limits.key
            parts.insert(0, _of_classes("key", key_name, classes, endpoint_class))
        return _join(*parts)


def failed_auth_window(rate: Rate, address: str) -> Window:
    """Make the window that counts wrong keys from one address."""
    return Window(f"failed_auth:{address}", rate.per_second, rate.amount)


def _join(*parts: Limited) -> Limited:
    found = [part for part in parts if part]
    if not found:
        return NO_LIMITS
    if len(found) == 1:
        return found[0]
    first, second = found
    return Limited(first.requests + second.requests, first.tokens + second.tokens, first.slots + second.slots)


def _of_classes(whose: str, name: str, classes: LimitClasses, endpoint_class: str) -> Limited:
    # The class is part of the name: a class with a limit of its own has its own counters, all others share one.
    chosen = endpoint_class if endpoint_class in classes else "default"
    limit: Limit | None = classes.get(chosen)
    if limit is None:
        return NO_LIMITS
    place = f"{whose}:{name}:{chosen}"
    requests: tuple[Meter, ...] = ()
    tokens: tuple[Meter, ...] = ()
    if (rate := limit.requests) is not None:
        window = Window(f"{place}:{REQUESTS}", rate.per_second, rate.amount + limit.burst)
        requests = (Meter(window, rate.amount, whose, REQUESTS, rate.per, chosen),)
    if (rate := limit.tokens) is not None:
        window = Window(f"{place}:{TOKENS}", rate.per_second, rate.amount)
        tokens = (Meter(window, rate.amount, whose, TOKENS, rate.per, chosen, limit.cached),)
    slots = () if limit.concurrent is None else (Slot(f"{place}:{CONCURRENT}", limit.concurrent),)
    return Limited(requests, tokens, slots)
