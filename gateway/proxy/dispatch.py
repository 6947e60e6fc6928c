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
from gateway.policy.retries import NextAttempt, Schedule, verdict
from gateway.policy.routes import order
from gateway.proxy.attempt import Attempt, deliver
from gateway.proxy.client_stream import ClientGone
from gateway.proxy.exchange import Step
from gateway.proxy.model_call import ModelCall
from gateway.proxy.plan.record import Plan
from gateway.proxy.relay import end_with_error
from gateway.upstream.credentials import Credential, pass_through

WRONG_MODE = (
    "system: This credential is only authorized for use with Claude Code and cannot be used for other API requests."
)


@define
class Dispatch:
    """One exchange's way over its targets."""

    call: ModelCall
    _faults: list[UpstreamFault] = field(factory=list, init=False)
    _reasons: list[str] = field(factory=list, init=False)  # why a target could not even be tried
    _unfit: int = field(default=0, init=False)  # targets that do not speak what is asked
    _refusals: list[BadRequest] = field(factory=list, init=False)  # why a target cannot be asked this

    async def run(self) -> web.StreamResponse:
        """Answer the client. Raises GatewayError when nothing answered and no head is out yet."""
        exchange = self.call.context.exchange
        try:
            return await self._try_all()
        except GatewayError as error:
            exchange.error = error
            if not exchange.is_open:
                exchange.step(Step.GIVE_UP)
                raise
            exchange.step(Step.LOSE if exchange.is_spoken else Step.GIVE_UP)
            return await self._end_stream(error)
        except ClientGone:
            self._keep_rest()
            raise
        except asyncio.CancelledError:
            if not (exchange.is_open and self.call.gateway.is_cutting):
                self._keep_rest()
                raise
            # Cut off at the end of the drain, not by its client: say so before the connection closes.
            exchange.error = ShuttingDown()
            exchange.step(Step.LOSE if exchange.is_spoken else Step.GIVE_UP)
            return await self._end_stream(exchange.error)

    async def _end_stream(self, error: GatewayError) -> web.StreamResponse:
        recorder, lane = self.call.recorder, self.call.lane or self.call.make_lane()
        return await end_with_error(
            self.call.client_stream, lane, error, recorder.ending if recorder is not None else None
        )

    def _keep_rest(self) -> None:
        """Store what was said to a client that has left in the middle; nobody waits for it."""
        recorder = self.call.recorder
        if recorder is not None and not recorder.is_background and self.call.context.exchange.is_spoken:
            self.call.gateway.spawn(recorder.rest())

    async def _try_all(self) -> web.StreamResponse:
        call, gateway = self.call, self.call.gateway
        route, retry = call.resolved.route, call.resolved.retry
        rotations = gateway.next_rotation(call.resolved.alias) if route.policy == "round_robin" else 0
        ordered = order(route, rotations, gateway.dice.random, lambda target: gateway.health.latency(target.name))
        if call.source.past.home:  # what a target has sealed for itself goes back to it; the others in their order
            home, _ = call.home
            ordered = sorted(ordered, key=lambda target: target.name != home)
        started = call.context.exchange.started
        schedule = Schedule(deque(ordered), route.context_fallback, retry.attempts, started + retry.within)
        while (next_rotation := schedule.next(gateway.clock.monotonic())) is not None:
            if next_rotation.is_repeat and not gateway.budget(next_rotation.target.provider).take():
                break
            if next_rotation.pause:
                await call.patiently(gateway.clock.sleep(next_rotation.pause))
            if (answer := await self._try(next_rotation, schedule)) is not None:
                return answer
        for fault in self._faults:
            if isinstance(fault, SaidNothing):  # nobody said more
                return await deliver(call, fault.held)
        raise verdict(self._faults) if self._faults else self._nothing_to_try()

    async def _try(self, next_rotation: NextAttempt, schedule: Schedule) -> web.StreamResponse | None:
        """Try one target. Return None when it failed and the client has seen nothing of it."""
        gateway, exchange, target = self.call.gateway, self.call.context.exchange, next_rotation.target
        now = gateway.clock.monotonic()
        if (plan := self._find_plan(target)) is None or (picked := self._pick(target, plan, now)) is None:
            return None
        credential, wait = picked
        if wait and not next_rotation.is_forced:
            schedule.pass_over(target, wait)
            return None
        schedule.start()
        self._note_start(target, now)
        is_probe = gateway.health.begin(target.name)
        exchange.step(Step.TRY)
        try:
            attempt = Attempt(self.call, target, credential, schedule.accepts_empty, plan)
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

    def _find_plan(self, target: Target) -> Plan | None:
        """How to ask a target; None when it speaks nothing that fits, or has no words for what was asked."""
        try:
            self._check_mode(target)
            plan = self.call.plan(target)
        except BadRequest as refusal:
            self._refusals.append(refusal)
            self._reasons.append(f"{target.name}: {refusal.message}")
            return None
        if plan is None:
            self._reasons.append(f"{target.provider} does not speak {self.call.dialect.name}")
            self._unfit += 1
        return plan

    def _check_mode(self, target: Target) -> None:
        """A token of a subscription is only good for the usual way (PRODUCT.md section 6, seed 004)."""
        auth = self.call.context.snapshot.config.providers[target.provider].auth
        if auth.oauth is not None and self.call.source.mode:
            raise BadRequest(WRONG_MODE)

    def _pick(self, target: Target, plan: Plan, now: float) -> tuple[Credential, float] | None:
        """The credential for a target and the seconds that both still rest; None when it cannot be used."""
        call, health = self.call, self.call.gateway.health
        snapshot = call.context.snapshot
        provider = snapshot.config.providers[target.provider]
        if provider.auth.is_passthrough:
            native, spent = call.dialect.native_header, call.context.gateway_headers
            credential = pass_through(provider, call.request.headers, native, plan.upstream.native_header, spent)
            return credential, health.wait(target.name, "", now)
        if (pool := snapshot.credential_pools.get(target.provider)) is None:
            self._reasons.append(f"{target.provider} has no credential")
            return None
        home, credential_id = call.home if call.source.past.home else ("", "")
        return pool.pick(target.name, health, now, credential_id if target.name == home else "")

    def _note_start(self, target: Target, now: float) -> None:
        gateway, exchange = self.call.gateway, self.call.context.exchange
        if exchange.provider and exchange.provider != target.provider:
            gateway.metrics.fallbacks.inc(exchange.provider, target.provider)
        exchange.provider, exchange.model = target.provider, target.model or ""
        exchange.attempts += 1
        gateway.budget(target.provider).note_request(now)

    def _note_fault(self, target: Target, credential: Credential, fault: UpstreamFault, schedule: Schedule) -> None:
        gateway, snapshot = self.call.gateway, self.call.context.snapshot
        now = gateway.clock.monotonic()
        fault.provider = target.provider
        self._faults.append(fault)
        gateway.metrics.attempts.inc(target.provider, fault.fault.value)
        if fault.fault is Fault.CREDENTIALS:
            if snapshot.config.providers[target.provider].auth.is_passthrough:
                raise Unauthorized(f"Provider '{target.provider}' refused the API key that was passed through")
            gateway.key_seen_valid[target.provider] = False
        gateway.health.fail(target.name, credential.id, fault.fault, fault.retry_after, now)
        pool = snapshot.credential_pools.get(target.provider)
        has_other_key = pool is not None and pool.has_other(credential, target.name, gateway.health, now)
        schedule.note(target, fault, has_other_key, now, gateway.dice.random())

    def _nothing_to_try(self) -> GatewayError:
        if self._refusals:
            return self._refusals[0]
        alias, targets = self.call.resolved.alias, self.call.resolved.route.targets
        if self._unfit == len(targets):
            return UnknownModel(f"The model '{alias}' cannot be used with {self.call.dialect.path}", param="model")
        return NoTargetLeft(alias, self._reasons)
