"""One try of one target: opens the upstream, relays what comes back, reads what is refused.

Knows nothing of the other targets: a fault before the first content is raised, and dispatch decides.
"""

import asyncio
from collections.abc import Mapping
from urllib.parse import quote

from aiohttp import web
from attrs import define, evolve, field, fields
from yarl import URL

from gateway.config.schema import NO_OVERRIDES, OAuth, Provider, Seconds, Target, TargetTimeouts, Timeouts
from gateway.errors import Declined, Fault, Held, SaidNothing, Unreadable, UpstreamFault
from gateway.proxy.client_stream import STREAM_HEADERS
from gateway.proxy.exchange import Step
from gateway.proxy.model_call import ModelCall
from gateway.proxy.plan.headers import (
    CLIENT_KEYS,
    EVENT_STREAM,
    MAX_LIST,
    PASSED_HEADERS,
    REQUEST_ID_HEADERS,
    USER_AGENT,
)
from gateway.proxy.plan.record import Plan, WholeReply
from gateway.proxy.plan.refused_members import offending
from gateway.proxy.relay import Cutter, Stream
from gateway.proxy.whole_response import Answer
from gateway.telemetry.redact import Redactor
from gateway.upstream.client import MAX_ERROR_BYTES, UpstreamReply, UpstreamRequest
from gateway.upstream.credentials import Credential, bare
from gateway.wire.codec.sse import FrameCutter
from gateway.wire.codec.text import printable
from gateway.wire.lane import Lane
from gateway.wire.passthrough import BytesLane, Uncut

# OpenAI's code for encrypted reasoning of another organisation.
UNREADABLE_REASONING = "invalid_encrypted_content"


@define
class Attempt:
    """One try. Everything that it learns about the target it says by raising, or by `on_content`."""

    call: ModelCall
    target: Target
    credential: Credential
    accepts_empty: bool
    _plan: Plan
    _started: float = field(default=0.0, init=False)
    _token: str = field(default="", init=False, repr=False)
    _sent: UpstreamRequest | None = field(default=None, init=False, repr=False)
    _replies: list[UpstreamReply] = field(factory=list, init=False)

    async def run(self) -> web.StreamResponse:
        """Relay one reply to the client. Raises UpstreamFault; before content the client knows nothing of it."""
        call, exchange = self.call, self.call.context.exchange
        if self._plan.answer is not None:
            return await self._deliver_whole(self._plan.answer, {"x-gateway-model": printable(self.target.model or "")})
        oauth = call.context.snapshot.config.providers[self.target.provider].auth.oauth
        if oauth is not None:
            self.credential = await self._token_of(oauth)
        if call.recorder is not None:
            call.recorder.maker = f"{self.target.name} {self.credential.id}"
        self._sent = self._write_request()
        now = call.gateway.clock.monotonic
        self._started = now()
        try:
            reply = await call.patiently(call.gateway.upstream.open(self._sent, call.deadline))
        finally:
            exchange.upstream_s += now() - self._started
        self._replies = [reply]
        try:
            if not 200 <= reply.status < 300:
                raise await self._read_refusal(reply)
            return await self._relay(reply)
        finally:
            for one in self._replies:
                one.close()

    async def mend(self, fault: Declined) -> bool:
        """Do what makes a second try of the same target worth while. Return whether there is anything.

        Leaves out the optional member that a refusal names; gets another token after a 401.
        """
        if self.call.context.exchange.is_spoken:
            return False
        if not (self._repair(fault) or self._note_cannot_decrypt(fault) or await self._renew(fault)):
            return False
        plan = self.call.plan(self.target)  # a fresh one: a way remembers what it has read
        assert plan is not None
        self._plan = plan
        return True

    def _note_cannot_decrypt(self, fault: Declined) -> bool:
        """Leave out reasoning that this provider cannot read: another account has sealed it."""
        cannot_decrypt = self.call.source.cannot_decrypt
        if fault.upstream_code != UNREADABLE_REASONING or self.target.provider in cannot_decrypt:
            return False
        cannot_decrypt.add(self.target.provider)
        return True

    async def _renew(self, fault: Declined) -> bool:
        """After a 401 with a token from a file: get another one, once."""
        oauth = self.call.context.snapshot.config.providers[self.target.provider].auth.oauth
        if oauth is None or fault.fault is not Fault.CREDENTIALS:
            return False
        file = self.call.gateway.token_file(self.target.provider, oauth)
        return await file.renew(self._token)

    async def _token_of(self, oauth: OAuth) -> Credential:
        """The token of a credentials file, refreshed when it is due."""
        self._token = await self.call.gateway.token_file(self.target.provider, oauth).token()
        self.call.gateway.redactor.add([self._token])
        return evolve(self.credential, value=f"Bearer {self._token}")

    async def _reopen(self, body: bytes) -> UpstreamReply:
        """Ask the same target to go on with a reply that has paused. Raises UpstreamFault."""
        assert self._sent is not None
        call = self.call
        reply = await call.gateway.upstream.open(evolve(self._sent, body=body), call.deadline)
        self._replies.append(reply)
        if not 200 <= reply.status < 300:
            raise await self._read_refusal(reply)
        return reply

    def _repair(self, fault: Declined) -> bool:
        """Leave out the optional member that a refusal names, and remember it. Return whether to ask again."""
        call, target = self.call, self.target
        name = offending(fault, self._plan.optional)
        if name is None:
            return False
        source = call.source
        call.gateway.refused_members.learn(source.owner, target.provider, target.model or "", name, source.monotonic)
        return True

    async def _relay(self, reply: UpstreamReply) -> web.StreamResponse:
        kind, is_stream = reply.content_type, self.call.is_stream
        if kind == "text/html":
            raise Unreadable("The provider answered with an HTML page")
        if is_stream and kind == EVENT_STREAM:
            return await self._stream(reply, self._plan.stream(), FrameCutter(), STREAM_HEADERS)
        if not self._plan.upstream.is_json and kind != "application/json":
            self.call.client_stream.keepalive = float("inf")  # there is no keep-alive inside sound
            return await self._stream(reply, BytesLane(), Uncut(), {"Content-Type": kind or "application/octet-stream"})
        return await self._whole(reply, is_spread=is_stream and self._plan.spread is not None)

    async def _stream(
        self, reply: UpstreamReply, lane: Lane, cutter: Cutter, headers: Mapping[str, str]
    ) -> web.StreamResponse:
        recorder = self.call.recorder
        if recorder is not None:
            lane = recorder.lane(lane)
        self.call.lane = lane
        stream = Stream(
            reply,
            lane,
            self.call.client_stream,
            self.call.deadline,
            self.accepts_empty,
            self._note_content,
            {**headers, **self._reply_headers(reply)},
            cutter,
            self._reopen,
            recorder.ending if recorder is not None else None,
        )
        try:
            # In a task of its own: each chunk wakes the whole chain of awaits above it, and here that is
            # three coroutines in place of seventeen. Cancelling this one cancels that one.
            return await asyncio.create_task(stream.run())
        finally:
            self.call.context.exchange.usage = lane.usage

    async def _whole(self, reply: UpstreamReply, *, is_spread: bool) -> web.StreamResponse:
        """A reply that has to be held whole; `is_spread`: the client wants it as a stream all the same."""
        exchange, limit = self.call.context.exchange, self.call.context.snapshot.config.server.max_reply
        now = self.call.gateway.clock.monotonic
        waiting = now()
        body = await self.call.patiently(reply.read(limit, self.call.deadline))
        exchange.upstream_s += now() - waiting
        if is_spread and self._plan.spread is not None:
            whole = self._plan.spread(body)
        else:
            whole = self._plan.whole(body, reply.content_type == EVENT_STREAM)
        while whole.resume is not None:
            reply = await self._reopen(whole.resume)
            body = await reply.read(limit, self.call.deadline)
            whole = self._plan.whole(body, reply.content_type == EVENT_STREAM)
        headers = self._reply_headers(reply)
        if whole.usage is not None and whole.usage.is_estimated:
            headers["x-gateway-usage"] = "estimated"
        return await self._deliver_whole(whole, headers) if is_spread else await self._answer(whole, headers)

    async def _answer(self, whole: WholeReply, headers: dict[str, str]) -> Answer:
        """A whole reply for the client."""
        exchange = self.call.context.exchange
        exchange.usage = whole.usage
        headers["Content-Type"] = "application/json"
        if whole.is_empty and not self.accepts_empty:
            raise SaidNothing(Held(whole.body, headers, is_stream=False))
        self._note_content()
        body = whole.body if self.call.recorder is None else await self.call.recorder.whole(whole.body)
        exchange.step(Step.END)
        return Answer(body, headers, self.call.status)

    async def _deliver_whole(self, whole: WholeReply, headers: dict[str, str]) -> web.StreamResponse:
        """A reply that is here whole, as the client wants it."""
        call, exchange = self.call, self.call.context.exchange
        if not call.is_stream:
            return await self._answer(whole, headers)
        exchange.usage = whole.usage
        headers = {**STREAM_HEADERS, **headers}
        if whole.is_empty and not self.accepts_empty:
            raise SaidNothing(Held(whole.body, headers, is_stream=True))
        self._note_content()
        body = whole.body if call.recorder is None else await call.recorder.spread(whole.body)
        await call.client_stream.open(headers)
        exchange.step(Step.SPEAK)
        await call.client_stream.write(body)
        exchange.step(Step.END)
        return await call.client_stream.close()

    def _note_content(self) -> None:
        now = self.call.gateway.clock.monotonic()
        self.call.context.exchange.first_byte = now
        self.call.gateway.health.note_latency(self.target.name, now - self._started)

    def _reply_headers(self, reply: UpstreamReply) -> dict[str, str]:
        headers = {
            "x-gateway-provider": self.target.provider,
            "x-gateway-model": printable(self.target.model or ""),
            "x-gateway-attempts": str(self.call.context.exchange.attempts),
        }
        upstream = reply.headers
        if self._plan.drops:
            headers["x-gateway-dropped"] = printable(",".join(self._plan.drops), MAX_LIST)
        if not self._plan.is_crossed:
            for name in PASSED_HEADERS:
                if name in upstream:
                    headers[name] = printable(upstream[name])
        for name in REQUEST_ID_HEADERS:
            if name in upstream:
                headers["x-gateway-upstream-request-id"] = printable(upstream[name])
                break
        return headers

    async def _read_refusal(self, reply: UpstreamReply) -> UpstreamFault:
        if 300 <= reply.status < 400:
            return Unreadable("The provider answered with a redirect, which is never followed")
        try:
            body = await reply.read(MAX_ERROR_BYTES, self.call.deadline)
        except UpstreamFault:
            body = b""  # the status alone says enough
        body = self.call.gateway.redactor.clean(body)
        # The keys that a client brings are not the redactor's: it knows what was configured.
        body = Redactor(bare(self.call.request.headers.get(name, "")) for name in CLIENT_KEYS).clean(body)
        dialect = self._plan.upstream
        now = self.call.gateway.clock.time()
        return dialect.read_error(dialect.name, reply.status, reply.headers, body, now)

    def _write_request(self) -> UpstreamRequest:
        call, target, plan = self.call, self.target, self._plan
        snapshot = call.context.snapshot
        provider = snapshot.config.providers[target.provider]
        headers = {
            "Content-Type": call.source.body.content_type,
            "Accept": EVENT_STREAM if plan.asks_stream else "*/*",
            "Accept-Encoding": "identity",
            "User-Agent": USER_AGENT,
            **plan.headers,
        }
        if self.credential.header:
            headers[self.credential.header] = self.credential.value
        return UpstreamRequest(
            provider=provider.name,
            url=_url(snapshot.base_urls[provider.name], provider, plan.upstream.name, target.model or ""),
            headers=headers,
            body=plan.body,
            timeouts=_timeouts(provider, target, call.first_byte),
            is_stream=plan.asks_stream,
            max_connections=provider.max_connections,
        )


async def deliver(call: ModelCall, held: Held) -> web.StreamResponse:
    """Send a reply that says nothing after all: nobody said more."""
    exchange, client_stream, recorder = call.context.exchange, call.client_stream, call.recorder
    body = held.body
    if recorder is not None:
        body = await (recorder.spread(body) if held.is_stream else recorder.whole(body))
    if not held.is_stream and not exchange.is_open:
        exchange.step(Step.TRY)
        exchange.step(Step.END)
        return Answer(body, held.headers, call.status)
    await client_stream.open(held.headers)
    await client_stream.write(body)
    exchange.step(Step.END)
    return await client_stream.close()


def _url(base: str, provider: Provider, dialect: str, model: str) -> URL:
    path = provider.speaks[dialect]
    if "{model}" in path:
        path = path.replace("{model}", quote(model, safe=""))
    url = URL(base + path, encoded=True)
    return url.with_query(provider.query) if provider.query else url


def _timeouts(provider: Provider, target: Target, first_byte: Seconds | None) -> Timeouts:
    timeouts = provider.timeouts
    if target.timeouts is not NO_OVERRIDES:
        own = {found.name: getattr(target.timeouts, found.name) for found in fields(TargetTimeouts)}
        timeouts = evolve(timeouts, **{name: value for name, value in own.items() if value is not None})
    if first_byte is not None and first_byte < max(timeouts.first_byte, timeouts.whole):
        timeouts = evolve(
            timeouts, first_byte=min(first_byte, timeouts.first_byte), whole=min(first_byte, timeouts.whole)
        )
    return timeouts
