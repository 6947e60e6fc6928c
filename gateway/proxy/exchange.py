"""The record of one client request, and the table that says what may follow what."""

from enum import StrEnum

from attrs import define

from gateway.errors import GatewayError
from gateway.wire.neutral import Usage


class State(StrEnum):
    """Where an exchange stands. Falling back is legal in ROUTED, TRYING and OPENED, never after SPOKEN."""

    ROUTED = "routed"
    TRYING = "trying"
    OPENED = "opened"  # headers and keep-alives are out, content is not
    SPOKEN = "spoken"  # the client has content: there is no way back
    ENDED = "ended"
    FAILED = "failed"
    ABANDONED = "abandoned"  # the client left


class Step(StrEnum):
    """What may happen to an exchange."""

    TRY = "try"
    LOSE = "lose"
    OPEN = "open"
    SPEAK = "speak"
    END = "end"
    GIVE_UP = "give up"
    LEAVE = "leave"
    CUT = "cut"  # by the daemon's own end, before anything was said
    ANSWER = "estimate"


# Every state is listed, so that what is missing is forbidden.
NEXT: dict[State, dict[Step, State]] = {
    State.ROUTED: {
        Step.TRY: State.TRYING,
        Step.OPEN: State.OPENED,
        Step.GIVE_UP: State.FAILED,
        Step.LEAVE: State.ABANDONED,
        Step.CUT: State.FAILED,
        Step.ANSWER: State.ENDED,  # a count of tokens needs no upstream
    },
    State.TRYING: {
        Step.LOSE: State.ROUTED,
        Step.OPEN: State.OPENED,
        Step.END: State.ENDED,
        Step.GIVE_UP: State.FAILED,  # an answer that must be stored, and cannot be
        Step.LEAVE: State.ABANDONED,
        Step.CUT: State.FAILED,
    },
    State.OPENED: {
        Step.TRY: State.OPENED,
        Step.LOSE: State.OPENED,
        Step.SPEAK: State.SPOKEN,
        Step.END: State.ENDED,
        Step.GIVE_UP: State.FAILED,
        Step.LEAVE: State.ABANDONED,
    },
    State.SPOKEN: {Step.END: State.ENDED, Step.LOSE: State.FAILED, Step.LEAVE: State.ABANDONED},
    State.ENDED: {},
    State.FAILED: {Step.ANSWER: State.ENDED},
    State.ABANDONED: {},
}


class IllegalStep(RuntimeError):
    """A step that the table does not allow: a bug of ours."""


@define
class Exchange:
    """One client request from arrival to end. Times are monotonic seconds."""

    id: str
    started: float
    state: State = State.ROUTED
    endpoint: str = ""
    alias: str = ""
    label: str = ""  # the alias, or what stands for it in metrics: never a name that a client made up
    is_stream: bool = False
    provider: str = ""
    model: str = ""
    response: str = ""  # the id of the response that is stored, or goes on
    is_stored: bool | None = None
    attempts: int = 0
    upstream_s: float = 0.0  # spent waiting for upstreams before the client's first byte
    first_byte: float | None = None
    usage: Usage | None = None
    status: int = 0
    error: GatewayError | None = None

    def step(self, step: Step) -> None:
        """Move on. Raises IllegalStep for what the table does not list."""
        try:
            self.state = NEXT[self.state][step]
        except KeyError:
            raise IllegalStep(f"{step.value} in state {self.state.value}") from None

    @property
    def is_spoken(self) -> bool:
        """Whether content has reached the client, so that no other target may be tried."""
        return self.state is State.SPOKEN

    @property
    def is_open(self) -> bool:
        """Whether the response head is out, so that an error can only be said inside the stream."""
        return self.state in (State.OPENED, State.SPOKEN)
