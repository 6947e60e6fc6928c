"""Responses that run on without their client: started, followed, cancelled (TRANSLATION.md 12.6).

A run is an exchange of its own whose stream goes into frames that clients follow. What the store holds of it says
whether it still runs: the lease is renewed as long as it does, here or at another gateway.
"""

import asyncio
from contextlib import suppress
from typing import Any

import msgspec
from aiohttp import web
from attrs import define, evolve, field

from gateway.errors import BadRequest, GatewayError, InternalError, RateLimited, ShuttingDown, StorageFull
from gateway.proxy.context import RequestContext
from gateway.proxy.dispatch import Dispatch
from gateway.proxy.exchange import Exchange, State, Step
from gateway.proxy.model_call import ModelCall
from gateway.proxy.response_recorder import ResponseRecorder
from gateway.proxy.state import Gateway
from gateway.server.accounting import close_books
from gateway.server.responses.event_log import EventLog, RecordedStream
from gateway.store.protocol import StoreDown, StoredResponse
from gateway.upstream.client import Deadline
from gateway.wire.openai_responses.errors import error_object
from gateway.wire.openai_responses.objects import response_object
from gateway.wire.openai_responses.recording_lane import marked, members_of

LEASE_S, RENEW_S, AGAIN_S, STOP_S = 30.0, 3.0, 1.0, 5.0
KEPT_S, MAX_KEPT = 300.0, 64 * 1024 * 1024  # the frames of runs that have ended: seconds, and bytes of all together
POLL_S = 1.0  # how often another gateway's run is looked at
SHARE = 8  # one key's runs may be one of so many exchanges that `server.max_concurrent` allows
ResponseKey = tuple[str, str]  # owner, id


@define
class Run:
    """One response that runs here, or has just ended: then nothing of it is left but what it has said."""

    gateway: Gateway
    body: bytes  # the response object as last stored
    event_log: EventLog = field(factory=EventLog, init=False)
    ended: float | None = field(default=None, init=False)  # monotonic
    _work: asyncio.Task[web.StreamResponse] | None = field(default=None, init=False)
    _watching: asyncio.Task[None] | None = field(default=None, init=False)
    _is_cancelled: bool = field(default=False, init=False)

    async def begin(self, call: ModelCall, recorder: ResponseRecorder) -> None:
        """Store it as queued, and let it run. Raises StorageFull."""
        try:
            await recorder.write(self._record(recorder, "queued"))
        except StoreDown:
            raise StorageFull(is_background=True) from None
        self._work = asyncio.create_task(Dispatch(call).run())
        self._watching = asyncio.create_task(self._watch(self._work, call, recorder))
        self.gateway.exchanges[call.context.exchange.id] = self._watching

    def cancel(self) -> None:
        """End it: its owner wants no more of it."""
        self._is_cancelled = True
        if self._work is not None:
            self._work.cancel()

    async def stop(self) -> None:
        """Cancel it, and wait until what it has said is stored."""
        self.cancel()
        if self._watching is not None:
            await asyncio.wait({self._watching}, timeout=STOP_S)

    async def _watch(self, work: asyncio.Task[web.StreamResponse], call: ModelCall, recorder: ResponseRecorder) -> None:
        """Wait for its end, however it ends, and say it where it could not."""
        renewing = asyncio.create_task(self._renew(recorder))
        try:
            await asyncio.wait({work})
        except asyncio.CancelledError:  # the drain is over
            work.cancel()
            await asyncio.wait({work})
        renewing.cancel()
        exchange = call.context.exchange
        try:
            error = self._fault_of(work, exchange)
            if error is not None:
                exchange.error, exchange.status = error, error.status
            else:
                exchange.status = 499 if self._is_cancelled else 200
            if not self.event_log.has_end:
                await self._say_end(call, recorder, error)
        finally:
            self.event_log.end()
            self.ended = self.gateway.clock.monotonic()
            self._work = None
            self.gateway.exchanges.pop(exchange.id, None)
            close_books(self.gateway, call.context)

    def _fault_of(self, work: asyncio.Task[web.StreamResponse], exchange: Exchange) -> GatewayError | None:
        """What went wrong, as it is told."""
        error = asyncio.CancelledError() if work.cancelled() else work.exception()
        if isinstance(error, asyncio.CancelledError):
            is_open = exchange.state not in (State.ENDED, State.FAILED)
            if is_open:
                exchange.step(Step.LEAVE if self._is_cancelled or exchange.is_open else Step.CUT)
            return None if self._is_cancelled else ShuttingDown()
        if error is None or isinstance(error, GatewayError):
            return error or exchange.error
        self.gateway.logs.log.error("bug", id=exchange.id, endpoint=exchange.endpoint, exc_info=error)
        return InternalError("Internal error of the gateway")

    async def _say_end(self, call: ModelCall, recorder: ResponseRecorder, error: GatewayError | None) -> None:
        """The end of a run that could not say it itself: what was said so far, as failed or as cancelled."""
        lane = call.lane or call.make_lane()
        if error is None:
            self.body = recorder.so_far("cancelled") or self._marked("cancelled")
            self.event_log.add_end("cancelled", self.body)
            await self._store_end(call, recorder, "cancelled")
            return
        self.body = marked(self._marked("failed"), {"error": msgspec.json.encode(error_object(error))})
        if not self.event_log.is_begun:
            self.event_log.add_beginning(self._marked("in_progress"))
        self.event_log.add(lane.fail(error, call.context.exchange.id))
        await self._store_end(call, recorder, "failed")

    async def _store_end(self, call: ModelCall, recorder: ResponseRecorder, status: str) -> None:
        ended = recorder.record(members_of(self.body), status, last=self.event_log.last)
        with suppress(StoreDown):  # its lease runs out all the same
            call.context.exchange.is_stored = await recorder.store.put(ended, only_running=True)

    async def _renew(self, recorder: ResponseRecorder) -> None:
        """Show the store that this runs; notice when it was cancelled or deleted from elsewhere."""
        while True:
            pause = RENEW_S
            try:
                is_written = await recorder.store.put(self._record(recorder, "in_progress"), only_running=True)
                found = None if is_written else await recorder.store.get(recorder.owner, recorder.id, self._now())
            except StoreDown:
                pause = AGAIN_S
            else:
                if not is_written and not recorder.is_over and (found is None or found.status == "cancelled"):
                    self.cancel()
                if not is_written:
                    return
            await self.gateway.clock.sleep(pause)

    def _now(self) -> float:
        return self.gateway.clock.time()

    def _record(self, recorder: ResponseRecorder, status: str) -> StoredResponse:
        self.body = self._marked(status)
        return recorder.record(members_of(self.body), status, self.gateway.clock.time() + LEASE_S)

    def _marked(self, status: str) -> bytes:
        return marked(self.body, {"status": msgspec.json.encode(status)})


@define
class Runs:
    """All that run here, or have just ended."""

    gateway: Gateway
    _runs: dict[ResponseKey, Run] = field(factory=dict, init=False)

    async def begin(self, call: ModelCall, recorder: ResponseRecorder, members: dict[str, Any]) -> Run:
        """Start a response; `members` are those of its request. Raises RateLimited, StorageFull, BadRequest."""
        self._check_share(recorder.owner, call.context.snapshot.config.server.max_concurrent)
        _check_sayable(call)
        body = response_object(members, recorder.id, int(self.gateway.clock.time()), call.source.model)
        run = Run(self.gateway, marked(msgspec.json.encode(body), recorder.marks))
        recorder.begun = marked(run.body, {"status": b'"in_progress"'})
        context = _own_context(call.context, self.gateway)
        recorder.exchange = context.exchange
        server, now = context.snapshot.config.server, asyncio.get_running_loop().time()
        own = evolve(
            call,
            context=context,
            recorder=recorder,
            commit_at=None,
            # Its client's patience is not its own.
            deadline=Deadline(now + server.timeouts.total, server.timeouts.total),
            first_byte=context.endpoint.first_byte,
        )
        own.write_to(
            RecordedStream(
                request=call.request,
                exchange=context.exchange,
                headers={},
                ping=b"",
                keepalive=server.keepalive,
                write_timeout=server.timeouts.write,
                commit_at=None,
                event_log=run.event_log,
            )
        )
        self._runs[recorder.owner, recorder.id] = run
        try:
            await run.begin(own, recorder)
        except BaseException:  # its client may have left meanwhile
            del self._runs[recorder.owner, recorder.id]
            raise
        return run

    def get(self, owner: str, name: str) -> Run | None:
        """A run of this gateway."""
        return self._runs.get((owner, name))

    async def stop(self, owner: str, name: str) -> None:
        """End a run, if it is one of this gateway and has not ended."""
        run = self._runs.get((owner, name))
        if run is not None and run.ended is None:
            await run.stop()

    @property
    def running(self) -> int:
        """How many have not ended."""
        return sum(run.ended is None for run in self._runs.values())

    def forget(self) -> None:
        """Let go of what has ended a while ago; the store still has it."""
        ended = [(run.ended, key) for key, run in self._runs.items() if run.ended is not None]
        size = sum(self._runs[key].event_log.size for _, key in ended)
        for at, key in sorted(ended):
            if at >= self.gateway.clock.monotonic() - KEPT_S and size <= MAX_KEPT:
                break
            size -= self._runs.pop(key).event_log.size

    def _check_share(self, owner: str, most: int) -> None:
        self.forget()
        share = max(1, most // SHARE)
        if sum(run.ended is None for (other, _), run in self._runs.items() if other == owner) >= share:
            words = f"{share} responses of this key run in the background already: wait for one of them"
            raise RateLimited(words, retry_after=5)


RUNS = web.AppKey("runs", Runs)


def _check_sayable(call: ModelCall) -> None:
    """Refuse at once what no target could be asked. Raises BadRequest."""
    refusals = []
    for target in call.resolved.route.targets:
        try:
            if call.plan(target) is not None:
                return
        except BadRequest as refusal:
            refusals.append(refusal)
    if refusals:
        raise refusals[0]


def _own_context(context: RequestContext, gateway: Gateway) -> RequestContext:
    """The run's own exchange: the client's ends with the first answer."""
    parent = context.exchange
    exchange = Exchange(
        id=f"{parent.id}-run",
        started=gateway.clock.monotonic(),
        endpoint=parent.endpoint,
        alias=parent.alias,
        label=parent.label,
        is_stream=True,
        response=parent.response,
    )
    return evolve(context, exchange=exchange, reply_headers={})
