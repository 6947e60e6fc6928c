"""What stands between the frames of one upstream reply and the client, and the two halves of a translated one."""

from collections.abc import Sequence
from typing import Protocol

from attrs import define, field

from gateway.errors import GatewayError
from gateway.wire.events import Event
from gateway.wire.neutral import Usage


class Lane(Protocol):
    """What stands between the frames of one upstream reply and the client. No I/O, no time.

    `has_content` becomes true with the first frame that says something: from then on falling back to
    another target is no longer possible.
    """

    @property
    def has_content(self) -> bool: ...

    @property
    def is_finished(self) -> bool:
        """Whether the model has finished: only the usage and the end can follow."""

    @property
    def is_enough(self) -> bool:
        """Whether nothing that may still come is wanted: the upstream should be closed."""

    @property
    def usage(self) -> Usage | None: ...

    @property
    def is_empty(self) -> bool:
        """Whether the finished reply says nothing, so that another target may be asked once."""

    def passes(self, chunk: bytes) -> bool:
        """Whether a chunk is one whole frame that decides nothing: it may go on as it is. False is always right."""

    def feed(self, frame: bytes) -> bytes:
        """Take a whole frame, return bytes for the client. Raises UpstreamFault for an error frame."""

    def end(self) -> bytes:
        """Say that the upstream has ended; return the last bytes. Raises Broke when it was cut short."""

    def proceed(self) -> bytes | None:
        """The body to go on with after a reply that only paused; None when the reply is all there is."""

    def fail(self, error: GatewayError, request_id: str) -> bytes:
        """Write the error as the client's dialect says it inside a stream; b"" when it has no words for it."""


class StreamReader(Protocol):
    """Reads the frames of an upstream's reply. Block indices are told apart, not necessarily dense."""

    is_finished: bool  # the model has said why it stopped: only usage and the end can follow
    is_over: bool  # the dialect's own end has come

    def feed(self, frame: bytes) -> Sequence[Event]:
        """Take a whole frame. Raises UpstreamFault for an error frame, Unreadable for what is no stream."""

    def end(self) -> Sequence[Event]:
        """Say that the upstream has ended. Raises Broke when it was cut short."""


class StreamWriter(Protocol):
    """Writes events as frames of a client's dialect."""

    def feed(self, event: Event) -> bytes:
        """Write what an event says."""

    def end(self) -> bytes:
        """Write the end of a stream that has finished."""

    def fail(self, error: GatewayError, request_id: str) -> bytes:
        """Write the error that ends a broken stream."""


@define
class Watch:
    """The state of one raw stream; its dialect's own watch changes it. The members are those of `Lane`."""

    has_content: bool = field(default=False, init=False)
    is_finished: bool = field(default=False, init=False)
    is_enough: bool = field(default=False, init=False)  # never: a raw stream is wanted to its end
    usage: Usage | None = field(default=None, init=False)

    def proceed(self) -> bytes | None:
        """Nothing: who pauses in his own dialect is asked to go on by his own client."""
        return None
