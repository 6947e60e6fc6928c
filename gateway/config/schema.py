"""The shape of providers.yaml as frozen values. Knows nothing of YAML, files or the environment.

Each field carries its `doc`; `docs/reference.md` is made from them. Durations are seconds, sizes bytes.
"""

from datetime import date
from typing import Any

from attrs import field, frozen, validators

from gateway.config.fields import INTERNAL, MIB, ModelSettings, Seconds, Share, Size, StoreUrl, doc, unbuilt


@frozen
class Secret:
    """A secret: `origin` is where the file says it is (`env NAME`), `value` what was found there, None when nothing."""

    origin: str
    value: str | None = field(default=None, repr=False)


@frozen
class KeySecret:
    """One secret of a client key: its SHA-256 as 32 bytes.

    `text` is None when the file gives the hash; else it is the secret itself, so that logs can blank it.
    """

    origin: str
    digest: bytes = field(repr=False)
    text: str | None = field(default=None, repr=False)


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
    tokens: Rate | None = field(default=None, metadata=unbuilt("token bucket of LLM tokens"))
    concurrent: int | None = field(default=None, metadata=unbuilt("exchanges at the same time"))


LimitClasses = dict[str, Limit]


@frozen
class Limits:
    """Limits of everybody; a class replaces the default."""

    key: LimitClasses = field(factory=dict, metadata=doc("of each key, by endpoint class"))
    address: LimitClasses = field(factory=dict, metadata=doc("of each client address, by endpoint class"))
    failed_auth: Rate | None = field(
        default=None, metadata=doc("wrong keys from one address; beyond it 429 before looking at the key")
    )


@frozen
class Budget:
    """A hard stop on what a key may spend."""

    usd: float | None = field(default=None, metadata=doc("US dollars"))
    tokens: int | None = field(default=None, metadata=doc("tokens"))
    per: str = field(default="month", validator=validators.in_(("day", "week", "month")), metadata=doc("period"))
    warn_at: float = field(default=0.8, metadata=doc("share at which a warning is logged"))


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
    budget: Budget | None = field(default=None, metadata=unbuilt("hard stop on money or tokens"))

    @property
    def has_all_routes(self) -> bool:
        """Whether the key may ask for every model, so that it may also choose one behind the gateway's back."""
        return "*" in self.routes


@frozen
class ClientTimeouts:
    """The client's part of an exchange."""

    header: Seconds = field(default=Seconds(10), metadata=doc("to send a whole request head (408)"))
    body: Seconds = field(default=Seconds(60), metadata=doc("to send a whole body (408)"))
    write: Seconds = field(default=Seconds(60), metadata=doc("for a client that stopped reading"))
    total: Seconds = field(default=Seconds(1800), metadata=doc("an exchange with all its attempts"))


@frozen
class Cors:
    """Browsers' access; absent means none."""

    origins: tuple[str, ...] = field(metadata=doc("exact origins, such as https://app.example"))


@frozen
class Expose:
    """Pages for operators."""

    dashboard: bool = field(default=False, metadata=unbuilt("serve /dashboard"))
    metrics: bool = field(default=True, metadata=doc("serve /metrics"))
    listen: str | None = field(
        default=None,
        metadata=doc("an address of their own, where operators' pages need no key: host:port or unix:/path"),
    )


@frozen
class AddressPrefix:
    """How much of a client's address stands for the client: a home or a server often has a whole /64 of IPv6."""

    v4: int = field(default=32, validator=validators.and_(validators.ge(8), validators.le(32)), metadata=doc("bits"))
    v6: int = field(default=64, validator=validators.and_(validators.ge(16), validators.le(128)), metadata=doc("bits"))


@frozen
class Server:
    """The listener and its bounds."""

    listen: tuple[str, ...] = field(
        default=("127.0.0.1:8080",), metadata=doc('"host:port", "[::1]:port" or "unix:/path"')
    )
    trusted_proxies: tuple[str, ...] = field(
        default=(), metadata=doc("networks (CIDR) whose X-Forwarded-For is believed")
    )
    address_prefix: AddressPrefix = field(
        factory=AddressPrefix, metadata=doc("the part of an address that limits count by")
    )
    hosts: tuple[str, ...] = field(
        default=(), metadata=doc("names besides localhost and IP addresses under which an open gateway answers")
    )
    max_body: Size = field(default=Size(64 * MIB), metadata=doc("of a request, unpacked"))
    max_reply: Size = field(default=Size(64 * MIB), metadata=doc("of a reply that has to be held whole"))
    timeouts: ClientTimeouts = field(factory=ClientTimeouts, metadata=doc("the client's part"))
    max_concurrent: int = field(
        default=2000, validator=validators.ge(1), metadata=doc("exchanges in flight; beyond it 503")
    )
    drain: Seconds = field(default=Seconds(120), metadata=doc("to finish exchanges after SIGTERM"))
    keepalive: Seconds = field(default=Seconds(15), metadata=doc("silence after which a stream gets a keep-alive"))
    commit_after: Seconds | None = field(
        default=None, metadata=doc("send 200 and keep-alives after this long without a word from upstream")
    )
    secret: Secret | None = field(
        default=None, metadata=doc("signs what clients carry for us; absent: made once, kept beside the store")
    )
    open: bool = field(default=False, metadata=doc("no keys needed on a public address"))
    cors: Cors | None = field(default=None, metadata=doc("browser origins"))
    expose: Expose = field(factory=Expose, metadata=doc("pages for operators"))


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
class Timeouts:
    """Of one attempt upstream."""

    connect: Seconds = field(default=Seconds(5), metadata=doc("TCP and TLS"))
    first_byte: Seconds = field(default=Seconds(120), metadata=doc("to the headers of a streamed reply"))
    whole: Seconds = field(default=Seconds(600), metadata=doc("to the headers of a reply that is not streamed"))
    idle: Seconds = field(default=Seconds(60), metadata=doc("silence inside a reply"))


@frozen
class TargetTimeouts:
    """What a target overrides of its provider's timeouts."""

    connect: Seconds | None = field(default=None, metadata=doc("TCP and TLS"))
    first_byte: Seconds | None = field(default=None, metadata=doc("to the headers of a streamed reply"))
    whole: Seconds | None = field(default=None, metadata=doc("to the headers of a reply that is not streamed"))
    idle: Seconds | None = field(default=None, metadata=doc("silence inside a reply"))


NO_OVERRIDES = TargetTimeouts()


@frozen
class OAuth:
    """A bearer token from a credentials file, refreshed."""

    credentials_file: str
    token_url: str
    client_id: str
    refresh_before: Seconds = field(default=Seconds(300))


@frozen
class Auth:
    """How the gateway shows itself to a provider. `header` is the lower-case header name."""

    header: str | None = None
    scheme: str = ""
    secrets: tuple[Secret, ...] = ()
    is_passthrough: bool = False
    oauth: OAuth | None = None

    @property
    def is_present(self) -> bool:
        """Whether the provider needs no credential, or one was found."""
        return self.header is None or self.oauth is not None or any(secret.value for secret in self.secrets)


@frozen
class Provider:
    """An account with a company, its preset merged in."""

    base_url: str = field(metadata=doc("where its API begins, version included"))
    speaks: dict[str, str] = field(
        factory=dict,
        metadata=doc("dialects, or {dialect: path}; a path may hold {model}, and begin with {origin}, the URL's host"),
    )
    auth: Auth = field(
        factory=Auth,
        metadata=doc(
            "{bearer|x-api-key|api-key: secret or list}, or passthrough; absent: the preset's variable, at its own host"
        ),
    )
    headers: dict[str, str] = field(factory=dict, metadata=doc("sent with every request"))
    query: dict[str, str] = field(factory=dict, metadata=doc("added to every URL"))
    system_prefix: str | None = field(default=None, metadata=doc("a text block put before the client's system prompt"))
    set: dict[str, Any] = field(factory=dict, metadata=doc("members put into every body"))
    drop: tuple[str, ...] = field(default=(), metadata=doc("members taken out of every body"))
    rename: dict[str, str] = field(factory=dict, metadata=doc("members renamed in every body"))
    selectors: tuple[str, ...] = field(
        default=(), metadata=doc('members that choose models there; only keys with routes: ["*"] may send them')
    )
    timeouts: Timeouts = field(factory=Timeouts, metadata=doc("of one attempt"))
    max_connections: int = field(
        default=500, validator=validators.ge(1), metadata=doc("requests to it at the same time")
    )
    models: dict[str, ModelSettings] = field(
        factory=dict, metadata=doc("capabilities by model glob, over the packaged data")
    )
    lists_models: str | None = field(default="/models", metadata=doc("path of its model list, null when it has none"))
    name: str = field(default="", metadata=INTERNAL)
    family: str = field(default="", metadata=INTERNAL)  # the preset's name: the key of the packaged model data

    @property
    def is_live(self) -> bool:
        """Whether requests can be sent to it: its credential is configured, or the client sends one."""
        return self.auth.is_passthrough or self.auth.is_present


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
    within: Seconds = field(default=Seconds(60), metadata=doc("no new attempt starts after this long"))


POLICIES = ("ordered", "round_robin", "weighted", "least_latency", "sticky")


@frozen
class Route:
    """An alias and its targets."""

    targets: tuple[Target, ...] = field(metadata=doc("tried in the policy's order"))
    policy: str = field(default="ordered", validator=validators.in_(POLICIES), metadata=doc(" | ".join(POLICIES)))
    retry: Retry | None = field(default=None, metadata=doc("instead of the file's"))
    hedge: Seconds | None = field(default=None, metadata=unbuilt("also ask the next target after this long"))
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
    providers: dict[str, Provider] = field(factory=dict, metadata=doc("accounts"))
    routes: dict[str, Route] = field(factory=dict, metadata=doc("aliases and their targets"))
    affinity: Stickiness = field(factory=Stickiness, metadata=doc("conversations stay where their prompt cache is"))
    breaker: Breaker = field(factory=Breaker, metadata=doc("leaving bad targets out"))
    retry: Retry = field(factory=Retry, metadata=doc("default for routes"))
    default_provider: str | None = field(default=None, metadata=doc("for names that no route matches"))
    defaults: Defaults = field(factory=Defaults, metadata=doc("aliases for requests that name none"))
    compat: Compat = field(factory=Compat, metadata=doc("other gateways' habits"))
    warnings: tuple[str, ...] = field(default=(), metadata=INTERNAL)


def is_glob(name: str) -> bool:
    """Whether an alias is a pattern."""
    return any(letter in name for letter in "*?[")
