"""What the two sides of a crossing tell each other: what was lost, and what the way back needs."""

from collections.abc import Callable
from typing import Any

from attrs import define, field, frozen

from gateway.wire.neutral import Request, ToolCall
from gateway.wire.profile import Profile
from gateway.wire.translation.envelope import Sealer
from gateway.wire.translation.names import SAFE_ID, ToolNames, mint, safe_id
from gateway.wire.translation.tokens import countable

# Longer streams are asked for as streams and put together, or the connection would sit silent for minutes.
LONG_OUTPUT = 16_384
# The first `anthropic-version` without sampling parameters (TRANSLATION.md section 0).
NO_SAMPLING_SINCE = "2026-10-21"


@frozen
class Setting:
    """Where a request goes. `version` is the `anthropic-version` that will be sent, for those who read one."""

    model: str
    profile: Profile
    version: str = "2023-06-01"


@define
class Drops:
    """What a request loses on its way into another dialect, in the words of its own."""

    names: list[str] = field(factory=list)

    def add(self, name: str) -> None:
        """Note that `name` could not be said, or only in part."""
        if name not in self.names:
            self.names.append(name)


@define
class Memo:
    """What readers and writers of the way back need of the request.

    `seed` makes ids that no other reply has; `now` is Unix time. `stops` are enforced here because the
    upstream cannot; `freeform` are the names of tools whose raw text goes out wrapped in a JSON object;
    `prefill` is the beginning of the answer that the request has put into the model's mouth.
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
    forced_output: str | None = None  # the tool whose arguments are the structured answer
    time: Callable[[], float] | None = None  # Unix time when it is asked for
    first_index: int = 0  # of the blocks of the next leg, in a reply that pauses
    _estimate: int | None = field(default=None, init=False)
    _seen_calls: set[str] | None = field(default=None, init=False)

    @property
    def prompt_estimate(self) -> int:
        """Input tokens, as long as no provider has said them."""
        if self._estimate is None:
            self._estimate = countable(self.request).tokens()
        return self._estimate

    def call_id(self, upstream: str, number: int) -> str:
        """The id of the reply's call `number`: the upstream's own, unless it is no id or was used before."""
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
    """A request in an upstream's dialect. `must_stream`: so long that it has to be asked for as a stream."""

    members: dict[str, Any]
    headers: dict[str, str] = field(factory=dict)
    must_stream: bool = False
