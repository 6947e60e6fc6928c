"""What the middlewares know of a path and of the request that came in on it."""

from aiohttp import web
from attrs import define, field, frozen

from gateway.config.schema import Seconds
from gateway.proxy.exchange import Exchange
from gateway.proxy.snapshot import Owner, Snapshot
from gateway.wire.dialect import Dialect


@frozen
class Endpoint:
    """What the middlewares have to know of a path: the dialect it speaks, its limits, who may come in."""

    name: str
    dialect: Dialect
    limit_class: str = "default"
    is_public: bool = False  # no key needed
    is_operators: bool = False  # a key with operator: true, or a loopback peer
    is_limited: bool = True
    is_quiet: bool = False  # asked for every second by machines: counted, not logged
    counts_for_capacity: bool = True  # refused when the gateway is full
    mode: str = ""  # min or pt (PRODUCT.md section 6)
    anthropic: "Endpoint | None" = None  # the same path for a client that speaks Anthropic's dialect
    most_body: int | None = None
    first_byte: Seconds | None = None  # under the provider's own


@define
class RequestContext:
    """What the middlewares have found out about one request."""

    exchange: Exchange
    snapshot: Snapshot
    endpoint: Endpoint
    address: str
    is_anthropic: bool = False  # the client speaks Anthropic's dialect
    owner: Owner | None = None
    gateway_headers: tuple[str, ...] = ()  # credential headers whose value is a gateway key
    reply_headers: dict[str, str] = field(factory=dict)  # for every answer: request id, rate limits


ENDPOINTS = web.AppKey("endpoints", dict[web.AbstractRoute, Endpoint])


CONTEXT = web.RequestKey("visit", RequestContext)
