"""What dispatch, attempt and relay know of a plan, whichever lane it takes."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

from attrs import frozen

from gateway.wire.dialect import Dialect
from gateway.wire.lane import Lane
from gateway.wire.neutral import Usage


@frozen
class WholeReply:
    """A whole reply, in the client's dialect.

    `resume`: it has only paused, and this body asks to go on. `follow`: it is not the client's; this plan for the same
    target brings the client's. `is_refusal`: a refusal without content. `reply_id` is the provider's id of it, where
    one is needed later.
    """

    body: bytes
    usage: Usage | None
    is_empty: bool
    resume: bytes | None = None
    follow: "Plan | None" = None
    is_refusal: bool = False
    reply_id: str = ""


class Plan(Protocol):
    """How one model call goes to one target, and how the reply comes back.

    `upstream` is the dialect spoken there, `body` and `headers` what is sent, `drops` the members that are lost.
    `asks_stream`: the reply is requested as a stream, though the client may want it whole.
    `can_stream_whole`: `write_stream` may be used. `optional`: members that a second try may leave out.
    `asked_output`: the output cap that the gateway may lower, 0 if it may not. `constraints`: the members that may hold
    the reply to a schema, if a second try may go without. `odd_finish`: the word for the end of the reply if no table
    knows it, once the reply was read. `answer` is there if no upstream has to be asked. `is_held`: the reply is read
    whole although the client wants a stream. `sealed` are the compactions in the reply that only this account can read.
    """

    @property
    def upstream(self) -> Dialect: ...
    @property
    def body(self) -> bytes: ...
    @property
    def headers(self) -> Mapping[str, str]: ...
    @property
    def drops(self) -> Sequence[str]: ...
    @property
    def asks_stream(self) -> bool: ...
    @property
    def can_stream_whole(self) -> bool: ...
    @property
    def optional(self) -> Collection[str]: ...
    @property
    def asked_output(self) -> int: ...
    @property
    def constraints(self) -> Mapping[str, Any]: ...
    @property
    def answer(self) -> WholeReply | None: ...
    @property
    def is_raw(self) -> bool: ...
    @property
    def is_held(self) -> bool: ...
    @property
    def sealed(self) -> Sequence[str]: ...
    @property
    def odd_finish(self) -> str: ...

    def lane(self) -> Lane:
        """Make the lane of a streamed reply."""

    def read_whole(self, body: bytes, *, is_stream: bool) -> WholeReply:
        """Read a whole reply; `is_stream`: the upstream sent it as a stream. Raises UpstreamFault."""

    def write_stream(self, body: bytes) -> WholeReply:
        """Read a whole reply and write it as a stream, for a client that wants one. Raises UpstreamFault."""
