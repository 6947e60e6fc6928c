"""Lets the configured origins' pages read answers; without configuration no page may."""

from aiohttp import web
from aiohttp.typedefs import Handler

from gateway.proxy.context import CONTEXT

PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, POST, DELETE, OPTIONS",
    "Access-Control-Allow-Headers": (
        "Authorization, Content-Type, x-api-key, anthropic-version, anthropic-beta, api-key"
    ),
    "Access-Control-Max-Age": "600",
}
EXPOSED = "X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset, x-request-id"


@web.middleware
async def cors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer preflights, and name the origin in every answer to it."""
    context = request[CONTEXT]
    configured = context.snapshot.config.server.cors
    origin = request.headers.get("Origin")
    if configured is None or origin is None or origin not in configured.origins:
        return await handler(request)
    # One exact origin, never "*": keys are credentials.
    context.reply_headers |= {
        "Access-Control-Allow-Origin": origin,
        "Vary": "Origin",
        "Access-Control-Expose-Headers": EXPOSED,
    }
    if request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers:
        return web.Response(status=204, headers=context.reply_headers | PREFLIGHT)
    return await handler(request)
