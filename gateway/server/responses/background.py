"""Responses that run on without their client: started, followed, cancelled (docs/wire/responses.md#background).

A run is an exchange of its own whose stream goes into an event log that clients follow. Whether it still runs is
what its row in the store says: a *lease*, a moment until which somebody has promised to be at work. The gateway
that runs it renews the lease every three seconds; a row whose lease has passed belongs to a gateway that died,
and whoever reads it next marks it as failed. So no gateway has to know of the others.
"""

import asyncio
from contextlib import suppress
from typing import Any

import msgspec
from aiohttp import web
from attrs import define, evolve, field

from gateway.errors import (
    BadRequest,
    GatewayError,
    InternalError,
    RateLimited,
    ShuttingDown,
    StorageFull,
)
from gateway.proxy.dispatch import Dispatch
from gateway.proxy.exchange import Exchange, Step
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

LEASE_S, RENEW_S = 30.0, 3.0  # how long a lease lasts, and how often it is renewed
AGAIN_S = 1.0  # seconds between two tries to renew while the store is down
STOP_S = 5.0  # seconds for a cancelled run to store what it has sent
# How long the event log of an ended run is kept (seconds), and how many bytes all of these may have together.
KEPT_S, MAX_KEPT = 300.0, 64 * 1024 * 1024
SHARE = 8  # one key's runs may take one in so many of the exchanges that `server.max_concurrent` allows
ResponseKey = tuple[str, str]  # owner, id


@define
class Run:
    """One response that runs here, or has ended here a short while ago.

    `body` is the response object as last stored; `ended` is when it ended, in monotonic seconds.
    """

    gateway: Gateway
    call: ModelCall
    recorder: ResponseRecorder
    body: bytes
    event_log: EventLog
    ended: float | None = field(default=None, init=False)
    _dispatch: Dispatch = field(init=False)
    _work: asyncio.Task[web.StreamResponse] | None = field(default=None, init=False)
    _watching: asyncio.Task[None] | None = field(default=None, init=False)
    _is_cancelled: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self._dispatch = Dispatch(self.call)

    async def begin(self) -> None:
        """Store the response as queued, and start to work on it. Raises StorageFull."""
        try:
            await self.recorder.write(self._record("queued"))
        except StoreDown:
            raise StorageFull(is_background=True) from None
        self._work = asyncio.create_task(self._dispatch.run())
        self._watching = asyncio.create_task(self._watch(self._work))
        self.gateway.lifecycle.exchanges[self._exchange.id] = self._watching

    def cancel(self) -> None:
        """Cancel the run, because its owner has cancelled or deleted it."""
        self._is_cancelled = True
        if self._work is not None:
            self._work.cancel()

    async def stop(self) -> None:
        """Cancel the run, and wait up to STOP_S seconds until what it has sent is stored."""
        self.cancel()
        if self._watching is not None:
            await asyncio.wait({self._watching}, timeout=STOP_S)

    @property
    def _exchange(self) -> Exchange:
        return self.call.context.exchange

    async def _watch(self, work: asyncio.Task[web.StreamResponse]) -> None:
        """Wait until the work ends, by itself or cancelled; store its end if the run itself did not; account for it."""
        renewing = asyncio.create_task(self._renew())
        try:
            await asyncio.wait({work})
        except asyncio.CancelledError:  # the drain cuts the run
            work.cancel()
            await asyncio.wait({work})
        renewing.cancel()
        try:
            error = self._fault_of(work)
            if error is not None:
                self._exchange.fail(error)
                self._exchange.finish(error.status)
            else:
                self._exchange.finish(499 if self._is_cancelled else 200)
            if not self.event_log.has_end:
                await self._write_end(error)
        finally:
            self.event_log.end()
            self.ended = self.gateway.clock.monotonic()
            self._work = self._watching = None  # each of them holds this run
            self.gateway.lifecycle.exchanges.pop(self._exchange.id, None)
            close_books(self.gateway, self.call.context)

    def _fault_of(self, work: asyncio.Task[web.StreamResponse]) -> GatewayError | None:
        """Return the error that the run ends with; None if it succeeded, or if its owner cancelled it."""
        exchange = self._exchange
        error = asyncio.CancelledError() if work.cancelled() else work.exception()
        if isinstance(error, asyncio.CancelledError):
            if not exchange.is_over:
                exchange.step(Step.LEAVE if self._is_cancelled or exchange.is_open else Step.CUT)
            return None if self._is_cancelled else ShuttingDown()
        if error is None or isinstance(error, GatewayError):
            return error or exchange.error
        self.gateway.telemetry.logs.log.error("bug", id=exchange.id, endpoint=exchange.endpoint, exc_info=error)
        return InternalError("Internal error of the gateway")

    async def _write_end(self, error: GatewayError | None) -> None:
        """Write the end that the run itself did not: `cancelled` if there is no error, else `failed`."""
        if error is None:
            self.body = self.recorder.so_far("cancelled") or self._with_status("cancelled")
            self.event_log.add_end("cancelled", self.body)
            await self._store_end("cancelled")
            return
        self.body = marked(self._with_status("failed"), {"error": msgspec.json.encode(error_object(error))})
        if not self.event_log.is_begun:
            self.event_log.add_beginning(self._with_status("in_progress"))
        self.event_log.add(self._dispatch.lane.fail(error, self._exchange.id))
        await self._store_end("failed")

    async def _store_end(self, status: str) -> None:
        ended = self.recorder.record(members_of(self.body), status, last=self.event_log.last)
        with suppress(StoreDown):  # its lease runs out, and a reader marks it as failed
            self._exchange.note_stored(is_stored=await self.recorder.store.put(ended, only_running=True))

    async def _renew(self) -> None:
        """Renew the lease until the run is over; cancel the run if another gateway has cancelled or deleted it."""
        recorder = self.recorder
        while True:
            pause = RENEW_S
            try:
                is_written = await recorder.store.put(self._record("in_progress"), only_running=True)
                now = self.gateway.clock.time()
                found = None if is_written else await recorder.store.get(recorder.owner, recorder.id, now)
            except StoreDown:
                pause = AGAIN_S
            else:
                if not is_written and not recorder.is_over and (found is None or found.status == "cancelled"):
                    self.cancel()
                if not is_written:
                    return
            await self.gateway.clock.sleep(pause)

    def _record(self, status: str) -> StoredResponse:
        self.body = self._with_status(status)
        return self.recorder.record(members_of(self.body), status, self.gateway.clock.time() + LEASE_S)

    def _with_status(self, status: str) -> bytes:
        return marked(self.body, {"status": msgspec.json.encode(status)})


@define
class Runs:
    """All runs of this gateway: those that go on, and those that have ended a short while ago."""

    gateway: Gateway
    _runs: dict[ResponseKey, Run] = field(factory=dict, init=False)

    async def begin(self, call: ModelCall, recorder: ResponseRecorder, members: dict[str, Any]) -> Run:
        """Start a response; `members` are those of its request. Raises RateLimited, StorageFull, BadRequest."""
        self._check_share(recorder.owner, call.context.snapshot.config.server.max_concurrent)
        await _check_sayable(call)
        run = self._make(call, recorder, members)
        key = recorder.owner, recorder.id
        self._runs[key] = run
        try:
            await run.begin()
        except BaseException:  # its client may have left meanwhile
            del self._runs[key]
            call.context.take_back(run.call.context)
            raise
        return run

    def get(self, owner: str, name: str) -> Run | None:
        """Return a run of this gateway."""
        return self._runs.get((owner, name))

    async def stop(self, owner: str, name: str) -> None:
        """End a run, if it is one of this gateway and has not ended."""
        run = self._runs.get((owner, name))
        if run is not None and run.ended is None:
            await run.stop()

    @property
    def running(self) -> int:
        """Return the number of runs that have not ended."""
        return sum(run.ended is None for run in self._runs.values())

    def forget(self) -> None:
        """Forget the oldest ended runs, beyond KEPT_S and MAX_KEPT; the store still has their responses."""
        ended = [(run.ended, key) for key, run in self._runs.items() if run.ended is not None]
        size = sum(self._runs[key].event_log.size for _, key in ended)
        for at, key in sorted(ended):
            if at >= self.gateway.clock.monotonic() - KEPT_S and size <= MAX_KEPT:
                break
            size -= self._runs.pop(key).event_log.size

    def forget_all(self) -> None:
        """Forget every run, as if this process had been restarted; the store still has them."""
        self._runs.clear()

    def _make(self, call: ModelCall, recorder: ResponseRecorder, members: dict[str, Any]) -> Run:
        """Make a run: the call with an exchange of its own, and an event log in place of the client's connection."""
        context, now = call.context, self.gateway.clock.monotonic()
        parent, server = context.exchange, context.snapshot.config.server
        response = response_object(members, recorder.id, int(self.gateway.clock.time()), call.source.model)
        body = marked(msgspec.json.encode(response), recorder.marks)
        exchange = Exchange(
            id=f"{parent.id}-run",
            started=now,
            endpoint=parent.endpoint,
            alias=parent.alias,
            label=parent.label,
            is_stream=True,
            response=parent.response,
            session=parent.session,
        )
        own = recorder.for_run(marked(body, {"status": b'"in_progress"'}), exchange)
        event_log = EventLog()
        stream = RecordedStream(
            request=call.request,
            exchange=exchange,
            headers={},
            ping=b"",
            keepalive=server.keepalive,
            write_timeout=server.timeouts.write,
            commit_at=None,
            event_log=event_log,
            limit=server.max_reply,
        )
        total = server.timeouts.total
        run_call = evolve(
            call,
            context=context.for_run(exchange),
            deadline=Deadline(asyncio.get_running_loop().time() + total, total),
            recorder=own,
            recorded_stream=stream,
        )
        return Run(self.gateway, run_call, own, body, event_log)

    def _check_share(self, owner: str, max_concurrent: int) -> None:
        self.forget()
        share = max(1, max_concurrent // SHARE)
        if sum(run.ended is None for (other, _), run in self._runs.items() if other == owner) >= share:
            words = f"{share} responses of this key run in the background already: wait for one of them"
            raise RateLimited(words, retry_after=5)


RUNS = web.AppKey("runs", Runs)


async def _check_sayable(call: ModelCall) -> None:
    """Refuse the call before it is stored, if no target of its route can express it. Raises BadRequest."""
    dispatch, refusals = Dispatch(call), []
    for target in call.resolved.route.targets:
        try:
            if await dispatch.make_plan(target) is not None:
                return
        except BadRequest as refusal:
            refusals.append(refusal.kept())
    if refusals:
        raise refusals[0]
