"""Tries the targets of a route until one speaks. The one executor of all endpoints."""

import asyncio
from collections import deque

from aiohttp import web
from attrs import define, field

from gateway.config.schema import Target
from gateway.errors import (
    BadRequest,
    Declined,
    Fault,
    GatewayError,
    NoTargetLeft,
    SaidNothing,
    ShuttingDown,
    Unauthorized,
    UnknownModel,
    UpstreamFault,
)
from gateway.policy.retries import Schedule, Turn, verdict
from gateway.policy.routes import order
from gateway.proxy.attempt import Attempt, deliver
from gateway.proxy.client_stream import ClientGone
from gateway.proxy.exchange import Step
from gateway.proxy.model_call import Inquiry
from gateway.proxy.plan.record import Way
from gateway.proxy.relay import tell
from gateway.upstream.credentials import Credential, pass_through

WRONG_MODE = (
    "system: This credential is only authorized for use with Claude Code and cannot be used for other API requests."
)


@define
class Dispatch:
    """One exchange's way over its targets."""

    inquiry: Inquiry
    _faults: list[UpstreamFault] = field(factory=list, init=False)
    _reasons: list[str] = field(factory=list, init=False)  # why a target could not even be tried
    _unfit: int = field(default=0, init=False)  # targets that do not speak what is asked
    _refusals: list[BadRequest] = field(factory=list, init=False)  # why a target cannot be asked this

    async def run(self) -> web.StreamResponse:
        """Answer the client. Raises GatewayError when nothing answered and no head is out yet."""
        exchange = self.inquiry.visit.exchange
        try:
            return await self._try_all()
        except GatewayError as error:
            exchange.error = error
            if not exchange.is_open:
                exchange.step(Step.GIVE_UP)
                raise
            exchange.step(Step.LOSE if exchange.is_spoken else Step.GIVE_UP)
            return await self._tell(error)
        except ClientGone:
            self._keep_rest()
            raise
        except asyncio.CancelledError:
            if not (exchange.is_open and self.inquiry.gateway.is_cutting):
                self._keep_rest()
                raise
            # Cut off at the end of the drain, not by its client: say so before the connection closes.
            exchange.error = ShuttingDown()
            exchange.step(Step.LOSE if exchange.is_spoken else Step.GIVE_UP)
            return await self._tell(exchange.error)

    async def _tell(self, error: GatewayError) -> web.StreamResponse:
        keeping, lane = self.inquiry.keeping, self.inquiry.lane or self.inquiry.make_lane()
        return await tell(self.inquiry.outlet, lane, error, keeping.ending if keeping is not None else None)

    def _keep_rest(self) -> None:
        """Store what was said to a client that has left in the middle; nobody waits for it."""
        keeping = self.inquiry.keeping
        if keeping is not None and not keeping.is_background and self.inquiry.visit.exchange.is_spoken:
            self.inquiry.gateway.later(keeping.rest())

    async def _try_all(self) -> web.StreamResponse:
        inquiry, gateway = self.inquiry, self.inquiry.gateway
        route, retry = inquiry.resolved.route, inquiry.resolved.retry
        turns = gateway.turn(inquiry.resolved.alias) if route.policy == "round_robin" else 0
        ordered = order(route, turns, gateway.dice.random, lambda target: gateway.health.latency(target.name))
        if inquiry.question.past.home:  # what a target has sealed for itself goes back to it; the others in their order
            home, _ = inquiry.home
            ordered = sorted(ordered, key=lambda target: target.name != home)
        started = inquiry.visit.exchange.started
        schedule = Schedule(deque(ordered), route.context_fallback, retry.attempts, started + retry.within)
        while (turn := schedule.next(gateway.clock.monotonic())) is not None:
            if turn.is_repeat and not gateway.budget(turn.target.provider).take():
                break
            if turn.pause:
                await inquiry.patiently(gateway.clock.sleep(turn.pause))
            if (answer := await self._try(turn, schedule)) is not None:
                return answer
        for fault in self._faults:
            if isinstance(fault, SaidNothing):  # nobody said more
                return await deliver(inquiry, fault.held)
        raise verdict(self._faults) if self._faults else self._nothing_to_try()

    async def _try(self, turn: Turn, schedule: Schedule) -> web.StreamResponse | None:
        """Try one target. Return None when it failed and the client has seen nothing of it."""
        gateway, exchange, target = self.inquiry.gateway, self.inquiry.visit.exchange, turn.target
        now = gateway.clock.monotonic()
        if (way := self._find_way(target)) is None or (picked := self._pick(target, way, now)) is None:
            return None
        credential, wait = picked
        if wait and not turn.is_forced:
            schedule.pass_over(target, wait)
            return None
        schedule.start()
        self._note_start(target, now)
        is_probe = gateway.health.begin(target.name)
        exchange.step(Step.TRY)
        try:
            attempt = Attempt(self.inquiry, target, credential, schedule.accepts_empty, way)
            try:
                answer = await attempt.run()
            except Declined as fault:
                if not await attempt.mend(fault):
                    raise
                answer = await attempt.run()
        except UpstreamFault as fault:
            has_spoken = exchange.is_spoken
            if not has_spoken:
                exchange.step(Step.LOSE)
            self._note_fault(target, credential, fault, schedule)
            if has_spoken:
                raise
            return None
        finally:
            if is_probe:
                gateway.health.release(target.name)
            gateway.metrics.upstream.observe(gateway.clock.monotonic() - now, target.provider)
        gateway.health.succeed(target.name, credential.id)
        gateway.key_seen_valid[target.provider] = True
        gateway.metrics.attempts.inc(target.provider, "ok")
        return answer

    def _find_way(self, target: Target) -> Way | None:
        """How to ask a target; None when it speaks nothing that fits, or has no words for what was asked."""
        try:
            self._check_mode(target)
            way = self.inquiry.way(target)
        except BadRequest as refusal:
            self._refusals.append(refusal)
            self._reasons.append(f"{target.name}: {refusal.message}")
            return None
        if way is None:
            self._reasons.append(f"{target.provider} does not speak {self.inquiry.dialect.name}")
            self._unfit += 1
        return way

    def _check_mode(self, target: Target) -> None:
        """A token of a subscription is only good for the usual way (PRODUCT.md section 6, seed 004)."""
        auth = self.inquiry.visit.snapshot.config.providers[target.provider].auth
        if auth.oauth is not None and self.inquiry.question.mode:
            raise BadRequest(WRONG_MODE)

    def _pick(self, target: Target, way: Way, now: float) -> tuple[Credential, float] | None:
        """The credential for a target and the seconds that both still rest; None when it cannot be used."""
        inquiry, health = self.inquiry, self.inquiry.gateway.health
        snapshot = inquiry.visit.snapshot
        provider = snapshot.config.providers[target.provider]
        if provider.auth.is_passthrough:
            native, spent = inquiry.dialect.native_header, inquiry.visit.gateway_headers
            credential = pass_through(provider, inquiry.request.headers, native, way.upstream.native_header, spent)
            return credential, health.wait(target.name, "", now)
        if (wallet := snapshot.wallets.get(target.provider)) is None:
            self._reasons.append(f"{target.provider} has no credential")
            return None
        home, credential_id = inquiry.home if inquiry.question.past.home else ("", "")
        return wallet.pick(target.name, health, now, credential_id if target.name == home else "")

    def _note_start(self, target: Target, now: float) -> None:
        gateway, exchange = self.inquiry.gateway, self.inquiry.visit.exchange
        if exchange.provider and exchange.provider != target.provider:
            gateway.metrics.fallbacks.inc(exchange.provider, target.provider)
        exchange.provider, exchange.model = target.provider, target.model or ""
        exchange.attempts += 1
        gateway.budget(target.provider).note_request(now)

    def _note_fault(self, target: Target, credential: Credential, fault: UpstreamFault, schedule: Schedule) -> None:
        gateway, snapshot = self.inquiry.gateway, self.inquiry.visit.snapshot
        now = gateway.clock.monotonic()
        fault.provider = target.provider
        self._faults.append(fault)
        gateway.metrics.attempts.inc(target.provider, fault.fault.value)
        if fault.fault is Fault.CREDENTIALS:
            if snapshot.config.providers[target.provider].auth.is_passthrough:
                raise Unauthorized(f"Provider '{target.provider}' refused the API key that was passed through")
            gateway.key_seen_valid[target.provider] = False
        gateway.health.fail(target.name, credential.id, fault.fault, fault.retry_after, now)
        wallet = snapshot.wallets.get(target.provider)
        has_other_key = wallet is not None and wallet.has_other(credential, target.name, gateway.health, now)
        schedule.note(target, fault, has_other_key, now, gateway.dice.random())

    def _nothing_to_try(self) -> GatewayError:
        if self._refusals:
            return self._refusals[0]
        alias, targets = self.inquiry.resolved.alias, self.inquiry.resolved.route.targets
        if self._unfit == len(targets):
            return UnknownModel(f"The model '{alias}' cannot be used with {self.inquiry.dialect.path}", param="model")
        return NoTargetLeft(alias, self._reasons)
