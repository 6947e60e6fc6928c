"""Plans for a target that makes no compactions itself: the gateway asks it for a summary (docs/wire/compaction.md)."""

from collections.abc import Callable, Set
from functools import partial
from typing import ClassVar

from attrs import define, evolve, field

from gateway.config.provider_schema import Provider
from gateway.errors import Unreadable
from gateway.proxy.plan.raw import make_raw_plan
from gateway.proxy.plan.record import Plan, WholeReply
from gateway.proxy.plan.source_request import SourceRequest
from gateway.proxy.plan.translated import TranslatedPlan, make_translated_plan
from gateway.wire.codec.json_body import JsonBody
from gateway.wire.codec.sse import looks_like
from gateway.wire.dialect import Dialect
from gateway.wire.neutral import Compaction, Opaque, Reply, Stop, StopReason, Usage
from gateway.wire.profile import Profile
from gateway.wire.translated_lane import read_whole, spread
from gateway.wire.translation.compaction import asking, continued, is_due
from gateway.wire.translation.turn_order import text_of

Follow = Callable[[Opaque, str, Usage | None], TranslatedPlan]


@define(kw_only=True)
class SummaryPlan(TranslatedPlan):
    """A plan that asks for a summary. The reply is read whole, also for a client that wants a stream.

    If the summary is `wanted` before a reply, `follow` plans the call for that reply.
    """

    wanted: Compaction
    follow: Follow = field(repr=False)
    is_held: ClassVar[bool] = True

    def read_whole(self, body: bytes, *, is_stream: bool) -> WholeReply:
        return self._read(body, is_stream=is_stream, as_stream=False)

    def write_stream(self, body: bytes) -> WholeReply:
        return self._read(body, is_stream=bool(looks_like(body)), as_stream=True)

    def _read(self, body: bytes, *, is_stream: bool, as_stream: bool) -> WholeReply:
        reply = read_whole(self._far_side, body, is_stream, self.memo)
        summary = text_of(reply.blocks).strip()
        if not summary or reply.stop.reason is StopReason.FILTERED:
            raise Unreadable("The model wrote no summary of the conversation")
        compactions, near = self.source.dialect.compactions, self._near_side
        assert compactions is not None
        block = compactions.write(summary, self.memo, is_whole=self.wanted.threshold is not None)
        if self.wanted.threshold is not None and not self.wanted.pauses:
            return WholeReply(b"", reply.usage, is_empty=False, follow=self.follow(block, summary, reply.usage))
        told = Reply(reply.id, reply.model, (block,), Stop(StopReason.COMPACTED), reply.usage, reply.tier)
        written = spread(near, told, self.memo) if as_stream else near.write_reply(told, self.memo)
        return WholeReply(written, reply.usage, is_empty=False)


def make_compaction_plan(
    source: SourceRequest, upstream: Dialect, provider: Provider, model: str, profile: Profile, without: Set[str]
) -> Plan:
    """Plan a call that asks for a compaction, to a target that makes none itself. Raises BadRequest, CannotSay.

    A conversation that has not reached its threshold goes as it is, without what asks.
    """
    write = partial(make_translated_plan, source, upstream, provider, model, profile, without)
    request = source.request()
    if not is_due(request, profile.token_factor):
        return (
            make_raw_plan(_unasked(source), provider, model, profile, without)
            if _is_same(source, upstream)
            else write()
        )
    assert request.compaction is not None

    def follow(block: Opaque, summary: str, usage: Usage | None) -> TranslatedPlan:
        plan = write(rewrite=lambda read: continued(read, summary))
        return evolve(plan, ahead=(block,), spent=usage)

    plan = write(rewrite=partial(asking, profile=profile))
    return SummaryPlan(
        source=plan.source,
        upstream=plan.upstream,
        members=plan.members,
        headers=plan.headers,
        memo=plan.memo,
        asks_stream=plan.asks_stream,
        body=plan.body,
        wanted=request.compaction,
        follow=follow,
    )


def _is_same(source: SourceRequest, upstream: Dialect) -> bool:
    return source.dialect.name == upstream.name


def _unasked(source: SourceRequest) -> SourceRequest:
    """Return the request without the members that ask for a compaction: its server does not know them."""
    body, readable, compactions = source.body, source.history.readable, source.dialect.compactions
    assert isinstance(body, JsonBody)
    assert compactions is not None
    unasked = compactions.without(body)
    if readable is None:
        return evolve(source, body=unasked)

    def read_by(provider: str) -> JsonBody:
        found = readable(provider)
        return unasked if found is body else compactions.without(found)

    return evolve(source, body=unasked, history=evolve(source.history, readable=read_by))
