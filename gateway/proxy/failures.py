"""Why the targets of an exchange did not answer: for the log line, and for the error that the client is sent."""

import math

from attrs import define, field

from gateway.config.schema import Target
from gateway.errors import (
    BadRequest,
    Declined,
    GatewayError,
    NoTargetLeft,
    RateLimited,
    Unavailable,
    UnknownModel,
    UpstreamFault,
)
from gateway.faults import Fault
from gateway.policy.health import CONSEQUENCES
from gateway.policy.retries import verdict
from gateway.proxy.model_call import ModelCall
from gateway.proxy.session import Session
from gateway.telemetry.quotes import without_quotes


@define
class Failures:
    """What went wrong on the way over the targets. `said`: seconds that providers said to wait, and why."""

    call: ModelCall
    faults: list[UpstreamFault] = field(factory=list, init=False)  # of attempts
    passed_over: str = field(
        default="", init=False
    )  # the provider of a target that rests: the next is a fallback from it
    said: list[tuple[float, Fault]] = field(factory=list, init=False)
    _reasons: list[str] = field(factory=list, init=False)  # why a target could not even be tried
    _refusals: list[BadRequest] = field(factory=list, init=False)  # why a target cannot be asked this
    _unfit: int = field(default=0, init=False)  # targets that speak no dialect that fits

    def note_fault(self, target: Target, fault: UpstreamFault, sent: bytes) -> None:
        """Note how an attempt failed; `sent` is what it had sent, which the provider's words may quote."""
        self.faults.append(fault.kept())
        words = fault.message
        if isinstance(fault, Declined):
            words = f"{fault.upstream_status}: {without_quotes(fault.words, sent)}"
        self._log(target, fault.fault.value, words)

    def note_rest(self, target: Target, wait: float) -> None:
        """Note that a target was passed over, because it rests for `wait` seconds more."""
        self.passed_over = target.provider
        self._log(target, "rests", f"for {wait:.1f} s more")

    def note_refusal(self, target: Target, refusal: BadRequest) -> None:
        """Note that a target cannot be asked this."""
        self._refusals.append(refusal.kept())
        self._reasons.append(f"{target.name}: {refusal.message}")
        self._log(target, "cannot_say", refusal.code or "")

    def note_unfit(self, target: Target) -> None:
        """Note that a target speaks no dialect that fits."""
        self._unfit += 1
        self._reasons.append(f"{target.provider} does not speak {self.call.dialect.name}")
        self._log(target, "unfit", f"does not speak {self.call.dialect.name}")

    def note_no_credential(self, target: Target) -> None:
        """Note that a target's provider is disabled."""
        self._reasons.append(f"{target.provider} has no credential")
        self._log(target, "no_credential", "")

    def verdict(self, session: Session) -> GatewayError:
        """Return the error that is sent to the client."""
        if not self.faults:
            return self._nothing_to_try()
        may_move = CONSEQUENCES[self.faults[-1].fault].may_move
        return (may_move and session.lost(self._refusals)) or verdict(self.faults)

    def _nothing_to_try(self) -> GatewayError:
        alias, targets = self.call.resolved.alias, self.call.resolved.route.targets
        if self.said:
            wait, fault = min(self.said)
            words = f"No target of '{alias}' may be asked before {math.ceil(wait)} s have passed"
            return (RateLimited if fault is Fault.LIMITED else Unavailable)(words, retry_after=wait)
        if self._refusals:
            return self._refusals[0]
        if self._unfit == len(targets):
            return UnknownModel(f"The model '{alias}' cannot be used with {self.call.dialect.path}", param="model")
        return NoTargetLeft(alias, self._reasons)

    def _log(self, target: Target, fault: str, words: str) -> None:
        self.call.context.exchange.note_failure(target.name, fault, words)
