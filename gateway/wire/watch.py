"""What every lane of a raw stream says of itself; crossings and what is kept are lanes of another kind."""

from attrs import define, field

from gateway.wire.neutral import Usage


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
