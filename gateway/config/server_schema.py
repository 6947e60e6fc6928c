"""The shape of `server`: the listeners, what they bound, and what they show to whom."""

from attrs import field, frozen, validators

from gateway.config.fields import MIB, Seconds, Secret, Size, Workers, doc, unbuilt


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
    networks: tuple[str, ...] = field(
        default=(),
        metadata=doc("of a gateway without keys: networks (CIDR) that see operators' pages besides this machine"),
    )
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
    workers: Workers = field(
        default=1, metadata=doc("processes that serve, or auto: one for each core; a restart changes it")
    )
    step_aside: Seconds | None = field(
        default=None,
        metadata=doc("after SIGTERM: /readyz is 503, serving goes on for so long; absent: 5s, 0s at a terminal"),
    )
    request_id_header: str | None = field(
        default=None, metadata=doc("a balancer's request id, to log and to pass on; traceparent always is")
    )
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
