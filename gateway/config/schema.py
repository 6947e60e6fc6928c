"""The shape of providers.yaml as frozen values. Knows nothing of YAML, files or the environment.

Each field carries its `doc`; `docs/reference.md` is made from them. Durations are seconds, sizes bytes.
"""

from datetime import date

from attrs import field, frozen, validators

from gateway.config.fields import INTERNAL, KeySecret, Seconds, Share, StoreUrl, doc
from gateway.config.problems import Places, Problem
from gateway.config.provider_schema import NO_OVERRIDES, Provider, TargetTimeouts
from gateway.config.server_schema import Server


@frozen
class Rate:
    """A rate such as `60/minute`: `amount` units in `per` seconds."""

    amount: int
    per: float

    @property
    def per_second(self) -> float:
        return self.amount / self.per


@frozen
class Limit:
    """What one endpoint class allows one key or one address."""

    requests: Rate | None = field(default=None, metadata=doc("token bucket of requests, such as 60/minute"))
    burst: int = field(default=0, validator=validators.ge(0), metadata=doc("requests allowed at once beyond the rate"))
    tokens: Rate | None = field(
        default=None, metadata=doc("token bucket of LLM tokens: reserved by estimate, settled by what was used")
    )
    cached: float = field(
        default=0.1,
        validator=validators.and_(validators.ge(0), validators.le(1)),
        metadata=doc("what a token that was read from a cache counts in `tokens`"),
    )
    concurrent: int | None = field(
        default=None, validator=validators.optional(validators.ge(1)), metadata=doc("exchanges at the same time")
    )


LimitClasses = dict[str, Limit]


@frozen
class Limits:
    """Limits of everybody; a class replaces the default."""

    key: LimitClasses = field(factory=dict, metadata=doc("of each key, by endpoint class"))
    address: LimitClasses = field(factory=dict, metadata=doc("of each client address, by endpoint class"))
    failed_auth: Rate | None = field(
        default=None, metadata=doc("wrong keys from one address; beyond it 429; a right key always works")
    )


PERIODS = ("day", "week", "month")


@frozen
class Budget:
    """A hard stop on what may be spent: in dollars, in tokens, or both. Periods are of UTC, weeks begin on Monday."""

    usd: float | None = field(
        default=None,
        validator=validators.optional(validators.and_(validators.gt(0), validators.le(1e9))),
        metadata=doc("US dollars"),
    )
    tokens: int | None = field(
        default=None, validator=validators.optional(validators.gt(0)), metadata=doc("tokens, each kind counted once")
    )
    per: str = field(default="month", validator=validators.in_(PERIODS), metadata=doc(" | ".join(PERIODS)))
    warn_at: float = field(
        default=0.8,
        validator=validators.and_(validators.gt(0), validators.le(1)),
        metadata=doc("share of it at which a warning is logged, once a period"),
    )


@frozen
class Key:
    """A client's credential."""

    secret: tuple[KeySecret, ...] = field(metadata=doc("one secret, or a list while rotating"))
    routes: tuple[str, ...] = field(
        default=("*",), metadata=doc("globs on the alias, or on provider:model for direct names")
    )
    operator: bool = field(
        default=False, metadata=doc("may see metrics, dashboard, running totals and details of /health")
    )
    share: Share | None = field(
        default=None,
        metadata=doc(
            "most of max_concurrent and of a provider's connections, as 3/4; absent: 3/4 of several keys, else 1"
        ),
    )
    expires: date | None = field(default=None, metadata=doc("last day (UTC) on which the key is good"))
    limits: LimitClasses | None = field(default=None, metadata=doc("replaces limits.key whole for this key"))
    budget: Budget | None = field(default=None, metadata=doc("hard stop on money or tokens"))
    labels: dict[str, str] = field(
        factory=dict, metadata=doc("such as {team: search}: to the log and the sums, and `team` to the metrics")
    )

    @property
    def team(self) -> str:
        """The team that the key's use is counted to; empty if none is named."""
        return self.labels.get("team", "")

    @property
    def has_all_routes(self) -> bool:
        """Whether the key may ask for every model, so that it may also choose one behind the gateway's back."""
        return "*" in self.routes


@frozen
class Store:
    """Where responses, sums and shared windows are kept."""

    url: StoreUrl = field(
        default=StoreUrl("sqlite:state/gateway.db"),
        repr=False,
        metadata=doc("sqlite:PATH, memory:, redis://… (rediss, valkey); or where it is found, as a secret is"),
    )
    ttl: Seconds = field(default=Seconds(86400), metadata=doc("how long responses are kept, from their last use on"))


@frozen
class Target:
    """One (provider, model) of a route. `model` is None in a glob route: the name is kept."""

    provider: str = field(metadata=doc("a name of `providers`"))
    model: str | None = field(default=None, metadata=doc("the provider's own model id"))
    weight: int = field(
        default=1, validator=validators.ge(1), metadata=doc("share under the policies weighted and sticky")
    )
    timeouts: TargetTimeouts = field(default=NO_OVERRIDES, metadata=doc("override the provider's"))
    name: str = field(init=False, metadata=INTERNAL)

    @name.default
    def _name(self) -> str:
        return f"{self.provider}:{self.model}"


@frozen
class Retry:
    """Bounds of one exchange's attempts."""

    attempts: int = field(default=4, validator=validators.ge(1), metadata=doc("most attempts of one exchange"))
    within: Seconds = field(
        default=Seconds(300),
        metadata=doc("no new attempt starts after this long; a target that is silent until then gives way to the next"),
    )


POLICIES = ("ordered", "round_robin", "weighted", "least_latency", "sticky")


@frozen
class Route:
    """An alias and its targets."""

    targets: tuple[Target, ...] = field(metadata=doc("tried in the policy's order"))
    policy: str = field(default="ordered", validator=validators.in_(POLICIES), metadata=doc(" | ".join(POLICIES)))
    retry: Retry | None = field(default=None, metadata=doc("instead of the file's"))
    hedge: Seconds | None = field(
        default=None,
        metadata=doc("no first byte after this long: the next target is asked as well, the first to speak answers"),
    )
    on_shed: str = field(
        default="drop",
        validator=validators.in_(("drop", "refuse")),
        metadata=doc("drop | refuse: what happens when a target's dialect cannot say what was asked"),
    )
    context_fallback: tuple[Target, ...] = field(
        default=(), metadata=doc("used only after a refusal of the context's length")
    )
    on_refusal: str = field(
        default="deliver",
        validator=validators.in_(("deliver", "next")),
        metadata=doc("deliver | next: a refusal that is HTTP 200 is sent, or first asks one further target"),
    )
    budget: Budget | None = field(default=None, metadata=doc("hard stop on what all keys spend on this route"))


@frozen
class Stickiness:
    """How long a conversation goes back to the target and the key that served it last."""

    warm: Seconds = field(
        default=Seconds(300), metadata=doc("how long after its last reply a prompt cache is taken to be warm; 0: never")
    )


@frozen
class Breaker:
    """When a target is left out, and for how long."""

    failures: int = field(default=5, validator=validators.ge(0), metadata=doc("in a row; 0 turns it off"))
    rest: Seconds = field(default=Seconds(30), metadata=doc("first rest; doubles up to eight times"))


@frozen
class Defaults:
    """Aliases for requests that name none."""

    chat_model: str | None = field(default=None, metadata=doc("model of /chat when the body has none"))
    probe: str | None = field(default=None, metadata=doc("alias that /test-connection asks"))


@frozen
class Compat:
    """Switches for clients that expect another gateway's habits."""

    responses_created_status: int = field(
        default=200, validator=validators.in_((200, 201)), metadata=doc("status of a good POST /v1/responses")
    )


@frozen
class Config:
    """All of providers.yaml."""

    server: Server = field(factory=Server, metadata=doc("listener and bounds"))
    store: Store = field(factory=Store, metadata=doc("responses, sums, shared windows"))
    keys: dict[str, Key] = field(factory=dict, metadata=doc("client keys; empty: open gateway"))
    limits: Limits = field(factory=Limits, metadata=doc("rate limits"))
    budget: Budget | None = field(default=None, metadata=doc("hard stop on what the whole gateway spends"))
    providers: dict[str, Provider] = field(factory=dict, metadata=doc("accounts"))
    routes: dict[str, Route] = field(factory=dict, metadata=doc("aliases and their targets"))
    affinity: Stickiness = field(factory=Stickiness, metadata=doc("conversations stay where their prompt cache is"))
    breaker: Breaker = field(factory=Breaker, metadata=doc("leaving bad targets out"))
    retry: Retry = field(factory=Retry, metadata=doc("default for routes"))
    default_provider: str | None = field(default=None, metadata=doc("for names that no route matches"))
    defaults: Defaults = field(factory=Defaults, metadata=doc("aliases for requests that name none"))
    compat: Compat = field(factory=Compat, metadata=doc("other gateways' habits"))
    warnings: tuple[Problem, ...] = field(default=(), metadata=INTERNAL)
    places: Places = field(factory=dict, repr=False, eq=False, metadata=INTERNAL)
    folder: str = field(default="", metadata=INTERNAL)  # of the file


def is_glob(name: str) -> bool:
    """Whether an alias is a pattern."""
    return any(letter in name for letter in "*?[")
