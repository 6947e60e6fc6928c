"""One try of one target: opens the upstream, relays what comes back, reads what is refused.

Knows nothing of the other targets: a fault before the first content is raised, and dispatch decides.
"""

import asyncio
import math
from collections.abc import Callable, Mapping
from functools import partial

from aiohttp import web
from attrs import define, evolve, field

from gateway.config.provider_schema import OAuth, Provider, Timeouts
from gateway.config.schema import Target
from gateway.errors import Declined, Held, SaidNothing, Unreadable, UpstreamFault
from gateway.faults import Fault
from gateway.policy.affinity import Affinity
from gateway.proxy.bill import Bill
from gateway.proxy.client_stream import STREAM_HEADERS
from gateway.proxy.exchange import Exchange, Step
from gateway.proxy.foreign_bytes import ForeignBytes
from gateway.proxy.model_call import ModelCall
from gateway.proxy.plan.headers import CLIENT_KEYS, EVENT_STREAM, reply_headers, request_headers, request_id_of
from gateway.proxy.plan.record import Plan, WholeReply
from gateway.proxy.plan.refused_members import cap_in, offending
from gateway.proxy.race import Race
from gateway.proxy.relay import Cutter, NotAStream, Relay
from gateway.proxy.session import Session
from gateway.proxy.target_settings import url_of
from gateway.proxy.whole_response import WholeResponse
from gateway.telemetry.redact import Redactor
from gateway.upstream.client import MAX_ERROR_BYTES, UpstreamReply, UpstreamRequest
from gateway.upstream.credentials import Credential, bare, redactor_of
from gateway.wire.codec.bounds import LARGE_REPLY, MAX_RAW_VALUES, MAX_VALUES, check_reply
from gateway.wire.codec.sse import FrameCutter, is_whole, looks_like, without_bom
from gateway.wire.codec.text import printable
from gateway.wire.lane import Lane
from gateway.wire.passthrough import BytesLane, Uncut
from gateway.wire.provider_error import doubt

MAX_REFUSAL = 64 * 1024  # bytes of an error that are looked at: more is a page, and looking takes its time
MAX_WORD = 40  # letters of an unknown finish reason in the log


@define
class Attempt:
    """One try of one target. `lane` is the lane of the streamed reply, once there is one.

    `accepts_empty`, `accepts_refusal`: whether an empty reply or a refusal without content is sent to the client.
    `gives_way_at`: when (monotonic) another target is asked in place of this one, if it is silent until then. `race`
    is there if another target may be asked at the same time.

    A provider may repeat the credential that it was sent, in an error, a header or anywhere in a reply. So whatever
    comes from it is cleaned of that one value where it comes in, a stream frame by frame.
    """

    call: ModelCall
    target: Target
    credential: Credential
    accepts_empty: bool
    accepts_refusal: bool
    plan: Plan
    session: Session
    timeouts: Timeouts
    gives_way_at: float = math.inf
    race: Race | None = None
    lane: Lane | None = field(default=None, init=False)
    _exchange: Exchange = field(init=False, repr=False)
    _provider: Provider = field(init=False, repr=False)
    _clean: Callable[[bytes], bytes] = field(default=bytes, init=False, repr=False)
    _started: float = field(default=0.0, init=False)
    _upstream_id: str = field(default="", init=False)
    _token: str = field(default="", init=False, repr=False)
    _sent: UpstreamRequest | None = field(default=None, init=False, repr=False)
    _replies: list[UpstreamReply] = field(factory=list, init=False)
    _bill: Bill = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        context = self.call.context
        self._exchange, self._provider = context.exchange, context.snapshot.config.providers[self.target.provider]
        self._bill = Bill(self.call, self.target)

    async def run(self) -> web.StreamResponse:
        """Relay one reply to the client. Raises UpstreamFault; before content the client knows nothing of it."""
        try:
            answer = await self._run()
        except BaseException as error:
            self._close_bill(error)
            raise
        self._close_bill(None)
        return answer

    def _close_bill(self, error: BaseException | None) -> None:
        """Charge the exchange with what the attempt has cost."""
        charge = self._bill.close(error)
        self._bill.relay = self._bill.lane = None  # each of them holds this attempt
        if charge is None:
            return
        self._exchange.charge(charge)
        if self.race is None or not self.race.has_lost(self.target):
            self._exchange.note_usage(charge.usage)

    async def _run(self) -> web.StreamResponse:
        call = self.call
        if (answer := self.plan.answer) is not None:
            return await self._send_whole(answer, {"x-gateway-model": printable(self.target.model or "")})
        if (oauth := self._provider.auth.oauth) is not None:
            self.credential = await self._token_of(oauth)
        self._clean = redactor_of(self.credential.value, self._provider.echoable).clean
        self._sent = self._write_request()
        now = call.gateway.clock.monotonic
        self._started = now()
        try:
            reply = await call.keep_alive_during(call.gateway.upstream.open(self._sent, call.opening))
        finally:
            self._exchange.wait(now() - self._started)
        self._replies = [reply]
        if self.race is not None:
            self.race.is_heard = True
        given = request_id_of(reply.headers)
        self._upstream_id = self._clean(given.encode()).decode() if given else ""
        if self.race is None:
            self._exchange.upstream_id = self._upstream_id
        try:
            if not 200 <= reply.status < 300:
                raise await self._read_refusal(reply)
            self._bill.has_head = True
            return await self._relay(reply)
        finally:
            if self.plan.sealed:
                call.gateway.compaction_homes.remember(call.source.owner, self.plan.sealed, self._affinity)
            if self.plan.odd_finish:
                call.gateway.telemetry.metrics.odd_finishes.inc(self.target.provider)
                word = printable(self.plan.odd_finish, MAX_WORD)
                call.gateway.telemetry.logs.log.info(
                    "odd finish", id=self._exchange.id, target=self.target.name, word=word
                )
            for one in self._replies:
                one.close()

    def learn_refusal(self, fault: Declined) -> bool:
        """Remember the optional member or the output cap that a refusal names. Return whether there is one."""
        source, target = self.call.source, self.target
        if (cap := cap_in(fault, self.plan.asked_output)) is not None:
            members = self.call.gateway.refused_members
            members.learn_cap(source.owner, target.provider, target.model or "", cap, source.monotonic)
            return True
        name = offending(fault, self.plan.optional)
        if name is None:
            return False
        members = self.call.gateway.refused_members
        members.learn(source.owner, target.provider, target.model or "", name, source.monotonic)
        return True

    async def renew_token(self, fault: Declined) -> bool:
        """After a 401 with a token from a file: get another one, once. Return whether there is another."""
        oauth = self._provider.auth.oauth
        if oauth is None or fault.fault is not Fault.CREDENTIALS:
            return False
        return await self.call.gateway.token_file(self.target.provider, oauth).renew(self._token)

    @property
    def _affinity(self) -> Affinity:
        return Affinity(self.target.name, self.credential.id)

    async def _token_of(self, oauth: OAuth) -> Credential:
        """Return the token of a credentials file, refreshed if it is due."""
        self._token = await self.call.gateway.token_file(self.target.provider, oauth).token()
        self.call.gateway.telemetry.redactor.add_passing(self.target.provider, self._token)
        return evolve(self.credential, value=f"Bearer {self._token}")

    async def _reopen(self, body: bytes) -> UpstreamReply:
        """Ask the same target to go on with a reply that has paused. Raises UpstreamFault."""
        assert self._sent is not None
        reply = await self.call.gateway.upstream.open(evolve(self._sent, body=body), self.call.deadline)
        self._replies.append(reply)
        if not 200 <= reply.status < 300:
            raise await self._read_refusal(reply)
        return reply

    async def _relay(self, reply: UpstreamReply) -> web.StreamResponse:
        """Choose by what came back: an event stream, bytes that are no JSON, or a whole reply."""
        kind, is_stream, is_json = reply.content_type, self.call.is_stream, self.plan.upstream.is_json
        is_event_stream = kind == EVENT_STREAM
        if kind == "text/html" or (is_json and is_stream and not is_event_stream):
            is_event_stream = await self._looks_like_stream(reply)
        if is_stream and is_event_stream and not self.plan.is_held:
            try:
                return await self._stream(reply, self.plan.lane(), FrameCutter(), STREAM_HEADERS, may_be_whole=is_json)
            except NotAStream:
                self.lane = self._bill.lane = self._bill.relay = None
        if not self.plan.upstream.is_json and kind != "application/json":
            self.call.client_stream.stop_keepalive()  # there is no keep-alive inside sound
            kind = self._clean(kind.encode("utf-8", "replace")).decode()
            headers = {"Content-Type": kind or "application/octet-stream"}
            return await self._stream(reply, BytesLane(), Uncut(), headers)
        return await self._whole(reply, as_stream=is_stream and self.plan.can_stream_whole)

    async def _looks_like_stream(self, reply: UpstreamReply) -> bool:
        """Look at the beginning of a body that is not labelled as a stream. Raises Unreadable if it is a page."""
        begin = await self.call.keep_alive_during(
            reply.begin(lambda data: looks_like(data) is not None, self.call.deadline)
        )
        if reply.content_type == "text/html" and without_bom(begin).lstrip()[:1] in (b"<", b""):
            raise Unreadable("The provider answered with an HTML page")
        return bool(looks_like(begin))

    async def _stream(
        self,
        reply: UpstreamReply,
        lane: Lane,
        cutter: Cutter,
        headers: Mapping[str, str],
        *,
        may_be_whole: bool = False,
    ) -> web.StreamResponse:
        recorder = self.call.recorder
        if recorder is not None:
            lane = recorder.lane(lane, self._affinity)
        self.lane = lane
        relay = Relay(
            reply=reply,
            lane=lane,
            client=self.call.client_stream,
            deadline=self.call.deadline,
            accepts_empty=self.accepts_empty,
            accepts_refusal=self.accepts_refusal,
            reply_headers=lambda: {**headers, **self._reply_headers(reply)},
            cutter=cutter,
            clean=self._clean,
            reading=ForeignBytes(self._log_bug),
            on_content=self._note_content,
            reopen=self._reopen,
            store_final=recorder.store_final if recorder is not None else None,
            may_be_whole=may_be_whole,
        )
        self._bill.lane, self._bill.relay = lane, relay
        try:
            # In a task of its own: each chunk wakes the whole chain of awaits above it, and here that is
            # three coroutines in place of seventeen. Cancelling this one cancels that one.
            return await asyncio.create_task(relay.run())
        except SaidNothing as fault:
            fault.held = evolve(fault.held, affinity=self._affinity.encode())
            raise

    async def _whole(self, reply: UpstreamReply, *, as_stream: bool) -> web.StreamResponse:
        """Read a reply that has to be held whole; `as_stream`: the client wants it as a stream all the same."""
        limit = self.call.context.snapshot.config.server.max_reply
        now = self.call.gateway.clock.monotonic
        waiting = now()
        body = self._clean(await self.call.keep_alive_during(reply.read(limit, self.call.deadline)))
        self._exchange.wait(now() - waiting)
        whole = await self._read_body(reply, body, as_stream=as_stream)
        if whole.follow is not None:
            self._bill.earlier = whole.usage  # should the call that follows fail
            self.plan = whole.follow
            return await self._relay(await self.call.keep_alive_during(self._reopen(self.plan.body)))
        while whole.resume is not None:
            self._bill.earlier = whole.usage
            reply = await self._reopen(whole.resume)
            body = self._clean(await reply.read(limit, self.call.deadline))
            whole = await self._read_body(reply, body, as_stream=False)
        headers = self._reply_headers(reply)
        if whole.usage is not None and whole.usage.is_estimated:
            headers["x-gateway-usage"] = "estimated"
        return await self._send_whole(whole, headers) if as_stream else await self._send_json(whole, headers)

    async def _read_body(self, reply: UpstreamReply, body: bytes, *, as_stream: bool) -> WholeReply:
        """Read a whole body with the plan: a large one in a thread, so that the loop serves the others meanwhile."""
        plan, is_stream = self.plan, False
        if body[:1] != b"{":  # as nearly all begin
            body = without_bom(body)
            is_labelled = reply.content_type == EVENT_STREAM
            is_stream = not is_whole(body) and (is_labelled or bool(looks_like(body)))
        read = plan.write_stream if as_stream else partial(plan.read_whole, is_stream=is_stream)
        with ForeignBytes(self._log_bug):
            if len(body) <= LARGE_REPLY:
                return read(body)
            if plan.upstream.generates:
                await asyncio.to_thread(check_reply, body, MAX_RAW_VALUES if plan.is_raw else MAX_VALUES)
            return await asyncio.to_thread(read, body)

    def _log_bug(self) -> None:
        self.call.gateway.telemetry.logs.log.exception("bug", id=self._exchange.id, provider=self.target.provider)

    async def _send_json(self, whole: WholeReply, headers: dict[str, str]) -> WholeResponse:
        """Send a whole reply."""
        self._bill.usage, self._bill.whole = whole.usage, whole.body
        headers["Content-Type"] = "application/json"
        self._check_said(whole, headers, is_stream=False)
        self._note_content(whole.reply_id)
        recorder = self.call.recorder
        body = whole.body if recorder is None else await recorder.store_whole(whole.body, self._affinity)
        self._exchange.step(Step.END)
        return WholeResponse(body, headers, self.call.status)

    async def _send_whole(self, whole: WholeReply, headers: dict[str, str]) -> web.StreamResponse:
        """Send a reply that is here whole, as the client wants it: as a stream, or not."""
        call, exchange = self.call, self._exchange
        if not call.is_stream:
            return await self._send_json(whole, headers)
        self._bill.usage, self._bill.whole = whole.usage, whole.body
        headers = {**STREAM_HEADERS, **headers}
        self._check_said(whole, headers, is_stream=True)
        self._note_content(whole.reply_id)
        body = whole.body if call.recorder is None else await call.recorder.store_stream(whole.body, self._affinity)
        await call.client_stream.open(headers)
        exchange.step(Step.SPEAK)
        await call.client_stream.write(body)
        exchange.step(Step.END)
        return await call.client_stream.close()

    def _check_said(self, whole: WholeReply, headers: dict[str, str], *, is_stream: bool) -> None:
        """Raise SaidNothing for a reply that is not sent before another target was asked."""
        is_refused = whole.is_refusal and not self.accepts_refusal
        if is_refused or (whole.is_empty and not self.accepts_empty):
            held = Held(whole.body, headers, is_stream=is_stream, affinity=self._affinity.encode())
            raise SaidNothing(held, Fault.FILTERED if is_refused else Fault.EMPTY)

    def _note_content(self, reply: str = "") -> None:
        """Note that content is here; `reply` is the id of a whole reply."""
        if self.race is not None:
            self.race.claim(self.target, self)
            self._exchange.upstream_id = self._upstream_id
            self._exchange.speak_for(self.target.provider, self.target.model or "")
            if self.call.recorder is not None:
                self.call.recorder.follow(self.lane, self._affinity)
        if self._sent is not None:
            self.session.note(self.target.name, self.credential.id, reply or (self.lane.reply_id if self.lane else ""))
        now = self.call.gateway.clock.monotonic()
        self._exchange.note_first_byte(now)
        self.call.gateway.selection.health.note_latency(self.target.name, now - self._started)

    def _reply_headers(self, reply: UpstreamReply) -> dict[str, str]:
        target, plan, attempts = self.target, self.plan, self._exchange.attempts
        drops = ",".join(plan.drops)
        headers = reply_headers(
            reply.headers,
            target.provider,
            target.model or "",
            attempts,
            drops,
            is_raw=plan.is_raw,
            request_id=self._upstream_id,
        )
        if self._exchange.refused:
            headers["x-gateway-refused"] = printable(self._exchange.refused)
        # The provider may repeat its key; a client may have named a model like a secret, to see whether it is one.
        values = "\n".join(headers.values()).encode()
        cleaned = self._clean(self.call.gateway.telemetry.redactor.clean(values))
        return headers if cleaned == values else dict(zip(headers, cleaned.decode().split("\n"), strict=True))

    async def _read_refusal(self, reply: UpstreamReply) -> UpstreamFault:
        """Read an answer with another status than 2xx as the fault that it means."""
        if 300 <= reply.status < 400:
            return Unreadable("The provider answered with a redirect, which is never followed")
        try:
            body = await reply.read(MAX_ERROR_BYTES, self.call.deadline)
        except UpstreamFault:
            body = b""  # the status alone says enough
        body = self._clean(self.call.gateway.telemetry.redactor.clean(body[:MAX_REFUSAL]))
        # The process's redactor knows the configured secrets only; keys that a client brings are blanked here.
        body = Redactor(bare(self.call.headers.get(name, "")) for name in CLIENT_KEYS).clean(body)
        dialect = self.plan.upstream
        sent = b"\n".join([self.plan.body, *(value.encode("utf-8", "replace") for value in self.plan.headers.values())])
        now = self.call.gateway.clock.time()
        with ForeignBytes(self._log_bug):
            fault = dialect.read_error(dialect.name, reply.status, reply.headers, body, now, sent)
        if fault.fault is Fault.ADDRESS:
            base = self.call.context.snapshot.base_urls[self._provider.name]
            fault.message = f"There is no API at the base_url of '{self._provider.name}': {doubt(base, body)}"
            fault.args = (fault.message,)
        return fault

    def _write_request(self) -> UpstreamRequest:
        target, plan, provider = self.target, self.plan, self._provider
        base = self.call.context.snapshot.base_urls[provider.name]
        credential = self.credential.header, self.credential.value
        content_type = self.call.source.body.content_type
        return UpstreamRequest(
            provider=provider.name,
            url=url_of(base, provider, plan.upstream.name, target.model or ""),
            headers=request_headers(
                content_type, plan.headers, credential, asks_stream=plan.asks_stream, trail=self.call.trail
            ),
            body=plan.body,
            timeouts=self.timeouts,
            is_stream=plan.asks_stream,
            max_connections=provider.max_connections or self.call.context.snapshot.config.server.max_concurrent,
            owner=self.call.context.owner_name,
            share=self.call.context.share,
            outbound=self.call.context.snapshot.outbounds[provider.name],
            on_sent=self._bill.note_sent,
            client_patience=math.inf if self.call.first_byte is None else self.call.first_byte,
            gives_way=max(0.001, self.gives_way_at - self.call.gateway.clock.monotonic()),
        )
