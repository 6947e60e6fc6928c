"""Decides how long a target or a credential rests after a fault, and when a resting one is tried again.

Two things can rest. A credential rests for a fixed time or for the provider's Retry-After: everywhere (refused, no
money) or at one target (limited, overloaded). A target rests when its breaker opens, after `breaker.failures` faults
in a row. After the rest one exchange probes it: success closes the breaker, a fault starts a rest twice as long.
A target or a credential without an entry here is healthy. The entries are kept over reloads, by name.

Pure: the caller passes the time, in monotonic seconds.
"""

from collections.abc import Callable, Iterator
from enum import Enum

from attrs import define, field, frozen

from gateway.config.schema import Breaker
from gateway.faults import Fault


class TargetState(Enum):
    """The state of a target, for /metrics and /health."""

    LIVE = "live"
    RESTING = "resting"
    PROBING = "probing"  # one exchange tries whether the target works again


class Scope(Enum):
    """What rests after a fault."""

    NOTHING = "nothing"
    CREDENTIAL = "credential"  # this credential, at all targets
    BOTH = "both"  # this credential, at this target only


@frozen
class Consequence:
    """What follows from a fault.

    `may_move`: another target may be tried; `may_repeat`: the same target may be tried once more; `counts`: the
    fault counts towards the breaker; `rest`: seconds that `scope` rests when the provider sent no Retry-After.
    """

    may_move: bool = True
    may_repeat: bool = False
    counts: bool = False
    scope: Scope = Scope.NOTHING
    rest: float = 0.0


# One row for each fault (docs/wire/retries.md#by-failure, docs/reliability.md R6, R7).
CONSEQUENCES: dict[Fault, Consequence] = {
    Fault.CONNECT: Consequence(may_repeat=True, counts=True),
    Fault.TRANSIENT: Consequence(may_repeat=True, counts=True, scope=Scope.BOTH),
    Fault.OVERLOADED: Consequence(may_repeat=True, counts=True, scope=Scope.BOTH),
    Fault.LIMITED: Consequence(may_repeat=True, scope=Scope.BOTH, rest=30),
    Fault.QUOTA: Consequence(scope=Scope.CREDENTIAL, rest=600),
    Fault.CREDENTIALS: Consequence(scope=Scope.CREDENTIAL, rest=300),
    Fault.REFUSED: Consequence(),
    Fault.MISSING: Consequence(),
    Fault.ADDRESS: Consequence(),
    Fault.CALLER: Consequence(may_move=False),
    Fault.TOO_LONG: Consequence(may_move=False),
    Fault.TOO_LARGE: Consequence(),
    Fault.FILTERED: Consequence(may_move=False),
    Fault.SLOW: Consequence(counts=True),
    Fault.IMPATIENT: Consequence(),
    Fault.BROKEN: Consequence(may_repeat=True, counts=True),
    Fault.BAD_CALL: Consequence(may_repeat=True),
    Fault.EMPTY: Consequence(),
    Fault.BUSY: Consequence(),
}
MAX_REST = 300.0  # seconds; bounds a Retry-After: a provider may send an hour, a try every five minutes does no harm
MAX_DOUBLINGS = 3
MAX_NAMES = 10_000  # clients may invent model names: a flood of them must not fill the memory
_WEIGHT = 0.2  # share of the newest latency in the moving average


@define
class _Record:
    failures: int = 0
    rests: int = 0  # in a row; each rest is twice as long as the one before
    until: float = 0.0
    is_probed: bool = False
    since: float = 0.0  # of the first rest in the row
    fault: Fault = Fault.BROKEN  # the last one


@frozen
class _Rest:
    """A rest of a credential: from when until when, in monotonic seconds, and why.

    `is_said`: the provider itself said how long.
    """

    since: float
    until: float
    fault: Fault
    is_said: bool = False


@frozen
class Rest:
    """What rests, for operators: a target, a credential at one target, or (`target` is empty) a credential everywhere.

    `since` and `left` are seconds before and after now; `fault` is why.
    """

    target: str
    credential: str
    since: float
    left: float
    fault: Fault


# Called when something begins to rest (True) or has ended its rest by a success or by hand (False).
OnChange = Callable[[Rest, bool], None]


@define
class Health:
    """Rests of all credentials, breakers and latencies of all targets."""

    breaker: Breaker
    on_change: OnChange = field(default=lambda rest, begins: None)
    _targets: dict[str, _Record] = field(factory=dict, init=False)
    _credentials: dict[tuple[str, str], _Rest] = field(factory=dict, init=False)  # by (target or "", credential)
    _latency: dict[str, float] = field(factory=dict, init=False)

    def wait(self, target: str, credential: str, now: float) -> float:
        """Return the seconds until this pair may be tried: 0 when it may be tried now."""
        waits = [rest.until - now for place in ("", target) if (rest := self._credentials.get((place, credential)))]
        record = self._targets.get(target)
        if record is not None and record.until:
            waits.append(record.until - now)
            if record.is_probed:
                waits.append(self.breaker.rest)
        return max(0.0, *waits) if waits else 0.0

    @property
    def is_calm(self) -> bool:
        """Whether nothing rests and nothing has failed lately, so that nobody needs to be asked for."""
        return not self._targets and not self._credentials

    def said(self, target: str, credential: str, now: float) -> Fault | None:
        """Return with which fault the provider itself said that this pair must wait; None if it did not.

        It is not asked before that time, as a last resort either: it would only refuse again, and may count it.
        """
        rest = self._credentials.get((target, credential))
        return rest.fault if rest is not None and rest.is_said and rest.until > now else None

    def begin(self, target: str) -> bool:
        """Note that an attempt starts. Return whether it is the probe of a resting target.

        The caller ends a probe with `release`; until then no other attempt is a probe of this target.
        """
        record = self._targets.get(target)
        if record is None or not record.until or record.is_probed:
            return False
        record.is_probed = True
        return True

    def release(self, target: str) -> None:
        """Note that a probe has ended, by success, by a fault or because its client left."""
        if (record := self._targets.get(target)) is not None:
            record.is_probed = False

    def succeed(self, target: str, credential: str, now: float) -> None:
        """Note a success: end all rests of the target and of the credential."""
        if (record := self._targets.pop(target, None)) is not None and record.until:
            self.on_change(_rest_of_target(target, record, now), False)
        if self._credentials:
            for place in ((target, credential), ("", credential)):
                if (rest := self._credentials.pop(place, None)) is not None:
                    self.on_change(_rest_of_credential(place, rest, now), False)

    def clear(self, name: str, now: float) -> list[Rest]:
        """End by hand what rests under a target's or a credential's name, and return it."""
        found = [rest for rest in self.rests(now) if name in (rest.target, rest.credential)]
        for rest in found:
            if rest.credential:
                del self._credentials[(rest.target, rest.credential)]
            else:
                del self._targets[rest.target]
            self.on_change(rest, False)
        return found

    def rests(self, now: float) -> Iterator[Rest]:
        """Yield everything that rests now, a target also while it waits for the probe after its rest."""
        for name, record in list(self._targets.items()):
            if record.until:
                yield _rest_of_target(name, record, now)
        for place, rest in list(self._credentials.items()):
            if rest.until > now:
                yield _rest_of_credential(place, rest, now)

    def fail(self, target: str, credential: str, fault: Fault, retry_after: float | None, now: float) -> None:
        """Note a fault. `retry_after` is the provider's, in seconds; None when it sent none."""
        consequence = CONSEQUENCES[fault]
        rest = min(MAX_REST, retry_after) if retry_after is not None else consequence.rest
        if consequence.scope is Scope.CREDENTIAL:
            self._rest(("", credential), now + max(rest, consequence.rest), fault, now)
        elif consequence.scope is Scope.BOTH and rest:
            self._rest((target, credential), now + rest, fault, now, is_said=retry_after is not None)
        if consequence.counts and self.breaker.failures:
            self._count(target, fault, now)

    def state(self, target: str, now: float) -> TargetState:
        """Return the state of a target's breaker: RESTING until a probe starts, also after the rest has passed."""
        record = self._targets.get(target)
        if record is None or not record.until:
            return TargetState.LIVE
        return TargetState.PROBING if record.is_probed else TargetState.RESTING

    @property
    def sizes(self) -> tuple[int, int, int]:
        """How many targets, credentials and latencies are remembered."""
        return len(self._targets), len(self._credentials), len(self._latency)

    def note_latency(self, target: str, seconds: float) -> None:
        """Add one measurement, in seconds from request to first content, to a target's moving average."""
        known = self._latency.get(target)
        if known is not None or len(self._latency) < MAX_NAMES:
            self._latency[target] = seconds if known is None else known + _WEIGHT * (seconds - known)

    def latency(self, target: str) -> float | None:
        """Return the moving average of a target's seconds to first content, None when there is no measurement."""
        return self._latency.get(target)

    def resting(self, now: float) -> Iterator[tuple[str, float]]:
        """Yield (target, seconds left) of every target whose breaker is open."""
        for name, record in self._targets.items():
            if record.until:
                yield name, max(0.0, record.until - now)

    def limited(self, now: float) -> set[str]:
        """Return the targets at which some credential rests."""
        return {target for (target, _), rest in self._credentials.items() if target and rest.until > now}

    def _count(self, target: str, fault: Fault, now: float) -> None:
        record = self._targets.get(target)
        if record is None:
            if len(self._targets) >= MAX_NAMES:
                self._targets.pop(next(iter(self._targets)))
            record = self._targets[target] = _Record()
        record.failures += 1
        record.fault = fault
        if record.until > now:
            return  # forced because all rest, or sent before the rest began: no reason for a longer one
        # A target whose probe fails rests again, longer.
        if record.until or record.failures >= self.breaker.failures:
            record.until = now + self.breaker.rest * 2 ** min(record.rests, MAX_DOUBLINGS)
            record.rests += 1
            if record.rests == 1:
                record.since = now
                self.on_change(_rest_of_target(target, record, now), True)

    def _rest(self, place: tuple[str, str], until: float, fault: Fault, now: float, *, is_said: bool = False) -> None:
        before = self._credentials.get(place)
        is_new = before is None or before.until <= now
        rest = _Rest(now if is_new or before is None else before.since, until, fault, is_said)
        if len(self._credentials) >= MAX_NAMES:
            self._credentials = {key: one for key, one in self._credentials.items() if one.until > now}
            if len(self._credentials) >= MAX_NAMES:
                self._credentials.pop(next(iter(self._credentials)))
        self._credentials[place] = rest
        if is_new:
            self.on_change(_rest_of_credential(place, rest, now), True)


def _rest_of_target(name: str, record: _Record, now: float) -> Rest:
    return Rest(name, "", now - record.since, max(0.0, record.until - now), record.fault)


def _rest_of_credential(place: tuple[str, str], rest: _Rest, now: float) -> Rest:
    return Rest(*place, now - rest.since, rest.until - now, rest.fault)
