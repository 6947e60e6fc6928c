"""The store in the memory of one process: a restart loses everything."""

from collections import OrderedDict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from attrs import define, evolve, field

from gateway.store.protocol import MAX_LINKS, ChainTooLong, Conversation, Link, StoredResponse
from gateway.store.sums import SESSIONS_KEPT_DAYS, MemorySums, Query, Row

MAX_BYTES = 256 * 1024 * 1024
MAX_CONVERSATIONS = 20_000  # names; the turns count as responses do
ResponseKey = tuple[str, str]  # owner, id


@define
class MemoryResponses:
    """Responses in this process, at most `most_bytes` of them.

    Beyond that, the oldest response of the owner with the most bytes is dropped: one owner does not push out another.
    Of `most_conversations` likewise, by their number.
    """

    most_bytes: int = MAX_BYTES
    most_conversations: int = MAX_CONVERSATIONS
    _kept: dict[str, OrderedDict[str, StoredResponse]] = field(factory=dict, init=False)  # by owner, by last use
    _hidden: set[ResponseKey] = field(factory=set, init=False)  # deleted, kept for a later response
    _items: dict[ResponseKey, str] = field(factory=dict, init=False)
    _children: dict[ResponseKey, int] = field(factory=dict, init=False)
    _bytes: dict[str, int] = field(factory=dict, init=False)  # by owner
    _named: dict[str, OrderedDict[str, Conversation]] = field(factory=dict, init=False)  # by owner, by last write

    _sums: MemorySums = field(factory=MemorySums, init=False)

    @classmethod
    async def open(cls, url: str, file: Path | None) -> "MemoryResponses":
        """Make an empty store."""
        return cls()

    def __len__(self) -> int:
        """Return the number of responses, those that are hidden included."""
        return sum(map(len, self._kept.values()))

    async def put(self, stored: StoredResponse, *, only_running: bool = False) -> bool:
        owner, key = stored.owner, (stored.owner, stored.id)
        mine = self._kept.setdefault(owner, OrderedDict())
        before = mine.get(stored.id)
        if only_running:
            if before is None or not before.is_running or key in self._hidden:
                return False
            stored = evolve(stored, previous=before.previous, input=before.input, created=before.created)
            self._unlist(before)
        elif stored.previous is not None:
            if stored.previous not in mine:
                return False
            parent = (owner, stored.previous)
            self._children[parent] = self._children.get(parent, 0) + 1
        mine[stored.id] = stored
        self._bytes[owner] = self._bytes.get(owner, 0) + _size(stored)
        self._items |= {(owner, item): stored.id for item in stored.items}
        self._make_room(key)
        return True

    async def get(self, owner: str, name: str, now: float) -> StoredResponse | None:
        return None if (owner, name) in self._hidden else self._find(owner, name, now)

    async def chain(self, owner: str, name: str, now: float, expires: float, most: int) -> list[Link]:
        found: list[StoredResponse] = []
        at: str | None = name if (owner, name) not in self._hidden else ""
        size = 0
        while at is not None:
            one = self._find(owner, at, now)
            if one is None:
                return []
            found.append(one)
            size += one.size
            if len(found) > MAX_LINKS or size > most:
                raise ChainTooLong
            at = one.previous
        for one in found:
            if one.expires < expires:
                self._kept[owner][one.id] = evolve(one, expires=expires)
                self._kept[owner].move_to_end(one.id)
        return [one.link for one in reversed(found)]

    async def holder(self, owner: str, item: str, now: float) -> Link | None:
        name = self._items.get((owner, item))
        found = None if name is None else await self.get(owner, name, now)
        return None if found is None else found.link

    async def delete(self, owner: str, name: str, now: float) -> bool:
        if await self.get(owner, name, now) is None:
            return False
        if self._children.get((owner, name)):
            self._hidden.add((owner, name))
        else:
            self._drop(owner, name)
        return True

    async def put_conversation(self, conversation: Conversation, now: float) -> bool:
        owner, name = conversation.owner, conversation.id
        before = self._named[owner].get(name) if owner in self._named else None
        if (before.version if before is not None else 0) != conversation.version - 1:
            return False
        self._named.setdefault(owner, OrderedDict())[name] = conversation
        self._named[owner].move_to_end(name)
        while sum(map(len, self._named.values())) > self.most_conversations:
            largest = max(self._named, key=lambda one: len(self._named[one]))
            self._forget(largest, next(iter(self._named[largest])))
        return True

    async def get_conversation(self, owner: str, name: str, now: float) -> Conversation | None:
        found = self._named[owner].get(name) if owner in self._named else None
        return None if found is None or found.expires <= now else found

    async def delete_conversation(self, owner: str, name: str, now: float) -> bool:
        is_there = await self.get_conversation(owner, name, now) is not None
        if is_there:
            self._forget(owner, name)
        return is_there

    async def add_sums(self, batch: str, rows: Sequence[Row]) -> None:
        self._sums.add(rows)

    async def read_sums(self, query: Query) -> list[Row]:
        return self._sums.read(query)

    async def sweep(self, now: float) -> None:
        self._sums.sweep((datetime.fromtimestamp(now, UTC).date() - timedelta(SESSIONS_KEPT_DAYS)).isoformat())
        for owner, named in list(self._named.items()):
            for name in [name for name, one in named.items() if one.expires <= now]:
                self._forget(owner, name)
        for owner, mine in list(self._kept.items()):
            for name in [name for name, one in mine.items() if one.expires <= now]:
                if name in mine:
                    self._drop(owner, name)

    async def check(self) -> None:
        """Do nothing: memory is always there."""

    async def close(self) -> None:
        """Do nothing: no file or connection is open."""

    def _forget(self, owner: str, name: str) -> None:
        del self._named[owner][name]
        if not self._named[owner]:
            del self._named[owner]

    def _find(self, owner: str, name: str, now: float) -> StoredResponse | None:
        found = self._kept[owner].get(name) if owner in self._kept else None
        if found is not None and found.expires <= now:
            self._drop(owner, name)
            return None
        return found

    def _make_room(self, newest: ResponseKey) -> None:
        while sum(self._bytes.values()) > self.most_bytes:
            owner = max(self._bytes, key=self._bytes.__getitem__)
            oldest = next(iter(self._kept[owner]))
            if (owner, oldest) == newest:
                return
            self._drop(owner, oldest)

    def _drop(self, owner: str, name: str) -> None:
        """Drop a response, and those hidden ones before it in its chain that no other response needs."""
        at: str | None = name
        while at is not None and (gone := self._kept[owner].pop(at, None)) is not None:
            self._hidden.discard((owner, at))
            self._unlist(gone)
            if not self._kept[owner]:
                del self._kept[owner], self._bytes[owner]
            if gone.previous is None:
                return
            parent = (owner, gone.previous)
            left = self._children.pop(parent, 1) - 1
            if left:
                self._children[parent] = left
            at = gone.previous if not left and parent in self._hidden else None

    def _unlist(self, gone: StoredResponse) -> None:
        self._bytes[gone.owner] -= _size(gone)
        for item in gone.items:
            if self._items.get((gone.owner, item)) == gone.id:
                del self._items[gone.owner, item]


def _size(stored: StoredResponse) -> int:
    return stored.size + len(stored.body) + 512
