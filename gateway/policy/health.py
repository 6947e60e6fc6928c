"""What a fault costs a target: nothing, a rest, or the breaker; and how a target comes back.

Pure: the caller brings the time. Names live on over reloads; what is not named here is well.
"""

from collections.abc import Iterator
from enum import Enum

from attrs import define, field, frozen

from gateway.config.schema import Breaker
from gateway.errors import Fault


class TargetState(Enum):
    """How a target stands, for /metrics and /health."""

    LIVE = "live"
    RESTING = "resting"
    PROBING = "probing"  # one exchange is trying whether it is well again


class Scope(Enum):
    """What rests."""

    NOTHING = "nothing"
    CREDENTIAL = "credential"  # everywhere
    BOTH = "both"  # this credential at this target


@frozen
class Consequence:
    """What follows from a fault. `may_move`: another target may be tried; `may_repeat`: the same one, once."""

    may_move: bool = True
    may_repeat: bool = False
    counts: bool = False
    scope: Scope = Scope.NOTHING
    rest: float = 0.0


# TRANSLATION.md 9.1 and RELIABILITY.md rules 6-7, as one table. Seconds without a Retry-After.
CONSEQUENCES: dict[Fault, Consequence] = {
    Fault.CONNECT: Consequence(may_repeat=True, counts=True),
    Fault.TRANSIENT: Consequence(may_repeat=True, counts=True),
    Fault.OVERLOADED: Consequence(may_repeat=True, counts=True, scope=Scope.BOTH),
    Fault.LIMITED: Consequence(may_repeat=True, scope=Scope.BOTH, rest=30),
    Fault.QUOTA: Consequence(scope=Scope.CREDENTIAL, rest=600),
    Fault.CREDENTIALS: Consequence(scope=Scope.CREDENTIAL, rest=300),
    Fault.REFUSED: Consequence(),
    Fault.MISSING: Consequence(),
    Fault.CALLER: Consequence(may_move=False),
    Fault.TOO_LONG: Consequence(may_move=False),
    Fault.FILTERED: Consequence(may_move=False),
    Fault.SLOW: Consequence(counts=True),
    Fault.BROKEN: Consequence(may_repeat=True, counts=True),
    Fault.BAD_CALL: Consequence(may_repeat=True),
    Fault.EMPTY: Consequence(),
    Fault.BUSY: Consequence(),
}
MAX_REST = 300.0  # a provider may ask for an hour; asking again after five minutes is polite enough
MAX_DOUBLINGS = 3
MAX_NAMES = 10_000  # model names may come from clients; a flood of them must not grow us
_WEIGHT = 0.2  # of the newest latency in the moving average


@define
class _Record:
    failures: int = 0
    rests: int = 0  # in a row: each doubles the next
    until: float = 0.0
    is_probed: bool = False


@define
class Health:
    """Rests and breakers of all targets and credentials."""

    breaker: Breaker
    _targets: dict[str, _Record] = field(factory=dict, init=False)
    _credentials: dict[tuple[str, str], float] = field(factory=dict, init=False)  # ("" or target, credential)
    _latency: dict[str, float] = field(factory=dict, init=False)

    def wait(self, target: str, credential: str, now: float) -> float:
        """Return the seconds until this pair may be tried: 0 when it may be tried now."""
        waits = [until - now for place in ("", target) if (until := self._credentials.get((place, credential)))]
        record = self._targets.get(target)
        if record is not None and record.until:
            waits.append(record.until - now)
            if record.is_probed:
                waits.append(self.breaker.rest)
        return max(0.0, *waits) if waits else 0.0

    def begin(self, target: str) -> bool:
        """An attempt starts. Return whether it is the probe of a resting target (then end it with `release`)."""
        record = self._targets.get(target)
        if record is None or not record.until or record.is_probed:
            return False
        record.is_probed = True
        return True

    def release(self, target: str) -> None:
        """The probe has ended, whatever came of it; also when its client left."""
        if (record := self._targets.get(target)) is not None:
            record.is_probed = False

    def succeed(self, target: str, credential: str) -> None:
        """An attempt went well: the target and its credential are live."""
        self._targets.pop(target, None)
        if self._credentials:
            self._credentials.pop((target, credential), None)
            self._credentials.pop(("", credential), None)

    def fail(self, target: str, credential: str, fault: Fault, retry_after: float | None, now: float) -> None:
        """Book a fault against a target and its credential."""
        consequence = CONSEQUENCES[fault]
        rest = min(MAX_REST, retry_after) if retry_after is not None else consequence.rest
        if consequence.scope is Scope.CREDENTIAL:
            self._rest(("", credential), max(rest, consequence.rest), now)
        elif consequence.scope is Scope.BOTH and rest:
            self._rest((target, credential), rest, now)
        if consequence.counts and self.breaker.failures:
            self._count(target, now)

    def state(self, target: str, now: float) -> TargetState:
        """How a target stands, its credentials aside."""
        record = self._targets.get(target)
        if record is None or not record.until:
            return TargetState.LIVE
        return TargetState.PROBING if record.is_probed else TargetState.RESTING

    def credential_rests(self, credential: str, now: float) -> bool:
        """Whether a credential rests everywhere: refused, or without money."""
        return self._credentials.get(("", credential), 0.0) > now

    def note_latency(self, target: str, seconds: float) -> None:
        """Learn how long a target took to its first content."""
        known = self._latency.get(target)
        if known is not None or len(self._latency) < MAX_NAMES:
            self._latency[target] = seconds if known is None else known + _WEIGHT * (seconds - known)

    def latency(self, target: str) -> float | None:
        """The moving average of a target's seconds to first content, None when it was never tried."""
        return self._latency.get(target)

    def resting(self, now: float) -> Iterator[tuple[str, float]]:
        """Yield (target, seconds left) of every target whose breaker is open."""
        for name, record in self._targets.items():
            if record.until:
                yield name, max(0.0, record.until - now)

    def _count(self, target: str, now: float) -> None:
        record = self._targets.get(target)
        if record is None:
            if len(self._targets) >= MAX_NAMES:
                self._targets.pop(next(iter(self._targets)))
            record = self._targets[target] = _Record()
        record.failures += 1
        if record.until > now:
            return  # asked as a last resort, or already under way when the rest began: this proves nothing new
        # A target whose probe fails rests again, longer.
        if record.until or record.failures >= self.breaker.failures:
            record.until = now + self.breaker.rest * 2 ** min(record.rests, MAX_DOUBLINGS)
            record.rests += 1

    def _rest(self, place: tuple[str, str], seconds: float, now: float) -> None:
        if len(self._credentials) >= MAX_NAMES:
            self._credentials = {key: until for key, until in self._credentials.items() if until > now}
            if len(self._credentials) >= MAX_NAMES:
                self._credentials.pop(next(iter(self._credentials)))
        self._credentials[place] = now + seconds
