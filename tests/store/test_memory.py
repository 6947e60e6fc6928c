"""The store in memory: what is its own beyond what every store promises (`test_responses.py`)."""

from typing import Any

from gateway.store.memory import MemoryResponses
from gateway.store.protocol import StoredResponse


def row(name: str, previous: str | None = None, **more: Any) -> StoredResponse:
    given: dict[str, Any] = {
        "owner": "a",
        "id": name,
        "previous": previous,
        "status": "completed",
        "created": 1000,
        "expires": 2000.0,
        "maker": "one:m one#1",
        "items": (f"msg_{name}",),
        "input": b"[]",
        "output": b"[]",
        "body": b"{}",
    }
    return StoredResponse(**(given | more))


async def kept(store: MemoryResponses, *names: str, owner: str = "a") -> list[str]:
    return [name for name in names if await store.get(owner, name, 1001.0) is not None]


async def test_each_store_is_empty_at_first() -> None:
    """Opening makes a store of its own, which needs no file and is always there."""
    store, other = await MemoryResponses.open("memory:", None), await MemoryResponses.open("memory:", None)
    await store.put(row("resp_1"))
    await store.check()
    await store.close()
    assert (len(store), len(other)) == (1, 0)


async def test_an_expired_response_is_gone_when_it_is_asked_for() -> None:
    """At the second of its end a response is missing, without a sweep, and its item with it."""
    store = MemoryResponses()
    await store.put(row("resp_1"))
    assert await store.get("a", "resp_1", 1999.9) is not None
    assert await store.holder("a", "msg_resp_1", 2000.0) is None
    assert len(store) == 0


async def test_a_sweep_takes_what_has_expired() -> None:
    """A sweep drops the expired responses of all owners, and hidden ones that only those needed."""
    store = MemoryResponses()
    await store.put(row("resp_1", expires=9000.0))
    await store.put(row("resp_2", "resp_1"))
    await store.put(row("resp_3", owner="b"))
    await store.put(row("resp_4", owner="b", expires=9000.0))
    assert await store.delete("a", "resp_1", 1001.0) and len(store) == 4
    await store.sweep(2000.0)
    assert len(store) == 1 and await kept(store, "resp_4", owner="b") == ["resp_4"]


async def test_a_hidden_chain_goes_with_its_last_response() -> None:
    """Deleted responses stay for the one that continues them, and go with it, as far as nobody else needs them."""
    store = MemoryResponses()
    for name, previous in (("1", None), ("2", "1"), ("3", "2"), ("other", "1")):
        await store.put(row(name, previous))
    for name in ("1", "2"):
        assert await store.delete("a", name, 1001.0)
    assert len(store) == 4 and await kept(store, "1", "2", "3", "other") == ["3", "other"]
    await store.delete("a", "3", 1001.0)
    assert len(store) == 2, "the first is still needed by the other"
    await store.delete("a", "other", 1001.0)
    assert len(store) == 0


async def test_what_is_used_lives_longest() -> None:
    """Beyond its bytes the store drops what was longest unused: a chain that is continued counts as used."""
    store = MemoryResponses(most_bytes=5000)
    for name in ("1", "2", "3"):
        await store.put(row(name, output=b"x" * 1000))
    await store.chain("a", "1", 1001.0, 3000.0, 10_000)
    await store.put(row("4", output=b"x" * 1000))
    assert await kept(store, "1", "2", "3", "4") == ["1", "3", "4"]


async def test_room_is_given_back() -> None:
    """Deleted responses and the old state of a run no longer count towards the bytes."""
    store = MemoryResponses(most_bytes=5000)
    await store.put(row("keep"))
    for number in range(20):
        await store.put(row(f"r{number}", output=b"x" * 2000))
        await store.delete("a", f"r{number}", 1001.0)
    await store.put(row("run", status="queued"))
    for _ in range(20):
        await store.put(row("run", status="in_progress", output=b"x" * 2000), only_running=True)
    assert await kept(store, "keep", "run") == ["keep", "run"]


async def test_the_items_of_a_run_are_those_of_its_last_state() -> None:
    """When a run is written over, the items of its old state are found no more."""
    store = MemoryResponses()
    await store.put(row("run", status="queued", items=("old",)))
    await store.put(row("run", items=("new",)), only_running=True)
    assert await store.holder("a", "old", 1001.0) is None
    found = await store.holder("a", "new", 1001.0)
    assert found is not None and found.id == "run"
