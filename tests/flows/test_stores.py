"""Stores that outlive a process: two gateways on one Redis, and SQLite under `kill -9`."""

import asyncio
import os
import signal
import sqlite3
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gateway.store import sqlite as sqlite_store
from gateway.store import watched as watched_store
from gateway.store.protocol import StoreState
from gateway.store.sqlite import SqliteResponses
from tests.conftest import Provider, Start, eventually
from tests.flows.processes import Run, free_port
from tests.flows.stored import CONFIG, ask, call, turns
from tests.store.redis_server import Redis, server, with_redis

pytestmark = pytest.mark.slow

__all__ = ["server"]


async def test_a_full_disk_costs_the_storing_only(
    start: Start, provider: Callable[[str], Provider], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a full disk `store: true` is a 507; other requests are answered unstored, and reads still work.

    Once there is room again, responses are stored again.
    """
    running = await start(CONFIG.replace("STORE", "sqlite:state.db"), state_dir=str(tmp_path))
    _, kept = await ask(running)
    watched = running.gateway.responses
    store = watched.store
    assert isinstance(store, SqliteResponses)
    store.writing.execute("PRAGMA max_page_count=1")
    monkeypatch.setattr(sqlite_store, "RESERVE", 1 << 60)  # also for the check that housekeeping makes meanwhile
    big = "x" * 100_000
    status, error = await ask(running, said=big, store=True)
    assert (status, error["error"]["code"]) == (507, "insufficient_storage")
    status, said = await ask(running, said=big)
    assert status == 200 and said["store"] is False
    asked = len(provider("oai").seen)
    await asyncio.sleep(watched_store.REST_S + 0.1)
    status, error = await ask(running, said=big, store=True)
    assert status == 507 and len(provider("oai").seen) == asked, "nobody is paid for what is known to fail"
    monkeypatch.setattr(sqlite_store, "RESERVE", 0)
    status, error = await ask(running, said=big, background=True)
    assert status == 507
    async with running.post("/v1/responses", {"model": "chat", "input": big, "stream": True}) as answer:
        assert b'"store":false' in (await answer.read()).split(b"\n\n")[-2]
    assert (await call(running, "GET", kept["id"]))[0] == 200
    store.writing.execute("PRAGMA max_page_count=1000000")
    await _until_ok(lambda: ask(running, said=big, store=True))
    assert [line["state"] for line in running.log if line["event"] == "store"] == ["full", "ok"]


KILLED = """
server: {listen: ["127.0.0.1:PORT"]}
store: {url: "sqlite:FOLDER/state.db"}
providers: {one: {base_url: MOCK/one/v1, speaks: [openai_chat]}}
routes: {both: "one:m"}
"""


@pytest.mark.slow
async def test_nothing_acknowledged_is_lost(run: Run, folder: Path) -> None:
    """Every response acknowledged as stored is there after three kills in full traffic."""
    text = KILLED.replace("FOLDER", str(folder))
    told: list[str] = []
    for _ in range(3):
        process = await asyncio.to_thread(run, text)
        async with aiohttp.ClientSession() as session:
            before = len(told)
            asking = [asyncio.create_task(_keep_asking(session, process.url, told)) for _ in range(8)]
            await eventually(partial(_has, told, before + 200), 60)
            os.kill(process.popen.pid, signal.SIGKILL)
            await asyncio.gather(*asking)
        assert await process.ended() == -signal.SIGKILL
    process = await asyncio.to_thread(run, text)
    async with aiohttp.ClientSession() as session:
        for name in told:
            async with session.get(f"{process.url}/v1/responses/{name}") as answer:
                assert answer.status == 200 and (await answer.json())["id"] == name
    with sqlite3.connect(folder / "state.db") as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def _has(told: list[str], many: int) -> bool:
    return len(told) >= many


async def _keep_asking(session: aiohttp.ClientSession, url: str, told: list[str]) -> None:
    is_stream = False
    while True:
        is_stream = not is_stream
        body = {"model": "both", "input": "Hi", "store": True, "stream": is_stream}
        try:
            async with session.post(f"{url}/v1/responses", json=body) as answer:
                said = await answer.read()
        except aiohttp.ClientError:
            return
        if is_stream and b"event: response.completed" in said:
            told.append(said.partition(b'"id":"')[2].partition(b'"')[0].decode())
        elif not is_stream and answer.status == 200:
            told.append((await answer.json())["id"])


@with_redis
async def test_two_gateways_on_one_redis(start: Start, server: Redis, provider: Callable[[str], Provider]) -> None:
    """A response stored by one gateway can be read, continued, cancelled and deleted by the other."""
    text = CONFIG.replace("STORE", server.url)
    one, two = await start(text), await start(text)
    _, first = await ask(one, "chat", "one")
    assert await call(two, "GET", first["id"]) == (200, first)
    _, second = await ask(two, "claude", "two", previous_response_id=first["id"])
    _, third = await ask(one, "chat", "three", previous_response_id=second["id"])
    assert turns(provider("oai").seen[-1].json)[0::2] == ["one", "two", "three"]
    assert (await call(two, "DELETE", third["id"]))[0] == 200
    assert (await call(one, "GET", third["id"]))[0] == 404
    provider("oai").will(latency=30)
    _, run = await ask(one, "chat", background=True)
    status, final = await call(two, "POST", f"{run['id']}/cancel")
    assert (status, final["status"]) == (200, "cancelled")
    assert (await call(one, "GET", run["id"]))[1]["status"] == "cancelled"


@with_redis
async def test_redis_goes_and_comes_back(start: Start, server: Redis) -> None:
    """While Redis is away storing fails with clear errors and the rest works; once it is back, so is storing."""
    running = await start(CONFIG.replace("STORE", server.url))
    _, first = await ask(running)
    server.end()
    status, error = await call(running, "GET", first["id"])
    assert (status, error["error"]["code"]) == (503, "service_unavailable")
    assert "sesame" not in str(error)
    assert (await ask(running, previous_response_id=first["id"]))[0] == 503
    assert (await ask(running, store=True))[0] == 507
    status, said = await ask(running)
    assert status == 200 and said["store"] is False
    assert (await running.chat("chat"))[0] == 200
    server.begin()
    await _until_ok(lambda: call(running, "GET", first["id"]))
    assert (await ask(running, store=True))[1]["store"] is True
    assert (await ask(running, previous_response_id=first["id"]))[0] == 200
    assert "sesame" not in running.output.getvalue().decode()


async def _until_ok(asking: Callable[[], Awaitable[tuple[int, Any]]]) -> None:
    """Call until the status is 200: the gateway leaves a failed store alone for a second."""
    for _ in range(100):
        if (await asking())[0] == 200:
            return
        await asyncio.sleep(0.05)
    raise AssertionError("the store did not come back")


@pytest.mark.slow
async def test_what_ran_when_the_gateway_was_killed_has_failed(
    run: Run, folder: Path, provider: Callable[[str], Provider]
) -> None:
    """A run whose gateway was killed is `failed` at once after the restart: the lease shows it."""
    provider("one").will(latency=60)
    text = KILLED.replace("FOLDER", str(folder))
    process = await asyncio.to_thread(run, text)
    body = {"model": "both", "input": "Hi", "background": True}
    async with aiohttp.ClientSession() as session:
        async with session.post(f"{process.url}/v1/responses", json=body) as answer:
            name = (await answer.json())["id"]
        os.kill(process.popen.pid, signal.SIGKILL)
        await process.ended()
        process = await asyncio.to_thread(run, text)
        async with session.get(f"{process.url}/v1/responses/{name}") as answer:
            said = await answer.json()
    assert (said["status"], said["error"]["code"]) == ("failed", "server_error")
    process.popen.terminate()


@pytest.mark.slow
async def test_followers_are_told_that_the_gateway_stops(run: Run, provider: Callable[[str], Provider]) -> None:
    """A background stream that is cut at the end of the drain ends with an error event."""
    provider("one").will(pace=1.0)
    process = await asyncio.to_thread(
        run, KILLED.replace("sqlite:FOLDER/state.db", "memory:").replace("]}", "], drain: 1s}", 1)
    )
    async with aiohttp.ClientSession() as session:
        body = {"model": "both", "input": "Hi", "background": True, "stream": True}
        async with session.post(f"{process.url}/v1/responses", json=body) as answer:
            await answer.content.readuntil(b"\n\n")
            process.popen.terminate()
            rest = await answer.read()
    assert b"event: error" in rest and b"shutting down" in rest
    assert await process.ended(10) == 0
    assert not process.has("bug")


@with_redis
@pytest.mark.slow
async def test_a_run_outlives_a_redis_that_blinks(
    start: Start, server: Redis, provider: Callable[[str], Provider]
) -> None:
    """A run that ends while Redis is away is stored as completed once Redis is back."""
    running = await start(CONFIG.replace("STORE", server.url))
    provider("oai").will(latency=0.6)
    _, said = await ask(running, "chat", background=True)
    await asyncio.sleep(0.3)
    server.end()
    await asyncio.sleep(1)
    server.begin()
    for _ in range(100):
        status, final = await call(running, "GET", said["id"])
        if status == 200 and final["status"] == "completed":
            break
        await asyncio.sleep(0.1)
    assert final["status"] == "completed"


async def test_a_store_that_is_not_there_is_known_from_the_start(start: Start) -> None:
    """An absent store shows before its first use: in /health, in the metrics and in one log line with a reason."""
    running = await start(CONFIG.replace("STORE", f"redis://:sesame@127.0.0.1:{free_port()}/0"))
    await eventually(lambda: running.gateway.responses.state is StoreState.DOWN)
    async with running.session.get(f"{running.url}/health?format=json") as answer:
        said = await answer.json()
    assert (answer.status, said["status"], said["store"]) == (200, "degraded", "down")
    async with running.session.get(f"{running.url}/metrics") as answer:
        assert 'gateway_store_state{state="down"} 1.0' in await answer.text()
    (line,) = [line for line in running.log if line["event"] == "store"]
    assert line["state"] == "down" and "connection refused" in line["reason"] and "sesame" not in str(running.log)


async def test_the_stores_password_is_a_secret(start: Start) -> None:
    """The store's password is redacted, percent-encoded as in its URL and decoded."""
    running = await start(CONFIG.replace("STORE", f"redis://:open%20sesame@127.0.0.1:{free_port()}/0"))
    for text in (b"redis://:open%20sesame@h", b"said 'open sesame' to h"):
        assert b"sesame" not in running.gateway.telemetry.redactor.clean(text)
