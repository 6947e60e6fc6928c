"""Redis by its URL, by Sentinel, and what is said of a cluster."""

import asyncio
import contextlib
import subprocess
import time
from pathlib import Path

import pytest
from attrs import define, field

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
    server.begin("--cluster-enabled", "yes", "--cluster-port", str(free_port()))
    counters = RedisCounters.open(server.url)
    try:
        for _ in range(2):
            with pytest.raises(StoreDown, match="part of a cluster"):
                await counters.take(Claim(slots=(Slot("a", 1), Slot("b", 1))), NOW)
    finally:
        with contextlib.suppress(StoreDown):
            await counters.close()


@define
class Losing:
    """A way to Redis on which the next `lose` answers are lost, with their connections."""

    server: int
    lose: int = 0
    port: int = 0
    lost: int = 0
    _tasks: set[asyncio.Task[None]] = field(factory=set)

    async def begin(self) -> asyncio.Server:
        made = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        self.port = made.sockets[0].getsockname()[1]
        return made

    async def end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        behind_reader, behind = await asyncio.open_connection("127.0.0.1", self.server)
        asking = asyncio.create_task(self._copy(reader, behind))
        try:
            while data := await behind_reader.read(65536):
                if self.lose:
                    self.lose -= 1
                    self.lost += 1
                    break
                writer.write(data)
        finally:
            asking.cancel()
            for one in (behind, writer):
                one.transport.abort()

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)


@with_redis
@pytest.mark.parametrize("lost", [1, 2])
async def test_an_answer_that_was_lost_leaves_nothing(server: Redis, lost: int) -> None:
    """A question is not answered twice when its answer was lost once; lost twice, what it has taken is given back."""
    way = Losing(server.port)
    listening = await way.begin()
    counters, other = (
        RedisCounters.open(server.url.replace(str(server.port), str(way.port))),
        RedisCounters.open(server.url),
    )
    slot, fund, window = Slot("s", 3), Fund("f", 100.0, 1, NOW + 1000), Window("w", 1e-6, 100.0)
    claim = Claim(((window, 40.0),), (slot,), ((fund, 60.0),))
    await counters.renew()
    assert (await counters.take(Claim(slots=(Slot("warm", 1),)), NOW)).refused is None  # the script is known now
    way.lose = lost
    if lost == 1:
        assert (await counters.take(claim, NOW)).refused is None
        assert await other.spent([fund]) == [(0.0, 60.0)]
        await counters.settle("a", [Settlement(((window, -40.0),), (slot,), ((fund, 60.0, 0.0),))], NOW)
    else:
        with pytest.raises(StoreDown):
            await counters.take(claim, NOW)
    for _ in range(200):
        if not (await other.spent([fund]))[0][1]:
            break
        await asyncio.sleep(0.01)
    assert way.lost == lost
    taken = await other.take(claim, NOW)
    for _ in range(2):  # a batch is settled once
        await other.settle("b", [Settlement((), (slot,), ((fund, 60.0, 10.0),))], NOW)
    spent = await other.spent([fund])
    for one in (counters, other):
        await one.close()
    listening.close()
    await way.end()
    assert spent == [(10.0, 0.0)]
    assert taken.refused is None and taken.left[0] == pytest.approx(60.0)


@with_redis
async def test_many_claims_of_many_tokens_are_exact(server: Redis) -> None:
    """A hundred claims of a thousand tokens fit into a window of a hundred thousand, and not one more."""
    counters = RedisCounters.open(server.url)
    window = Window("big", 100_000 / 86400, 100_000)
    found = await asyncio.gather(*(counters.take(Claim(((window, 1000.0),)), NOW) for _ in range(130)))
    assert sum(taken.refused is None for taken in found) == 100
    await counters.close()
