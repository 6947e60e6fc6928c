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
from gateway.proxy.model_call import Inquiry
from gateway.proxy.plan.headers import (
    CLIENT_KEYS,
    EVENT_STREAM,
    LONGEST_LIST,
    PASSED_HEADERS,
    REQUEST_ID_HEADERS,
    USER_AGENT,
)
from gateway.proxy.plan.record import Way, Whole
from gateway.proxy.plan.refused_members import offending
from gateway.proxy.relay import Cutter, Stream
from gateway.proxy.whole_response import Answer
from gateway.telemetry.redact import Redactor
from gateway.upstream.client import MOST_ERROR_BYTES, Call, Opened
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

    inquiry: Inquiry
    target: Target
    credential: Credential
    accepts_empty: bool
    _way: Way
    _started: float = field(default=0.0, init=False)
    _token: str = field(default="", init=False, repr=False)
    _call: Call | None = field(default=None, init=False, repr=False)
    _opened: list[Opened] = field(factory=list, init=False)

    async def run(self) -> web.StreamResponse:
        """Relay one reply to the client. Raises UpstreamFault; before content the client knows nothing of it."""
        inquiry, exchange = self.inquiry, self.inquiry.visit.exchange
        if self._way.answer is not None:
            return await self._tell(self._way.answer, {"x-gateway-model": printable(self.target.model or "")})
        oauth = inquiry.visit.snapshot.config.providers[self.target.provider].auth.oauth
        if oauth is not None:
            self.credential = await self._token_of(oauth)
        if inquiry.keeping is not None:
            inquiry.keeping.maker = f"{self.target.name} {self.credential.id}"
        self._call = self._write_call()
        now = inquiry.gateway.clock.monotonic
        self._started = now()
        try:
            opened = await inquiry.patiently(inquiry.gateway.upstream.open(self._call, inquiry.deadline))
        finally:
            exchange.upstream_s += now() - self._started
        self._opened = [opened]
        try:
            if not 200 <= opened.status < 300:
                raise await self._read_refusal(opened)
            return await self._relay(opened)
        finally:
            for one in self._opened:
                one.close()

    async def mend(self, fault: Declined) -> bool:
        """Do what makes a second try of the same target worth while. Return whether there is anything.

        Leaves out the optional member that a refusal names; gets another token after a 401.
        """
        if self.inquiry.visit.exchange.is_spoken:
            return False
        if not (self._repair(fault) or self._blind(fault) or await self._renew(fault)):
            return False
        way = self.inquiry.way(self.target)  # a fresh one: a way remembers what it has read
        assert way is not None
        self._way = way
        return True

    def _blind(self, fault: Declined) -> bool:
        """Leave out reasoning that this provider cannot read: another account has sealed it."""
        blind = self.inquiry.question.blind
        if fault.upstream_code != UNREADABLE_REASONING or self.target.provider in blind:
            return False
        blind.add(self.target.provider)
        return True

    async def _renew(self, fault: Declined) -> bool:
        """After a 401 with a token from a file: get another one, once."""
        oauth = self.inquiry.visit.snapshot.config.providers[self.target.provider].auth.oauth
        if oauth is None or fault.fault is not Fault.CREDENTIALS:
            return False
        file = self.inquiry.gateway.token_file(self.target.provider, oauth)
        return await file.renew(self._token)

    async def _token_of(self, oauth: OAuth) -> Credential:
        """The token of a credentials file, refreshed when it is due."""
        self._token = await self.inquiry.gateway.token_file(self.target.provider, oauth).token()
        self.inquiry.gateway.redactor.add([self._token])
        return evolve(self.credential, value=f"Bearer {self._token}")

    async def _reopen(self, body: bytes) -> Opened:
        """Ask the same target to go on with a reply that has paused. Raises UpstreamFault."""
        assert self._call is not None
        inquiry = self.inquiry
        opened = await inquiry.gateway.upstream.open(evolve(self._call, body=body), inquiry.deadline)
        self._opened.append(opened)
        if not 200 <= opened.status < 300:
            raise await self._read_refusal(opened)
        return opened

    def _repair(self, fault: Declined) -> bool:
        """Leave out the optional member that a refusal names, and remember it. Return whether to ask again."""
        inquiry, target = self.inquiry, self.target
        name = offending(fault, self._way.optional)
        if name is None:
            return False
        question = inquiry.question
        inquiry.gateway.learned.learn(question.owner, target.provider, target.model or "", name, question.monotonic)
        return True

    async def _relay(self, opened: Opened) -> web.StreamResponse:
        kind, is_stream = opened.content_type, self.inquiry.is_stream
        if kind == "text/html":
            raise Unreadable("The provider answered with an HTML page")
        if is_stream and kind == EVENT_STREAM:
            return await self._stream(opened, self._way.stream(), FrameCutter(), STREAM_HEADERS)
        if not self._way.upstream.is_json and kind != "application/json":
            self.inquiry.outlet.keepalive = float("inf")  # there is no keep-alive inside sound
            return await self._stream(
                opened, BytesLane(), Uncut(), {"Content-Type": kind or "application/octet-stream"}
            )
        return await self._whole(opened, is_spread=is_stream and self._way.spread is not None)

    async def _stream(
        self, opened: Opened, lane: Lane, cutter: Cutter, headers: Mapping[str, str]
    ) -> web.StreamResponse:
        keeping = self.inquiry.keeping
        if keeping is not None:
            lane = keeping.lane(lane)
        self.inquiry.lane = lane
        stream = Stream(
            opened,
            lane,
            self.inquiry.outlet,
            self.inquiry.deadline,
            self.accepts_empty,
            self._note_content,
            {**headers, **self._reply_headers(opened)},
            cutter,
            self._reopen,
            keeping.ending if keeping is not None else None,
        )
        try:
            # In a task of its own: each chunk wakes the whole chain of awaits above it, and here that is
            # three coroutines in place of seventeen. Cancelling this one cancels that one.
            return await asyncio.create_task(stream.run())
        finally:
            self.inquiry.visit.exchange.usage = lane.usage

    async def _whole(self, opened: Opened, *, is_spread: bool) -> web.StreamResponse:
        """A reply that has to be held whole; `is_spread`: the client wants it as a stream all the same."""
        exchange, limit = self.inquiry.visit.exchange, self.inquiry.visit.snapshot.config.server.max_reply
        now = self.inquiry.gateway.clock.monotonic
        waiting = now()
        body = await self.inquiry.patiently(opened.read(limit, self.inquiry.deadline))
        exchange.upstream_s += now() - waiting
        if is_spread and self._way.spread is not None:
            whole = self._way.spread(body)
        else:
            whole = self._way.whole(body, opened.content_type == EVENT_STREAM)
        while whole.resume is not None:
            opened = await self._reopen(whole.resume)
            body = await opened.read(limit, self.inquiry.deadline)
            whole = self._way.whole(body, opened.content_type == EVENT_STREAM)
        headers = self._reply_headers(opened)
        if whole.usage is not None and whole.usage.is_estimated:
            headers["x-gateway-usage"] = "estimated"
        return await self._tell(whole, headers) if is_spread else await self._answer(whole, headers)

    async def _answer(self, whole: Whole, headers: dict[str, str]) -> Answer:
        """A whole reply for the client."""
        exchange = self.inquiry.visit.exchange
        exchange.usage = whole.usage
        headers["Content-Type"] = "application/json"
        if whole.is_empty and not self.accepts_empty:
            raise SaidNothing(Held(whole.body, headers, is_stream=False))
        self._note_content()
        body = whole.body if self.inquiry.keeping is None else await self.inquiry.keeping.whole(whole.body)
        exchange.step(Step.END)
        return Answer(body, headers, self.inquiry.status)

    async def _tell(self, whole: Whole, headers: dict[str, str]) -> web.StreamResponse:
        """A reply that is here whole, as the client wants it."""
        inquiry, exchange = self.inquiry, self.inquiry.visit.exchange
        if not inquiry.is_stream:
            return await self._answer(whole, headers)
        exchange.usage = whole.usage
        headers = {**STREAM_HEADERS, **headers}
        if whole.is_empty and not self.accepts_empty:
            raise SaidNothing(Held(whole.body, headers, is_stream=True))
        self._note_content()
        body = whole.body if inquiry.keeping is None else await inquiry.keeping.spread(whole.body)
        await inquiry.outlet.open(headers)
        exchange.step(Step.SPEAK)
        await inquiry.outlet.write(body)
        exchange.step(Step.END)
        return await inquiry.outlet.close()

    def _note_content(self) -> None:
        now = self.inquiry.gateway.clock.monotonic()
        self.inquiry.visit.exchange.first_byte = now
        self.inquiry.gateway.health.note_latency(self.target.name, now - self._started)

    def _reply_headers(self, opened: Opened) -> dict[str, str]:
        headers = {
            "x-gateway-provider": self.target.provider,
            "x-gateway-model": printable(self.target.model or ""),
            "x-gateway-attempts": str(self.inquiry.visit.exchange.attempts),
        }
        upstream = opened.headers
        if self._way.drops:
            headers["x-gateway-dropped"] = printable(",".join(self._way.drops), LONGEST_LIST)
        if not self._way.is_crossed:
            for name in PASSED_HEADERS:
                if name in upstream:
                    headers[name] = printable(upstream[name])
        for name in REQUEST_ID_HEADERS:
            if name in upstream:
                headers["x-gateway-upstream-request-id"] = printable(upstream[name])
                break
        return headers

    async def _read_refusal(self, opened: Opened) -> UpstreamFault:
        if 300 <= opened.status < 400:
            return Unreadable("The provider answered with a redirect, which is never followed")
        try:
            body = await opened.read(MOST_ERROR_BYTES, self.inquiry.deadline)
        except UpstreamFault:
            body = b""  # the status alone says enough
        body = self.inquiry.gateway.redactor.clean(body)
        # The keys that a client brings are not the redactor's: it knows what was configured.
        body = Redactor(bare(self.inquiry.request.headers.get(name, "")) for name in CLIENT_KEYS).clean(body)
        dialect = self._way.upstream
        now = self.inquiry.gateway.clock.time()
        return dialect.read_error(dialect.name, opened.status, opened.headers, body, now)

    def _write_call(self) -> Call:
        inquiry, target, way = self.inquiry, self.target, self._way
        snapshot = inquiry.visit.snapshot
        provider = snapshot.config.providers[target.provider]
        headers = {
            "Content-Type": inquiry.question.body.content_type,
            "Accept": EVENT_STREAM if way.asks_stream else "*/*",
            "Accept-Encoding": "identity",
            "User-Agent": USER_AGENT,
            **way.headers,
        }
        if self.credential.header:
            headers[self.credential.header] = self.credential.value
        return Call(
            provider=provider.name,
            url=_url(snapshot.base_urls[provider.name], provider, way.upstream.name, target.model or ""),
            headers=headers,
            body=way.body,
            timeouts=_timeouts(provider, target, inquiry.first_byte),
            is_stream=way.asks_stream,
            max_connections=provider.max_connections,
        )


async def deliver(inquiry: Inquiry, held: Held) -> web.StreamResponse:
    """Send a reply that says nothing after all: nobody said more."""
    exchange, outlet, keeping = inquiry.visit.exchange, inquiry.outlet, inquiry.keeping
    body = held.body
    if keeping is not None:
        body = await (keeping.spread(body) if held.is_stream else keeping.whole(body))
    if not held.is_stream and not exchange.is_open:
        exchange.step(Step.TRY)
        exchange.step(Step.END)
        return Answer(body, held.headers, inquiry.status)
    await outlet.open(held.headers)
    await outlet.write(body)
    exchange.step(Step.END)
    return await outlet.close()


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
