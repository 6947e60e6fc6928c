"""The records that describe a wire format. A dialect is a value, not a class to inherit from."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from attrs import field, frozen

from gateway.errors import Declined, GatewayError
from gateway.wire.json_body import Body, JsonBody
from gateway.wire.neutral import Usage
from gateway.wire.profile import Profile


class Lane(Protocol):
    """What stands between the frames of one upstream reply and the client. No I/O, no time.

    `has_content` becomes true with the first frame that says something: from then on falling back to
    another target is no longer possible.
    """

    has_content: bool
    is_finished: bool  # the model has finished: only the usage and the end can follow
    usage: Usage | None

    @property
    def is_empty(self) -> bool:
        """Whether the finished reply says nothing, so that another target may be asked once."""

    def passes(self, chunk: bytes) -> bool:
        """Whether a chunk is one whole frame that decides nothing: it may go on as it is. False is always right."""

    def feed(self, frame: bytes) -> bytes:
        """Take a whole frame, return bytes for the client. Raises UpstreamFault for an error frame."""

    def end(self) -> bytes:
        """Say that the upstream has ended; return the last bytes. Raises Broke when it was cut short."""

    def fail(self, error: GatewayError, request_id: str) -> bytes:
        """Write the error as the client's dialect says it inside a stream; b"" when it has no words for it."""


@frozen
class Glance:
    """What a look at a whole raw reply found."""

    usage: Usage | None = None
    is_empty: bool = False


@frozen
class Asked:
    """What the raw lane has to know about a request to watch its reply."""

    wants_usage: bool = True


def nothing_put(body: JsonBody, profile: Profile) -> Mapping[str, bytes]:
    """Put no member of our own into a raw request."""
    return {}


def asked_nothing(body: Body) -> Asked:
    """Take a reply as it comes, whatever the request said."""
    return Asked()


@frozen
class Dialect:
    """One wire format.

    `path` stands behind `/v1` where clients call it, and behind the provider's base URL.
    `glance` looks at a whole raw reply: raises UpstreamFault for an error in a 200.
    `watch` makes the lane of a raw stream. `put` adds members that the gateway needs upstream.
    `write_error` writes (status, body) from an error, the request id and the Unix time.
    """

    name: str
    path: str
    read_error: Callable[[str, int, Mapping[str, str], bytes, float], Declined]
    write_error: Callable[[GatewayError, str, float], tuple[int, bytes]]
    glance: Callable[[bytes], Glance]
    watch: Callable[[Asked], Lane]
    ask: Callable[[Body], Asked] = asked_nothing
    put: Callable[[JsonBody, Profile], Mapping[str, bytes]] = nothing_put
    ping: bytes = b": keep-alive\n\n"
    generates: bool = False  # a model writes: a provider's `set` applies
    is_json: bool = True  # whole replies are always JSON objects
    forwards: frozenset[str] = frozenset({"idempotency-key", "openai-beta"})  # client headers sent upstream
    native_header: str = "authorization"  # where its clients put their key
    probe: Mapping[str, Any] = field(factory=dict)  # members of a tiny request, for /test-connection
