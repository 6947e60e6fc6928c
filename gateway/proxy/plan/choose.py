"""The way of a request to an upstream and of its reply back: raw between equal dialects, else crossed.

Pure: bytes in, bytes out. What the two lanes have in common is the `Way`; attempt and relay know no more.
"""

from collections.abc import Callable, Collection, Mapping, Sequence, Set
from typing import Any

import msgspec
from attrs import define, evolve, field, frozen

from gateway.config.schema import Provider
from gateway.errors import BadRequest, CannotSay
from gateway.proxy.plan.source_request import Question
from gateway.wire import DIALECTS
from gateway.wire.codec.json_body import JsonBody, raw
from gateway.wire.dialect import ClientSide, Dialect, UpstreamSide
from gateway.wire.lane import Lane
from gateway.wire.neutral import Reasoning, Reply, Request, Stop, StopReason, Text, ToolCall, Usage
from gateway.wire.profile import Profile
from gateway.wire.translated_lane import MOST_PAUSES, Crossing, Resume, join, read_whole, says_nothing, spread
from gateway.wire.translation.memo import Drops, Memo, Setting

VERSION, BETA = "anthropic-version", "anthropic-beta"
# Claude Code asks for a million tokens of context by a suffix of the model's name.
LONG_CONTEXT = "context-1m-2025-08-07"
# The dialect that some models demand in place of another, where their provider speaks both.
_LEFT_FOR = {"openai_chat": "openai_responses"}
# What a history loses on its way is not what was asked for: `on_shed: refuse` lets it pass.
_NOT_ASKED = frozenset({"reasoning", "system"})


@frozen
class Whole:
    """A whole reply for the client."""

    body: bytes
    usage: Usage | None
    is_empty: bool
    resume: bytes | None = None  # the reply has only paused: ask again with this body


@define
class Way:
    """How one inquiry goes to one target. `upstream` is the dialect spoken there.

    `whole` reads a whole reply (or, with True, one that came as a stream); `spread` tells one as a stream.
    `answer` is there when no upstream has to be asked. `optional` are members that a retry may leave out.
    """

    upstream: Dialect
    body: bytes
    stream: Callable[[], Lane]
    whole: Callable[[bytes, bool], Whole]
    spread: Callable[[bytes], Whole] | None = None
    headers: Mapping[str, str] = field(factory=dict)
    drops: Sequence[str] = ()
    asks_stream: bool = False
    is_crossed: bool = False
    answer: Whole | None = None
    optional: Collection[str] = ()


def spoken(client: Dialect, provider: Provider, mode: str = "") -> Dialect | None:
    """The dialect to speak with a provider: the client's own, else one that it can be translated into."""
    if client.name in provider.speaks:
        return client
    if mode == "pt" or client.client is None:
        return None
    others = (DIALECTS[name] for name in provider.speaks)
    return next((one for one in others if one.upstream is not None and one.generates == client.generates), None)


def make_way(
    question: Question, provider: Provider, model: str, profile: Profile, without: Set[str] = frozenset()
) -> Way | None:
    """How to put a question to one model; None when its provider speaks nothing that fits.

    Raises BadRequest, or CannotSay for what the upstream's dialect has no words for.
    """
    upstream = spoken(question.dialect, provider, question.mode)
    if upstream is None:
        return None
    if upstream.name in _LEFT_FOR and _needs_other(question, upstream, provider, profile):
        upstream = DIALECTS[_LEFT_FOR[upstream.name]]
    if upstream is question.dialect or question.dialect.name == upstream.name:
        return _raw_way(question, provider, model, profile, without)
    try:
        return _crossed_way(question, upstream, provider, model, profile, without)
    except RecursionError:
        raise BadRequest("The request is nested too deeply", code="invalid_value") from None


def _needs_other(question: Question, upstream: Dialect, provider: Provider, profile: Profile) -> bool:
    """Whether a model has to be asked in another dialect than the one that fits (TRANSLATION.md section 0, 2)."""
    if question.mode == "pt" or question.dialect.client is None or _LEFT_FOR[upstream.name] not in provider.speaks:
        return False
    if profile.responses_only:
        return True
    if not profile.tools_need_responses:
        return False
    request = question.request()
    return bool(request.tools) and not (request.thinking.mode == "off" and "none" in profile.efforts)


def _raw_way(question: Question, provider: Provider, model: str, profile: Profile, without: Set[str]) -> Way:
    """The client's own bytes, with only named top-level members edited."""
    dialect, body = question.dialect, question.body_at(provider.name)
    own: Mapping[str, bytes] = {}
    put: dict[str, bytes] = {"model": raw(model)}
    drop: Collection[str] = ()
    rename: Mapping[str, str] = {}
    drops = Drops()
    if body is not question.body:  # less than all of it
        drops.add("reasoning")
    if question.mode != "pt":
        if isinstance(body, JsonBody):
            own = {name: value for name, value in dialect.put(body, profile, drops).items() if name not in without}
            put |= own
            if "include" in without and question.past.plain_include is not None:
                put["include"] = question.past.plain_include
            if provider.system_prefix and question.mode != "min":
                put |= dialect.prefix(body, provider.system_prefix, put)
        put |= provider_members(dialect, provider)
        drop, rename = provider.drop, provider.rename

    optional = ["stream_options"] if "stream_options" in own else []
    if question.past.plain_include is not None:
        optional.append("include")

    def whole(reply: bytes, is_stream: bool) -> Whole:
        glance = dialect.glance(reply)
        return Whole(reply, glance.usage, glance.is_empty)

    return Way(
        upstream=dialect,
        body=body.edited(put, drop, rename),
        stream=lambda: dialect.normalise(question.asked) if profile.normalize else dialect.watch(question.asked),
        whole=whole,
        spread=_raw_spread(question, profile, provider.name) if question.is_stream else None,
        headers=_headers(question, dialect, provider, question.forwarded),
        drops=drops.names,
        asks_stream=question.is_stream,
        optional=optional,
    )


def _raw_spread(question: Question, profile: Profile, provider: str) -> Callable[[bytes], Whole] | None:
    """Tell a whole reply as a stream, when a server of the same dialect answers so to a client that wants one."""
    client, upstream = question.dialect.client, question.dialect.upstream
    if client is None or upstream is None:
        return None

    def told(reply: bytes) -> Whole:
        memo = _memo(question, client, profile, provider)
        return _spread(client, upstream, reply, memo)

    return told


def _spread(client: ClientSide, upstream: UpstreamSide, reply: bytes, memo: Memo) -> Whole:
    said = read_whole(upstream, reply, is_stream=False, memo=memo)
    return Whole(spread(client, said, memo), said.usage, says_nothing(said))


def _crossed_way(
    question: Question, upstream: Dialect, provider: Provider, model: str, profile: Profile, without: Set[str]
) -> Way:
    client, other = question.dialect.client, upstream.upstream
    assert client is not None
    assert other is not None
    if question.mode == "min":
        profile = evolve(profile, auto_cache=False)
    if "max_tokens" in without & other.optional:  # the other name is tried where this one was refused
        profile = evolve(profile, token_field="max_completion_tokens")  # noqa: S106 - a name
    headers = _headers(question, upstream, provider, {})
    memo = _memo(question, client, profile, provider.name)
    if provider.system_prefix and question.mode != "min":
        memo.request = _prefixed(memo.request, provider.system_prefix)
    setting = Setting(model, profile, headers.get(VERSION, ""))
    written = other.write_request(memo.request, setting, memo)
    if question.mode != "min":
        headers = _joined(headers, written.headers)
    members, lost = _without(written.members, without & other.optional)
    for name in lost:
        memo.drops.add(name)
    if question.refuses_shed:
        _refuse_shed(memo)
    members = _edited(members, provider, upstream)

    legs: list[Reply] = []
    resume = _resumed(other, members, memo)

    def whole(reply: bytes, is_stream: bool) -> Whole:
        said = read_whole(other, reply, is_stream, memo)
        paused = said.blocks if said.stop.reason is StopReason.PAUSED and len(legs) < MOST_PAUSES else None
        said = join(legs[-1], said) if legs else said
        if paused is not None and resume is not None:
            legs.append(said)
            return Whole(b"", said.usage, is_empty=False, resume=resume(said.blocks))
        if calls := [block for block in said.blocks if isinstance(block, ToolCall)]:
            remember(calls, [block for block in said.blocks if isinstance(block, Reasoning)])
        return _told(client, upstream, said, memo)

    def remember(calls: Sequence[ToolCall], thoughts: Sequence[Reasoning]) -> None:
        question.recall.put(question.owner, question.monotonic, calls, thoughts)

    def lane() -> Lane:
        writer = client.stream_writer(memo)
        return Crossing(other.stream_reader, writer, memo, remember, client.is_sequential, resume)

    return Way(
        upstream=upstream,
        body=msgspec.json.encode(members),
        stream=lane,
        whole=whole,
        spread=lambda reply: _spread(client, other, reply, memo),
        headers=headers,
        drops=memo.drops.names,
        asks_stream=question.is_stream or written.must_stream,
        is_crossed=True,
        answer=_prewarmed(question, client, memo),
        optional=_optional(members, other),
    )


def _told(client: ClientSide, upstream: Dialect, said: Reply, memo: Memo) -> Whole:
    """A whole reply; where no model was asked to write, nothing was used and nothing has to be said."""
    body = client.write_reply(said, memo)
    return Whole(body, said.usage, says_nothing(said)) if upstream.generates else Whole(body, None, is_empty=False)


def _resumed(other: UpstreamSide, members: dict[str, Any], memo: Memo) -> Resume | None:
    """What goes on with a paused reply; None where no provider's tool could make the model pause."""
    write = other.resume
    if write is None or not any("type" in tool for tool in members.get("tools", ())):
        return None
    return lambda blocks: msgspec.json.encode(write(members, blocks, memo))


def _memo(question: Question, client: ClientSide, profile: Profile, provider: str) -> Memo:
    memo = Memo(
        request=question.request_at(provider),
        seed=question.id,
        now=question.now,
        sealer=question.sealer,
        profile=profile,
        call_prefix=client.call_prefix,
        time=question.time,
    )
    if question.has_lost_thoughts or provider in question.blind:
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


def _refuse_shed(memo: Memo) -> None:
    lost = [name for name in memo.drops.names if name not in _NOT_ASKED]
    if lost:
        raise CannotSay(f"This model cannot be asked with {', '.join(lost)}", param=lost[0])


def _prefixed(request: Request, prefix: str) -> Request:
    """The operator's text before the client's, never twice."""
    if request.system and request.system[0].text.startswith(prefix):
        return request
    return evolve(request, system=[Text(prefix), *request.system])


def _prewarmed(question: Question, client: ClientSide, memo: Memo) -> Whole | None:
    """What only fills a cache that this upstream does not have: there is nothing to ask (3.1, 13.2)."""
    if memo.request.max_output != 0 and not memo.request.is_warm_up:
        return None
    usage = Usage(memo.prompt_estimate, output=0, is_estimated=True)
    reason = StopReason.END if memo.request.is_warm_up else StopReason.LENGTH
    reply = Reply("", "", (), Stop(reason), usage)
    body = spread(client, reply, memo) if question.is_stream else client.write_reply(reply, memo)
    return Whole(body, usage, is_empty=False)


def _headers(question: Question, upstream: Dialect, provider: Provider, forwarded: Mapping[str, str]) -> dict[str, str]:
    """The dialect's, the client's, the provider's: the provider's win, except for the version that a client speaks."""
    if not (forwarded or provider.headers or question.wants_long_context):
        return dict(upstream.headers)
    configured = {name.lower(): value for name, value in provider.headers.items()}
    own = {VERSION: forwarded[VERSION]} if VERSION in forwarded else {}
    betas = {BETA: configured[BETA]} if BETA in configured else {}
    headers = _joined({**upstream.headers, **forwarded, **configured, **own}, {})
    if BETA in forwarded and betas:
        headers[BETA] = forwarded[BETA]
        headers = _joined(headers, betas)
    if question.wants_long_context and question.mode != "min" and VERSION in headers:
        headers = _joined(headers, {BETA: LONG_CONTEXT})
    return headers


def _joined(headers: Mapping[str, str], more: Mapping[str, str]) -> dict[str, str]:
    """Headers with `more` added; betas add up, in order, each once."""
    out = dict(headers)
    for name, value in more.items():
        if name == BETA and BETA in out:
            known = [beta.strip() for beta in out[BETA].split(",")]
            out[BETA] = ",".join([out[BETA], *(beta for beta in value.split(",") if beta.strip() not in known)])
        else:
            out[name] = value
    return out


def provider_members(dialect: Dialect, provider: Provider) -> Mapping[str, bytes]:
    """The members that a provider wants in every body in which a model is asked to write."""
    return {name: raw(value) for name, value in provider.set.items()} if dialect.generates else {}
