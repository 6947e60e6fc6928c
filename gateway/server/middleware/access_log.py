"""Outermost: makes the exchange, counts it at its end, writes one log line for it."""

import random

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from gateway.proxy.client_stream import ClientGone
from gateway.proxy.context import CONTEXT, ENDPOINTS, Endpoint, RequestContext
from gateway.proxy.exchange import Exchange, Step
from gateway.proxy.plan.headers import VERSION
from gateway.proxy.state import GATEWAY
from gateway.proxy.whole_response import add_headers
from gateway.server.accounting import close_books
from gateway.server.addresses import client_address, network_of
from gateway.server.listener import Connection
from gateway.wire.anthropic_messages import ANTHROPIC_MESSAGES
from gateway.wire.codec.text import printable
from gateway.wire.openai_chat import OPENAI_CHAT, WORKER_CHAT

UNKNOWN = Endpoint("unknown", OPENAI_CHAT, is_public=True, is_limited=False)
UNKNOWN_MESSAGES = Endpoint("unknown", ANTHROPIC_MESSAGES, is_public=True, is_limited=False)
UNKNOWN_CHAT = Endpoint("unknown", WORKER_CHAT, is_public=True, is_limited=False)
MAX_PATH = 200  # letters in the log
_IDS = random.Random()  # noqa: S311 - an id must be unique, not secret, and the kernel's random source is slow


@web.middleware
async def access_log(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Make the exchange, pass the request on, and account for the exchange however it ends."""
    gateway = request.app[GATEWAY]
    endpoint = request.app[ENDPOINTS].get(request.match_info.route) or _unknown(request)
    if endpoint.anthropic is not None and VERSION in request.headers:
        endpoint = endpoint.anthropic
    now = gateway.clock.monotonic()
    exchange = Exchange(id=f"req_{_IDS.getrandbits(96):024x}", started=now, endpoint=endpoint.name)
    snapshot = gateway.snapshot
    is_anthropic = endpoint.dialect.is_anthropic
    reply_headers = {"x-request-id": exchange.id, "Server": "gateway"}
    if is_anthropic:
        reply_headers["request-id"] = exchange.id
    address = client_address(request, snapshot.trusted)
    prefix = snapshot.config.server.address_prefix
    network = network_of(address, prefix.v4, prefix.v6)
    context = RequestContext(exchange, snapshot, endpoint, address, network, is_anthropic, reply_headers)
    request[CONTEXT] = context
    if endpoint.name == UNKNOWN.name:
        exchange.note(method=request.method, path=printable(request.path, MAX_PATH))
    protocol = request.protocol
    assert isinstance(protocol, Connection)
    protocol.request_begins()
    try:
        answer = await handler(request)
        exchange.finish(answer.status)
        if not answer.prepared:
            add_headers(answer, context.reply_headers)
        if gateway.lifecycle.is_leaving or gateway.lifecycle.is_draining:
            answer.force_close()
            if not endpoint.is_quiet:
                gateway.lifecycle.last_request = now
        return answer
    except ClientGone:
        exchange.finish(499)
        _leave(exchange)
        raise ConnectionResetError from None
    except BaseException:  # cancelled: the client left, or the daemon stops
        exchange.finish(499)
        _leave(exchange)
        raise
    finally:
        if request.content.is_eof():
            is_chunked = hdrs.TRANSFER_ENCODING in request.headers
            protocol.request_ends(None if is_chunked else request.content_length or 0)
        close_books(gateway, context)


def _unknown(request: web.Request) -> Endpoint:
    if "/messages" in request.path or VERSION in request.headers:
        return UNKNOWN_MESSAGES
    return UNKNOWN_CHAT if request.path == "/chat" else UNKNOWN


def _leave(exchange: Exchange) -> None:
    if not exchange.is_over:
        exchange.step(Step.LEAVE)
