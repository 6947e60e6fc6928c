"""What every store promises of conversations: memory, SQLite and a real Redis alike."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from gateway.store import turns
from gateway.store.memory import MemoryResponses
from gateway.store.open_store import open_responses
from gateway.store.protocol import Conversation, StoreDown, StoredResponse
from gateway.store.turns import add_turn, delete_turns, turn_of
from tests.store.redis_server import Redis, needs_redis, server

__all__ = ["server"]
NOW = 1001.0


def named(name: str = "conv_1", **more: Any) -> Conversation:
    given: dict[str, Any] = {"owner": "a", "id": name, "created": 1000, "expires": 4600.0}
    return Conversation(**(given | more))


def turn(name: str, **more: Any) -> StoredResponse:
    given: dict[str, Any] = {"owner": "a", "id": f"turn_{name}", "previous": None, "status": "completed"}
    given |= {"created": 1000, "expires": 4600.0, "maker": "", "items": (), "input": b"[]", "output": b"[]"}
    return StoredResponse(**(given | {"body": b"{}"} | more))


@pytest.fixture(params=["memory", "sqlite", pytest.param("redis", marks=needs_redis)])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Any]:
    """Open each kind of store in turn, empty."""
    made: Redis | None = request.getfixturevalue("server") if request.param == "redis" else None
    opened = await open_responses(made.url if made is not None else f"{request.param}:x", tmp_path / "state.db")
    yield opened
    with suppress(StoreDown, OSError):
        await opened.close()


async def names_in(store: Any, name: str = "conv_1") -> list[str]:
    found = await store.get_conversation("a", name, NOW)
    return [link.id for link in await store.chain("a", found.head, NOW, 0.0, 10_000)]


async def test_a_conversation_is_its_owners(store: Any) -> None:
    """A conversation comes back as it was written, to its owner alone, until it expires or is deleted."""
    one = named(metadata=b'{"a":"b"}', gone=("msg_1",))
    assert await store.put_conversation(one, NOW)
    assert await store.get_conversation("a", "conv_1", NOW) == one
    assert await store.get_conversation("b", "conv_1", NOW) is None
    assert await store.get_conversation("a", "conv_2", NOW) is None
    assert not await store.delete_conversation("b", "conv_1", NOW)
    assert await store.delete_conversation("a", "conv_1", NOW)
    assert not await store.delete_conversation("a", "conv_1", NOW)
    assert await store.get_conversation("a", "conv_1", NOW) is None


async def test_only_the_next_version_is_written(store: Any) -> None:
    """Of two writers that have read one version, the second is told; nothing is written over unseen."""
    assert not await store.put_conversation(named(version=2), NOW)
    assert await store.put_conversation(named(), NOW)
    assert not await store.put_conversation(named(metadata=b'{"x":"y"}'), NOW)
    assert await store.put_conversation(named(version=2, metadata=b'{"v":"2"}'), NOW)
    assert not await store.put_conversation(named(version=2, metadata=b'{"v":"other"}'), NOW)
    assert (await store.get_conversation("a", "conv_1", NOW)).metadata == b'{"v":"2"}'


async def test_turns_that_come_at_once_are_all_there(store: Any) -> None:
    """Turns that are added at the same time are all kept, one behind the other."""
    one = named()
    await store.put_conversation(one, NOW)
    added = await asyncio.gather(*(add_turn(store, one, turn(f"{number}"), NOW) for number in range(6)))
    assert all(added)
    assert sorted(await names_in(store)) == [f"turn_{number}" for number in range(6)]


async def test_no_turn_without_its_conversation(store: Any) -> None:
    """A turn of a conversation that was deleted meanwhile is not added, and not left behind."""
    one = named()
    await store.put_conversation(one, NOW)
    await store.delete_conversation("a", "conv_1", NOW)
    assert not await add_turn(store, one, turn("1"), NOW)
    assert await store.get("a", "turn_1", NOW) is None


async def test_turns_go_with_their_conversation(store: Any) -> None:
    """Deleting all turns leaves those that a response continues to that response alone."""
    one = named()
    await store.put_conversation(one, NOW)
    for name in ("1", "2", "3"):
        assert await add_turn(store, await store.get_conversation("a", "conv_1", NOW), turn(name), NOW)
    await store.put(turn("x", id="resp_2", previous="turn_1"))
    await delete_turns(store, await store.get_conversation("a", "conv_1", NOW), NOW)
    for name in ("turn_1", "turn_2", "turn_3"):
        assert await store.get("a", name, NOW) is None
    assert [link.id for link in await store.chain("a", "resp_2", NOW, 0.0, 10_000)] == ["turn_1", "resp_2"]
    assert await store.delete("a", "resp_2", NOW)
    await delete_turns(store, named(), NOW)


async def test_a_conversation_lives_as_long_as_its_newest_turn(store: Any) -> None:
    """A turn keeps its conversation for as long as itself."""
    await store.put_conversation(named(), NOW)
    assert await add_turn(store, named(), turn("1", expires=9000.0), NOW)
    assert (await store.get_conversation("a", "conv_1", NOW)).expires == 9000.0


async def test_what_has_expired_is_gone(tmp_path: Path) -> None:
    """An expired conversation is missing before the sweep, and swept (Redis does so by its own clock)."""
    for url in ("memory:x", "sqlite:x"):
        store: Any = await open_responses(url, tmp_path / "state.db")
        await store.put_conversation(named(), NOW)
        assert await store.get_conversation("a", "conv_1", 4601) is None
        assert not await store.delete_conversation("a", "conv_1", 4601)
        await store.sweep(4601)
        assert await store.get_conversation("a", "conv_1", NOW) is None
        await store.close()


async def test_names_in_memory_are_bounded() -> None:
    """Beyond the bound the oldest conversation of the owner with the most is dropped."""
    store = MemoryResponses(most_conversations=3)
    await store.put_conversation(named("conv_b", owner="b"), NOW)
    for number in range(5):
        await store.put_conversation(named(f"conv_{number}"), NOW)
    kept = [await store.get_conversation("a", f"conv_{number}", NOW) is not None for number in range(5)]
    assert kept == [False, False, False, True, True]
    assert await store.get_conversation("b", "conv_b", NOW) is not None


async def test_a_lost_turn_is_no_endless_try() -> None:
    """A conversation whose newest turn is lost takes no other: half a conversation would be a different one."""
    store = MemoryResponses()
    await store.put_conversation(named(head="turn_lost"), NOW)
    assert not await add_turn(store, named(head="turn_lost"), turn("1"), NOW)


async def test_who_never_wins_gives_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Adding ends after TRIES, however fast the others are, and leaves nothing behind."""

    class Contested(MemoryResponses):
        async def put_conversation(self, conversation: Conversation, now: float) -> bool:
            found = await self.get_conversation("a", "conv_1", now)
            if found is not None:
                moved = evolve(found, version=found.version + 1)
                await MemoryResponses.put_conversation(self, moved, now)
            return await MemoryResponses.put_conversation(self, conversation, now)

    monkeypatch.setattr(turns, "TRIES", 3)
    store = Contested()
    await store.put_conversation(named(), NOW)
    assert not await add_turn(store, named(), turn("1"), NOW)
    assert len(store) == 0


def test_a_turn_is_no_response() -> None:
    """The turn of a response has its items, but neither its id nor its place in the index of items."""
    made = turn_of(turn("x", id="resp_12", items=("msg_1",), output=b'[{"id":"msg_1"}]', body=b'{"a":1}'))
    assert (made.id, made.items, made.output, made.body) == ("turn_12", (), b'[{"id":"msg_1"}]', b"{}")


async def test_a_file_of_the_first_schema_is_migrated(tmp_path: Path) -> None:
    """A file of the gateway before conversations opens with all that is in it, and takes conversations."""
    path = tmp_path / "state.db"
    store: Any = await open_responses("sqlite:x", path)
    await store.put(turn("x", id="resp_1"))
    await store.close()
    with sqlite3.connect(path) as db:
        db.execute("DROP TABLE conversations")
        db.execute("PRAGMA user_version = 1")
    db.close()
    store = await open_responses("sqlite:x", path)
    assert await store.get("a", "resp_1", NOW) is not None
    assert await store.put_conversation(named(), NOW)
    await store.close()
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (3,)
    db.close()
