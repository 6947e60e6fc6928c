"""Charges the request to its key's and its address's buckets, before the body is read."""

from aiohttp import web
from aiohttp.typedefs import Handler

from gateway.errors import RateLimited
from gateway.policy.limits import write_headers
from gateway.proxy.context import CONTEXT
from gateway.proxy.state import GATEWAY


@web.middleware
async def limit_rate(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Take one request from every bucket, or raise RateLimited; send the tightest limit in headers either way."""
    context = request[CONTEXT]
    endpoint = context.endpoint
    if not endpoint.is_limited:
        return await handler(request)
    name, key = (context.owner.name, context.owner.key) if context.owner is not None else ("", None)
    charges = context.snapshot.charge_book.charges(name, key, context.network, endpoint.limit_class)
    if not charges:
        return await handler(request)
    gateway = request.app[GATEWAY]
    verdict = gateway.buckets.take(charges, gateway.clock.monotonic())
    context.reply_headers.update(write_headers(verdict, gateway.clock.time(), is_anthropic=context.is_anthropic))
    if verdict.wait:
        bucket = verdict.bucket
        gateway.telemetry.metrics.refusals.inc(bucket.name.partition(":")[0])
        raise RateLimited(
            f"Rate limit of {bucket.limit} requests reached for this {bucket.name.partition(':')[0]}",
            retry_after=verdict.wait,
        )
    return await handler(request)
