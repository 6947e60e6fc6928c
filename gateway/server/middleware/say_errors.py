"""Writes every refusal and every fault in the client's dialect. Only this module catches all exceptions."""

import math
from collections.abc import Mapping

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from gateway.errors import GatewayError, InternalError, MethodNotAllowed, NotFound, UpstreamFault
from gateway.policy.retries import is_pointless
from gateway.proxy.client_stream import ClientGone
from gateway.proxy.context import CONTEXT, RequestContext
from gateway.proxy.state import GATEWAY
from gateway.server.heads import check_head, must_close

ALLOWED = "GET, HEAD, POST, DELETE, OPTIONS"  # what some path takes, for requests that name no path


@web.middleware
async def say_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn what the inner middlewares and the handler raise into a response."""
    context = request[CONTEXT]
    more: Mapping[str, str] = {"Allow": ALLOWED} if request.method == hdrs.METH_CONNECT else {}
    error: GatewayError
    try:
        check_head(request)
        return await handler(request)
    except GatewayError as raised:
        error = raised.kept()
    except web.HTTPMethodNotAllowed as refused:
        more = {"Allow": refused.headers.get("Allow", "")}
        error = MethodNotAllowed(f"{request.method} is not allowed here: use {more['Allow']}")
    except web.HTTPNotFound:
        error = NotFound("There is nothing at this path")
    except (ClientGone, ConnectionError):
        raise ClientGone from None
    except Exception:
        request.app[GATEWAY].telemetry.logs.log.exception("bug", id=context.exchange.id, endpoint=context.endpoint.name)
        error = InternalError("Internal error of the gateway")
    context.exchange.fail(error)
    if context.exchange.is_open:  # the head is sent, so no error response can follow: cut the connection
        if request.transport is not None:
            request.transport.abort()
        raise ClientGone
    return _response(request, context, error, more)


def _response(
    request: web.Request, context: RequestContext, error: GatewayError, more: Mapping[str, str]
) -> web.StreamResponse:
    gateway, exchange = request.app[GATEWAY], context.exchange
    status, body = context.endpoint.dialect.write_error(error, exchange.id, gateway.clock.time())
    headers = {"x-gateway-origin": error.origin, **more}
    if exchange.attempts:
        headers["x-gateway-attempts"] = str(exchange.attempts)
    if isinstance(error, UpstreamFault) and error.provider:
        headers["x-gateway-provider"] = error.provider
    if error.retry_after is not None:
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after)))
        if error.retry_after % 1:  # OpenAI's header for a part of a second; its SDKs look at it first
            headers["retry-after-ms"] = str(math.ceil(error.retry_after * 1000))
    if is_pointless(error):
        headers["x-should-retry"] = "false"
    answer = web.Response(status=status, body=body, content_type="application/json", headers=headers)
    if must_close(request, error.code):
        answer.force_close()  # do not read the rest of a refused body
    return answer
