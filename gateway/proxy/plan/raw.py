"""The raw lane: the client's own bytes, with only named top-level members edited."""

from collections.abc import Collection, Mapping, Sequence, Set
from typing import Any, ClassVar

from attrs import evolve, field, frozen

from gateway.config.provider_schema import Provider
from gateway.errors import CannotSay
from gateway.policy.capabilities import makes_compactions
from gateway.proxy.plan.headers import upstream_headers
from gateway.proxy.plan.record import WholeReply
from gateway.proxy.plan.source_request import SourceRequest
from gateway.wire.codec.json_body import Body, JsonBody, to_json
from gateway.wire.dialect import Dialect
from gateway.wire.lane import Lane
from gateway.wire.profile import Profile
from gateway.wire.translated_lane import read_whole, refuses, says_nothing, spread
from gateway.wire.translation.compaction import LOST
from gateway.wire.translation.memo import Drops
from gateway.wire.translation.noting import Noting


@frozen
class RawPlan:
    """A plan whose client and upstream speak the same dialect. Its members are those of `Plan`."""

    source: SourceRequest
    upstream: Dialect
    asks_stream: bool
    profile: Profile
    provider: str
    body: bytes
    headers: Mapping[str, str]
    drops: Sequence[str]
    optional: Collection[str]
    found: list[str] = field(factory=list, init=False)  # the sealed compactions in the reply
    is_held: ClassVar[bool] = False
    is_raw: ClassVar[bool] = True
    asked_output: ClassVar[int] = 0  # the client's own bytes
    constraints: ClassVar[Mapping[str, Any]] = {}
    answer: ClassVar[WholeReply | None] = None
    odd_finish: ClassVar[str] = ""  # the client reads the word itself

    @property
    def sealed(self) -> Sequence[str]:
        return self.found

    @property
    def can_stream_whole(self) -> bool:
        dialect = self.source.dialect
        return self.source.is_stream and dialect.client is not None and dialect.upstream is not None

    def lane(self) -> Lane:
        dialect, asked = self.source.dialect, evolve(self.source.asked, no_finish=self.profile.no_finish)
        lane = dialect.normalise(asked) if self.profile.normalize else dialect.watch(asked)
        if dialect.compactions is not None and self.source.asks_compaction:
            return Noting(lane, dialect.compactions.made, self.found)
        return lane

    def read_whole(self, body: bytes, *, is_stream: bool) -> WholeReply:
        """A server of the same dialect may answer with a stream that was not requested: it is put together."""
        client, upstream = self.source.dialect.client, self.source.dialect.upstream
        if is_stream and client is not None and upstream is not None:
            memo = self.source.reply_memo(client, self.profile, self.provider)
            reply = read_whole(upstream, body, is_stream=True, memo=memo)
            encoded = client.write_reply(reply, memo)
            return WholeReply(encoded, reply.usage, says_nothing(reply), None, None, refuses(reply), reply.id)
        body = self.source.dialect.mend_whole(body)
        if self.source.dialect.compactions is not None and self.source.asks_compaction:
            self.found.extend(self.source.dialect.compactions.made(body))
        glance = self.source.dialect.glance(body)
        return WholeReply(body, glance.usage, glance.is_empty, None, None, glance.is_refusal, glance.reply_id)

    def write_stream(self, body: bytes) -> WholeReply:
        """A server of the same dialect answers whole, though a stream was requested."""
        client, upstream = self.source.dialect.client, self.source.dialect.upstream
        assert client is not None
        assert upstream is not None
        memo = self.source.reply_memo(client, self.profile, self.provider)
        reply = read_whole(upstream, body, is_stream=False, memo=memo)
        return WholeReply(spread(client, reply, memo), reply.usage, says_nothing(reply), is_refusal=refuses(reply))


def make_raw_plan(
    source: SourceRequest, provider: Provider, model: str, profile: Profile, without: Set[str]
) -> RawPlan:
    """Edit the client's body for one model; `without` are optional members that the model has refused before."""
    body, drops = source.body_at(provider.name), Drops()
    if body is not source.body:  # less than all of it
        drops.add("reasoning")
    body = _readable(source, body, provider, profile, drops)
    added = _added_members(source, body, profile, drops, without)
    put: dict[str, bytes] = {"model": to_json(model), **added}
    drop: Collection[str] = ()
    rename: Mapping[str, str] = {}
    if source.mode.edits:
        if "include" in without and source.history.plain_include is not None and isinstance(body, JsonBody):
            put["include"] = source.history.plain_include
        if provider.system_prefix and source.mode.injects and isinstance(body, JsonBody):
            put |= source.dialect.prefix(body, provider.system_prefix, put)
        put |= provider_members(source.dialect, provider)
        drop, rename = provider.drop, provider.rename
    if not source.may_select and isinstance(body, JsonBody):
        chosen = [name for name in provider.selectors if name in body.members]
        drop = (*drop, *chosen)
        for name in chosen:
            drops.add(name)
    optional = ["stream_options"] if "stream_options" in added else []
    if source.history.plain_include is not None:
        optional.append("include")
    return RawPlan(
        source=source,
        upstream=source.dialect,
        asks_stream=source.is_stream,
        profile=profile,
        provider=provider.name,
        body=_written(source, body, put, drop, rename),
        headers=upstream_headers(
            source.dialect, provider, source.forwarded, wants_long_context=source.wants_long_context
        ),
        drops=drops.names,
        optional=optional,
    )


def _readable(source: SourceRequest, body: Body, provider: Provider, profile: Profile, drops: Drops) -> Body:
    """Return the body with those compactions of its history as text that this provider cannot read.

    Raises CannotSay if nobody can read them here, and the route refuses losses.
    """
    compactions = source.dialect.compactions
    if compactions is None or not source.mode.edits or not isinstance(body, JsonBody):
        return body
    is_refused = provider.name in source.cannot_decrypt and provider.name != source.home
    makes = makes_compactions(source.dialect.name, provider, profile)
    if not makes and source.dialect.write_count is not None:  # a count, in which nobody else takes it out
        body = compactions.without(body)
    readable = compactions.readable(body, source.sealer, drops, keeps=makes and not is_refused)
    if source.refuses_losses and LOST in drops.names:
        raise CannotSay("The compaction in this conversation can be read by another provider only", param="input")
    return readable


def _written(
    source: SourceRequest, body: Body, put: Mapping[str, bytes], drop: Collection[str], rename: Mapping[str, str]
) -> bytes:
    """Write the body; where nothing but the model's name is changed, every other byte is kept."""
    if not source.mode.edits and not drop and isinstance(body, JsonBody):
        spliced = body.with_value("model", put["model"])
        if spliced is not None:
            return spliced
    return body.edited(put, drop, rename)


def provider_members(dialect: Dialect, provider: Provider) -> Mapping[str, bytes]:
    """Return the members that a provider's settings put into every body in which a model is asked to write."""
    return {name: to_json(value) for name, value in provider.set.items()} if dialect.generates else {}


def _added_members(
    source: SourceRequest, body: Body, profile: Profile, drops: Drops, without: Set[str]
) -> Mapping[str, bytes]:
    """Return what the gateway itself needs in the body."""
    if not source.mode.edits or not isinstance(body, JsonBody):
        return {}
    added = source.dialect.add_members(body, profile, drops)
    return {name: value for name, value in added.items() if name not in without} if without else added
