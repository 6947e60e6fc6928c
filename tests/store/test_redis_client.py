"""Redis by its URL, by Sentinel, and what is said of a cluster."""

import asyncio
import subprocess
import time
from pathlib import Path

import pytest

from gateway.store.counters import Claim, Fund, Settlement, Slot, Window
from gateway.store.protocol import StoreDown, StoreUnusable
from gateway.store.redis_client import RedisClient
from gateway.store.redis_counters import RedisCounters
from gateway.store.schemes import store_problem
from tests.flows.processes import free_port
from tests.store.redis_server import Redis, server, with_redis

__all__ = ["server"]
pytestmark = pytest.mark.slow
NOW = time.time()


@with_redis
async def test_sentinels_say_where_the_server_is(server: Redis, tmp_path: Path) -> None:
    """The server's address comes from the Sentinels; an unknown name of a server is said in words."""
    port = free_port()
    config = tmp_path / "sentinel.conf"
    config.write_text(
        f"port {port}\nbind 127.0.0.1\nsentinel monitor main 127.0.0.1 {server.port} 1\n"
        "sentinel auth-pass main sesame\n"
    )
    command = ["redis-server", str(config), "--sentinel"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as sentinel:
        try:
            url = f"redis+sentinel://:sesame@127.0.0.1:1,127.0.0.1:{port}/main/0"
            counters = RedisCounters.open(url)
            await _once_up(counters)
            window = Window("w", 1.0, 2.0)
            found = [(await counters.take(Claim(((window, 1.0),)), NOW)).refused for _ in range(3)]
            assert found == [None, None, window]
            await counters.close()
            other = RedisCounters.open(url.replace("/main/", "/other/"))
            with pytest.raises(StoreDown, match="no Sentinel knows a server of this name"):
                await other.renew()
            with pytest.raises(StoreDown):
                await other.close()
        finally:
            sentinel.terminate()
            sentinel.wait(5)


async def _once_up(counters: RedisCounters) -> None:
    async with asyncio.timeout(10):
        while True:
            try:
                await counters.renew()
                return
            except StoreDown:
                await asyncio.sleep(0.1)


@pytest.mark.parametrize(
    "url", ["redis+sentinel://h", "redis+sentinel:///main", "redis+sentinel://h/main/x", "redis+sentinel://h:x/main/0"]
)
def test_a_sentinel_url_that_cannot_be_used(url: str) -> None:
    """What is wrong with the URL is said before anything is connected, and never the URL."""
    if store_problem(url) is None:
        with pytest.raises(StoreUnusable, match="options are not understood"):
            RedisClient.open(url, {})


def test_a_cluster_is_refused_in_words() -> None:
    """A cluster's URL names the cure."""
    problem = store_problem("redis+cluster://h:6379")
    assert problem is not None and "Sentinel" in problem


@with_redis
async def test_a_server_of_a_cluster_is_refused_in_words(server: Redis) -> None:
    """A server that is part of a cluster says so at the first script."""
    server.end()
    server.begin("--cluster-enabled", "yes")
    counters = RedisCounters.open(server.url)
    with pytest.raises(StoreDown, match="part of a cluster"):
        await counters.take(Claim(slots=(Slot("a", 1), Slot("b", 1))), NOW)
    with pytest.raises(StoreDown):
        await counters.close()


@with_redis
async def test_an_answer_that_was_lost_leaves_nothing(server: Redis) -> None:
    """What a question has taken whose answer never came is given back; a question that was given up takes nothing."""
    counters, other = RedisCounters.open(server.url), RedisCounters.open(server.url)
    slot, fund, window = Slot("s", 3), Fund("f", 100.0, 1, NOW + 1000), Window("w", 1e-6, 100.0)
    claim = Claim(((window, 40.0),), (slot,), ((fund, 60.0),))
    await counters.renew()
    asked: list[object] = []
    run = counters._client.run

    async def lose(name: str, given: object, keys: object = ()) -> object:
        answer = await run(name, given, keys)  # type: ignore[arg-type]
        if name == "take":
            asked.append(given)
            raise StoreDown("lost")
        return answer

    object.__setattr__(counters, "_client", type("Lossy", (), {"run": staticmethod(lose), "call": counters._client.call, "close": counters._client.close})())  # fmt: skip
    with pytest.raises(StoreDown, match="lost"):
        await counters.take(claim, NOW)
    async with asyncio.timeout(5):
        while (await other.spent([fund]))[0][1]:
            await asyncio.sleep(0.01)
    taken = await other.take(claim, NOW)
    assert taken.refused is None and taken.left[0] == pytest.approx(60.0) and len(asked) == 1
    await other.settle("b", [Settlement((), (slot,), ((fund, 60.0, 10.0),))], NOW)
    await other.settle("b", [Settlement((), (slot,), ((fund, 60.0, 10.0),))], NOW)
    assert await other.spent([fund]) == [(10.0, 0.0)]
    for one in (counters, other):
        await one.close()


@with_redis
async def test_many_claims_of_many_tokens_are_exact(server: Redis) -> None:
    """A hundred claims of a thousand tokens fit into a window of a hundred thousand, and not one more."""
    counters = RedisCounters.open(server.url)
    window = Window("big", 100_000 / 86400, 100_000)
    found = await asyncio.gather(*(counters.take(Claim(((window, 1000.0),)), NOW) for _ in range(130)))
    assert sum(taken.refused is None for taken in found) == 100
    await counters.close()
