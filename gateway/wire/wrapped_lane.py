"""A lane around another, which behaves as that one where a subclass does not say otherwise."""

from attrs import define

from gateway.errors import GatewayError
from gateway.wire.lane import Lane
from gateway.wire.neutral import Usage


@define
class WrappedLane:
    """Behaves as `lane` (see `Lane`): what it is asked, `lane` answers, and what it is fed, `lane` is fed."""

    lane: Lane

    @property
    def has_content(self) -> bool:
        return self.lane.has_content

    @property
    def is_finished(self) -> bool:
        return self.lane.is_finished

    @property
    def is_enough(self) -> bool:
        return self.lane.is_enough

    @property
    def usage(self) -> Usage | None:
        return self.lane.usage

    @property
    def is_empty(self) -> bool:
        return self.lane.is_empty

    @property
    def is_refusal(self) -> bool:
        return self.lane.is_refusal

    @property
    def reply_id(self) -> str:
        return self.lane.reply_id

    def passes(self, chunk: bytes) -> bool:
        return self.lane.passes(chunk)

    def feed(self, frame: bytes) -> bytes:
        return self.lane.feed(frame)

    def end(self) -> bytes:
        return self.lane.end()

    def proceed(self) -> bytes | None:
        return self.lane.proceed()

    def fail(self, error: GatewayError, request_id: str) -> bytes:
        return self.lane.fail(error, request_id)
