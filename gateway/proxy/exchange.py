"""The record of one client request, and the table that says what may follow what.

An exchange is one request of a client from its head to the last byte of the answer, with however many attempts
that takes. Its state answers one question at any moment: *may another target still be asked?* The answer is yes
as long as no content has reached the client (ROUTED, TRYING, OPENED) and no from then on (SPOKEN): a second model
cannot go on in the middle of the first one's sentence. OPENED stands between the two: the response head and
keep-alive comments are out, so the status cannot change any more, but everything else still can.

ENDED, FAILED and ABANDONED are final. Every state is listed with every step that is allowed in it; a step that is
not listed is a bug of ours and raises, so that no code path can quietly answer twice or fall back too late.
(docs/design.md draws this table.)
"""

from enum import StrEnum
from typing import Any

from attrs import define, field

from gateway.accounts.charges import Charge
from gateway.errors import GatewayError
from gateway.wire.neutral import Usage


class State(StrEnum):
    """Where an exchange stands."""

    ROUTED = "routed"
    TRYING = "trying"
    OPENED = "opened"  # head and keep-alives are out, content is not
    SPOKEN = "spoken"  # the client has content: there is no way back
    ENDED = "ended"
    FAILED = "failed"
    ABANDONED = "abandoned"  # the client left


class Step(StrEnum):
    """What may happen to an exchange."""

    TRY = "try"  # an attempt starts
    LOSE = "lose"  # an attempt fails
    OPEN = "open"  # the response head goes out
    SPEAK = "speak"  # the first content goes out
    END = "end"
    ANSWER = "answer"  # the gateway answers by itself, without an upstream
    GIVE_UP = "give up"  # no target is left
    LEAVE = "leave"  # the client leaves
    CUT = "cut"  # the daemon ends, before any content went out


NEXT: dict[State, dict[Step, State]] = {
    State.ROUTED: {
        Step.TRY: State.TRYING,
        Step.OPEN: State.OPENED,
        Step.ANSWER: State.ENDED,
        Step.GIVE_UP: State.FAILED,
        Step.LEAVE: State.ABANDONED,
        Step.CUT: State.FAILED,
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
    State.FAILED: {},
    State.ABANDONED: {},
}
FINAL = frozenset(state for state, steps in NEXT.items() if not steps)


class IllegalStep(RuntimeError):
    """A step that the table does not allow: a bug of ours."""


@define
class Exchange:
    """One client request from arrival to end. Times are monotonic seconds.

    `label` stands for the alias in metrics: never a name that a client made up. `upstream_s` is the time spent
    waiting for upstreams before the client's first byte. `response` is the id of the stored response. `affinity` says
    whether a conversation was served where it was before: kept, moved, new, or empty if nobody looked. `refused` names
    the target whose refusal another target was asked after.
    """

    id: str
    started: float
    endpoint: str = ""
    alias: str = ""
    label: str = ""
    is_stream: bool = False
    response: str = ""
    state: State = State.ROUTED
    provider: str = ""
    model: str = ""
    is_stored: bool | None = None
    attempts: int = 0
    upstream_s: float = 0.0
    first_byte: float | None = None
    affinity: str = ""
    refused: str = ""
    usage: Usage | None = None
    status: int = 0
    error: GatewayError | None = None
    notes: dict[str, Any] = field(factory=dict)
    upstream_id: str = ""  # the provider's own id of the last attempt
    failures: list[dict[str, str]] = field(factory=list)
    charges: list[Charge] = field(factory=list)  # of each attempt that cost something, the last one last
    session: str = ""  # the conversation, as the client names it

    def step(self, step: Step) -> None:
        """Move on. Raises IllegalStep if the table does not list the step for the present state."""
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
        """Whether the response head is out, so that an error can only be sent inside the stream."""
        return self.state in (State.OPENED, State.SPOKEN)

    @property
    def is_over(self) -> bool:
        """Whether nothing can follow."""
        return self.state in FINAL

    def resolve(self, alias: str, label: str, *, is_stream: bool) -> None:
        """Note what the client wants: the alias it named, and whether as a stream."""
        self.alias, self.label, self.is_stream = alias, label, is_stream

    def name_response(self, name: str) -> None:
        """Note the stored response that this exchange makes or shows."""
        self.response = name

    def begin_attempt(self, provider: str, model: str) -> None:
        """Count an attempt at a target."""
        self.provider, self.model = provider, model
        self.attempts += 1

    def speak_for(self, provider: str, model: str) -> None:
        """Note which of several attempts at the same time has content."""
        self.provider, self.model = provider, model

    def wait(self, seconds: float) -> None:
        """Add time that an upstream has taken."""
        self.upstream_s += seconds

    def note_first_byte(self, now: float) -> None:
        """Note when the first content went out."""
        self.first_byte = now

    def note_affinity(self, word: str) -> None:
        """Note whether the conversation was served where it was before."""
        self.affinity = word

    def note_refused(self, target: str) -> None:
        """Note whose refusal is not sent: another target is asked."""
        self.refused = target

    def note_usage(self, usage: Usage | None) -> None:
        """Note the token counts of the reply."""
        self.usage = usage

    def note_stored(self, *, is_stored: bool) -> None:
        """Note whether the response is in the store."""
        self.is_stored = is_stored

    def note(self, **members: Any) -> None:
        """Note what explains this exchange in its log line, and nothing else: no text of the client's body."""
        self.notes |= members

    def note_failure(self, target: str, why: str, words: str) -> None:
        """Note how an attempt failed, or why a target was not asked, for the log line."""
        self.failures.append({"target": target, "why": why, "words": words})

    def charge(self, charge: Charge) -> None:
        """Note what an attempt has cost."""
        self.charges.append(charge)

    def fail(self, error: GatewayError) -> None:
        """Note the error that the client is sent; a copy, because a raised one holds every frame that it passed."""
        self.error = error.kept()

    def finish(self, status: int) -> None:
        """Note the status that was sent, or 499 for a client that left."""
        self.status = status
