"""Outermost: makes the exchange, counts it at its end, writes one log line for it."""

import ipaddress
import random
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from gateway import errors
from gateway.errors import GatewayError, UpstreamFault
from gateway.proxy.client_stream import ClientGone
from gateway.proxy.context import ENDPOINTS, VISIT, Endpoint, Visit
from gateway.proxy.exchange import Exchange, State, Step
from gateway.proxy.plan.headers import VERSION
from gateway.proxy.snapshot import Network
from gateway.proxy.state import GATEWAY, Gateway
from gateway.proxy.whole_response import add_headers
from gateway.server.listener import Connection
from gateway.wire.anthropic_messages import ANTHROPIC_MESSAGES
from gateway.wire.neutral import Usage
from gateway.wire.openai_chat import OPENAI_CHAT, WORKER_CHAT

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
UNKNOWN = Endpoint("unknown", OPENAI_CHAT, is_public=True, is_limited=False)
UNKNOWN_MESSAGES = Endpoint("unknown", ANTHROPIC_MESSAGES, is_public=True, is_limited=False)
UNKNOWN_CHAT = Endpoint("unknown", WORKER_CHAT, is_public=True, is_limited=False)
_IDS = random.Random()  # noqa: S311 - ids are told apart, not guessed at, and the kernel's dice are slow
TOKEN_PARTS = ("input", "cache_read", "cache_write", "output", "reasoning")
OUTCOMES: dict[type[GatewayError], str] = {
    errors.BadRequest: "bad_request",
    errors.CannotSay: "cannot_say",
    errors.Unauthorized: "unauthorized",
    errors.Forbidden: "forbidden",
    errors.NotFound: "not_found",
    errors.UnknownResponse: "not_found",
    errors.UpgradeRequired: "upgrade_required",
    errors.UnknownModel: "unknown_model",
    errors.MethodNotAllowed: "method_not_allowed",
    errors.ClientTooSlow: "client_too_slow",
    errors.TooLarge: "too_large",
    errors.UnsupportedMedia: "unsupported_media",
    errors.RateLimited: "rate_limited",
    errors.Unavailable: "unavailable",
    errors.ShuttingDown: "shutting_down",
    errors.StoreUnavailable: "store_unavailable",
    errors.StorageFull: "not_stored",
    errors.NoTargetLeft: "no_target",
}


@web.middleware
async def access_log(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Open the visit, pass the request on, close the books however it ends."""
    gateway = request.app[GATEWAY]
    endpoint = request.app[ENDPOINTS].get(request.match_info.route) or _unknown(request)
    if endpoint.anthropic is not None and VERSION in request.headers:
        endpoint = endpoint.anthropic
    now = gateway.clock.monotonic()
    exchange = Exchange(id=f"req_{_IDS.getrandbits(96):024x}", started=now, endpoint=endpoint.name)
    snapshot = gateway.snapshot
    visit = Visit(
        exchange, snapshot, endpoint, client_address(request, snapshot.trusted), endpoint.dialect.is_anthropic
    )
    visit.reply_headers = {"x-request-id": exchange.id, "Server": "gateway"}
    if visit.is_anthropic:
        visit.reply_headers["request-id"] = exchange.id
    request[VISIT] = visit
    protocol = request.protocol
    assert isinstance(protocol, Connection)
    protocol.request_begins()
    try:
        answer = await handler(request)
        exchange.status = answer.status
        if not answer.prepared:
            add_headers(answer, visit.reply_headers)
        if gateway.is_draining:
            answer.force_close()
        return answer
    except ClientGone:
        exchange.status = 499
        _leave(exchange)
        raise ConnectionResetError from None
    except BaseException:  # cancelled: the client left, or the daemon stops
        exchange.status = 499
        _leave(exchange)
        raise
    finally:
        if request.content.is_eof():
            protocol.request_ends()
        close_books(gateway, visit)


def client_address(request: web.Request, trusted: tuple[Network, ...]) -> str:
    """The client's address: the peer, or behind trusted proxies the rightmost hop that is none of them."""
    peer = peer_address(request)
    hops = request.headers.get("X-Forwarded-For") if trusted else None
    if not hops:
        return peer
    for hop in (peer, *(hop.strip() for hop in reversed(hops.split(",")))):
        try:
            address = ipaddress.ip_address(hop)
        except ValueError:
            break
        peer = hop
        if not any(address in network for network in trusted):
            break
    return peer


def peer_address(request: web.Request) -> str:
    """The address of the socket's other end; `unix` for a unix socket."""
    peer = request.protocol.peername
    return str(peer[0]) if isinstance(peer, tuple) else "unix"


def _unknown(request: web.Request) -> Endpoint:
    if "/messages" in request.path or VERSION in request.headers:
        return UNKNOWN_MESSAGES
    return UNKNOWN_CHAT if request.path == "/chat" else UNKNOWN


def _leave(exchange: Exchange) -> None:
    if exchange.state not in (State.ENDED, State.FAILED):
        exchange.step(Step.LEAVE)


def close_books(gateway: Gateway, visit: Visit) -> None:
    """Count the exchange and write its line: what is in it is written here and nowhere else."""
    exchange = visit.exchange
    now = gateway.clock.monotonic()
    outcome = _outcome(exchange)
    _count(gateway, exchange, outcome, now)
    if visit.endpoint.is_quiet and exchange.error is None:
        return
    line: dict[str, Any] = {
        "ts": round(gateway.clock.time(), 3),
        "level": "info",
        "event": "exchange",
        "id": exchange.id,
        "endpoint": exchange.endpoint,
        "status": exchange.status,
        "outcome": outcome,
        "ms": round((now - exchange.started) * 1000, 1),
        "address": visit.address,
    }
    if visit.owner is not None:
        line["key"] = visit.owner.name
    if exchange.alias:
        line |= _route_members(exchange)
    if exchange.response:
        line["response"] = exchange.response
    if exchange.is_stored is not None:
        line["stored"] = exchange.is_stored
    if exchange.usage is not None:
        line |= _usage_members(exchange.usage)
    if exchange.error is not None:
        line["origin"], line["code"] = exchange.error.origin, exchange.error.code
    gateway.logs.exchange(line)


def _usage_members(usage: Usage) -> dict[str, Any]:
    members = {part: count for part in TOKEN_PARTS if (count := getattr(usage, part)) is not None}
    return members | {"estimated": True} if usage.is_estimated else members


def _route_members(exchange: Exchange) -> dict[str, Any]:
    members = {
        "alias": exchange.alias,
        "provider": exchange.provider,
        "model": exchange.model,
        "stream": exchange.is_stream,
        "attempts": exchange.attempts,
    }
    if exchange.first_byte is not None:
        members["first_ms"] = round((exchange.first_byte - exchange.started) * 1000, 1)
    return members


def _count(gateway: Gateway, exchange: Exchange, outcome: str, now: float) -> None:
    metrics, provider = gateway.metrics, exchange.provider
    metrics.requests.inc(exchange.endpoint, exchange.label, provider, outcome)
    metrics.duration.observe(now - exchange.started, exchange.endpoint)
    if exchange.error is not None:
        origin = "upstream" if isinstance(exchange.error, UpstreamFault) else "gateway"
        metrics.errors.inc(origin, provider, outcome)
    if exchange.first_byte is not None:
        until_first = exchange.first_byte - exchange.started
        metrics.first_token.observe(until_first, provider)
        metrics.overhead.observe(max(0.0, until_first - exchange.upstream_s))
    if exchange.usage is not None:
        for part in TOKEN_PARTS:
            if tokens := getattr(exchange.usage, part):
                metrics.tokens.inc(provider, part, by=tokens)


def _outcome(exchange: Exchange) -> str:
    """How an exchange ended, in a bounded set of words."""
    if exchange.state is State.ABANDONED:
        return "abandoned"
    if exchange.error is None:
        return "ok"
    if isinstance(exchange.error, UpstreamFault):
        return exchange.error.fault.value
    return OUTCOMES.get(type(exchange.error), "error")
