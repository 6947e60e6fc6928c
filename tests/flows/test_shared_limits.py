"""Limits of several gateways on one Redis, and of several workers on one machine: exact together."""

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gateway.accounts.ledger import PATIENCE_S
from tests.conftest import Provider, Running, Start, chat_body, eventually
from tests.flows.accounts import A, chat_reply, config
from tests.flows.processes import Process, Run
from tests.store.redis_server import Redis, server, with_redis

pytestmark = pytest.mark.slow
__all__ = ["server"]
Providers = Callable[[str], Provider]
WORKERS = """
server: {listen: ["127.0.0.1:PORT"], workers: 4, drain: 5s, step_aside: 0s}
store: {url: "sqlite:STATE/g.db"}
keys: {a: {secret: {env: KEY}, operator: true, limits: {default: LIMITS}}}
providers: {one: {base_url: MOCK/one/v1, speaks: [openai_chat]}}
routes: {single: "one:m"}
"""


async def ask(url: str, session: aiohttp.ClientSession, **more: Any) -> Any:
    async with session.post(f"{url}/v1/chat/completions", json=chat_body("single") | more, headers=A) as answer:
        await answer.read()
        return answer


async def at_once(count: int, *gateways: Running, **more: Any) -> Counter[int]:
    """Send so many requests at once, to the gateways in turn; count the statuses."""
    tasks = [
        ask(gateways[number % len(gateways)].url, gateways[number % len(gateways)].session, **more)
        for number in range(count)
    ]
    return Counter(answer.status for answer in await asyncio.gather(*tasks))


@with_redis
async def test_two_gateways_admit_exactly_sixty(start: Start, server: Redis) -> None:
    """Of 200 requests at once through two gateways on one Redis, exactly 60 are let in."""
    text = config(a="limits: {default: {requests: 60/hour}}, share: 1", store=server.url)
    gateways = await start(text), await start(text)
    found = await at_once(200, *gateways)
    assert found == {200: 60, 429: 140}
    assert not any(line["event"].startswith("limits are") for one in gateways for line in one.log)


@with_redis
async def test_tokens_slots_and_money_are_shared(start: Start, server: Redis, provider: Providers) -> None:
    """What one gateway takes the other lacks: slots at once, tokens and dollars when they are settled."""
    limits = "limits: {default: {tokens: 10000/day, concurrent: 5}}, budget: {usd: 0.05, per: day}, share: 1"
    text = config(a=limits, store=server.url)
    one, two = await start(text), await start(text)
    provider("one").will(body=chat_reply(100, 400), latency=0.1)  # 0.0041 dollars
    assert await at_once(20, one, two, max_tokens=400) == {200: 5, 429: 15}
    assert await at_once(4, one, max_tokens=400) == {200: 4}
    left = (await ask(two.url, two.session, max_tokens=400)).headers["x-ratelimit-remaining-tokens"]
    assert int(left) == 5000, "ten replies of 500 tokens"
    assert await at_once(3, two, max_tokens=400) == {200: 3}
    for _ in range(8):
        answer = await ask(one.url, one.session, max_tokens=400)
    assert answer.status == 429 and (await answer.json())["error"]["code"] == "budget_exceeded"
    async with two.session.get(f"{two.url}/usage", headers=A) as answer:
        (budget,) = (await answer.json())["budgets"]
    assert 0.05 <= budget["spent"] < 0.055 and budget["reserved"] == 0
    await one.gateway.usage_sums.flush()
    async with two.session.get(f"{two.url}/usage", headers=A) as answer:
        (row,) = (await answer.json())["rows"]
    assert row["cost"] == pytest.approx(budget["spent"])


@with_redis
async def test_a_silent_redis_costs_fifty_milliseconds(start: Start, server: Redis) -> None:
    """While Redis is silent each gateway admits its part of the limits by itself; then all is shared again."""
    text = config(a="limits: {default: {requests: 60/hour}}, share: 1", store=server.url)
    one, two = await start(text), await start(text)
    assert await at_once(10, one, two) == {200: 10}
    assert server.popen is not None
    server.popen.send_signal(signal.SIGSTOP)
    started = time.monotonic()
    assert (await ask(one.url, one.session)).status == 200
    assert PATIENCE_S <= time.monotonic() - started < 10 * PATIENCE_S
    found = await at_once(200, one, two)
    server.popen.send_signal(signal.SIGCONT)
    assert 50 < found[200] <= 112, "each begins at what was last known"
    await ask(one.url, one.session)
    await eventually(lambda: any(line["event"] == "limits are shared again" for line in one.log), 5)
    for gateway in (one, two):
        lines = [line["event"] for line in gateway.log if line["event"].startswith("limits are")]
        assert lines.count("limits are counted on this machine alone") <= 1
    await asyncio.sleep(1.2)
    found = await at_once(100, one, two)
    assert found[200] <= 20, "what was let in meanwhile was added"
    assert "gateway_limits_alone_total" in one.gateway.telemetry.metrics.expose().decode()


@with_redis
async def test_a_redis_that_is_gone_is_said_once(start: Start, server: Redis) -> None:
    """Without Redis requests go on at once, with one line in the log."""
    text = config(a="limits: {default: {requests: 60/hour}}, share: 1", store=server.url)
    running = await start(text)
    assert await at_once(5, running) == {200: 5}
    server.end()
    started = time.monotonic()
    assert (await at_once(30, running))[200] == 30
    assert time.monotonic() - started < 2
    assert [line["event"] for line in running.log].count("limits are counted on this machine alone") == 1


@with_redis
async def test_a_dead_gateways_slots_come_back(start: Start, server: Redis, run: Run, provider: Providers) -> None:
    """What a gateway held that was killed is free ten seconds later at the latest."""
    limits = "limits: {default: {concurrent: 4}}, share: 1"
    text = config(a=limits, store=server.url).replace("127.0.0.1:0", "127.0.0.1:PORT")
    text = text.replace("{env: OTHER}", "{env: KEY2}")
    provider("one").will(latency=30)
    process = await asyncio.to_thread(run, text, environ={"KEY": "gwk_client-key", "KEY2": "gwk_other-key"})
    running = await start(config(a=limits, store=server.url))
    async with aiohttp.ClientSession() as session:
        waiting = [asyncio.create_task(ask(process.url, session)) for _ in range(4)]
        await eventually(lambda: len(provider("one").seen) == 4, 5)
        assert (await ask(running.url, running.session)).status == 429
        process.popen.kill()
        await asyncio.gather(*waiting, return_exceptions=True)
    provider("one").server.script.rules.clear()
    started = time.monotonic()
    while (await ask(running.url, running.session)).status == 429:
        assert time.monotonic() - started < 11
        await asyncio.sleep(0.2)


@pytest.fixture
def four(run: Run, folder: Path) -> Callable[[str], Process]:
    def begin(limits: str) -> Process:
        text = WORKERS.replace("STATE", str(folder / "state")).replace("LIMITS", limits)
        return run(text, environ={"KEY": "gwk_client-key"})

    return begin


async def test_four_workers_admit_exactly_sixty(four: Callable[[str], Process]) -> None:
    """Of 200 requests at once through four workers, exactly 60 are let in, and any worker says what is left."""
    process = await asyncio.to_thread(four, "{requests: 60/hour}")
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session:
        answers = await asyncio.gather(*(ask(process.url, session) for _ in range(200)))
        assert Counter(answer.status for answer in answers) == {200: 60, 429: 140}
        async with session.get(f"{process.url}/usage", headers=A) as answer:
            found = await answer.json()
    assert [limit["left"] for limit in found["limits"]] == [0]
    await eventually(lambda: {line["worker"] for line in process.lines if line["event"] == "exchange"} == {0, 1, 2, 3})


async def test_four_workers_share_tokens_and_slots(four: Callable[[str], Process], provider: Providers) -> None:
    """Tokens are settled and slots held for all workers together; clients that leave any of them leave nothing."""
    provider("one").will(24, body=chat_reply(100, 400), latency=0.2)
    process = await asyncio.to_thread(four, "{concurrent: 6, tokens: 10000/day}")
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session:
        found = Counter(
            answer.status
            for answer in await asyncio.gather(*(ask(process.url, session, max_tokens=400) for _ in range(24)))
        )
        assert found == {200: 6, 429: 18}
        leaving = [asyncio.create_task(ask(process.url, session, max_tokens=400)) for _ in range(6)]
        await asyncio.sleep(0.1)
        for task in leaving:
            task.cancel()
        await asyncio.gather(*leaving, return_exceptions=True)
        await asyncio.sleep(1.3)  # each worker tells the store once a second
        async with session.get(f"{process.url}/usage", headers=A) as answer:
            page = await answer.json()
        left = {one["unit"]: one["left"] for one in page["limits"]}
        assert left["concurrent"] == 6
        used = sum(row["input"] + row["output"] for row in page["rows"])
        assert 3000 <= used < 3500 and abs(10_000 - used - left["tokens"]) <= 2
        async with session.get(f"{process.url}/metrics/running-totals?format=json", headers=A) as answer:
            totals = (await answer.json())["providers"]["one"]["rollup"]["total"]
        assert (totals["input"] + totals["output"], totals["requests"]) == (used, 12)


async def test_a_killed_workers_slots_come_back(four: Callable[[str], Process], provider: Providers) -> None:
    """A worker killed in full traffic leaves no slot behind."""
    provider("one").will(latency=0.3)
    process = await asyncio.to_thread(four, "{concurrent: 8, tokens: 1000000/hour}")
    children = Path(f"/proc/{process.popen.pid}/task/{process.popen.pid}/children")
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session:
        running = [asyncio.create_task(ask(process.url, session, max_tokens=10)) for _ in range(8)]
        await eventually(lambda: len(provider("one").seen) == 8, 5)
        for pid in children.read_text().split():
            os.kill(int(pid), signal.SIGKILL)
        ended = await asyncio.gather(*running, return_exceptions=True)
        assert all(isinstance(one, aiohttp.ClientError) for one in ended)
        await eventually(lambda: process.has("worker died"), 5)
        started = time.monotonic()
        while True:
            try:
                answers = await asyncio.gather(*(ask(process.url, session, max_tokens=10) for _ in range(8)))
                break
            except aiohttp.ClientError:
                assert time.monotonic() - started < 10
                await asyncio.sleep(0.1)
        assert [answer.status for answer in answers] == [200] * 8
        async with session.get(f"{process.url}/usage", headers=A) as answer:
            found = {one["unit"]: one["left"] for one in (await answer.json())["limits"]}
    assert found["concurrent"] == 8
