"""Carries a model call over the targets of its route until one answers. The one executor of all endpoints."""

import asyncio
import math
from collections import deque
from collections.abc import Sequence, Set

from aiohttp import web
from attrs import define, evolve, field

from gateway.config.schema import Target
from gateway.errors import (
    BadRequest,
    Declined,
    GatewayError,
    SaidNothing,
    ShuttingDown,
    Unauthorized,
    UpstreamFault,
)
from gateway.faults import Fault
from gateway.policy.retries import NextAttempt, Schedule
from gateway.policy.routes import order
from gateway.proxy.attempt import Attempt
from gateway.proxy.client_stream import ClientGone
from gateway.proxy.exchange import Step
from gateway.proxy.failures import Failures
from gateway.proxy.fallbacks import Further, further_of
from gateway.proxy.held_reply import deliver
from gateway.proxy.model_call import ModelCall
from gateway.proxy.off_loop import off_loop
from gateway.proxy.plan.choose import make_plan
from gateway.proxy.plan.record import Plan
from gateway.proxy.plan.refused_members import refused_schemas
from gateway.proxy.plan.source_request import SourceRequest
from gateway.proxy.race import Race
from gateway.proxy.relay import end_with_error
from gateway.proxy.session import Session
from gateway.proxy.target_settings import timeouts_of
from gateway.upstream.credentials import KEY_ID, Credential, pass_through
from gateway.wire.lane import Lane

WRONG_MODE = (
    "system: This credential is only authorized for use with Claude Code and cannot be used for other API requests."
)
LEAVES = 0.95  # of what is left of `retry.within`: the rest is for the next target to be asked in
HONOURED = frozenset({"fallbacks"})
# OpenAI's code for encrypted reasoning of another organisation.
CANNOT_DECRYPT = "invalid_encrypted_content"


@define
class Dispatch:
    """One exchange's way over its targets. What the attempts have taught about this call is kept here."""

    call: ModelCall
    _failures: Failures = field(init=False)
    _cannot_decrypt: frozenset[str] = field(default=frozenset(), init=False)  # providers
    _refused_schemas: Set[str] = field(default=frozenset(), init=False)
    _attempt: Attempt | None = field(default=None, init=False)  # the last one
    _session: Session = field(init=False)
    _apart: str = field(init=False)  # behind the name under which a target rests: counting has limits of its own
    _source: SourceRequest = field(init=False)
    _race: Race | None = field(default=None, init=False)
    _trying: int = field(default=0, init=False)  # attempts under way
    _further: Further | None = field(default=None, init=False)  # what the client itself names for a refusal

    def __attrs_post_init__(self) -> None:
        self._session, self._source = Session(self.call), self.call.source
        self._failures = Failures(self.call)
        self._apart = "" if self._source.dialect.write_count is None else " (counting)"
        if self._source.asked.fallbacks and (further := further_of(self.call)) is not None:
            self._further, self._source = further, evolve(self._source, honoured=HONOURED)

    async def run(self) -> web.StreamResponse:
        """Answer the client. Raises GatewayError if nothing answered and no head is out yet."""
        exchange = self.call.context.exchange
        try:
            return await self.answer()
        except GatewayError as error:
            exchange.fail(error)
            if not exchange.is_open:
                exchange.step(Step.GIVE_UP)
                raise
            exchange.step(Step.LOSE if exchange.is_spoken else Step.GIVE_UP)
            return await self._end_stream(error)
        except ClientGone:
            self._store_partial()
            raise
        except asyncio.CancelledError:
            if not (exchange.is_open and self.call.gateway.lifecycle.is_cutting):
                self._store_partial()
                raise
            # Cut off at the end of the drain, not by its client: say so before the connection closes.
            cut = ShuttingDown()
            exchange.fail(cut)
            exchange.step(Step.LOSE if exchange.is_spoken else Step.GIVE_UP)
            return await self._end_stream(cut)

    async def answer(self) -> web.StreamResponse:
        """Try the targets in turn. Raises GatewayError and leaves it to the caller to end the exchange."""
        call, gateway = self.call, self.call.gateway
        route, retry = call.resolved.route, call.resolved.retry
        started = call.context.exchange.started
        await self._session.look_up()
        schedule = Schedule(deque(self._ordered()), route.context_fallback, retry.attempts, started + retry.within)
        while (upcoming := schedule.next(gateway.clock.monotonic())) is not None:
            if self._is_too_late(upcoming.target):
                break
            if upcoming.is_repeat and not gateway.selection.retry_budget(upcoming.target.provider).take():
                break
            if upcoming.pause:
                await call.keep_alive_during(gateway.clock.sleep(upcoming.pause))
            hedge = route.hedge if schedule.targets else None
            attempt = self._try(upcoming, schedule) if hedge is None else self._try_two(upcoming, schedule, hedge)
            if (answer := await attempt) is not None:
                return answer
        for fault in self._failures.faults:
            if isinstance(fault, SaidNothing):  # no other target had more to say
                return await deliver(call, fault.held)
        raise self._failures.verdict(self._session).kept()

    @property
    def lane(self) -> Lane:
        """The lane of the reply under way, or a new one that can write an error."""
        if self._attempt is not None and self._attempt.lane is not None:
            return self._attempt.lane
        lane = self.call.dialect.watch(self.call.source.asked)
        return lane if self.call.recorder is None else self.call.recorder.lane(lane)

    def plan(self, target: Target) -> Plan | None:
        """Write the call for a target; None if its provider speaks no dialect that fits.

        Raises BadRequest if the call cannot be said there.
        """
        call = self.call
        snapshot, source = call.context.snapshot, self._source
        provider, model = snapshot.config.providers[target.provider], target.model or ""
        if provider.auth.oauth is not None and not source.mode.takes_subscriptions:
            raise BadRequest(WRONG_MODE)
        if self._cannot_decrypt:
            source = evolve(source, cannot_decrypt=self._cannot_decrypt, home=self._session.compaction_home.provider)
        members, profile = call.gateway.refused_members, snapshot.capabilities.profile(provider, model)
        refused = members.of(source.owner, provider.name, model, source.monotonic)
        refused |= self._refused_schemas
        if (cap := members.cap(source.owner, provider.name, model, source.monotonic)) is not None:
            profile = evolve(profile, max_output=min(cap, profile.max_output or cap))
        return make_plan(source, provider, model, profile, refused)

    def _ordered(self) -> Sequence[Target]:
        """Return the targets in the policy's order, and before it in that of the session."""
        call, selection = self.call, self.call.gateway.selection
        route = call.resolved.route
        if len(route.targets) == 1:
            return route.targets
        rotation = selection.next_rotation(call.resolved.alias) if route.policy == "round_robin" else 0
        ordered = order(route, rotation, selection.dice.random, lambda one: selection.health.latency(one.name))
        return self._session.ordered(ordered)

    def _is_too_late(self, target: Target) -> bool:
        """Whether what is left of the exchange's time would be over before another target is connected."""
        if not self._failures.faults:
            return False
        timeouts = timeouts_of(self.call.context.snapshot.config.providers[target.provider], target)
        left = self.call.deadline.at - asyncio.get_running_loop().time()
        return left < min(timeouts.connect, self.call.deadline.after / 4)

    async def _try_two(self, upcoming: NextAttempt, schedule: Schedule, after: float) -> web.StreamResponse | None:
        """Try one target; if nothing has come of it `after` seconds, the next one besides. The first to speak answers.

        A second one counts as a retry at its provider, so that a slow hour does not double everybody's load. Returns
        None if all that were tried have failed.
        """
        race = self._race = Race(self.call.client_stream if self.call.is_stream else None)
        race.start(upcoming.target, self._try(upcoming, schedule))
        kept: BaseException | None = None
        may_add = True
        try:
            while pending := [task for task in race.tasks if not task.done()]:
                may_add = may_add and len(pending) == 1 and not race.is_heard
                done = await race.wait(pending, after if may_add else None)
                for task in done:
                    if task.cancelled():
                        continue
                    if (error := task.exception()) is not None:
                        if race.attempt is not None or len(pending) == 1:
                            raise error
                        kept = error  # the other one may answer
                    elif (answer := task.result()) is not None:
                        return answer
                if not done and may_add and not race.is_heard:
                    may_add = self._add_second(race, upcoming, schedule)
            if kept is not None:
                raise kept
            return None
        finally:
            await race.end()
            self._race = None
            if race.attempt is not None:
                self._attempt = race.attempt  # whose lane writes what follows

    def _add_second(self, race: Race, first: NextAttempt, schedule: Schedule) -> bool:
        """Ask another target besides, if one is awake and its provider's budget allows it. Return whether one is."""
        gateway = self.call.gateway
        now = gateway.clock.monotonic()
        if schedule.attempts_left <= 0 or now >= schedule.until:
            return False
        for target in schedule.targets:
            if self._is_awake(target, now) and gateway.selection.retry_budget(target.provider).take():
                schedule.targets.remove(target)
                gateway.telemetry.metrics.hedges.inc(first.target.provider, target.provider)
                race.start(target, self._try(NextAttempt(target), schedule))
                return True
        return False

    async def _try(self, upcoming: NextAttempt, schedule: Schedule) -> web.StreamResponse | None:
        """Try one target. Return None if it failed and the client has seen nothing of it."""
        gateway, exchange, target = self.call.gateway, self.call.context.exchange, upcoming.target
        selection, metrics = gateway.selection, gateway.telemetry.metrics
        now = gateway.clock.monotonic()
        if (plan := await self._find_plan(target)) is None or (picked := self._pick(target, plan, now)) is None:
            return None
        credential, wait = picked
        if wait and not upcoming.is_forced:
            self._failures.note_rest(target, wait)
            if (said := selection.health.said(target.name + self._apart, credential.id, now)) is None:
                schedule.pass_over(target, wait)
            else:
                self._failures.said.append((wait, said))
                schedule.wait_for(target, wait, now)
            return None
        schedule.start()
        self._note_start(target, now)
        is_probe = selection.health.begin(target.name + self._apart)
        attempt, race = self._make_attempt(target, credential, plan, schedule), self._race
        if not self._trying:
            exchange.step(Step.TRY)
        self._trying += 1
        try:
            answer = await self._run_attempt(attempt)
        except UpstreamFault as fault:
            has_spoken = exchange.is_spoken and (race is None or not race.has_lost(target))
            if not exchange.is_spoken and self._trying == 1:
                exchange.step(Step.LOSE)
            self._note_fault(attempt, fault, schedule)
            if has_spoken:
                raise
            return None
        except asyncio.CancelledError:
            if race is not None and race.has_lost(target):
                metrics.attempts.inc(target.provider, "beaten")
                exchange.note_failure(target.name, "beaten", "another target spoke first")
            raise
        finally:
            self._trying -= 1
            if is_probe:
                selection.health.release(target.name + self._apart)
            metrics.upstream.observe(gateway.clock.monotonic() - now, target.provider)
        selection.health.succeed(target.name + self._apart, credential.id, gateway.clock.monotonic())
        selection.key_seen_valid[target.provider] = True
        metrics.attempts.inc(target.provider, "ok")
        return answer

    def _make_attempt(self, target: Target, credential: Credential, plan: Plan, schedule: Schedule) -> Attempt:
        delivers = self.call.resolved.route.on_refusal == "deliver"
        # On a raw lane the provider does it itself.
        if self._further is not None and not plan.is_raw and not self._session.pinned:
            schedule.after_refusal, delivers = self._further.targets, False
        timeouts = timeouts_of(self.call.context.snapshot.config.providers[target.provider], target)
        return Attempt(
            call=self.call,
            target=target,
            credential=credential,
            accepts_empty=schedule.accepts_empty,
            accepts_refusal=delivers or schedule.accepts_refusal,
            plan=plan,
            session=self._session,
            timeouts=timeouts,
            race=self._race,
            gives_way_at=self._gives_way_at(timeouts.first_byte if plan.asks_stream else timeouts.whole, schedule),
        )

    def _gives_way_at(self, patience: float, schedule: Schedule) -> float:
        """Return when a silent target gives way, so that there is time for another one; inf if there is none."""
        if not schedule.targets:
            return math.inf
        left = schedule.until - (now := self.call.gateway.clock.monotonic())
        if patience < left:
            return math.inf
        is_calm = self.call.gateway.selection.health.is_calm
        has_other = is_calm or any(self._is_awake(one, now) for one in schedule.targets)
        return now + left * LEAVES if has_other else math.inf

    def _is_awake(self, target: Target, now: float) -> bool:
        """Whether a target could be asked at once."""
        pool = self.call.context.snapshot.credential_pools.get(target.provider)
        return pool is None or pool.is_awake(target.name + self._apart, self.call.gateway.selection.health, now)

    async def _run_attempt(self, attempt: Attempt) -> web.StreamResponse:
        """Run an attempt; once more, if its refusal says what to leave out or that a token has ended."""
        self._attempt = attempt
        try:
            return await attempt.run()
        except Declined as fault:
            if self.call.context.exchange.is_spoken or not await self._can_mend(attempt, fault):
                raise
        plan = await self.make_plan(attempt.target)  # a new one: a plan remembers what it has read
        assert plan is not None
        self._attempt = evolve(attempt, plan=plan)
        return await self._attempt.run()

    async def _can_mend(self, attempt: Attempt, fault: Declined) -> bool:
        """Learn from a refusal. Return whether a second try of the same target is worth while."""
        provider = attempt.target.provider
        if attempt.learn_refusal(fault):
            return True
        if schemas := refused_schemas(fault, attempt.plan.constraints) - self._refused_schemas:
            self._refused_schemas |= schemas
            return True
        if fault.upstream_code == CANNOT_DECRYPT and provider not in self._cannot_decrypt:
            self._cannot_decrypt |= {provider}
            return True
        return await attempt.renew_token(fault)

    async def make_plan(self, target: Target) -> Plan | None:
        """Write the call for a target as `plan` does; a large one in a thread."""
        return await off_loop(self.call.source.body.size, self.plan, target)

    async def _find_plan(self, target: Target) -> Plan | None:
        """Plan the call for a target; None, with the reason noted, if it cannot be asked."""
        try:
            plan = await self.make_plan(target)
        except BadRequest as refusal:
            self._failures.note_refusal(target, refusal)
            return None
        if plan is None:
            self._failures.note_unfit(target)
        return plan

    def _pick(self, target: Target, plan: Plan, now: float) -> tuple[Credential, float] | None:
        """Return the credential for a target, and the seconds that both still rest; None if there is none."""
        call, health = self.call, self.call.gateway.selection.health
        snapshot = call.context.snapshot
        provider = snapshot.config.providers[target.provider]
        if provider.auth.is_passthrough and not provider.missing:
            native, spent = call.dialect.native_header, call.context.gateway_headers
            credential = pass_through(provider, call.headers, native, plan.upstream.native_header, spent)
            call.context.key_id = credential.id.rpartition("#")[2][:KEY_ID]
            return credential, health.wait(target.name + self._apart, credential.id, now)
        pool = snapshot.credential_pools.get(target.provider)
        if pool is None or provider.missing or (provider.auth.oauth is not None and not call.gateway.is_live(provider)):
            self._failures.note_no_credential(target)
            return None
        place = target.name + self._apart
        wanted = self._session.credential_at(target.name) if len(pool.credentials) > 1 else ""
        if self._session.pinned.target and (only := pool.find(wanted)) is not None:
            return only, health.wait(place, only.id, now)
        return pool.pick(place, health, now, wanted)

    def _note_start(self, target: Target, now: float) -> None:
        gateway, exchange = self.call.gateway, self.call.context.exchange
        before = exchange.provider or self._failures.passed_over
        if before and before != target.provider:
            gateway.telemetry.metrics.fallbacks.inc(before, target.provider)
        exchange.begin_attempt(target.provider, target.model or "")
        gateway.selection.retry_budget(target.provider).note_request(now)

    def _note_fault(self, attempt: Attempt, fault: UpstreamFault, schedule: Schedule) -> None:
        target, credential = attempt.target, attempt.credential
        gateway, snapshot = self.call.gateway, self.call.context.snapshot
        selection, now = gateway.selection, gateway.clock.monotonic()
        fault.provider = target.provider
        self._failures.note_fault(target, fault, attempt.plan.body)
        gateway.note_failed(target, fault, is_stream=self.call.is_stream)
        if fault.fault is Fault.CREDENTIALS:
            if snapshot.config.providers[target.provider].auth.is_passthrough:
                raise Unauthorized(f"Provider '{target.provider}' refused the API key that was passed through")
            if fault.certain is Fault.CREDENTIALS:
                selection.key_seen_valid[target.provider] = False
        selection.health.fail(target.name + self._apart, credential.id, fault.certain, fault.retry_after, now)
        pool = snapshot.credential_pools.get(target.provider)
        has_other_key = pool is not None and pool.has_other(
            credential, target.name + self._apart, selection.health, now
        )
        if isinstance(fault, SaidNothing) and fault.fault is Fault.FILTERED:
            self.call.context.exchange.note_refused(target.name)
            if self._further is not None and schedule.after_refusal is not None:
                self._source = evolve(self._further.source, honoured=HONOURED)
        schedule.note(target, fault, has_other_key and not self._session.pinned, now, selection.dice.random())

    async def _end_stream(self, error: GatewayError) -> web.StreamResponse:
        recorder = self.call.recorder
        store = recorder.store_final if recorder is not None else None
        return await end_with_error(self.call.client_stream, self.lane, error, store)

    def _store_partial(self) -> None:
        """Store what was sent to a client that has left in the middle; nobody waits for it."""
        recorder = self.call.recorder
        if recorder is not None and not recorder.is_background and self.call.context.exchange.is_spoken:
            self.call.gateway.lifecycle.spawn(recorder.store_partial())
