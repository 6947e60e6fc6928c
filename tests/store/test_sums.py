"""The sums of what was used, in every store: added to, grouped, bounded, swept, and never twice."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gateway.store import sums as module
from gateway.store.open_store import open_responses
from gateway.store.protocol import Responses, StoreDown
from gateway.store.sqlite_sums import read_file
from gateway.store.sums import NAMES, NUMBERS, Query, Row
from tests.store.redis_server import Redis, needs_redis, server

__all__ = ["server"]
Open = Callable[[], Awaitable[Responses]]
TODAY = datetime.now(UTC).date()
DAY = TODAY.isoformat()
STORES = ["memory", "sqlite", pytest.param("redis", marks=needs_redis)]


def row(day: str = DAY, requests: int = 1, cost: int = 5, **names: str) -> Row:
    return (day, *(names.get(name, "") for name in NAMES[1:])), (requests, 0, 7, 0, 0, 3, 0, cost, 0, 0)


@pytest.fixture(params=STORES)
async def store(request: Any, tmp_path: Path) -> AsyncIterator[Responses]:
    kind = request.param
    url = request.getfixturevalue("server").url if kind == "redis" else f"{kind}:x".replace("memory:x", "memory:")
    opened = await open_responses(url, tmp_path / "g.db" if kind == "sqlite" else None)
    yield opened
    await opened.close()


async def read(store: Responses, *by: str, since: str = "2000-01-01", **where: str) -> dict[Any, tuple[int, int]]:
    rows = await store.read_sums(Query(by, since, "2999-12-31", tuple(where.items())))
    return {names: (numbers[0], numbers[NUMBERS.index("cost")]) for names, numbers in rows}


async def test_rows_add_up(store: Responses) -> None:
    """Equal rows are one; whoever reads chooses what is told apart, which days, and which rows."""
    before = (TODAY - timedelta(1)).isoformat()
    await store.add_sums("1", [row(key="a", model="m"), row(key="a", model="n"), row(before, key="b")])
    await store.add_sums("2", [row(key="a", model="m", cost=10**15)])
    assert await read(store, "key") == {("a",): (3, 10**15 + 10), ("b",): (1, 5)}
    assert await read(store, "key", "model", since=DAY) == {("a", "m"): (2, 10**15 + 5), ("a", "n"): (1, 5)}
    assert await read(store, "day") == {(before,): (1, 5), (DAY,): (3, 10**15 + 10)}
    assert await read(store, key="b") == {(): (1, 5)} and await read(store, key="c") == {}


async def test_so_many_sessions_a_day(store: Responses, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the bound of a day new sessions are one, and those that are known go on."""
    most = module.MAX_A_DAY["session"]
    rows = [row(key="a", session=f"s{number}") for number in range(most + 20)]
    for at in range(0, len(rows), 2000):
        await store.add_sums(f"b{at}", rows[at : at + 2000])
    await store.add_sums("again", [row(key="a", session="s1")])
    found = await read(store, "session")
    assert len(found) == most + 1 and found["other",][0] == 20 and found["s1",][0] == 2
    assert await read(store) == {(): (most + 21, 5 * (most + 21))}


async def test_a_batch_of_a_file_is_added_once(tmp_path: Path) -> None:
    """A batch that was committed while nobody waited for it any more is told again, and not added again."""
    store = await open_responses("sqlite:x", tmp_path / "g.db")
    for name in ("same", "same", "next"):
        await store.add_sums(name, [row(key="a")])
    assert await read(store, "key") == {("a",): (2, 10)}
    await store.close()


async def test_sums_outlive_their_sessions(store: Responses) -> None:
    """After a month the sessions of a day are folded, and nothing else is lost (in memory the day itself is)."""
    old = (TODAY - timedelta(60)).isoformat()
    await store.add_sums(
        "1", [row(old, key="a", session="x"), row(old, key="a", session="y"), row(key="a", session="z")]
    )
    await store.sweep(datetime.now(UTC).timestamp())
    found = await read(store, "day")
    assert found[DAY,] == (1, 5) and found.get((old,), (2, 10)) == (2, 10)
    assert ("z",) in await read(store, "session", since=DAY)


@pytest.mark.parametrize("name", [pytest.param("redis", marks=needs_redis)])
async def test_a_batch_is_added_once(name: str, server: Redis) -> None:
    """A batch whose answer was lost is told again, and not added again."""
    store = await open_responses(server.url, None)
    for _ in range(3):
        await store.add_sums("same", [row(key="a")])
    assert await read(store, "key") == {("a",): (1, 5)}
    server.end()
    with pytest.raises(StoreDown):
        await store.add_sums("next", [row(key="a")])
    await store.close()


async def test_the_file_can_be_read_beside_the_gateway(tmp_path: Path) -> None:
    """`gateway usage` reads the file while a gateway writes it; a file of an older gateway has no sums."""
    file = tmp_path / "g.db"
    query = Query(("key",), "2000-01-01", "2999-12-31")
    assert read_file(file, query) == []
    store = await open_responses("sqlite:x", file)
    await store.add_sums("1", [row(key="a")])
    assert [names for names, _ in await asyncio.to_thread(read_file, file, query)] == [("a",)]
    await store.close()
    old = tmp_path / "old.db"
    sqlite3.connect(old).close()
    assert read_file(old, query) == []
    (tmp_path / "bad.db").write_bytes(b"x" * 4096)
    with pytest.raises(OSError, match="bad"):
        read_file(tmp_path / "bad.db", query)
