"""Finds the owner of the key in a request's headers, by its SHA-256, before any body is read."""

import hashlib
import ipaddress
from datetime import UTC, datetime

from aiohttp import web
from aiohttp.typedefs import Handler

from gateway.errors import Forbidden, RateLimited, Unauthorized
from gateway.policy.limits import failed_auth_bucket
from gateway.proxy.context import CONTEXT, RequestContext
from gateway.proxy.snapshot import Owner
from gateway.proxy.state import GATEWAY, Gateway
from gateway.server.addresses import peer_address
from gateway.upstream.credentials import bare

KEY_HEADERS = ("authorization", "x-api-key", "api-key")
FORWARDING = ("X-Forwarded-For", "Forwarded", "X-Real-IP")


@web.middleware
async def authenticate(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Find the key's owner. Raises Unauthorized or Forbidden if the endpoint needs one and there is none."""
    context = request[CONTEXT]
    endpoint = context.endpoint
    if context.snapshot.owners:
        _find_owner(request, context)
        if context.owner is None and not endpoint.is_public and not (endpoint.is_operators and is_local(request)):
            raise Unauthorized("Invalid API key")
    if endpoint.is_operators and not is_operator(request, context):
        raise Forbidden("This needs a key with operator: true", code="operator_only")
    return await handler(request)


def is_operator(request: web.Request, context: RequestContext) -> bool:
    """Whether the request may see what operators see: by its key, or as a loopback peer without a proxy."""
    return (context.owner is not None and context.owner.key.operator) or is_local(request)


def is_local(request: web.Request) -> bool:
    """Whether the request comes from this machine, and not through a proxy on it."""
    if any(name in request.headers for name in FORWARDING):
        return False
    peer = peer_address(request)
    return peer == "unix" or ipaddress.ip_address(peer.partition("%")[0]).is_loopback


def _find_owner(request: web.Request, context: RequestContext) -> None:
    gateway, owners = request.app[GATEWAY], context.snapshot.owners
    rate = context.snapshot.config.limits.failed_auth
    bucket = [failed_auth_bucket(rate, context.address)] if rate is not None else []
    has_shown, now = False, gateway.clock.monotonic()
    for name in KEY_HEADERS:
        value = request.headers.get(name)
        if value is None:
            continue
        if bucket and not has_shown and (wait := gateway.buckets.peek(bucket, now).wait):
            gateway.telemetry.metrics.refusals.inc("failed_auth")
            raise RateLimited("Too many wrong API keys from this address", retry_after=wait)
        has_shown = True
        # Looking up a digest leaks no timing that helps: a nearly right guess has a wholly different digest.
        digest = hashlib.sha256(bare(value).encode("utf-8", "surrogateescape")).digest()
        if (owner := owners.get(digest)) is not None:
            context.identify(owner, name)
    if context.owner is not None:
        _check_expiry(gateway, context.owner)
    elif bucket and has_shown and not context.endpoint.is_public:
        gateway.buckets.take(bucket, now)


def _check_expiry(gateway: Gateway, owner: Owner) -> None:
    expires = owner.key.expires
    if expires is not None and datetime.fromtimestamp(gateway.clock.time(), UTC).date() > expires:
        raise Unauthorized("This API key has expired")
