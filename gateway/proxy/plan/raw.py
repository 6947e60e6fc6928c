"""The raw lane: the client's own bytes, with only named top-level members edited."""

from collections.abc import Callable, Collection, Mapping, Set

from gateway.config.schema import Provider
from gateway.proxy.plan.headers import _headers
from gateway.proxy.plan.record import Plan, WholeReply
from gateway.proxy.plan.source_request import SourceRequest
from gateway.proxy.plan.translated import _memo, _spread
from gateway.wire.codec.json_body import JsonBody, to_json
from gateway.wire.dialect import Dialect
from gateway.wire.profile import Profile
from gateway.wire.translation.memo import Drops


def raw_plan(source: SourceRequest, provider: Provider, model: str, profile: Profile, without: Set[str]) -> Plan:
    """The client's own bytes, with only named top-level members edited."""
    dialect, body = source.dialect, source.body_at(provider.name)
    own: Mapping[str, bytes] = {}
    put: dict[str, bytes] = {"model": to_json(model)}
    drop: Collection[str] = ()
    rename: Mapping[str, str] = {}
    drops = Drops()
    if body is not source.body:  # less than all of it
        drops.add("reasoning")
    if source.mode != "pt":
        if isinstance(body, JsonBody):
            own = {
                name: value for name, value in dialect.add_members(body, profile, drops).items() if name not in without
            }
            put |= own
            if "include" in without and source.past.plain_include is not None:
                put["include"] = source.past.plain_include
            if provider.system_prefix and source.mode != "min":
                put |= dialect.prefix(body, provider.system_prefix, put)
        put |= provider_members(dialect, provider)
        drop, rename = provider.drop, provider.rename

    optional = ["stream_options"] if "stream_options" in own else []
    if source.past.plain_include is not None:
        optional.append("include")

    def whole(reply: bytes, is_stream: bool) -> WholeReply:
        glance = dialect.glance(reply)
        return WholeReply(reply, glance.usage, glance.is_empty)

    return Plan(
        upstream=dialect,
        body=body.edited(put, drop, rename),
        stream=lambda: dialect.normalise(source.asked) if profile.normalize else dialect.watch(source.asked),
        whole=whole,
        spread=_raw_spread(source, profile, provider.name) if source.is_stream else None,
        headers=_headers(source, dialect, provider, source.forwarded),
        drops=drops.names,
        asks_stream=source.is_stream,
        optional=optional,
    )


def _raw_spread(source: SourceRequest, profile: Profile, provider: str) -> Callable[[bytes], WholeReply] | None:
    """Tell a whole reply as a stream, when a server of the same dialect answers so to a client that wants one."""
    client, upstream = source.dialect.client, source.dialect.upstream
    if client is None or upstream is None:
        return None

    def told(reply: bytes) -> WholeReply:
        memo = _memo(source, client, profile, provider)
        return _spread(client, upstream, reply, memo)

    return told


def provider_members(dialect: Dialect, provider: Provider) -> Mapping[str, bytes]:
    """The members that a provider wants in every body in which a model is asked to write."""
    return {name: to_json(value) for name, value in provider.set.items()} if dialect.generates else {}
