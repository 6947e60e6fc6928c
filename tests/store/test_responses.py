"""What every store of responses promises: memory, SQLite and a real Redis alike."""

import asyncio
import os
import sqlite3
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from gateway.store import sqlite as sqlite_store
from gateway.store.memory import MemoryResponses
from gateway.store.open_store import open_responses
from gateway.store.protocol import MAX_LINKS, ChainTooLong, StoreDown, StoredResponse, StoreFull, StoreUnusable
from gateway.store.sqlite import SqliteResponses
from tests.store.redis_server import Redis, needs_redis, server, with_redis

__all__ = ["server"]
MAX = 10_000  # bytes of a chain


def row(name: str, previous: str | None = None, **more: Any) -> StoredResponse:
    given: dict[str, Any] = {
        "owner": "a",
        "id": name,
        "previous": previous,
        "status": "completed",
        "created": 1000,
        "expires": 4600.0,
        "maker": "one:m one#1",
        "items": (f"msg_{name}",),
        "input": b"[]",
        "output": b"[]",
        "body": b'{"output":[]}',
    }
    return StoredResponse(**(given | more))


Open = Callable[..., Awaitable[Any]]


@pytest.fixture
async def opened() -> AsyncIterator[Open]:
    """Open stores by their URL, and close them after the test: uvloop waits for ever for an open connection."""
    stores = []

    async def open_one(url: str, path: Path | None = None) -> Any:
        stores.append(await open_responses(url, path))
        return stores[-1]

    yield open_one
    for store in stores:
        with suppress(StoreDown, OSError):  # closed by the test
            await store.close()


@pytest.fixture(params=["memory", "sqlite", pytest.param("redis", marks=needs_redis)])
async def store(request: pytest.FixtureRequest, opened: Open, tmp_path: Path) -> Any:
    """Open each kind of store in turn, empty."""
    if request.param == "redis":
        made: Redis = request.getfixturevalue("server")
        return await opened(made.url)
    return await opened(f"{request.param}:x", tmp_path / "state.db")


async def test_every_store_keeps_its_promises(store: Any) -> None:
    """Owners are apart, chains are in order, a deleted response is gone, and its children keep their chain."""
    one, two, three = row("resp_1"), row("resp_2", "resp_1"), row("resp_3", "resp_2")
    for stored in (one, two, three):
        assert await store.put(stored)
    assert await store.get("a", "resp_2", 1001) == two
    assert await store.get("b", "resp_2", 1001) is None and await store.get("a", "resp_9", 1001) is None
    assert [link.id for link in await store.chain("a", "resp_3", 1001, 4600, MAX)] == ["resp_1", "resp_2", "resp_3"]
    assert await store.chain("b", "resp_3", 1001, 4600, MAX) == []
    assert (await store.holder("a", "msg_resp_2", 1001)) == two.link
    assert await store.holder("b", "msg_resp_2", 1001) is None and await store.holder("a", "msg_9", 1001) is None
    assert not await store.delete("b", "resp_2", 1001)
    assert await store.delete("a", "resp_2", 1001) and not await store.delete("a", "resp_2", 1001)
    assert await store.get("a", "resp_2", 1001) is None and await store.holder("a", "msg_resp_2", 1001) is None
    assert await store.chain("a", "resp_2", 1001, 4600, MAX) == []
    assert [link.id for link in await store.chain("a", "resp_3", 1001, 4600, MAX)] == ["resp_1", "resp_2", "resp_3"]
    assert await store.delete("a", "resp_3", 1001)
    assert await store.get("a", "resp_1", 1001) == one
    assert await store.chain("a", "resp_3", 1001, 4600, MAX) == []


async def test_only_what_runs_is_written_over(store: Any) -> None:
    """Only a running response is written over, so that the first writer of its end wins."""
    running = row("resp_1", status="in_progress", items=(), lease=1030.0)
    assert await store.put(running)
    assert await store.put(row("resp_1", status="in_progress", items=(), lease=1040.0), only_running=True)
    assert (await store.get("a", "resp_1", 1001)).lease == 1040.0
    assert await store.put(row("resp_1", status="cancelled", items=("msg_9",)), only_running=True)
    assert not await store.put(row("resp_1", status="completed"), only_running=True)
    assert (await store.get("a", "resp_1", 1001)).status == "cancelled"
    assert (await store.holder("a", "msg_9", 1001)).id == "resp_1"
    assert not await store.put(row("resp_2"), only_running=True)


async def test_a_chain_without_its_beginning_is_none(store: Any) -> None:
    """A chain without its beginning is empty: half a conversation would be a different one."""
    await store.put(row("resp_2", "resp_1"))
    assert await store.chain("a", "resp_2", 1001, 4600, MAX) == []


async def test_a_damaged_file_is_refused_by_its_path(opened: Open, tmp_path: Path) -> None:
    """A damaged file raises StoreUnusable with its path and stays as it is."""
    path = tmp_path / "state.db"
    for damage in (b"this is no database at all" * 100, None):
        if damage is not None:
            path.write_bytes(damage)
        else:
            path.unlink()
            store = await opened("sqlite:x", path)
            for number in range(200):
                await store.put(row(f"resp_{number}", body=b"x" * 2000))
            await store.close()
            data = bytearray(path.read_bytes())
            data[8192:40000] = os.urandom(40000 - 8192)
            path.write_bytes(data)
        before = path.read_bytes()
        with pytest.raises(StoreUnusable, match=str(path)):
            await opened("sqlite:x", path)
        assert path.read_bytes() == before
    path.unlink()
    path.mkdir()
    with pytest.raises(StoreUnusable):
        await opened("sqlite:x", path)


async def test_a_chain_is_bounded(store: Any) -> None:
    """A chain beyond its bytes or links raises ChainTooLong; a missing one does not."""
    await store.put(row("resp_1", input=b"x" * 4000))
    await store.put(row("resp_2", "resp_1", output=b"x" * 4000))
    assert len(await store.chain("a", "resp_2", 1001, 0, 8004)) == 2
    with pytest.raises(ChainTooLong):
        await store.chain("a", "resp_2", 1001, 0, 8003)
    previous = None
    for number in range(MAX_LINKS + 1):
        await store.put(row(f"resp_n{number}", previous))
        previous = f"resp_n{number}"
    assert len(await store.chain("a", f"resp_n{MAX_LINKS - 1}", 1001, 0, MAX)) == MAX_LINKS
    with pytest.raises(ChainTooLong):
        await store.chain("a", previous, 1001, 0, MAX)
    for number in range(MAX_LINKS + 1):  # each stays hidden until the last one is deleted
        assert await store.delete("a", f"resp_n{number}", 1001)
    if isinstance(store, MemoryResponses):
        assert len(store) == 2
    if isinstance(store, SqliteResponses):
        assert store.writing.execute("SELECT count(*) FROM responses").fetchone() == (2,)


async def test_nothing_stands_on_what_is_gone(store: Any) -> None:
    """A response whose previous one is deleted, or another owner's, is not stored."""
    assert not await store.put(row("resp_2", "resp_1"))
    assert await store.get("a", "resp_2", 1001) is None
    await store.put(row("resp_1"))
    assert not await store.put(row("resp_2", "resp_1", owner="b"))


async def test_what_runs_keeps_its_beginning(store: Any) -> None:
    """A run keeps its previous response through every write, also when that is deleted."""
    await store.put(row("resp_1", input=b"[1]"))
    await store.put(row("resp_2", "resp_1", status="queued", input=b"[2]"))
    assert await store.delete("a", "resp_1", 1001)
    await store.put(row("resp_2", "resp_1", status="in_progress"), only_running=True)
    await store.put(row("resp_2", "resp_1", items=("m",)), only_running=True)
    links = await store.chain("a", "resp_2", 1001, 0, MAX)
    assert [link.input for link in links] == [b"[1]", b"[2]"] and links[-1].items == ("m",)
    assert await store.delete("a", "resp_2", 1001)
    await store.put(row("resp_1"))  # no hidden row of the same id is left


async def test_a_beginning_lives_as_long_as_its_chain(opened: Open, tmp_path: Path) -> None:
    """An expired response is swept unless a chain has renewed it."""
    for store in (await opened("memory:"), await opened("sqlite:x", tmp_path / "state.db")):
        await store.put(row("resp_1"))
        await store.put(row("resp_2", "resp_1"))
        await store.put(row("resp_3"))
        assert len(await store.chain("a", "resp_2", 4599, 9000, MAX)) == 2
        await store.sweep(4601)
        assert await store.get("a", "resp_1", 4601) is not None and await store.get("a", "resp_3", 4601) is None
        assert len(await store.chain("a", "resp_2", 4601, 0, MAX)) == 2
        await store.sweep(9001)
        assert await store.holder("a", "msg_resp_1", 4601) is None
        await store.close()


async def test_the_oldest_of_who_has_most_go_first() -> None:
    """A full memory store drops the oldest response of the owner that holds most."""
    store = MemoryResponses(most_bytes=10_000)
    await store.put(row("resp_b", owner="b"))
    for number in range(20):
        await store.put(row(f"resp_{number}", output=b"x" * 1000))
    assert await store.get("b", "resp_b", 1001) is not None
    assert await store.get("a", "resp_0", 1001) is None and await store.get("a", "resp_19", 1001) is not None
    await store.put(row("resp_big", output=b"x" * 20_000))
    assert await store.get("a", "resp_big", 1001) is not None, "the newest is always kept"


@pytest.mark.slow
@with_redis
async def test_items_live_as_long_as_their_response(opened: Open, server: Redis) -> None:
    """In Redis items expire with their response, and an expired child does not keep its deleted parent."""
    store = await opened(server.url)
    await store.put(row("resp_1", expires=1000.8))
    await store.put(row("resp_2", "resp_1", expires=1000.8))
    await store.chain("a", "resp_1", 1000, 4600, MAX)
    await asyncio.sleep(1.2)
    held = await store.holder("a", "msg_resp_1", 1001)
    assert held is not None and held.id == "resp_1"
    assert await store.get("a", "resp_2", 1001) is None
    assert await store.delete("a", "resp_1", 1001)
    assert await store.put(row("resp_1")) and await store.get("a", "resp_1", 1001) is not None
    await store.put(row("resp_3", "resp_1", expires=1000.8))
    await store.chain("a", "resp_3", 1000, 4600, MAX)
    await asyncio.sleep(1.2)
    assert await store.delete("a", "resp_1", 1001)
    assert len(await store.chain("a", "resp_3", 1001, 0, MAX)) == 2, "what stands on it is still known"


@with_redis
async def test_a_full_redis_can_be_read(opened: Open, server: Redis) -> None:
    """A full Redis raises StoreFull on writes and still serves reads: OOM is no outage."""
    server.end()
    server.begin("--maxmemory", "3mb", "--maxmemory-policy", "noeviction")
    store = await opened(server.url)
    await store.put(row("resp_1"))
    with pytest.raises(StoreFull):
        for number in range(50):
            await store.put(row(f"resp_x{number}", body=b"x" * 200_000))
    assert await store.get("a", "resp_1", 1001) is not None
    assert len(await store.chain("a", "resp_1", 1001, 9000, MAX)) == 1
    with pytest.raises(StoreFull):
        await store.check()


@with_redis
@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("redis://:wrong@127.0.0.1:PORT/0", "refused"),
        ("redis://127.0.0.1:1/0", "connection refused"),
        ("redis://nowhere.invalid:6379/0", "name is not found"),
    ],
)
async def test_what_is_wrong_is_said(opened: Open, server: Redis, url: str, words: str) -> None:
    """A Redis that cannot be used raises StoreDown in an operator's words, without the password."""
    store = await opened(url.replace("PORT", str(server.port)))
    with pytest.raises(StoreDown, match=words) as caught:
        await store.check()
    assert "wrong" not in str(caught.value)


@with_redis
async def test_redis_behind_tls(opened: Open, server: Redis) -> None:
    """A rediss:// URL with the signer's certificate works; a missing part is named in the error."""
    if not server.begin_tls():
        pytest.skip("openssl is not installed")
    tls, plain = server.url.replace("redis:", "rediss:"), server.url
    certificate = server.folder / "cert.pem"
    store = await opened(f"{tls}?ssl_ca_certs={certificate}")
    assert await store.put(row("resp_1")) and await store.get("a", "resp_1", 1001) == row("resp_1")
    await store.close()
    wrong = {tls: "ssl_ca_certs=PATH", f"{tls}?ssl_ca_certs=/nowhere.pem": "No such file", plain: "rediss://"}
    for url, words in wrong.items():
        store = await opened(url)
        with pytest.raises(StoreDown, match=words) as caught:
            await store.check()
        assert "sesame" not in str(caught.value)
        await store.close()


async def test_a_url_with_nonsense_in_it(opened: Open) -> None:
    """An unknown option in a Redis URL raises StoreUnusable with the option's name."""
    with pytest.raises(StoreUnusable, match="foo"):
        await opened("redis://127.0.0.1:1/0?foo=bar")


async def test_a_file_is_one_gateways(opened: Open, tmp_path: Path) -> None:
    """A second gateway on one SQLite file is refused: it would take the first one's runs for dead."""
    path = tmp_path / "state.db"
    store = await opened("sqlite:x", path)
    with pytest.raises(StoreUnusable, match="another gateway"):
        await opened("sqlite:x", path)
    await store.close()
    await (await opened("sqlite:x", path)).close()


async def test_other_files_are_left_alone(opened: Open, tmp_path: Path) -> None:
    """Another program's database, or a later schema's, raises StoreUnusable."""
    path = tmp_path / "state.db"
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE customers (name TEXT)")
    db.close()
    with pytest.raises(StoreUnusable, match="another program"):
        await opened("sqlite:x", path)
    path.unlink()
    await (await opened("sqlite:x", path)).close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(StoreUnusable, match="schema 99"):
        await opened("sqlite:x", path)


async def test_a_disk_is_full_before_nothing_can_be_deleted(
    opened: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk counts as full while there is still room to delete; reads and deletes still work."""
    store = await opened("sqlite:x", tmp_path / "state.db")
    await store.put(row("resp_1"))
    monkeypatch.setattr(sqlite_store, "RESERVE", 1 << 60)
    with pytest.raises(StoreFull, match="MiB of the disk"):
        await store.put(row("resp_2"))
    with pytest.raises(StoreFull):
        await store.check()
    assert len(await store.chain("a", "resp_1", 1001, 9000, MAX)) == 1
    assert await store.delete("a", "resp_1", 1001)


async def test_a_file_that_is_taken_away(opened: Open, tmp_path: Path) -> None:
    """If the file is moved away, a write raises StoreDown: nothing is acknowledged that is not on disk."""
    store = await opened("sqlite:x", tmp_path / "state.db")
    (tmp_path / "state.db").rename(tmp_path / "other.db")
    with pytest.raises(StoreDown, match="the file is gone"):
        await store.put(row("resp_1"))
    await store.close()
    with pytest.raises(StoreDown):
        await store.get("a", "resp_1", 1001)


async def test_one_bad_row_costs_no_other(opened: Open, tmp_path: Path) -> None:
    """In one group commit a bad row raises alone, and the other rows are stored."""
    store = await opened("sqlite:x", tmp_path / "state.db")
    rows = [row("resp_1"), row("resp_\ud800", items=()), row("resp_3", maker="\ud800"), row("resp_4"), row("resp_4")]
    answers = await asyncio.gather(*(store.put(one) for one in rows), return_exceptions=True)
    assert [isinstance(answer, StoreDown) for answer in answers] == [False, True, True, False, True]
    assert await store.put(row("resp_5"))
    waiting = asyncio.create_task(store.put(row("resp_6")))
    await asyncio.sleep(0)
    waiting.cancel()  # a client that leaves
    assert await store.put(row("resp_7"))


async def test_a_missing_package_is_named(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the redis package StoreUnusable says in one line what to install."""
    monkeypatch.setitem(sys.modules, "redis.asyncio", None)
    for module in ("redis", "redis_client", "redis_sums"):
        monkeypatch.delitem(sys.modules, f"gateway.store.{module}")
    with pytest.raises(StoreUnusable, match="pip install"):
        await opened("redis://127.0.0.1:1")
