"""Keeps the reply of one request, before the client is told that it is kept."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import msgspec
from attrs import define, evolve, field

from gateway.clock import Clock
from gateway.errors import BadRequest, StorageFull
from gateway.proxy.exchange import Exchange
from gateway.store.protocol import Responses, StoreDown, StoredResponse
from gateway.wire.lane import Lane
from gateway.wire.openai_responses.recording_lane import Final, RecordingLane, final_in, marked, members_of, remark
from gateway.wire.openai_responses.stored_items import read_output

# Seconds for which the end of a background run is tried to be stored: nobody waits for it, and it was paid for.
PATIENCE_S, PAUSE_S = 300.0, 1.0
_UNKEPT = {"store": b"false"}


@define(slots=False)
class ResponseRecorder:
    """What is stored of one request and its reply.

    `is_demanded`: the client has said `store: true` itself, so an answer that cannot be stored is refused where
    it still can be. `maker` is the target and the credential that speak. `input` is what this request adds,
    `joined` the whole conversation with it; `begun` the response object as it was when a background run began.
    """

    store: Responses
    clock: Clock
    owner: str
    id: str
    previous: str | None
    ttl: float
    input: bytes
    joined: bytes
    given: tuple[str, ...] = ()  # the ids of its items, where the client has given them any
    is_demanded: bool = False
    is_background: bool = False
    exchange: Exchange = field(kw_only=True)
    begun: bytes = b""
    maker: str = field(default="", init=False)
    is_over: bool = field(default=False, init=False)  # nothing more is to be stored
    _lane: RecordingLane | None = field(default=None, init=False)

    @cached_property
    def marks(self) -> Mapping[str, bytes]:
        """The members of the response object that are the gateway's to say."""
        said = {"id": self.id, "store": True, "previous_response_id": self.previous, "background": self.is_background}
        return {name: msgspec.json.encode(value) for name, value in said.items()}

    def lane(self, inner: Lane) -> Lane:
        """The lane of a stream that is kept."""
        self._lane = RecordingLane(inner, self.marks, self.begun)
        return self._lane

    async def ending(self, out: bytes) -> bytes:
        """Store the response whose last frames these are; return what may be told."""
        final = final_in(out)
        if final is None or await self._put(final):
            return out
        return remark(out, _UNKEPT)

    async def spread(self, stream: bytes) -> bytes:
        """Store the response of a whole stream; return what may be told."""
        return await self.ending(remark(stream, self.marks))

    async def whole(self, body: bytes) -> bytes:
        """Store a whole response; return what may be told. Raises StorageFull."""
        members = members_of(body, self.marks)
        encoded = msgspec.json.encode(members)
        if await self._put(Final(members)):
            return encoded
        if self.is_demanded:
            raise StorageFull
        return marked(encoded, _UNKEPT)

    def so_far(self, status: str) -> bytes | None:
        """The response object with what was said of it; None when nothing was."""
        return self._lane.so_far(status) if self._lane is not None else None

    async def rest(self) -> None:
        """Store what was said to a client that has left in the middle (TRANSLATION.md 7.12)."""
        if (body := self.so_far("incomplete")) is not None:
            await self._put(Final(members_of(body)))

    async def write(self, stored: StoredResponse) -> bool:
        """Write a response; one whose beginning was deleted meanwhile keeps the whole conversation itself.

        Raises StoreDown.
        """
        if await self.store.put(stored):
            return True
        return await self.store.put(evolve(stored, previous=None, input=self.joined))

    def record(
        self, members: Mapping[str, msgspec.Raw], status: str = "", lease: float = 0.0, last: int = -1
    ) -> StoredResponse:
        """The row of this response as it stands. Raises MsgspecError or BadRequest for what is no response."""
        now = self.clock.time()
        output, items = read_output(members.get("output"))
        return StoredResponse(
            owner=self.owner,
            id=self.id,
            previous=self.previous,
            status=status or _word(members.get("status")),
            created=int(now),
            expires=now + self.ttl,
            maker=self.maker,
            items=(*self.given, *(item.id for item in items if item.id is not None)),
            input=self.input,
            output=output,
            body=msgspec.json.encode({**members, "output": msgspec.Raw(b"[]")}),
            lease=lease,
            last=last,
        )

    async def _put(self, final: Final) -> bool:
        """Store what has ended; return whether it is stored."""
        if self.is_over:
            return False
        self.is_over = True
        self.exchange.is_stored = await self._store(final)
        return self.exchange.is_stored

    async def _store(self, final: Final) -> bool:
        try:
            stored = self.record(final.response, last=final.number if self.is_background else -1)
        except (msgspec.MsgspecError, UnicodeDecodeError, BadRequest):
            return False  # an odd reply is told all the same
        patience = self.clock.monotonic() + (PATIENCE_S if self.is_background else 0.0)
        while True:
            try:
                return await (self.store.put(stored, only_running=True) if self.is_background else self.write(stored))
            except StoreDown:  # the store has told it
                if self.clock.monotonic() >= patience:
                    return False
            await self.clock.sleep(PAUSE_S)


def _word(raw: msgspec.Raw | None) -> str:
    word: Any = msgspec.json.decode(raw) if raw is not None else None
    return word if isinstance(word, str) and word else "completed"
