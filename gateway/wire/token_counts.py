"""Makes the dialects of token counts, for which some APIs have a separate path (docs/wire/token-counting.md)."""

from collections.abc import Callable, Set
from functools import partial
from typing import Any

import msgspec
from attrs import evolve

from gateway.errors import Unreadable
from gateway.wire.codec.json_body import JsonBody
from gateway.wire.dialect import Dialect, Glance, UpstreamSide
from gateway.wire.neutral import Reply, Request, Stop, StopReason, Usage
from gateway.wire.provider_error import read_inner
from gateway.wire.translation.memo import Memo, Setting, Written


def counting(
    base: Dialect,
    name: str,
    path: str,
    members: Set[str],
    payload: dict[str, Any],
    read: Callable[[JsonBody], Request] | None = None,
) -> Dialect:
    """Make the dialect that counts the tokens of a request of `base`.

    `members` are the members of a request that the count takes; all others are left out. `payload` holds the
    members that a reply has beside `input_tokens`. `read` replaces the `read_request` of `base`.
    """
    client, upstream = base.client, base.upstream
    assert client is not None
    assert upstream is not None

    def write_request(request: Request, setting: Setting, memo: Memo) -> Written:
        written = upstream.write_request(request, setting, memo)
        kept = {member: value for member, value in written.members.items() if member in members}
        return evolve(written, members=kept, must_stream=False)

    def read_reply(body: bytes, memo: Memo) -> Reply:
        return Reply("", "", (), Stop(StopReason.END), Usage(input=_read(base.name, body)))

    def write_reply(reply: Reply, memo: Memo) -> bytes:
        tokens = reply.usage.input if reply.usage is not None else None
        return write_count(tokens or 0)

    def write_count(tokens: int) -> bytes:
        return msgspec.json.encode({**payload, "input_tokens": tokens})

    compactions = evolve(base.compactions, is_asked=lambda body: False) if base.compactions is not None else None
    return evolve(
        base,
        name=name,
        path=path,
        glance=partial(_glance, base.name),
        client=evolve(client, read_request=read or client.read_request, write_reply=write_reply),
        upstream=UpstreamSide(write_request, read_reply, upstream.stream_reader, upstream.losses),
        compactions=compactions,
        write_count=write_count,
        limit_class="default",
        generates=False,
        probe={},
    )


def _glance(name: str, body: bytes) -> Glance:
    _read(name, body)
    return Glance()


def _read(name: str, body: bytes) -> int:
    """Read the count in a reply. Raises UpstreamFault if the reply is an error or holds no count."""
    try:
        payload = msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise Unreadable("The provider's count is not a JSON object") from None
    if payload.get("error") is not None:
        raise read_inner(name, payload["error"])
    if type(payload.get("input_tokens")) is not int:
        raise Unreadable("The provider's answer holds no count of tokens")
    return int(payload["input_tokens"])
