"""Lets the configured origins' pages read answers; without configuration no page may."""

import re

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from gateway.errors import Forbidden
from gateway.proxy.context import CONTEXT
from gateway.proxy.plan.headers import OWN_HEADERS, PASSED_HEADERS
from gateway.wire.codec.text import printable

PREFLIGHT: dict[str, str] = {
    hdrs.ACCESS_CONTROL_ALLOW_METHODS: "GET, POST, DELETE, OPTIONS",
    hdrs.ACCESS_CONTROL_MAX_AGE: "600",
}
# What a page may send if it does not say what it wants to send.
USUAL = "authorization, content-type, x-api-key, anthropic-version, anthropic-beta, api-key"
MAX_ASKED = 4000  # letters
_NAMES = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+(?:\s*,\s*[!#$%&'*+.^_`|~0-9A-Za-z-]+)*")
_LIMITS = [f"X-RateLimit-{part}" for part in ("Limit", "Remaining", "Reset")]
_OPENAI = [f"x-ratelimit-{part}-{unit}" for part in ("limit", "remaining", "reset") for unit in ("requests", "tokens")]
_ANTHROPIC = [
    f"anthropic-ratelimit-{unit}-{part}" for part in ("limit", "remaining", "reset") for unit in ("requests", "tokens")
]
_RETRIES = ["Retry-After", "retry-after-ms", "x-should-retry"]
EXPOSED = ", ".join(
    [*_LIMITS, *_OPENAI, *_ANTHROPIC, *_RETRIES, "x-request-id", "request-id", *OWN_HEADERS, *PASSED_HEADERS]
)


@web.middleware
async def cors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer preflights, and name the origin in every answer to it. Raises Forbidden for other pages' preflights."""
    origin = request.headers.get(hdrs.ORIGIN)
    if origin is None:
        return await handler(request)
    context = request[CONTEXT]
    configured = context.snapshot.config.server.cors
    is_preflight = request.method == hdrs.METH_OPTIONS and hdrs.ACCESS_CONTROL_REQUEST_METHOD in request.headers
    if configured is None or origin not in configured.origins:
        if is_preflight:
            raise Forbidden(
                f"Pages of '{printable(origin, 100)}' may not use this gateway: add the origin to server.cors.origins",
                code="origin_not_allowed",
            )
        return await handler(request)
    # One exact origin, never "*": keys are credentials.
    context.reply_headers |= {
        hdrs.ACCESS_CONTROL_ALLOW_ORIGIN: origin,
        "Vary": "Origin",
        hdrs.ACCESS_CONTROL_EXPOSE_HEADERS: EXPOSED,
    }
    if not is_preflight:
        return await handler(request)
    asked = request.headers.get(hdrs.ACCESS_CONTROL_REQUEST_HEADERS, "").strip()
    is_list = len(asked) <= MAX_ASKED and _NAMES.fullmatch(asked) is not None
    allowed: dict[str, str] = {hdrs.ACCESS_CONTROL_ALLOW_HEADERS: asked if is_list else USUAL}
    if request.headers.get("Access-Control-Request-Private-Network") == "true":
        allowed["Access-Control-Allow-Private-Network"] = "true"  # a page of the internet, a gateway at home
    context.reply_headers |= {**PREFLIGHT, **allowed, "Vary": "Origin, Access-Control-Request-Headers"}
    return web.Response(status=204)
