"""Holds a key to its limits, before the body is read: its share of the exchanges in flight, and its rates."""

from aiohttp import web
from aiohttp.typedefs import Handler

from gateway.errors import RateLimited, Unavailable
from gateway.policy.limits import write_headers
from gateway.policy.shares import RETRY_S
from gateway.proxy.context import CONTEXT, RequestContext
from gateway.proxy.state import GATEWAY, Gateway


@web.middleware
async def limit(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Take a slot of the key's share for as long as the exchange lasts, and charge its rates.

    Raises Unavailable without a slot left, which charges nothing, and RateLimited.
    """
    gateway, context = request.app[GATEWAY], request[CONTEXT]
    if not context.endpoint.counts_for_capacity:
        _charge(gateway, context)
        return await handler(request)
    slots, most = gateway.lifecycle.slots, context.snapshot.config.server.max_concurrent
    if slots.take(context.owner_name, most, context.share) is not None:
        gateway.telemetry.metrics.refusals.inc("share")
        raise Unavailable("This key has its share of the gateway in use: try again in a moment", retry_after=RETRY_S)
    try:
        _charge(gateway, context)
        return await handler(request)
    finally:
        slots.give_back(context.owner_name)


def _charge(gateway: Gateway, context: RequestContext) -> None:
    """Take one request from every bucket, or raise RateLimited; send the tightest limit in headers either way."""
    if not context.endpoint.is_limited:
        return
    name, key = (context.owner.name, context.owner.key) if context.owner is not None else ("", None)
    charges = context.snapshot.charge_book.charges(name, key, context.network, context.endpoint.limit_class)
    if not charges:
        return
    verdict = gateway.buckets.take(charges, gateway.clock.monotonic())
    context.reply_headers.update(write_headers(verdict, gateway.clock.time(), is_anthropic=context.is_anthropic))
    if verdict.wait:
        bucket = verdict.bucket
        gateway.telemetry.metrics.refusals.inc(bucket.name.partition(":")[0])
        raise RateLimited(
            f"Rate limit of {bucket.limit} requests reached for this {bucket.name.partition(':')[0]}",
            retry_after=verdict.wait,
        )
