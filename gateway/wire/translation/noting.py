"""A lane that also looks for sealed compactions in the stream of another, for replies that were asked for one."""

from collections.abc import Callable, Sequence

from attrs import define

from gateway.wire.wrapped_lane import WrappedLane


@define
class Noting(WrappedLane):
    """Behaves as `lane`, and adds to `found` what `find` sees in each of its frames."""

    find: Callable[[bytes], Sequence[str]]
    found: list[str]

    def feed(self, frame: bytes) -> bytes:
        self.found += self.find(frame)
        return super().feed(frame)
