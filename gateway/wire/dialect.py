"""The records that describe a wire format. A dialect is a value, not a class to inherit from.

A dialect has up to three parts. `Dialect` itself serves the raw lane, where client and upstream speak the
same dialect: bodies are forwarded, and the gateway only looks for errors and usage. `ClientSide` and
`UpstreamSide` serve the translated lane: one reads requests and writes replies, the other writes requests
and reads replies. A dialect without the two sides is forwarded and never translated.
"""

from collections.abc import Callable, Mapping, Sequence, Set
from typing import Any, Protocol

from attrs import field, frozen
from msgspec import Raw

from gateway.errors import Declined, GatewayError
from gateway.wire.codec.json_body import Body, JsonBody
from gateway.wire.lane import Lane, StreamReader, StreamWriter
from gateway.wire.neutral import Block, Opaque, Reply, Request, Usage
from gateway.wire.profile import Profile
from gateway.wire.translation.envelope import Sealer
from gateway.wire.translation.kinds import no_kinds
from gateway.wire.translation.memo import Drops, Memo, Setting, Written


@frozen
class ClientSide:
    """How a dialect is spoken with clients when the upstream speaks another.

    `read_request` raises BadRequest with the path of the bad member. `is_sequential`: a stream of this dialect
    has one block open at a time. `call_prefix` begins the ids that the gateway makes for tool calls.
    """

    read_request: Callable[[JsonBody], Request]
    write_reply: Callable[[Reply, Memo], bytes]
    stream_writer: Callable[[Memo], StreamWriter]
    is_sequential: bool = True
    call_prefix: str = "call_"


@frozen
class UpstreamSide:
    """How a dialect is spoken with upstreams when the client speaks another.

    `write_request` notes in the memo what is lost and what the reader of the reply needs; raises CannotSay.
    `read_reply` raises UpstreamFault.
    `losses` describes for people what this dialect cannot say, by the client's dialect (`*`: any dialect).
    `optional` names the members that the gateway may leave out of a retry after a provider has refused them;
    a member without which the request would mean something else is never among them.
    `resume` adds the blocks of a paused reply to the members of its request, so that the model continues them.
    """

    write_request: Callable[[Request, Setting, Memo], Written]
    read_reply: Callable[[bytes, Memo], Reply]
    stream_reader: Callable[[Memo], StreamReader]
    losses: Mapping[str, Mapping[str, str]] = field(factory=dict)
    optional: frozenset[str] = frozenset()
    resume: Callable[[Mapping[str, Any], Sequence[Block], Memo], dict[str, Any]] | None = None

    def losses_of(self, client: str) -> Mapping[str, str]:
        """Return what a request of the dialect `client` loses: the member, and what happens to it."""
        return {**self.losses.get("*", {}), **self.losses.get(client, {})}


@frozen
class Glance:
    """What `Dialect.glance` found in a whole raw reply.

    `is_empty`: it finished without any content; `is_refusal`: it is a refusal without any content. `reply_id` is its
    id, where one is needed.
    """

    usage: Usage | None = None
    is_empty: bool = False
    is_refusal: bool = False
    reply_id: str = ""


@frozen
class Thread:
    """A conversation that the provider holds. `previous` is the id of the reply that is continued; empty: a new one."""

    previous: str = ""


@frozen
class Fallback:
    """A model that may answer when the requested one refuses; empty: whichever is next. `settings` are its own."""

    model: str = ""
    settings: Mapping[str, Raw] = field(factory=dict)


@frozen
class Asked:
    """What the raw lane has to know about a request to watch its reply.

    `wants_usage` is False if the client did not ask for the usage chunk that the gateway asks for. `no_finish`: the
    model's profile says that it never sends a finish reason. `thread` is there if the request is a part of one.
    `fallbacks` are the models that may answer if this one refuses.
    """

    wants_usage: bool = True
    no_finish: bool = False
    thread: Thread | None = None
    fallbacks: tuple[Fallback, ...] = ()


def adds_nothing(body: JsonBody, profile: Profile, drops: Drops) -> Mapping[str, bytes]:
    """Add no member to a raw request."""
    return {}


def nothing_sealed(body: JsonBody) -> JsonBody:
    """Return the body unchanged: this dialect has no sealed reasoning, or no mark by which to find it."""
    return body


def no_prefix(body: JsonBody, prefix: str, put: Mapping[str, bytes]) -> Mapping[str, bytes]:
    """Add no system prompt, because this dialect has none."""
    return {}


def unchanged(body: bytes) -> bytes:
    """Return a whole raw reply as it is."""
    return body


def asked_nothing(body: Body) -> Asked:
    """Return the default: nothing in the request changes how its reply is watched."""
    return Asked()


class WriteSummary(Protocol):
    """Writes a summary of the earlier conversation as the block of a reply; `is_whole`: it holds all before it."""

    def __call__(self, summary: str, memo: Memo, *, is_whole: bool) -> Opaque: ...


class Readable(Protocol):
    """Returns a body whose compactions are texts: those of the gateway, and unless it `keeps` them, all others."""

    def __call__(self, body: JsonBody, sealer: Sealer, drops: Drops, *, keeps: bool) -> JsonBody: ...


def none_sealed(found: JsonBody | bytes) -> Sequence[str]:
    """Return nothing: the compactions of this dialect can be read by everybody."""
    return ()


@frozen
class Compactions:
    """How a dialect asks for compactions, and how they stand in its histories (docs/wire/compaction.md).

    `is_asked` looks whether a request asks for one, `without` returns it without asking. `sealed` returns those of a
    history that only their provider can read, `made` those of a frame or a whole reply.
    """

    is_asked: Callable[[JsonBody], bool]
    without: Callable[[JsonBody], JsonBody]
    readable: Readable
    write: WriteSummary
    sealed: Callable[[JsonBody], Sequence[str]] = none_sealed
    made: Callable[[bytes], Sequence[str]] = none_sealed


@frozen
class Dialect:
    """One wire format.

    `path` follows `/v1` in the gateway's own URL, and the base URL in the provider's.
    `read_error` takes (dialect, status, headers, body, Unix time) of an HTTP error from a provider, and what was
    sent to it.
    `write_error` takes an error, the request id and the Unix time, and returns (status, body).
    `glance` looks at a whole raw reply; raises UpstreamFault for an error in a 200.
    `watch` makes the lane of a raw stream. `tidy` makes a lane that also corrects what servers with the
    profile's `normalize` write wrongly. `mend_whole` puts right what clients could not read of a whole raw reply.
    `add_members` returns members to put into a raw request: what the gateway needs upstream, and histories without
    the blocks that this upstream refuses. It notes in `drops` what the client's request loses.
    `unsealed` returns a body without what another account has sealed, for a provider that cannot decrypt it.
    `tool_kinds` and `item_kinds` name the kinds of tools and of input items in a request, for servers that know only
    some of them; `sought_tools` those tools that its provider shall run and that the request is about.
    `prefix` returns members in which a text stands before the system prompt. It takes the body, the text, and the
    members that already replace some of the body's.
    """

    name: str
    path: str
    read_error: Callable[[str, int, Mapping[str, str], bytes, float, bytes], Declined]
    write_error: Callable[[GatewayError, str, float], tuple[int, bytes]]
    glance: Callable[[bytes], Glance]
    watch: Callable[[Asked], Lane]
    ask: Callable[[Body], Asked] = asked_nothing
    add_members: Callable[[JsonBody, Profile, Drops], Mapping[str, bytes]] = adds_nothing
    unsealed: Callable[[JsonBody], JsonBody] = nothing_sealed
    prefix: Callable[[JsonBody, str, Mapping[str, bytes]], Mapping[str, bytes]] = no_prefix
    tool_kinds: Callable[[JsonBody], Set[str]] = no_kinds
    sought_tools: Callable[[JsonBody], Set[str]] = no_kinds
    item_kinds: Callable[[JsonBody], Set[str]] = no_kinds
    tidy: Callable[[Asked], Lane] | None = None
    mend_whole: Callable[[bytes], bytes] = unchanged
    ping: bytes = b": keep-alive\n\n"
    client: ClientSide | None = None
    upstream: UpstreamSide | None = None
    compactions: Compactions | None = None
    compacts: bool = False  # its reply is a compaction, which is made of a summary where no provider has its path
    write_count: Callable[[int], bytes] | None = None  # the answer to a count of tokens, for a dialect of counts
    limit_class: str = "default"  # the class of `limits` that its requests are charged to
    generates: bool = False  # a model writes the reply, so a provider's `set` applies
    counts_tokens: bool = False  # its replies cost tokens, although no model writes them in its own words
    is_anthropic: bool = False  # of Anthropic's family: its errors, its request id, its rate-limit headers
    is_json: bool = True  # whole replies are always JSON objects
    headers: Mapping[str, str] = field(factory=dict)  # sent upstream unless the client or the operator sets them
    forwards: frozenset[str] = frozenset({"idempotency-key", "openai-beta"})  # client headers sent upstream
    native_header: str = "authorization"  # where its clients put their key
    probe: Mapping[str, Any] = field(factory=dict)  # members of a tiny request, for /test-connection

    @property
    def has_tokens(self) -> bool:
        """Whether its requests cost tokens, so that a reply without counts is estimated."""
        return self.generates or self.compacts or self.counts_tokens

    @property
    def label(self) -> str:
        """The path as one word, for logs and metrics: `chat_completions`."""
        return self.path.strip("/").replace("/", "_")

    def normalise(self, asked: Asked) -> Lane:
        """Make the lane of a raw stream whose profile has `normalize`: `tidy`, or `watch` if there is none."""
        return self.watch(asked) if self.tidy is None else self.tidy(asked)
