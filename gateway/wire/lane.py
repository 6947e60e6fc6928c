"""The protocols of a lane, which turns the frames of an upstream's reply into bytes for the client.

The relay owns the sockets, and feeds each frame of a streamed reply to a lane. There are two kinds of lanes. A
raw lane (`Watch`, one per dialect) returns nearly every frame unchanged, and reads it to notice content, errors,
the finish and the usage. A translated lane (`translated_lane.py`) reads the frame into events with a
StreamReader, and writes them in the client's dialect with a StreamWriter.

The relay holds back what a lane returns until the lane's `has_content` is true, and only then sends the HTTP
head, the held bytes and all that follows. Until then an upstream that fails can be replaced by another target
without the client noticing; afterwards an error can only be written into the stream (`fail`).
"""

from collections.abc import Sequence
from typing import Protocol

from attrs import define, field

from gateway.errors import GatewayError
from gateway.wire.events import Event
from gateway.wire.neutral import Usage


class Lane(Protocol):
    """The state of one streamed reply: takes frames, returns bytes for the client. No I/O, no time.

    `has_content` becomes true with the first frame that holds text, reasoning, a tool call or another block.
    From then on the client has bytes, and no other target can be tried.
    """

    @property
    def has_content(self) -> bool: ...

    @property
    def is_finished(self) -> bool:
        """Whether the model has said why it stopped: only the usage and the end can follow."""

    @property
    def is_enough(self) -> bool:
        """Whether the reply is complete for the client, so that the relay should stop reading the upstream."""

    @property
    def usage(self) -> Usage | None: ...

    @property
    def is_empty(self) -> bool:
        """Whether the reply finished without content, so that one other target may be tried."""

    @property
    def is_refusal(self) -> bool:
        """Whether the reply finished as a refusal without content (docs/wire/replies.md#stop-reasons)."""

    @property
    def reply_id(self) -> str:
        """The provider's id of the reply, where one is needed later; empty as long as it is not known."""

    def passes(self, chunk: bytes) -> bool:
        """Return whether a chunk is one whole frame that `feed` would return unchanged and learn nothing from.

        A fast path for deltas: False is always a correct answer.
        """

    def feed(self, frame: bytes) -> bytes:
        """Take a whole frame, return bytes for the client (perhaps none). Raises UpstreamFault for an error frame."""

    def end(self) -> bytes:
        """Take the end of the upstream's body, return the last bytes. Raises Broke if the reply was cut short."""

    def proceed(self) -> bytes | None:
        """Return the body of the request that continues a paused reply; None if the reply has not paused."""

    def fail(self, error: GatewayError, request_id: str) -> bytes:
        """Write the error in the form that the client's dialect has inside a stream; b"" if it has none."""


class StreamReader(Protocol):
    """Reads the frames of an upstream's reply. Block indices are distinct, not necessarily dense."""

    is_finished: bool  # the model has said why it stopped: only usage and the end can follow
    is_over: bool  # the dialect's own end has come

    def feed(self, frame: bytes) -> Sequence[Event]:
        """Read a whole frame. Raises UpstreamFault for an error frame, Unreadable for too much junk."""

    def end(self) -> Sequence[Event]:
        """Take the end of the upstream's body, return the last events. Raises Broke if the reply was cut short."""


class StreamWriter(Protocol):
    """Writes events as frames of a client's dialect."""

    def feed(self, event: Event) -> bytes:
        """Write the frames of an event (perhaps none)."""

    def end(self) -> bytes:
        """Write the frames that end a finished stream."""

    def fail(self, error: GatewayError, request_id: str) -> bytes:
        """Write the frames that end a broken stream with an error."""


@define
class Watch:
    """What the raw lanes of all dialects share: the state of one stream, which each subclass updates in `feed`."""

    has_content: bool = field(default=False, init=False)
    is_finished: bool = field(default=False, init=False)
    is_enough: bool = field(default=False, init=False)  # stays False: a raw stream is read to its end
    usage: Usage | None = field(default=None, init=False)
    is_refusal: bool = field(default=False, init=False)
    reply_id: str = field(default="", init=False)

    def proceed(self) -> bytes | None:
        """Return None: the client speaks the upstream's dialect, and continues a paused reply itself."""
        return None
