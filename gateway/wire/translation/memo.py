"""What the writer of a translated request notes for its reply: what was lost, and what the reader needs."""

from collections.abc import Callable
from typing import Any

from attrs import define, field, frozen

from gateway.wire.neutral import Request, ToolCall
from gateway.wire.profile import Profile
from gateway.wire.translation.envelope import Sealer
from gateway.wire.translation.hints import HINTS
from gateway.wire.translation.names import SAFE_ID, ToolNames, mint, safe_id
from gateway.wire.translation.tokens import countable

# Tokens. A longer whole reply is requested as a stream and put together here: otherwise the connection would be
# silent for minutes.
LONG_OUTPUT = 16_384
# The first `anthropic-version` without sampling parameters (docs/wire/pitfalls.md).
NO_SAMPLING_SINCE = "2026-10-21"


@frozen
class Setting:
    """The target of a request. `version` is the `anthropic-version` to be sent, empty for other dialects."""

    model: str
    profile: Profile
    version: str = "2023-06-01"


# Names of losses that are noted, and letters of each.
MAX_DROPS, MAX_DROP_LENGTH = 50, 60


@define
class Drops:
    """The losses of one request: names of members or parts that its translation could not keep."""

    _names: dict[str, None] = field(factory=dict, init=False)
    _told: set[str] = field(factory=set, init=False)  # names of what reaches the model in another form

    @property
    def names(self) -> list[str]:
        """The names, in the order in which they were lost."""
        return list(self._names)

    @property
    def losses(self) -> list[str]:
        """The names without those of hints, and of what reaches the model in another form."""
        return [name for name in self._names if name not in HINTS and name not in self._told]

    def add(self, name: str) -> None:
        """Note that `name` is lost, wholly or in part. Clients make names up: only so many are noted."""
        name = name[:MAX_DROP_LENGTH]
        if len(self._names) < MAX_DROPS:
            self._names[name] = None
        self._told.discard(name)

    def note(self, name: str) -> None:
        """Note that `name` reaches the model in another form, such as a result as text."""
        is_lost = name in self._names and name not in self._told
        self.add(name)
        if not is_lost:
            self._told.add(name)


@define
class Memo:
    """What the reader and the writer of a translated reply need from the request.

    `seed` makes ids that no other reply has; `now` is Unix time. `stops` are the stop sequences that the gateway
    enforces because the upstream cannot. `freeform` holds the names, as sent, of functions that stand in for
    freeform tools. `prefill` is the beginning of the reply that the gateway has sent as an assistant turn.
    """

    request: Request
    seed: str
    now: int
    sealer: Sealer
    profile: Profile = field(factory=Profile)
    call_prefix: str = "call_"
    drops: Drops = field(factory=Drops)
    names: ToolNames = field(factory=ToolNames)
    stops: tuple[str, ...] = ()
    freeform: set[str] = field(factory=set)
    prefill: str = ""
    forced_output: str | None = None  # the tool whose arguments are the structured reply
    time: Callable[[], float] | None = None  # returns the current Unix time
    odd_finish: str = ""  # a word for the end of the reply that no table knows
    first_index: int = 0  # index of the first block of the next segment, in a reply that has paused
    _estimate: int | None = field(default=None, init=False)
    _seen_calls: set[str] | None = field(default=None, init=False)

    @property
    def prompt_estimate(self) -> int:
        """An estimate of the input tokens, for use until the provider sends its count."""
        if self._estimate is None:
            self._estimate = countable(self.request).tokens(self.profile.token_factor)
        return self._estimate

    def call_id(self, upstream: str, number: int) -> str:
        """Return the id of the reply's call `number`: the upstream's id made safe, or a new one.

        A new id is made if the upstream sent none, or one that a call of this conversation has already.
        """
        if self._seen_calls is None:
            turns = self.request.turns
            self._seen_calls = {block.id for turn in turns for block in turn.blocks if isinstance(block, ToolCall)}
        found = upstream if SAFE_ID.fullmatch(upstream) else safe_id(upstream) if upstream else ""
        if not found or found in self._seen_calls:
            found = mint(self.call_prefix, self.seed, number)
        self._seen_calls.add(found)
        return found


@define
class Written:
    """A request in an upstream's dialect. `must_stream`: a stream is requested though the client wants none.

    The model may serve only streams, or the reply may be longer than LONG_OUTPUT.
    """

    members: dict[str, Any]
    headers: dict[str, str] = field(factory=dict)
    must_stream: bool = False
