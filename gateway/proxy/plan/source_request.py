"""What a client asks, ready to be written for any upstream."""

from collections.abc import Callable, Mapping

from attrs import define, evolve, field, frozen

from gateway.proxy.plan.reasoning_memory import ReasoningMemory
from gateway.wire.codec.json_body import Body, JsonBody
from gateway.wire.dialect import Asked, Dialect
from gateway.wire.neutral import Reasoning, Request, Turn
from gateway.wire.translation.envelope import Sealer, unseal


@frozen
class History:
    """What a conversation rests on that the gateway remembers.

    `home` is the target, and behind a space the credential, that have made the last of it. `readable` gives the
    body without what another provider than the one named has sealed. `plain_include` is the member `include` as
    the client wrote it, where it was added to.
    """

    home: str = ""
    readable: Callable[[str], JsonBody] | None = None
    plain_include: bytes | None = None


NO_HISTORY = History()


@define
class SourceRequest:
    """What a client asked for, ready to be written for any upstream.

    `mode` is empty, `min` or `pt` (PRODUCT.md section 6); `forwarded` are the client's own headers that may go on.
    """

    dialect: Dialect
    body: Body
    asked: Asked
    id: str
    now: int  # Unix time
    monotonic: float
    time: Callable[[], float]  # Unix time when it is asked for
    owner: str
    is_stream: bool
    secret: bytes = field(repr=False)
    reasoning_memory: ReasoningMemory
    forwarded: Mapping[str, str]
    mode: str = ""
    refuses_losses: bool = False
    wants_long_context: bool = False
    model: str = ""  # as the client knows it
    past: History = NO_HISTORY
    cannot_decrypt: set[str] = field(factory=set)  # providers that could not read what is sealed
    _request: Request | None = field(default=None, init=False)
    _has_lost_thoughts: bool = field(default=False, init=False)

    def request(self) -> Request:
        """The request in no dialect, read once. Raises BadRequest with the place."""
        if self._request is None:
            assert self.dialect.client is not None
            assert isinstance(self.body, JsonBody)
            request = self.dialect.client.read_request(self.body)
            self._has_lost_thoughts = unseal(request, self.sealer)
            self.reasoning_memory.restore(self.owner, self.monotonic, request)
            self._request = evolve(request, model=self.model)
        return self._request

    def body_at(self, provider: str) -> Body:
        """The body as a provider can read it: the client's own, or less."""
        if provider in self.cannot_decrypt and isinstance(self.body, JsonBody):
            return self.dialect.unsealed(self.body)
        return self.body if self.past.readable is None else self.past.readable(provider)

    def request_at(self, provider: str) -> Request:
        """The request in no dialect, as a provider can read it."""
        request = self.request()
        return (
            evolve(request, turns=[_unsealed(turn) for turn in request.turns])
            if provider in self.cannot_decrypt
            else request
        )

    @property
    def has_lost_thoughts(self) -> bool:
        """Whether the history carried reasoning in an envelope that does not open."""
        self.request()
        return self._has_lost_thoughts

    @property
    def sealer(self) -> Sealer:
        """Seals what this client carries for us."""
        return Sealer(self.secret, self.owner)


def _unsealed(turn: Turn) -> Turn:
    """A turn without the reasoning that only its maker can read."""
    kept = tuple(block for block in turn.blocks if not (isinstance(block, Reasoning) and block.sealed))
    return evolve(turn, blocks=kept)
