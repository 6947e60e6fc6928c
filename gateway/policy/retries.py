"""Which target is tried next, and what the client is told when none is left. Pure.

The rules are RELIABILITY.md 5-8 and TRANSLATION.md 9.1: the list first, in its order; when it is used
up, one repeat of what may be repeated, if the wait is short; never a sleep while a target is free.
"""

from collections import deque
from collections.abc import Sequence

from attrs import define, field, frozen

from gateway.config.schema import Target
from gateway.errors import Fault, GatewayError, StorageFull, UpstreamFault
from gateway.policy.health import CONSEQUENCES

# TRANSLATION.md 9.2, full jitter; a provider that wants a longer pause is given up instead.
FIRST_DELAY = 0.5
MAX_PAUSE = 5.0
# These tell of our account or our configuration; another target's fault tells the client more.
UNINFORMATIVE = frozenset(
    {Fault.CREDENTIALS, Fault.QUOTA, Fault.CONNECT, Fault.MISSING, Fault.REFUSED, Fault.BUSY, Fault.EMPTY}
)
# Asking again at once is pointless: the account, the request or the policy would have to change.
POINTLESS = frozenset(
    {Fault.QUOTA, Fault.CREDENTIALS, Fault.REFUSED, Fault.MISSING, Fault.CALLER, Fault.TOO_LONG, Fault.FILTERED}
)


@frozen
class NextAttempt:
    """The next attempt: its target, the seconds to wait before it, and whether it asks a second time.

    `is_forced`: the target is asked although it rests, for lack of a better one.
    """

    target: Target
    pause: float = 0.0
    is_repeat: bool = False
    is_forced: bool = False


@define
class Schedule:
    """The attempts of one exchange. Times are monotonic seconds; `until` is when no new one may start."""

    targets: deque[Target]
    context_fallback: Sequence[Target]
    attempts_left: int
    until: float
    _repeats: list[tuple[float, Target]] = field(factory=list, init=False)  # (ready at, target)
    _has_repeated: bool = field(default=False, init=False)
    _has_met_empty: bool = field(default=False, init=False)
    _resting: list[tuple[float, Target]] = field(factory=list, init=False)  # (seconds left, target)
    _has_started: bool = field(default=False, init=False)

    def next(self, now: float) -> NextAttempt | None:
        """Return the next attempt, None when there is nothing left to try or no time for it."""
        if self.attempts_left <= 0 or now >= self.until:
            return None
        if self.targets:
            return NextAttempt(self.targets.popleft())
        if not self._has_started and self._resting:
            # All rest: the least bad one is better than failing blind (RELIABILITY.md 9).
            least_bad = min(self._resting, key=lambda entry: entry[0])[1]
            self._resting.clear()
            return NextAttempt(least_bad, is_forced=True)
        if self._has_repeated or not self._repeats:
            return None
        ready, target = min(self._repeats, key=lambda entry: entry[0])
        pause = max(0.0, ready - now)
        if pause > MAX_PAUSE or now + pause >= self.until:
            return None
        self._has_repeated = True
        return NextAttempt(target, pause, is_repeat=True, is_forced=True)

    def pass_over(self, target: Target, wait: float) -> None:
        """The target rests for `wait` seconds: it is asked only when all do."""
        self._resting.append((wait, target))

    def start(self) -> None:
        """An attempt starts."""
        self._has_started = True
        self.attempts_left -= 1

    def note(self, target: Target, fault: UpstreamFault, has_other_key: bool, now: float, roll: float) -> None:
        """Learn how an attempt failed. `has_other_key`: another credential of this provider is at hand."""
        consequence = CONSEQUENCES[fault.fault]
        if fault.fault is Fault.TOO_LONG and self.context_fallback:
            self.targets, self.context_fallback = deque(self.context_fallback), ()
            return
        if fault.fault is Fault.EMPTY:
            self._has_met_empty = True
        if not consequence.may_move:
            self.targets.clear()
            self._repeats.clear()
        may_repeat = consequence.may_repeat if fault.should_retry is None else fault.should_retry
        if has_other_key and fault.fault in (Fault.LIMITED, Fault.QUOTA, Fault.CREDENTIALS):
            self.targets.appendleft(target)
        elif may_repeat and (fault.fault is not Fault.LIMITED or fault.retry_after is not None):
            self._repeats.append((now + max(fault.retry_after or 0.0, FIRST_DELAY * roll), target))

    @property
    def accepts_empty(self) -> bool:
        """Whether a reply that says nothing is good enough: one was met already, or nobody is left to ask."""
        return self._has_met_empty or not self.targets or self.attempts_left <= 0


def verdict(faults: Sequence[UpstreamFault]) -> UpstreamFault:
    """Choose the fault that the client is told: the last informative one, with the smallest Retry-After."""
    chosen = next((fault for fault in reversed(faults) if fault.fault not in UNINFORMATIVE), faults[-1])
    waits = [fault.retry_after for fault in faults if fault.retry_after is not None]
    if waits and chosen.fault in (Fault.LIMITED, Fault.OVERLOADED, Fault.BUSY):
        chosen.retry_after = min(waits)
    return chosen


def is_pointless(error: GatewayError) -> bool:
    """Whether the client should be told not to try again."""
    return isinstance(error, StorageFull) or (isinstance(error, UpstreamFault) and error.fault in POINTLESS)


@define
class RetryBudget:
    """Bounds second tries at one provider to a fifth of its requests, and some for a quiet one.

    A fifth over ten seconds (RELIABILITY.md 8, TRANSLATION.md 9.2); `level` is in retries.
    """

    level: float = 10.0
    most: float = 100.0
    per_request: float = 0.2
    per_second: float = 1.0
    _seen: float = 0.0

    def note_request(self, now: float) -> None:
        """A first attempt earns a part of a retry; so does time."""
        earned = self.per_request + (now - self._seen) * self.per_second if self._seen else self.per_request
        self._seen = now
        self.level = min(self.most, self.level + earned)

    def take(self) -> bool:
        """Spend one retry, if there is one."""
        if self.level < 1 - 1e-9:  # five fifths are one
            return False
        self.level -= 1
        return True
