"""What a plan is: how one model call goes to one target, and how the reply comes back."""

from collections.abc import Callable, Collection, Mapping, Sequence

from attrs import define, field, frozen

from gateway.wire.dialect import Dialect
from gateway.wire.lane import Lane
from gateway.wire.neutral import Usage


@frozen
class WholeReply:
    """A whole reply for the client."""

    body: bytes
    usage: Usage | None
    is_empty: bool
    resume: bytes | None = None  # the reply has only paused: ask again with this body


@define
class Plan:
    """How one inquiry goes to one target. `upstream` is the dialect spoken there.

    `whole` reads a whole reply (or, with True, one that came as a stream); `spread` tells one as a stream.
    `answer` is there when no upstream has to be asked. `optional` are members that a retry may leave out.
    """

    upstream: Dialect
    body: bytes
    stream: Callable[[], Lane]
    whole: Callable[[bytes, bool], WholeReply]
    spread: Callable[[bytes], WholeReply] | None = None
    headers: Mapping[str, str] = field(factory=dict)
    drops: Sequence[str] = ()
    asks_stream: bool = False
    is_crossed: bool = False
    answer: WholeReply | None = None
    optional: Collection[str] = ()
