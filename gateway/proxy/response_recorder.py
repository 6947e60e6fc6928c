"""Stores the response of one exchange, before the client is told that it is stored."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import msgspec
from attrs import define, evolve, field

from gateway.clock import Clock
from gateway.errors import BadRequest, StorageFull
from gateway.policy.affinity import NO_AFFINITY, Affinity
from gateway.proxy.exchange import Exchange
from gateway.proxy.off_loop import off_loop
from gateway.store.protocol import Conversation, Responses, StoreDown, StoredResponse
from gateway.store.turns import add_turn, turn_of
from gateway.wire.lane import Lane
from gateway.wire.openai_responses.recording_lane import Final, RecordingLane, final_in, marked, members_of, remark
from gateway.wire.openai_responses.stored_items import read_output

# Seconds for which the end of a background run is tried to be stored: nobody waits for it, and it was paid for.
PATIENCE_S, PAUSE_S = 300.0, 1.0
_UNSTORED = {"store": b"false"}
_ADDED = ("completed", "incomplete")  # how a response ended whose turn becomes part of its conversation


@define
class ResponseRecorder:
    """What is stored of one request and its reply.

    `is_demanded`: the client itself has sent `store: true`, so an answer that cannot be stored is refused while
    it still can be. `input` is what this request adds to the conversation, `joined` the whole of it, `given` the
    ids that the client has given its items. `conversation` is the one that the response adds its turn to; with
    `keeps_response` off, only the turn is stored. `begun` is the response object of a background run at its start.
    """

    store: Responses
    clock: Clock
    owner: str
    id: str
    previous: str | None
    ttl: float
    input: bytes
    joined: bytes
    exchange: Exchange
    given: tuple[str, ...] = ()
    is_demanded: bool = False
    is_background: bool = False
    conversation: Conversation | None = None
    keeps_response: bool = True
    begun: bytes = b""
    limit: int = 64 * 1024 * 1024  # bytes of a reply that are kept
    marks: Mapping[str, bytes] = field(init=False)  # the members of the response object that are the gateway's to say
    _is_over: bool = field(default=False, init=False)
    _affinity: Affinity = field(default=NO_AFFINITY, init=False)
    _lane: RecordingLane | None = field(default=None, init=False)

    @marks.default
    def _marks(self) -> Mapping[str, bytes]:
        ours: dict[str, Any] = {"id": self.id, "store": self.keeps_response, "background": self.is_background}
        if self.conversation is None:
            ours["previous_response_id"] = self.previous
        else:
            ours |= {"previous_response_id": None, "conversation": {"id": self.conversation.id}}
        return {name: msgspec.json.encode(value) for name, value in ours.items()}

    @property
    def is_over(self) -> bool:
        """Whether the end was stored, or was tried to be: nothing more will be."""
        return self._is_over

    def for_run(self, begun: bytes, exchange: Exchange) -> "ResponseRecorder":
        """Make the recorder of a background run, which has an exchange of its own."""
        return evolve(self, begun=begun, exchange=exchange)

    def lane(self, inner: Lane, affinity: Affinity = NO_AFFINITY) -> Lane:
        """Wrap the lane of a stream that is stored; `affinity` is who sends it."""
        self._affinity = affinity
        self._lane = RecordingLane(inner, self.marks, self.begun, self.limit)
        return self._lane

    def follow(self, lane: Lane | None, affinity: Affinity) -> None:
        """Keep to the lane that is sent, of several that were made for attempts at the same time."""
        if isinstance(lane, RecordingLane):
            self._lane = lane
        self._affinity = affinity

    async def store_final(self, out: bytes) -> bytes:
        """Store the response whose last frames these are; return what may be sent."""
        final = self._lane.final if self._lane is not None else None
        return await self._store_frames(out, final or final_in(out))

    async def store_stream(self, stream: bytes, affinity: Affinity) -> bytes:
        """Store the response of a whole stream; return what may be sent."""
        self._affinity = affinity
        out = await off_loop(len(stream), remark, stream, self.marks)
        return await self._store_frames(out, final_in(out))

    async def store_whole(self, body: bytes, affinity: Affinity) -> bytes:
        """Store a whole response; return what may be sent. Raises StorageFull."""
        self._affinity = affinity
        members = await off_loop(len(body), members_of, body, self.marks)
        encoded = await off_loop(len(body), msgspec.json.encode, members)
        if await self._store_once(Final(members)):
            return encoded
        if self.is_demanded:
            raise StorageFull(is_background=self.conversation is not None)
        return marked(encoded, _UNSTORED)

    def so_far(self, status: str) -> bytes | None:
        """Return the response object with what was sent of it; None if nothing was."""
        return self._lane.so_far(status) if self._lane is not None else None

    async def store_partial(self) -> None:
        """Store what was sent to a client that has left in the middle (docs/wire/streaming.md#client-disconnect)."""
        if (body := self.so_far("incomplete")) is not None:
            await self._store_once(Final(members_of(body)), is_partial=True)

    async def write(self, stored: StoredResponse) -> bool:
        """Write a response; if the one before it was deleted meanwhile, with the whole conversation in it.

        Raises StoreDown.
        """
        if await self.store.put(stored):
            return True
        return await self.store.put(evolve(stored, previous=None, input=self.joined))

    def record(
        self, members: Mapping[str, msgspec.Raw], status: str = "", lease: float = 0.0, last: int = -1
    ) -> StoredResponse:
        """Make the row of this response as it stands. Raises MsgspecError or BadRequest if it is no response."""
        now = self.clock.time()
        output, items = read_output(members.get("output"))
        # Deleted items of its conversation were not part of the input: the chain before it is not what it continues.
        is_apart = self.conversation is not None and bool(self.conversation.gone)
        return StoredResponse(
            owner=self.owner,
            id=self.id,
            previous=None if is_apart else self.previous,
            status=status or _status(members.get("status")),
            created=int(now),
            expires=now + self.ttl,
            maker=self._affinity.encode(),
            items=(*self.given, *(item.id for item in items if item.id is not None)),
            input=self.joined if is_apart else self.input,
            output=output,
            body=msgspec.json.encode({**members, "output": msgspec.Raw(b"[]")}),
            lease=lease,
            last=last,
        )

    async def _store_frames(self, out: bytes, final: Final | None) -> bytes:
        if final is None or await self._store_once(final):
            return out
        return remark(out, _UNSTORED)

    async def _store_once(self, final: Final, *, is_partial: bool = False) -> bool:
        """Store what has ended; return whether it is stored. What is partial is no turn of a conversation."""
        if self._is_over:
            return False
        self._is_over = True
        is_too_large = self._lane is not None and self._lane.is_too_large
        is_stored = False if is_too_large else await self._store(final, is_turn=not is_partial)
        self.exchange.note_stored(is_stored=is_stored)
        return is_stored

    async def _store(self, final: Final, *, is_turn: bool) -> bool:
        try:
            last = final.number if self.is_background else -1
            size = sum(map(len, final.response.values()))
            stored = await off_loop(size, partial(self.record, last=last), final.response)
        except (msgspec.MsgspecError, UnicodeDecodeError, BadRequest):
            return False  # an odd reply is sent all the same
        patience = self.clock.monotonic() + (PATIENCE_S if self.is_background else 0.0)
        is_kept: bool | None = None
        while True:
            try:
                if is_kept is None:
                    is_kept = await self._put(stored)
                if is_kept and is_turn:
                    await self._add_turn(stored)
            except StoreDown:  # the store has logged it
                if self.clock.monotonic() >= patience:
                    return False
            else:
                return is_kept
            await self.clock.sleep(PAUSE_S)

    async def _put(self, stored: StoredResponse) -> bool:
        if not self.keeps_response:
            return True
        return await (self.store.put(stored, only_running=True) if self.is_background else self.write(stored))

    async def _add_turn(self, stored: StoredResponse) -> None:
        """Add this response to its conversation; there is nothing to do if that was deleted meanwhile."""
        if self.conversation is not None and stored.status in _ADDED:
            turn = turn_of(evolve(stored, input=self.input))
            await add_turn(self.store, self.conversation, turn, self.clock.time())


def _status(raw: msgspec.Raw | None) -> str:
    word: Any = msgspec.json.decode(raw) if raw is not None else None
    return word if isinstance(word, str) and word else "completed"
