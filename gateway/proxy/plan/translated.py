"""The translated lane: writes the request in the upstream's dialect, and the reply back in the client's."""

from collections.abc import Callable, Collection, Mapping, Sequence, Set
from typing import Any, ClassVar

import msgspec
from attrs import define, evolve, field

from gateway.config.provider_schema import Provider
from gateway.errors import CannotSay
from gateway.proxy.plan.headers import VERSION, join_headers, upstream_headers
from gateway.proxy.plan.record import WholeReply
from gateway.proxy.plan.refused_members import SCHEMAS
from gateway.proxy.plan.source_request import SourceRequest
from gateway.wire.dialect import ClientSide, Dialect, UpstreamSide
from gateway.wire.lane import Lane, StreamReader
from gateway.wire.neutral import Block, Reasoning, Reply, Request, Stop, StopReason, Text, ToolCall, Usage
from gateway.wire.profile import Profile
from gateway.wire.translated_lane import MAX_PAUSES, Crossing, join, read_whole, refuses, says_nothing, spread
from gateway.wire.translation.ahead import Ahead, behind
from gateway.wire.translation.memo import Memo, Setting

_CAPS = ("max_tokens", "max_completion_tokens", "max_output_tokens")


@define
class TranslatedPlan:
    """A plan whose upstream speaks another dialect than the client. Its members are those of `Plan`.

    `members` are those of `body` before it was encoded; `memo` holds what writing the reply needs of the request.
    """

    source: SourceRequest
    upstream: Dialect
    members: Mapping[str, Any]
    headers: Mapping[str, str]
    memo: Memo
    asks_stream: bool
    body: bytes
    ahead: Sequence[Block] = ()  # blocks that an earlier call has brought, before those of the reply
    spent: Usage | None = None  # the tokens of that call
    _segments: list[Reply] = field(factory=list, init=False)  # a whole reply that pauses, as joined so far
    _has_told: bool = field(default=False, init=False)  # `ahead`, in the first segment of a stream
    is_raw: ClassVar[bool] = False
    can_stream_whole: ClassVar[bool] = True
    is_held: ClassVar[bool] = False
    sealed: ClassVar[Sequence[str]] = ()

    @property
    def drops(self) -> Sequence[str]:
        return self.memo.drops.names

    @property
    def odd_finish(self) -> str:
        return self.memo.odd_finish

    @property
    def optional(self) -> Collection[str]:
        """Members that a second try may leave out; a path such as output_config.effort names a part of a member."""
        members, refusable = self.members, self._far_side.optional
        paths = [f"{name}.{part}" for name, value in members.items() if isinstance(value, dict) for part in value]
        return [name for name in (*members, *paths) if name in refusable]

    @property
    def asked_output(self) -> int:
        """The output cap that is sent, 0 if none is."""
        return next((self.members[name] for name in _CAPS if isinstance(self.members.get(name), int)), 0)

    @property
    def constraints(self) -> Mapping[str, Any]:
        """The members that may hold a reply to a schema."""
        return self.members if self.upstream.is_anthropic else {}

    @property
    def answer(self) -> WholeReply | None:
        """The reply to a request that only fills a cache: this upstream has none to fill, so nothing is sent to it."""
        request = self.memo.request
        if request.max_output != 0 and not request.is_warm_up:
            return None
        usage = Usage(self.memo.prompt_estimate, output=0, is_estimated=True)
        reason = StopReason.END if request.is_warm_up else StopReason.LENGTH
        reply = Reply("", "", (), Stop(reason), usage)
        client = self._near_side
        body = spread(client, reply, self.memo) if self.source.is_stream else client.write_reply(reply, self.memo)
        return WholeReply(body, usage, is_empty=False)

    def lane(self) -> Lane:
        client = self._near_side
        writer = client.stream_writer(self.memo)
        resume = self._resume if self._can_resume else None
        return Crossing(self._reader, writer, self.memo, self._remember, client.is_sequential, resume)

    def _reader(self, memo: Memo) -> StreamReader:
        reader = self._far_side.stream_reader(memo)
        if not self.ahead or self._has_told:
            return reader
        self._has_told = True
        return Ahead(reader, self.ahead, self.spent)

    def read_whole(self, body: bytes, *, is_stream: bool) -> WholeReply:
        """Read a whole reply, and write it in the client's dialect.

        A provider may pause in the middle of its hosted tools. Such a reply is kept; the result carries in `resume`
        the body that continues it, and the next reply is joined with what is kept.
        """
        reply = read_whole(self._far_side, body, is_stream, self.memo)
        has_paused = reply.stop.reason is StopReason.PAUSED and len(self._segments) < MAX_PAUSES
        segment = reply.blocks
        reply = join(self._segments[-1], reply) if self._segments else reply
        if has_paused and self._can_resume:
            self._segments.append(reply)
            return WholeReply(b"", reply.usage, is_empty=False, resume=self._resume(segment))
        if calls := [block for block in reply.blocks if isinstance(block, ToolCall)]:
            self._remember(calls, [block for block in reply.blocks if isinstance(block, Reasoning)])
        reply = behind(reply, self.ahead, self.spent) if self.ahead else reply
        encoded = self._near_side.write_reply(reply, self.memo)
        if not self.upstream.generates:  # a count, not a generation: no usage, never empty
            return WholeReply(encoded, None, is_empty=False)
        return WholeReply(encoded, reply.usage, says_nothing(reply), is_refusal=refuses(reply))

    def write_stream(self, body: bytes) -> WholeReply:
        reply = read_whole(self._far_side, body, is_stream=False, memo=self.memo)
        reply = behind(reply, self.ahead, self.spent) if self.ahead else reply
        encoded = spread(self._near_side, reply, self.memo)
        return WholeReply(encoded, reply.usage, says_nothing(reply), is_refusal=refuses(reply))

    @property
    def _near_side(self) -> ClientSide:
        assert self.source.dialect.client is not None
        return self.source.dialect.client

    @property
    def _far_side(self) -> UpstreamSide:
        assert self.upstream.upstream is not None
        return self.upstream.upstream

    @property
    def _can_resume(self) -> bool:
        """Whether a reply may pause: only for tools that the provider runs itself."""
        has_hosted = any("type" in tool for tool in self.members.get("tools", ()))
        return self._far_side.resume is not None and has_hosted

    def _resume(self, blocks: Sequence[Any]) -> bytes:
        """Write the body of the request that lets the provider continue after `blocks`."""
        write = self._far_side.resume
        assert write is not None
        return msgspec.json.encode(write(self.members, blocks, self.memo))

    def _remember(self, calls: Sequence[ToolCall], thoughts: Sequence[Reasoning]) -> None:
        source = self.source
        source.reasoning_memory.remember(source.owner, source.monotonic, calls, thoughts)


def make_translated_plan(
    source: SourceRequest,
    upstream: Dialect,
    provider: Provider,
    model: str,
    profile: Profile,
    without: Set[str],
    rewrite: Callable[[Request], Request] | None = None,
) -> TranslatedPlan:
    """Write the request for one model in its provider's dialect; `without` are members that the model has refused.

    `rewrite` makes another request of the client's. Raises BadRequest, or CannotSay if the dialect cannot express the
    request.
    """
    client, far = source.dialect.client, upstream.upstream
    assert client is not None
    assert far is not None
    refused = without & far.optional
    if lost_schemas := without & SCHEMAS.keys():
        profile = evolve(
            profile,
            json_schema=profile.json_schema and "output_config.format" not in lost_schemas,
            strict_tools=profile.strict_tools and "tools.strict" not in lost_schemas,
        )
    if not source.mode.injects:
        profile = evolve(profile, auto_cache=False)
    if "max_tokens" in refused:  # the model refused this name: send the other one
        profile = evolve(profile, token_field="max_completion_tokens")  # noqa: S106 - a name
    forwarded = source.forwarded if upstream.name == source.dialect.name else {}
    headers = upstream_headers(upstream, provider, forwarded, wants_long_context=source.wants_long_context)
    memo = source.memo(client, profile, provider.name)
    if provider.system_prefix and source.mode.injects:
        memo.request = _prefixed(memo.request, provider.system_prefix)
    if rewrite is not None:
        memo.request = rewrite(memo.request)
    written = far.write_request(memo.request, Setting(model, profile, headers.get(VERSION, "")), memo)
    if source.mode.forwards_betas:
        headers = join_headers(headers, written.headers)
    members, lost = _without(written.members, refused)
    for name in (*lost, *(SCHEMAS[name] for name in lost_schemas)):
        memo.drops.add(name)
    if source.refuses_losses:
        _refuse_losses(memo)
    if source.mode.edits:
        members = _edited(members, provider, upstream)
    return TranslatedPlan(
        source=source,
        upstream=upstream,
        members=members,
        headers=headers,
        memo=memo,
        asks_stream=source.is_stream or written.must_stream,
        body=msgspec.json.encode(members),
    )


def _without(members: Mapping[str, Any], names: Collection[str]) -> tuple[dict[str, Any], list[str]]:
    """Return `members` without those in `names`, and the names of those that were removed."""
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
    """Apply the provider's settings `drop`, `rename` and `set`, in this order, to the members of a body."""
    kept = {provider.rename.get(name, name): value for name, value in members.items() if name not in provider.drop}
    return kept | (provider.set if upstream.generates else {})


def _refuse_losses(memo: Memo) -> None:
    """Raise CannotSay if the translation lost something that this call requests."""
    lost = memo.drops.losses
    if lost:
        raise CannotSay(f"This model cannot be asked with {', '.join(lost)}", param=lost[0])


def _prefixed(request: Request, prefix: str) -> Request:
    """Put the operator's text before the client's system prompt, never twice."""
    if request.system and request.system[0].text.startswith(prefix):
        return request
    return evolve(request, system=[Text(prefix), *request.system])
