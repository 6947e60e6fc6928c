"""What the middlewares know of a path, and of the request that came in on it."""

from aiohttp import web
from attrs import define, field, frozen

from gateway.accounts.hold import Hold
from gateway.accounts.limits import NO_LIMITS, Limited
from gateway.config.fields import Seconds
from gateway.policy.shares import share_of
from gateway.proxy.exchange import Exchange
from gateway.proxy.plan.mode import FULL, Mode
from gateway.proxy.snapshot import Owner, Snapshot
from gateway.wire.dialect import Dialect


@frozen
class Endpoint:
    """One path: the dialect it speaks, its limits, who may come in.

    `is_quiet`: machines ask every second, so it is counted and not logged. `counts_for_capacity`: refused if the
    gateway is full. `anthropic` is the same path for a client that speaks Anthropic's dialect. `max_body` and
    `first_byte` are tighter than the configuration's where they are given.
    """

    name: str
    dialect: Dialect
    limit_class: str = "default"
    is_public: bool = False  # no key needed
    is_operators: bool = False  # a key with operator: true, or a loopback peer
    is_limited: bool = True
    is_quiet: bool = False
    counts_for_capacity: bool = True
    reserves: bool = False  # a call of a model: its body says how many tokens it may cost
    mode: Mode = FULL
    anthropic: "Endpoint | None" = None
    max_body: int | None = None
    first_byte: Seconds | None = None


@define
class RequestContext:
    """What the middlewares have found out about one request.

    `gateway_headers` are the credential headers whose value is a gateway key; `reply_headers` go out with every
    answer: request id, rate limits.
    """

    exchange: Exchange
    snapshot: Snapshot
    endpoint: Endpoint
    address: str
    network: str  # the part of the address that limits count by
    is_anthropic: bool = False  # the client speaks Anthropic's dialect
    reply_headers: dict[str, str] = field(factory=dict)
    owner: Owner | None = field(default=None, init=False)
    key_id: str = field(default="", init=False)  # of the key that was shown, for the log
    gateway_headers: tuple[str, ...] = field(default=(), init=False)
    owner_name: str = field(default="", init=False)  # of the key, empty if none was shown
    share: float = field(default=1.0, init=False)  # of what is scarce
    held_bytes: int = field(default=0, init=False)  # of the body, in `Lifecycle.bodies`
    limited: Limited = field(default=NO_LIMITS, init=False)
    is_deferred: bool = field(default=False, init=False)  # its limits are charged when its body is known
    hold: Hold | None = field(default=None, init=False)  # what the exchange has taken of limits and budgets
    is_handed_on: bool = field(default=False, init=False)  # a background run accounts for what it uses
    prompt_tokens: int | None = field(default=None, init=False)  # an estimate, where one was needed

    def identify(self, owner: Owner, header: str) -> None:
        """Note whose key stands in a header; the first one that was found owns the request."""
        if self.owner is None:
            self.owner, self.owner_name, self.key_id = owner, owner.name, owner.key_id
            self.share = share_of(owner.key, self.snapshot.config)
        self.gateway_headers = (*self.gateway_headers, header)

    def for_run(self, exchange: Exchange) -> "RequestContext":
        """Make the context of a background run: the client's own exchange ends with the first answer."""
        own = RequestContext(exchange, self.snapshot, self.endpoint, self.address, self.network, self.is_anthropic)
        own.owner, own.owner_name, own.share = self.owner, self.owner_name, self.share
        own.key_id, own.gateway_headers = self.key_id, self.gateway_headers
        own.limited, own.prompt_tokens = self.limited, self.prompt_tokens
        own.hold, self.hold = self.hold, None  # it lasts as long as the run
        self.is_handed_on = True
        return own

    def take_back(self, run: "RequestContext") -> None:
        """Take back what a run has that could not begin."""
        self.hold, run.hold, self.is_handed_on = run.hold, None, False


ENDPOINTS = web.AppKey("endpoints", dict[web.AbstractRoute, Endpoint])
CONTEXT = web.RequestKey("context", RequestContext)
