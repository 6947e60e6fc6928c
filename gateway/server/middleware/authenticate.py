"""Finds the owner of the key in a request's headers, by its SHA-256, before any body is read.

Where no key is needed, it keeps web pages away (`refuse_pages`).
"""

import hashlib
import hmac
from datetime import UTC, datetime

from aiohttp import web
from aiohttp.typedefs import Handler

from gateway.accounts.limits import failed_auth_window
from gateway.errors import WRONG_KEY, Forbidden, RateLimited, Unauthorized
from gateway.proxy.context import CONTEXT, RequestContext
from gateway.proxy.snapshot import Owner
from gateway.proxy.state import GATEWAY, Gateway
from gateway.server.addresses import UNIX, peer_address, read_address
from gateway.server.listener import is_operators_listener
from gateway.server.middleware.refuse_pages import host_name, is_local_name, refuse_pages
from gateway.store.counters import Claim
from gateway.upstream.credentials import KEY_ID, bare, hash_id

KEY_HEADERS = ("authorization", "x-api-key", "api-key")
# Who points a program at a gateway often leaves the provider's key in it.
_OWN = "this gateway has keys of its own, which are not a provider's: ask who runs it for one"
NO_KEY = f"{WRONG_KEY} No key was shown (Authorization: Bearer KEY, or x-api-key): {_OWN}"
UNKNOWN_KEY = f"{WRONG_KEY} This key is not known here: {_OWN}"
EXPIRED_KEY = f"{WRONG_KEY} This key has expired: {_OWN}"
FORWARDING = ("X-Forwarded-For", "Forwarded", "X-Real-IP")


@web.middleware
async def authenticate(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Find the key's owner; refuse who has none where one is needed, and web pages where none is needed."""
    context = request[CONTEXT]
    endpoint = context.endpoint
    is_open = not context.snapshot.config.keys or is_operators_listener(request)
    if is_open and not endpoint.is_public and peer_address(request) != UNIX:
        refuse_pages(request, context.snapshot.config.server)
    if context.snapshot.owners:
        _find_owner(request, context)
        if context.owner is None and not endpoint.is_public and not may_operate(request, context):
            raise Unauthorized(UNKNOWN_KEY if _shows_key(request) else NO_KEY)
    else:
        _note_key(request, context)
    if endpoint.is_operators and not may_operate(request, context):
        raise Forbidden("This needs a key with operator: true", code="operator_only")
    return await handler(request)


def _shows_key(request: web.Request) -> bool:
    """Whether the request shows any key; note in the log which of the two it is."""
    has_shown = any(bare(value) for name in KEY_HEADERS for value in request.headers.getall(name, ()))
    request[CONTEXT].exchange.note(reason="the key is not known" if has_shown else "no key was shown")
    return has_shown


def may_operate(request: web.Request, context: RequestContext) -> bool:
    """Whether the request may see what operators see.

    It may on the listener of `server.expose.listen`, with an operator's key, and on a gateway without keys if it
    comes from this machine: where keys exist, any proxy on this machine would make all the world local.
    """
    if is_operators_listener(request):
        has_right = context.owner is None or context.owner.key.operator  # a key that is shown is never raised
        is_page = context.endpoint.is_operators or context.endpoint.is_public
        return has_right and is_page and _has_good_host(request, context)
    if context.snapshot.owners:
        return context.owner is not None and context.owner.key.operator
    return (is_local(request) or _is_named(context)) and _has_good_host(request, context)


def _is_named(context: RequestContext) -> bool:
    """Whether the client's address is in `server.expose.networks`."""
    networks = context.snapshot.operators
    if not networks or (address := read_address(context.address)) is None:
        return False
    return any(address in network for network in networks)


def is_local(request: web.Request) -> bool:
    """Whether the request comes from this machine, and not through a proxy on it."""
    if any(name in request.headers for name in FORWARDING) or getattr(request.protocol, "passed", None) is not None:
        return False
    peer = peer_address(request)
    address = read_address(peer)
    return peer == UNIX or (address is not None and address.is_loopback)


def _has_good_host(request: web.Request, context: RequestContext) -> bool:
    """Whether a page could not have given the request its Host by pointing a name of its own here."""
    name = host_name(request.headers.get("Host", ""))
    hosts = context.snapshot.config.server.hosts
    return peer_address(request) == UNIX or is_local_name(name) or read_address(name) is not None or name in hosts


def _find_owner(request: web.Request, context: RequestContext) -> None:
    """Look up what was shown. A right key is always good; a wrong one is charged to its network, on every path."""
    gateway, owners = request.app[GATEWAY], context.snapshot.owners
    has_shown = has_expired = False
    for name in KEY_HEADERS:
        for value in request.headers.getall(name, ()):
            has_shown = True
            # By its digest: a guess's digest tells nothing of how near the guess was.
            digest = hashlib.sha256(bare(value).encode("utf-8", "surrogateescape")).digest()
            if (owner := owners.get(digest)) is not None and hmac.compare_digest(owner.digest, digest):
                if _has_expired(gateway, owner):
                    has_expired, context.key_id = True, owner.key_id
                else:
                    context.identify(owner, name)
            elif value and not context.key_id:
                context.key_id = digest.hex()[:KEY_ID]
    if context.owner is not None:
        return
    if has_expired and not context.endpoint.is_public:
        context.exchange.note(reason="the key has expired")
        raise Unauthorized(EXPIRED_KEY)
    if has_shown and not has_expired and (rate := context.snapshot.config.limits.failed_auth) is not None:
        claim = Claim(((failed_auth_window(rate, context.network), 1.0),))
        taken = gateway.ledger.cells.take(claim, gateway.clock.monotonic())
        if taken.refused is not None and not context.endpoint.is_public:
            gateway.telemetry.metrics.refusals.inc("failed_auth")
            raise RateLimited("Too many wrong API keys from this address", retry_after=taken.wait)


def _note_key(request: web.Request, context: RequestContext) -> None:
    """Note which key was shown to a gateway that needs none: programs that share it may show different ones."""
    for name in KEY_HEADERS:
        if value := bare(request.headers.get(name, "")):
            context.key_id = hash_id(value)[:KEY_ID]
            return


def _has_expired(gateway: Gateway, owner: Owner) -> bool:
    expires = owner.key.expires
    return expires is not None and datetime.fromtimestamp(gateway.clock.time(), UTC).date() > expires
