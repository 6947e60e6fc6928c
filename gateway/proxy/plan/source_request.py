"""A client's request with all that a plan needs to write it for any upstream."""

from collections.abc import Callable, Mapping, Sequence, Set
from functools import cached_property

from attrs import evolve, field, frozen

from gateway.errors import BadRequest
from gateway.policy.affinity import NO_AFFINITY, Affinity
from gateway.proxy.plan.mode import FULL, Mode
from gateway.proxy.plan.reasoning_memory import ReasoningMemory
from gateway.wire.codec.json_body import Body, JsonBody
from gateway.wire.dialect import Asked, ClientSide, Dialect
from gateway.wire.neutral import Reasoning, Request, Turn
from gateway.wire.profile import Profile
from gateway.wire.translation.compaction import open_summaries
from gateway.wire.translation.envelope import Sealer, unseal
from gateway.wire.translation.memo import Memo


@frozen
class History:
    """The stored conversation that a request continues.

    `affinity` names the target and the credential that wrote its last reply. `readable` gives the body without
    the reasoning that another provider than the one named has sealed. `plain_include` is the member `include` as
    the client wrote it, if the gateway has added to it.
    """

    affinity: Affinity = NO_AFFINITY
    readable: Callable[[str], JsonBody] | None = None
    plain_include: bytes | None = None


NO_HISTORY = History()


@frozen
class SourceRequest:
    """One client request, with everything about its client that a plan needs.

    `monotonic` and `now` are when it came (monotonic seconds, Unix seconds); `time` reads the Unix time again.
    `forwarded` are the client's headers that may go upstream. `model` is the name the client sent. `honoured` are the
    members that the gateway carries out itself, so that no translation loses them.
    """

    dialect: Dialect
    body: Body
    asked: Asked
    id: str
    now: int
    monotonic: float
    time: Callable[[], float]
    owner: str
    is_stream: bool
    secret: bytes = field(repr=False)
    reasoning_memory: ReasoningMemory
    forwarded: Mapping[str, str]
    mode: Mode = FULL
    refuses_losses: bool = False
    may_select: bool = True  # the client may choose models at the provider, past the routes
    wants_long_context: bool = False
    model: str = ""
    history: History = NO_HISTORY
    honoured: frozenset[str] = frozenset()  # members that the gateway itself carries out
    cannot_decrypt: frozenset[str] = frozenset()  # providers that refused what is sealed in the history
    home: str = ""  # the provider that made the sealed compaction of the history, if it is known

    @cached_property
    def sealer(self) -> Sealer:
        """The sealer of the envelopes in which this owner's clients carry foreign reasoning."""
        return Sealer(self.secret, self.owner)

    @cached_property
    def asks_compaction(self) -> bool:
        """Whether the client asks for a compaction, now or once the conversation is long enough."""
        compactions = self.dialect.compactions
        return compactions is not None and isinstance(self.body, JsonBody) and compactions.is_asked(self.body)

    @cached_property
    def sealed_compactions(self) -> Sequence[str]:
        """The compactions of the history that only the provider that made them can read."""
        compactions = self.dialect.compactions
        return compactions.sealed(self.body) if compactions is not None and isinstance(self.body, JsonBody) else ()

    @cached_property
    def tool_kinds(self) -> Set[str]:
        """The kinds of the request's tools."""
        return self.dialect.tool_kinds(self.body) if isinstance(self.body, JsonBody) else frozenset()

    @cached_property
    def sought_tools(self) -> Set[str]:
        """The kinds of tools that the request is about and that its provider shall run, such as a web search."""
        return self.dialect.sought_tools(self.body) if isinstance(self.body, JsonBody) else frozenset()

    @cached_property
    def item_kinds(self) -> Set[str]:
        """The kinds of the request's input items."""
        return self.dialect.item_kinds(self.body) if isinstance(self.body, JsonBody) else frozenset()

    @cached_property
    def _read(self) -> tuple[Request, bool]:
        """The neutral request, and whether an envelope in its history did not open."""
        assert self.dialect.client is not None
        assert isinstance(self.body, JsonBody)
        request = self.dialect.client.read_request(self.body)
        has_lost_thoughts = unseal(request, self.sealer)
        open_summaries(request, self.sealer)
        self.reasoning_memory.restore(self.owner, self.monotonic, request)
        request.model = self.model
        if self.honoured:
            request.extra = {name: raw for name, raw in request.extra.items() if name not in self.honoured}
        return request, has_lost_thoughts

    def request(self) -> Request:
        """Return the neutral request, which is read once. Raises BadRequest, which names the place in the body."""
        return self._read[0]

    def body_at(self, provider: str) -> Body:
        """Return the body as `provider` can read it: the client's own, or without reasoning that another one sealed."""
        if provider in self.cannot_decrypt and isinstance(self.body, JsonBody):
            return self.dialect.unsealed(self.body)
        return self.body if self.history.readable is None else self.history.readable(provider)

    def memo(self, client: ClientSide, profile: Profile, provider: str) -> Memo:
        """Make the memo of a translation for a provider. Raises BadRequest."""
        return self._memo(client, profile, provider, *self._read)

    def reply_memo(self, client: ClientSide, profile: Profile, provider: str) -> Memo:
        """Make a memo for a reply in the client's own dialect, whose provider may take what our reader refuses."""
        try:
            return self.memo(client, profile, provider)
        except BadRequest:
            return self._memo(client, profile, provider, Request(self.dialect.name, self.model), False)

    def _memo(
        self, client: ClientSide, profile: Profile, provider: str, request: Request, has_lost_thoughts: bool
    ) -> Memo:
        is_blind = provider in self.cannot_decrypt
        if is_blind:
            request = evolve(request, turns=[_unsealed(turn) for turn in request.turns])
        memo = Memo(
            request=request,
            seed=self.id,
            now=self.now,
            sealer=self.sealer,
            profile=profile,
            call_prefix=client.call_prefix,
            time=self.time,
        )
        if has_lost_thoughts or is_blind:
            memo.drops.add("reasoning")
        return memo


def _unsealed(turn: Turn) -> Turn:
    """Return a turn without its sealed reasoning, which only the provider that made it can read."""
    kept = tuple(block for block in turn.blocks if not (isinstance(block, Reasoning) and block.sealed))
    return evolve(turn, blocks=kept)
