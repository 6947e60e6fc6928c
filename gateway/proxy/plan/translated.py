"""The translated lane: the request written in another dialect, the reply read back from it."""

from collections.abc import Collection, Mapping, Sequence, Set
from typing import Any

import msgspec
from attrs import evolve

from gateway.config.schema import Provider
from gateway.errors import CannotSay
from gateway.proxy.plan.headers import VERSION, _headers, _joined
from gateway.proxy.plan.record import Plan, WholeReply
from gateway.proxy.plan.source_request import SourceRequest
from gateway.wire.dialect import ClientSide, Dialect, UpstreamSide
from gateway.wire.lane import Lane
from gateway.wire.neutral import Reasoning, Reply, Request, Stop, StopReason, Text, ToolCall, Usage
from gateway.wire.profile import Profile
from gateway.wire.translated_lane import MAX_PAUSES, Crossing, Resume, join, read_whole, says_nothing, spread
from gateway.wire.translation.memo import Memo, Setting

# What a history loses on its way is not what was asked for: `on_shed: refuse` lets it pass.
_NOT_ASKED = frozenset({"reasoning", "system"})


def _spread(client: ClientSide, upstream: UpstreamSide, reply: bytes, memo: Memo) -> WholeReply:
    said = read_whole(upstream, reply, is_stream=False, memo=memo)
    return WholeReply(spread(client, said, memo), said.usage, says_nothing(said))


def translated_plan(
    source: SourceRequest, upstream: Dialect, provider: Provider, model: str, profile: Profile, without: Set[str]
) -> Plan:
    client, other = source.dialect.client, upstream.upstream
    assert client is not None
    assert other is not None
    if source.mode == "min":
        profile = evolve(profile, auto_cache=False)
    if "max_tokens" in without & other.optional:  # the other name is tried where this one was refused
        profile = evolve(profile, token_field="max_completion_tokens")  # noqa: S106 - a name
    headers = _headers(source, upstream, provider, {})
    memo = _memo(source, client, profile, provider.name)
    if provider.system_prefix and source.mode != "min":
        memo.request = _prefixed(memo.request, provider.system_prefix)
    setting = Setting(model, profile, headers.get(VERSION, ""))
    written = other.write_request(memo.request, setting, memo)
    if source.mode != "min":
        headers = _joined(headers, written.headers)
    members, lost = _without(written.members, without & other.optional)
    for name in lost:
        memo.drops.add(name)
    if source.refuses_losses:
        refuse_losses(memo)
    members = _edited(members, provider, upstream)

    segments: list[Reply] = []
    resume = _resumed(other, members, memo)

    def whole(reply: bytes, is_stream: bool) -> WholeReply:
        said = read_whole(other, reply, is_stream, memo)
        paused = said.blocks if said.stop.reason is StopReason.PAUSED and len(segments) < MAX_PAUSES else None
        said = join(segments[-1], said) if segments else said
        if paused is not None and resume is not None:
            segments.append(said)
            return WholeReply(b"", said.usage, is_empty=False, resume=resume(said.blocks))
        if calls := [block for block in said.blocks if isinstance(block, ToolCall)]:
            remember(calls, [block for block in said.blocks if isinstance(block, Reasoning)])
        return _write_whole(client, upstream, said, memo)

    def remember(calls: Sequence[ToolCall], thoughts: Sequence[Reasoning]) -> None:
        source.reasoning_memory.remember(source.owner, source.monotonic, calls, thoughts)

    def lane() -> Lane:
        writer = client.stream_writer(memo)
        return Crossing(other.stream_reader, writer, memo, remember, client.is_sequential, resume)

    return Plan(
        upstream=upstream,
        body=msgspec.json.encode(members),
        stream=lane,
        whole=whole,
        spread=lambda reply: _spread(client, other, reply, memo),
        headers=headers,
        drops=memo.drops.names,
        asks_stream=source.is_stream or written.must_stream,
        is_crossed=True,
        answer=_prewarmed(source, client, memo),
        optional=_optional(members, other),
    )


def _write_whole(client: ClientSide, upstream: Dialect, said: Reply, memo: Memo) -> WholeReply:
    """A whole reply; where no model was asked to write, nothing was used and nothing has to be said."""
    body = client.write_reply(said, memo)
    return (
        WholeReply(body, said.usage, says_nothing(said))
        if upstream.generates
        else WholeReply(body, None, is_empty=False)
    )


def _resumed(other: UpstreamSide, members: dict[str, Any], memo: Memo) -> Resume | None:
    """What goes on with a paused reply; None where no provider's tool could make the model pause."""
    write = other.resume
    if write is None or not any("type" in tool for tool in members.get("tools", ())):
        return None
    return lambda blocks: msgspec.json.encode(write(members, blocks, memo))


def _memo(source: SourceRequest, client: ClientSide, profile: Profile, provider: str) -> Memo:
    memo = Memo(
        request=source.request_at(provider),
        seed=source.id,
        now=source.now,
        sealer=source.sealer,
        profile=profile,
        call_prefix=client.call_prefix,
        time=source.time,
    )
    if source.has_lost_thoughts or provider in source.cannot_decrypt:
        memo.drops.add("reasoning")
    return memo


def _optional(members: Mapping[str, Any], other: UpstreamSide) -> list[str]:
    """What may be left out of a body when it is refused; paths for parts of members."""
    paths = [f"{name}.{part}" for name, value in members.items() if isinstance(value, dict) for part in value]
    return [name for name in (*members, *paths) if name in other.optional]


def _without(members: Mapping[str, Any], names: Collection[str]) -> tuple[dict[str, Any], list[str]]:
    """Members without what was refused before, and the names of what was there."""
    kept, lost = dict(members), []
    for name in names:
        outer, _, part = name.partition(".")
        inner = kept.get(outer)
        if not part and outer in kept:
            del kept[outer]
            lost.append(name)
        elif part and isinstance(inner, dict) and part in inner:
            kept[outer] = {key: value for key, value in inner.items() if key != part}
            lost.append(name)
            if not kept[outer]:
                del kept[outer]
    return kept, lost


def _edited(members: dict[str, Any], provider: Provider, upstream: Dialect) -> dict[str, Any]:
    """What the provider's settings do to a body of ours: drop, then rename, then put."""
    kept = {provider.rename.get(name, name): value for name, value in members.items() if name not in provider.drop}
    return kept | (provider.set if upstream.generates else {})


def refuse_losses(memo: Memo) -> None:
    lost = [name for name in memo.drops.names if name not in _NOT_ASKED]
    if lost:
        raise CannotSay(f"This model cannot be asked with {', '.join(lost)}", param=lost[0])


def _prefixed(request: Request, prefix: str) -> Request:
    """The operator's text before the client's, never twice."""
    if request.system and request.system[0].text.startswith(prefix):
        return request
    return evolve(request, system=[Text(prefix), *request.system])


def _prewarmed(source: SourceRequest, client: ClientSide, memo: Memo) -> WholeReply | None:
    """What only fills a cache that this upstream does not have: there is nothing to ask (3.1, 13.2)."""
    if memo.request.max_output != 0 and not memo.request.is_warm_up:
        return None
    usage = Usage(memo.prompt_estimate, output=0, is_estimated=True)
    reason = StopReason.END if memo.request.is_warm_up else StopReason.LENGTH
    reply = Reply("", "", (), Stop(reason), usage)
    body = spread(client, reply, memo) if source.is_stream else client.write_reply(reply, memo)
    return WholeReply(body, usage, is_empty=False)
