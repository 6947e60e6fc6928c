"""Several processes as one gateway: started, restarted, replaced one by one, and answering for each other."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.conftest import Provider, eventually
from tests.flows.load import Load
from tests.flows.processes import Process, Run

pytestmark = pytest.mark.slow
Providers = Callable[[str], Provider]
BODY = {"model": "both", "messages": []}
CONFIG = """
server: {listen: ["127.0.0.1:PORT"], workers: 2, drain: 10s, step_aside: 0s}
store: {url: "sqlite:STATE/g.db"}
breaker: {failures: 1, rest: 60s}
providers: {one: {base_url: MOCK/one/v1, speaks: [openai_chat, openai_responses]}}
routes: {both: "one:m"}
"""


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    # A connection for each request, so that either worker may get it.
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as made:
        yield made


@pytest.fixture
async def process(run: Run, folder: Path) -> Process:
    return await asyncio.to_thread(run, CONFIG.replace("STATE", str(folder / "state")))


async def chat(session: aiohttp.ClientSession, process: Process, **more: Any) -> int:
    async with session.post(f"{process.url}/v1/chat/completions", json=BODY | more) as answer:
        await answer.read()
        return answer.status


async def page(session: aiohttp.ClientSession, process: Process, path: str) -> str:
    async with session.get(process.url + path) as answer:
        return await answer.text()


def workers_of(process: Process) -> list[int]:
    """Return the processes below the supervisor."""
    children = Path(f"/proc/{process.popen.pid}/task/{process.popen.pid}/children")
    return [int(pid) for pid in children.read_text().split()]


async def test_whichever_answers_speaks_for_all(
    process: Process, session: aiohttp.ClientSession, provider: Providers
) -> None:
    """/metrics, /health and what rests are those of both workers; both get requests and write whole lines."""
    assert [await chat(session, process) for _ in range(40)] == [200] * 40
    for _ in range(4):
        text = await page(session, process, "/metrics")
        assert (
            'gateway_requests_total{alias="both",endpoint="chat_completions",outcome="ok",provider="one"} 40.0' in text
        )
        assert "gateway_workers 2.0" in text and text.count("# TYPE gateway_requests_total counter") == 1
    await eventually(lambda: {line["worker"] for line in process.lines if line["event"] == "exchange"} == {0, 1})
    provider("one").will(status=500)
    assert await chat(session, process) == 502
    for _ in range(4):
        health = json.loads(await page(session, process, "/health?format=json"))
        assert (health["status"], health["workers"], list(health["resting"])) == ("degraded", 2, ["one:m"])
        assert len(json.loads(await page(session, process, "/rests"))["data"]) == 1


async def test_stored_responses_and_runs_are_of_all(process: Process, session: aiohttp.ClientSession) -> None:
    """A response that one worker has stored, and a run in its background, can be read and continued at the other."""
    for body in ({}, {"background": True}):
        async with session.post(f"{process.url}/v1/responses", json={"model": "both", "input": "hi"} | body) as answer:
            name = (await answer.json())["id"]
        for _ in range(50):
            found = json.loads(await page(session, process, f"/v1/responses/{name}"))
            assert found["id"] == name and found["status"] in ("queued", "in_progress", "completed")
            if found["status"] == "completed":
                break
            await asyncio.sleep(0.1)
        for _ in range(6):
            assert json.loads(await page(session, process, f"/v1/responses/{name}"))["status"] == "completed"
            following = {"model": "both", "input": "and", "previous_response_id": name}
            async with session.post(f"{process.url}/v1/responses", json=following) as answer:
                assert answer.status == 200


async def test_a_worker_that_dies_is_started_again(process: Process, session: aiohttp.ClientSession) -> None:
    """A killed worker is replaced and counted; a stuck one is as good as dead; the other one serves meanwhile."""
    first, second = workers_of(process)
    os.kill(first, signal.SIGKILL)
    await eventually(lambda: process.has("worker died"), 3)
    assert await chat(session, process) == 200
    await eventually(lambda: len(workers_of(process)) == 2 and first not in workers_of(process), 8)
    assert second in workers_of(process)
    async with asyncio.timeout(8):
        while "gateway_workers 2.0" not in (text := await page(session, process, "/metrics")):
            await asyncio.sleep(0.1)
    assert "gateway_worker_restarts_total 1.0" in text


async def test_signals_are_handed_out(process: Process, session: aiohttp.ClientSession) -> None:
    """A reload reaches both workers; a bad file is refused by both; SIGTERM ends all, and nothing is left."""
    text = process.config.read_text()
    process.config.write_text(text.replace("both:", "fresh:"))
    process.popen.send_signal(signal.SIGHUP)
    assert (await asyncio.to_thread(process.notice)).startswith("RELOADING=1")
    assert await asyncio.to_thread(process.notice) == "READY=1"
    assert await asyncio.gather(*(chat(session, process, model="fresh") for _ in range(10))) == [200] * 10
    process.config.write_text("providers: {")
    process.popen.send_signal(signal.SIGHUP)
    assert [await asyncio.to_thread(process.notice) for _ in range(2)][1] == "READY=1"
    assert await chat(session, process, model="fresh") == 200
    for _ in range(4):
        assert json.loads(await page(session, process, "/health?format=json"))["reload_problems"]
    workers = workers_of(process)
    process.popen.send_signal(signal.SIGTERM)
    assert await process.ended() == 0
    assert process.has("stopped") and not any(Path(f"/proc/{pid}").exists() for pid in workers)
    assert process.notice().startswith("STOPPING=1")


async def test_workers_do_not_outlive_their_supervisor(process: Process) -> None:
    """If the supervisor is killed, its workers end as well: nobody would stop them any more."""
    workers = workers_of(process)
    process.popen.kill()
    await eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers), 8)


async def test_streams_outlive_a_rolling_restart(
    process: Process, session: aiohttp.ClientSession, provider: Providers
) -> None:
    """SIGUSR2 replaces both workers; streams that run go on to their end, and no request is refused."""
    provider("one").will(pace=0.25)
    before = workers_of(process)
    streams = [asyncio.create_task(_stream(session, process)) for _ in range(20)]
    await asyncio.sleep(0.3)
    provider("one").server.script.rules.clear()
    async with Load(process.url) as load:
        process.popen.send_signal(signal.SIGUSR2)
        await eventually(lambda: process.has("rolling restart done"), 20)
        await load.more(200)
    assert load.failed == []
    assert all(stream.endswith(b"data: [DONE]\n\n") for stream in await asyncio.gather(*streams))
    await eventually(lambda: not set(before) & set(workers_of(process)), 15)
    total = 'gateway_requests_total{alias="both",endpoint="chat_completions",outcome="ok",provider="one"}'
    text = await page(session, process, "/metrics")
    (line,) = (line for line in text.splitlines() if line.startswith(total))
    assert float(line.split()[-1]) == load.sent + 20  # those that have left are counted on


async def _stream(session: aiohttp.ClientSession, process: Process) -> bytes:
    async with session.post(f"{process.url}/v1/chat/completions", json=BODY | {"stream": True}) as answer:
        return await answer.read()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (CONFIG.replace('"sqlite:STATE/g.db"', '"memory:"'), "store.url: each worker would have a memory of its own"),
        (CONFIG.replace("workers: 2", "workers: 0"), "server.workers: expected a number from 1 to 64, or auto"),
        (CONFIG.replace("workers: 2", "workers: many"), "server.workers: expected a number from 1 to 64, or auto"),
    ],
)
async def test_what_workers_cannot_be_is_said(run: Run, folder: Path, text: str, words: str) -> None:
    """What several processes cannot share keeps them from starting, with its place."""
    process = await asyncio.to_thread(run, text.replace("STATE", str(folder / "state")))
    assert await process.ended() == 78 and words in process.log.read_text()


async def test_streams_survive_sigterm(process: Process, session: aiohttp.ClientSession, provider: Providers) -> None:
    """The workers drain as a single process does: their streams go on to their end."""
    provider("one").will(pace=0.4)
    streams = [asyncio.create_task(_stream(session, process)) for _ in range(10)]
    await asyncio.sleep(0.5)
    process.popen.send_signal(signal.SIGTERM)
    assert all(stream.endswith(b"data: [DONE]\n\n") for stream in await asyncio.gather(*streams))
    assert await process.ended(15) == 0


async def test_a_death_during_a_rolling_restart(process: Process, session: aiohttp.ClientSession) -> None:
    """A worker that dies while the others are replaced has one successor, and a reload reaches all that run."""
    _, second = workers_of(process)
    process.popen.send_signal(signal.SIGUSR2)
    await asyncio.sleep(0.1)
    os.kill(second, signal.SIGKILL)
    await eventually(lambda: process.has("rolling restart done"), 20)
    await eventually(lambda: len(workers_of(process)) == 2, 15)
    process.config.write_text(process.config.read_text().replace("both:", "fresh:"))
    process.popen.send_signal(signal.SIGHUP)
    for _ in range(2):
        await asyncio.to_thread(process.notice)
    assert [await chat(session, process, model="fresh") for _ in range(20)] == [200] * 20
    assert len(workers_of(process)) == 2


async def test_the_public_page_is_of_all_and_shows_no_names(
    run: Run, folder: Path, session: aiohttp.ClientSession
) -> None:
    """With keys and workers, /health without a key has counts only, whichever answers."""
    text = (
        CONFIG.replace("STATE", str(folder / "state"))
        + "keys: {k: {secret: {env: KEY}}, o: {secret: {env: BOSS}, operator: true}}\n"
    )
    process = await asyncio.to_thread(
        run, text, environ={"KEY": "gwk_0123456789abcdef", "BOSS": "gwk_fedcba9876543210"}
    )
    for _ in range(6):
        found = json.loads(await page(session, process, "/health?format=json"))
        assert (found["status"], found["workers"], found["resting"]) == ("healthy", 2, 0) and "rests" not in found
    async with session.get(
        f"{process.url}/health?format=json", headers={"x-api-key": "gwk_fedcba9876543210"}
    ) as answer:
        assert (await answer.json())["resting"] == {}
