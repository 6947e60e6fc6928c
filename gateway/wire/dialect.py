"""The records that describe a wire format. A dialect is a value, not a class to inherit from."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from attrs import field, frozen

from gateway.errors import Declined, GatewayError
from gateway.wire.codec.json_body import Body, JsonBody
from gateway.wire.lane import Lane, StreamReader, StreamWriter
from gateway.wire.neutral import Block, Reply, Request, Usage
from gateway.wire.profile import Profile
from gateway.wire.translation.memo import Drops, Memo, Setting, Written


@frozen
class ClientSide:
    """How a dialect is spoken with clients when the upstream speaks another.

    `read_request` raises BadRequest with the place. `is_sequential`: one block after the other.
    """

    read_request: Callable[[JsonBody], Request]
    write_reply: Callable[[Reply, Memo], bytes]
    stream_writer: Callable[[Memo], StreamWriter]
    is_sequential: bool = True
    call_prefix: str = "call_"


@frozen
class UpstreamSide:
    """How a dialect is spoken with upstreams when the client speaks another.

    `write_request` notes in the memo what is lost and what the way back needs; raises CannotSay.
    `read_reply` raises UpstreamFault. `losses`: what this dialect cannot say, for people to read, by
    the client's dialect (`*`: of any).
    `optional` are members that may be left out when a provider refuses them, never what means something.
    `resume` adds to a request's members what a paused reply has said so far, so that the model goes on with it.
    """

    write_request: Callable[[Request, Setting, Memo], Written]
    read_reply: Callable[[bytes, Memo], Reply]
    stream_reader: Callable[[Memo], StreamReader]
    losses: Mapping[str, Mapping[str, str]] = field(factory=dict)
    optional: frozenset[str] = frozenset()
    resume: Callable[[Mapping[str, Any], Sequence[Block], Memo], dict[str, Any]] | None = None

    def losses_of(self, client: str) -> Mapping[str, str]:
        """What is lost of a client's request, and what becomes of it."""
        return {**self.losses.get("*", {}), **self.losses.get(client, {})}


@frozen
class Glance:
    """What a look at a whole raw reply found."""

    usage: Usage | None = None
    is_empty: bool = False


@frozen
class Asked:
    """What the raw lane has to know about a request to watch its reply."""

    wants_usage: bool = True


def adds_nothing(body: JsonBody, profile: Profile, drops: Drops) -> Mapping[str, bytes]:
    """Put no member of our own into a raw request."""
    return {}


def nothing_sealed(body: JsonBody) -> JsonBody:
    """The body as it is: this dialect has nothing that only its maker can read, or no way to tell."""
    return body


def no_prefix(body: JsonBody, prefix: str, put: Mapping[str, bytes]) -> Mapping[str, bytes]:
    """Put no text before what has no system prompt."""
    return {}


def asked_nothing(body: Body) -> Asked:
    """Take a reply as it comes, whatever the request said."""
    return Asked()


@frozen
class Dialect:
    """One wire format.

    `path` stands behind `/v1` where clients call it, and behind the provider's base URL.
    `glance` looks at a whole raw reply: raises UpstreamFault for an error in a 200.
    `watch` makes the lane of a raw stream, `normalise` one that puts right what a server of it writes oddly.
    `add_members` adds members that the gateway needs upstream, and notes what they lose.
    `unsealed` is a body without the reasoning that only who has made it can read.
    `prefix` adds those that put a text before the system prompt.
    `write_error` writes (status, body) from an error, the request id and the Unix time.
    """

    name: str
    path: str
    read_error: Callable[[str, int, Mapping[str, str], bytes, float], Declined]
    write_error: Callable[[GatewayError, str, float], tuple[int, bytes]]
    glance: Callable[[bytes], Glance]
    watch: Callable[[Asked], Lane]
    ask: Callable[[Body], Asked] = asked_nothing
    add_members: Callable[[JsonBody, Profile, Drops], Mapping[str, bytes]] = adds_nothing
    unsealed: Callable[[JsonBody], JsonBody] = nothing_sealed
    prefix: Callable[[JsonBody, str, Mapping[str, bytes]], Mapping[str, bytes]] = no_prefix
    tidy: Callable[[Asked], Lane] | None = None
    ping: bytes = b": keep-alive\n\n"
    client: ClientSide | None = None
    upstream: UpstreamSide | None = None
    generates: bool = False  # a model writes: a provider's `set` applies
    is_anthropic: bool = False  # of Anthropic's family: its errors, its request id, its rate-limit headers
    is_json: bool = True  # whole replies are always JSON objects
    headers: Mapping[str, str] = field(factory=dict)  # sent upstream unless somebody says otherwise
    forwards: frozenset[str] = frozenset({"idempotency-key", "openai-beta"})  # client headers sent upstream
    native_header: str = "authorization"  # where its clients put their key
    probe: Mapping[str, Any] = field(factory=dict)  # members of a tiny request, for /test-connection

    def normalise(self, asked: Asked) -> Lane:
        """The lane of a raw stream whose server needs putting right."""
        return self.watch(asked) if self.tidy is None else self.tidy(asked)
