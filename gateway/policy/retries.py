"""Decides which target is tried next, and which fault is sent to the client when none is left. Pure.

All targets are tried first, in their order, without a pause. When the list is used up, one target whose fault
allows it is tried once more, if the wait is short (docs/reliability.md P5 to P8, docs/wire/retries.md#by-failure).
"""

from collections import deque
from collections.abc import Sequence

from attrs import define, field, frozen

from gateway.config.schema import Target
from gateway.errors import BudgetExceeded, GatewayError, Refusal, SaidNothing, StorageFull, UpstreamFault
from gateway.faults import Fault
from gateway.policy.health import CONSEQUENCES

# Seconds. The pause before a repeat is random in [0, FIRST_DELAY), or the Retry-After if that is longer; a repeat that
# would have to wait for more than MAX_PAUSE is not made (docs/wire/retries.md#delays).
FIRST_DELAY = 0.5
MAX_PAUSE = 5.0
# Faults of our account, configuration or connection, and empty replies: `verdict` prefers any other fault, which
# helps the client more.
UNINFORMATIVE = frozenset(
    {
        Fault.CREDENTIALS,
        Fault.QUOTA,
        Fault.CONNECT,
        Fault.MISSING,
        Fault.ADDRESS,
        Fault.REFUSED,
        Fault.BUSY,
        Fault.EMPTY,
    }
)
# Faults that come again if the client repeats the request: the account, the request or the policy must change first.
POINTLESS = frozenset(
    {Fault.QUOTA, Fault.CREDENTIALS, Fault.REFUSED, Fault.MISSING, Fault.ADDRESS, Fault.CALLER, Fault.TOO_LONG,
     Fault.TOO_LARGE, Fault.FILTERED}
)  # fmt: skip
# Our own: a key, a right or a name does not get better by waiting. Anthropic's SDKs would try again in silence.
HOPELESS = frozenset({401, 403, 404})


@frozen
class NextAttempt:
    """The next attempt: its target, the seconds to wait before it, and whether the target has been tried before.

    `is_forced`: try the target even if it rests, since no other target is left.
    """

    target: Target
    pause: float = 0.0
    is_repeat: bool = False
    is_forced: bool = False


@define
class Schedule:
    """The attempts of one exchange. Times are monotonic seconds; from `until` on no attempt may start.

    `after_refusal` is there once the client has named what is asked after a refusal: one of these targets, or if it is
    empty, of those that are left.
    """

    targets: deque[Target]
    context_fallback: Sequence[Target]
    attempts_left: int
    until: float
    after_refusal: Sequence[Target] | None = None
    _repeats: list[tuple[float, Target]] = field(factory=list, init=False)  # (ready at, target)
    _has_repeated: bool = field(default=False, init=False)
    _has_met_empty: bool = field(default=False, init=False)
    _has_met_refusal: bool = field(default=False, init=False)
    _resting: list[tuple[float, Target]] = field(factory=list, init=False)  # (seconds left, target)
    _has_started: bool = field(default=False, init=False)

    def next(self, now: float) -> NextAttempt | None:
        """Return the next attempt, None when there is nothing left to try or no time for it."""
        if self.attempts_left <= 0 or now >= self.until:
            return None
        if self.targets:
            return NextAttempt(self.targets.popleft())
        if not self._has_started and self._resting:
            # All targets rest: try the one with the shortest rest left rather than none (docs/reliability.md P9).
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
        """Note that the target rests for `wait` seconds: it is tried only if all targets rest."""
        self._resting.append((wait, target))

    def wait_for(self, target: Target, wait: float, now: float) -> None:
        """Note that the provider itself said to come back in `wait` seconds: it is asked then, or not at all."""
        self._repeats.append((now + wait, target))

    def start(self) -> None:
        """Count an attempt that starts."""
        self._has_started = True
        self.attempts_left -= 1

    def note(self, target: Target, fault: UpstreamFault, has_other_key: bool, now: float, roll: float) -> None:
        """Note how an attempt failed, and decide whether its target or the others may still be tried.

        After TOO_LONG only the targets of `context_fallback` are left. `has_other_key`: another credential of this
        provider does not rest; after a fault of the credential the same target is tried next, with the other one.
        `roll` is a random number in [0, 1), for the pause before a repeat.
        """
        consequence = CONSEQUENCES[fault.fault]
        if fault.fault is Fault.TOO_LONG:  # never repeated, whatever the provider's headers say of its 500
            self.targets, self.context_fallback = deque(self.context_fallback), ()
            self._repeats.clear()
            return
        if isinstance(fault, SaidNothing) and fault.fault is Fault.FILTERED:
            # A bound, so that nobody goes shopping for the weakest policy: one further attempt, whatever it brings.
            self._has_met_refusal, self._has_repeated = True, True
            self.attempts_left = min(self.attempts_left, 1)
            if self.after_refusal:
                self.targets = deque(one for one in self.after_refusal if one.name != target.name)
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
        """Whether to send an empty reply to the client: it is the second one, or no target is left to try."""
        return self._has_met_empty or not self.targets or self.attempts_left <= 0

    @property
    def accepts_refusal(self) -> bool:
        """Whether to send a refusal without content to the client: it is the second one, or no target is left."""
        has_further = self.targets or self.after_refusal
        return self._has_met_refusal or not has_further or self.attempts_left <= 0


def verdict(faults: Sequence[UpstreamFault]) -> UpstreamFault:
    """Choose the fault that is sent to the client: the last informative one, else the last.

    If it says to wait (LIMITED, OVERLOADED, BUSY), it gets the smallest Retry-After of all faults.
    """
    chosen = next((fault for fault in reversed(faults) if fault.fault not in UNINFORMATIVE), faults[-1])
    waits = [fault.retry_after for fault in faults if fault.retry_after is not None]
    if waits and chosen.fault in (Fault.LIMITED, Fault.OVERLOADED, Fault.BUSY):
        chosen.retry_after = min(waits)
    return chosen


def is_pointless(error: GatewayError) -> bool:
    """Whether the client's retry would fail as well, so that `x-should-retry: false` is sent."""
    if isinstance(error, UpstreamFault):
        return error.fault in POINTLESS
    return isinstance(error, StorageFull | BudgetExceeded) or (isinstance(error, Refusal) and error.status in HOPELESS)


@define
class RetryBudget:
    """Bounds the repeats at one provider, so that retries do not multiply the load on a provider in trouble.

    A token bucket in units of retries: each attempt adds a fifth, and each second adds one, so that a provider with
    few requests can be retried as well (docs/reliability.md P8, docs/wire/retries.md#delays). `level` is what is left
    now.
    """

    level: float = 10.0
    most: float = 100.0
    per_request: float = 0.2
    per_second: float = 1.0
    _seen: float = 0.0

    def note_request(self, now: float) -> None:
        """Add what one attempt earns, and what the time since the last one has earned. `now` is monotonic."""
        earned = self.per_request + (now - self._seen) * self.per_second if self._seen else self.per_request
        self._seen = now
        self.level = min(self.most, self.level + earned)

    def take(self) -> bool:
        """Spend one retry, if there is one."""
        if self.level < 1 - 1e-9:  # five times 0.2 may be a hair below 1.0
            return False
        self.level -= 1
        return True
