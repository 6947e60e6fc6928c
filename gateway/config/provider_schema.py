"""The shape of `providers`: where each one is, how the gateway shows itself there, how long it waits."""

from collections.abc import Iterator
from functools import cached_property
from typing import Any
from urllib.parse import unquote, urlsplit

from attrs import field, frozen, validators

from gateway.config.fields import (
    INTERNAL,
    MISSING,
    HeaderValue,
    ModelSettings,
    Seconds,
    Secret,
    doc,
)


@frozen
class Timeouts:
    """Of one attempt upstream."""

    connect: Seconds = field(default=Seconds(5), metadata=doc("TCP and TLS"))
    first_byte: Seconds = field(
        default=Seconds(120), metadata=doc("to the headers of a streamed reply, and silence before its first content")
    )
    whole: Seconds = field(
        default=Seconds(600),
        metadata=doc(
            "to the headers of a reply that is not streamed; a target that has another behind it: retry.within"
        ),
    )
    idle: Seconds = field(default=Seconds(300), metadata=doc("silence inside a reply that has begun to speak"))


@frozen
class TargetTimeouts:
    """What a target overrides of its provider's timeouts."""

    connect: Seconds | None = field(default=None, metadata=doc("TCP and TLS"))
    first_byte: Seconds | None = field(
        default=None, metadata=doc("to the headers of a streamed reply, and silence before its first content")
    )
    whole: Seconds | None = field(default=None, metadata=doc("to the headers of a reply that is not streamed"))
    idle: Seconds | None = field(default=None, metadata=doc("silence inside a reply that has begun to speak"))


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
    plain: tuple[Secret, ...] = ()  # what `secrets` were made of, if they are not sent as they are
    is_passthrough: bool = False
    oauth: OAuth | None = None

    @property
    def is_present(self) -> bool:
        """Whether the provider needs no credential, or one was found."""
        return self.header is None or self.oauth is not None or any(secret.value for secret in self.secrets)


@frozen
class Tls:
    """How a provider's server and the gateway know each other. Files lie beside the configuration, or at a path."""

    ca: str | None = field(default=None, metadata=doc("file of the authorities (PEM) that may sign its certificate"))
    cert: str | None = field(default=None, metadata=doc("file of the gateway's own certificate (PEM)"))
    key: str | None = field(default=None, metadata=doc("file of its key, or {file: NAME}; absent: it is in cert"))
    verify: bool = field(default=True, metadata=doc("false: its certificate is not looked at"))
    server_name: str | None = field(default=None, metadata=doc("the name in its certificate, if not that of base_url"))
    stamp: str = field(default="", metadata=INTERNAL)  # of the files' contents


@frozen
class Provider:
    """An account with a company, its preset merged in."""

    base_url: str = field(
        metadata=doc("where its API begins, version included; or where it is found, as a secret", read="base_url")
    )
    speaks: dict[str, str] = field(
        factory=dict,
        metadata=doc("dialects, or {dialect: path}; a path may hold {model}, and begin with {origin}, the URL's host"),
    )
    auth: Auth = field(
        factory=Auth,
        metadata=doc(
            "{bearer|x-api-key|api-key: secret or list}, {basic: {user, password: secret}}, or passthrough; absent: "
            "the preset's variable, at its own host"
        ),
    )
    headers: dict[str, HeaderValue] = field(
        factory=dict, metadata=doc("sent with every request; a value may be a secret")
    )
    query: dict[str, str] = field(factory=dict, metadata=doc("added to every URL"))
    system_prefix: str | None = field(default=None, metadata=doc("a text block put before the client's system prompt"))
    set: dict[str, Any] = field(factory=dict, metadata=doc("members put into every body"))
    drop: tuple[str, ...] = field(default=(), metadata=doc("members taken out of every body"))
    rename: dict[str, str] = field(factory=dict, metadata=doc("members renamed in every body"))
    selectors: tuple[str, ...] = field(
        default=(), metadata=doc('members that choose models there; only keys with routes: ["*"] may send them')
    )
    timeouts: Timeouts = field(factory=Timeouts, metadata=doc("of one attempt"))
    max_connections: int | None = field(
        default=None,
        validator=validators.optional(validators.ge(1)),
        metadata=doc("requests to it at the same time; absent: as many as server.max_concurrent"),
    )
    models: dict[str, ModelSettings] = field(
        factory=dict, metadata=doc("capabilities by model glob, over the packaged data")
    )
    proxy: str | None = field(
        default=None,
        repr=False,
        metadata=doc(
            "http(s)://[user:password@]host:port, or where it is found, as a secret; env: HTTPS_PROXY, NO_PROXY",
            read="proxy",
        ),
    )
    tls: Tls | None = field(default=None, metadata=doc("absent: the system's authorities, or those of SSL_CERT_FILE"))
    lists_models: str | None = field(default="/models", metadata=doc("path of its model list, null when it has none"))
    name: str = field(default="", metadata=INTERNAL)
    family: str = field(default="", metadata=INTERNAL)  # the preset's name: the key of the packaged model data

    @property
    def is_live(self) -> bool:
        """Whether requests can be sent to it: its credential is configured, or the client sends one."""
        return (self.auth.is_passthrough or self.auth.is_present) and not self.missing

    @cached_property
    def missing(self) -> tuple[str, ...]:
        """Where the address, and secrets in headers, were looked for and not found."""
        values = [value for value in self.headers.values() if isinstance(value, Secret)]
        found = [secret.origin for secret in values if not secret.value]
        if self.base_url.startswith(MISSING):
            found.insert(0, self.base_url.removeprefix(MISSING))
        return tuple(found)

    @cached_property
    def plain_headers(self) -> dict[str, str]:
        """`headers` with the values of the secrets."""
        return {
            name: (value.value or "") if isinstance(value, Secret) else value for name, value in self.headers.items()
        }

    @cached_property
    def echoable(self) -> tuple[str, ...]:
        """The secrets besides the credential that each request shows the provider, which may repeat them."""
        found = [secret for secret in (*self.auth.plain, *self.headers.values()) if isinstance(secret, Secret)]
        return tuple(secret.value for secret in found if secret.value)

    @property
    def all_secrets(self) -> Iterator[str]:
        """Every secret value that the provider's settings hold, for the redactor."""
        for secret in (*self.auth.secrets, *self.auth.plain, *self.headers.values()):
            if isinstance(secret, Secret) and secret.value:
                yield secret.value
        if self.proxy is not None and (password := urlsplit(self.proxy).password):
            yield from (password, unquote(password))
