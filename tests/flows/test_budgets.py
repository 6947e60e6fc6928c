"""Budgets: a hard stop on money or tokens, of a key, a route or the whole gateway."""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from gateway.server.app import reload
from tests.conftest import FakeClock, Provider, Running, Start, chat_body
from tests.flows.accounts import A, B, chat_reply, config

Providers = Callable[[str], Provider]


async def chat(running: Running, model: str = "single", headers: Any = A, **more: Any) -> Any:
    async with running.post("/v1/chat/completions", chat_body(model) | more, headers=headers) as answer:
        await answer.read()
        return answer


async def budgets(running: Running) -> dict[str, Any]:
    async with running.session.get(f"{running.url}/usage", headers=A) as answer:
        return {one["name"]: one for one in (await answer.json())["budgets"]}


async def test_a_budget_of_a_key_stops_it(start: Start, provider: Providers) -> None:
    """A spent budget is a 429 in the client's dialect, with the time of its reset, and not to be tried again."""
    clock = FakeClock()
    running = await start(config(a="budget: {usd: 0.01, per: day}"), clock=clock.clock())
    provider("one").will(body=chat_reply(1000, 500))  # 0.001 + 0.005 dollars
    assert [(await chat(running, max_tokens=10)).status for _ in range(3)] == [200, 200, 429]
    refused = await chat(running, max_tokens=10)
    said = (await refused.json())["error"]
    assert (said["code"], refused.headers["x-should-retry"]) == ("budget_exceeded", "false")
    assert said["details"]["resets_at"] == "2023-11-15T00:00:00.000Z" and "2023-11-15" in said["message"]
    assert int(refused.headers["Retry-After"]) == pytest.approx(1_700_006_400 - 1_700_001_000, abs=1)
    async with running.post("/v1/messages", chat_body("claude") | {"max_tokens": 9}, headers=A) as answer:
        told = (await answer.json())["error"]
        assert (answer.status, told["type"]) == (429, "rate_limit_error")
        assert told["details"] == {"error_code": "budget_exceeded", "resets_at": "2023-11-15T00:00:00.000Z"}
    assert (await chat(running, headers=B)).status == 200
    one = (await budgets(running))["key:a"]
    assert (one["spent"], one["left"], one["over"], one["reserved"]) == (0.012, 0.0, pytest.approx(0.002), 0.0)
    clock.now += int(refused.headers["Retry-After"])
    assert (await chat(running)).status == 200, "the next day begins anew"


async def test_budgets_of_routes_and_of_the_gateway(start: Start, provider: Providers) -> None:
    """All budgets that a call draws on must have something left; calls without a key draw on the others."""
    more = "budget: {tokens: 5000, per: week}"
    text = config(more=more).replace('single: "one:m"', 'single: {targets: ["one:m"], budget: {tokens: 1000}}')
    running = await start(text)
    provider("one").will(body=chat_reply(400, 200))
    assert [(await chat(running, max_tokens=10)).status for _ in range(3)] == [200, 200, 429]
    refused = await chat(running, headers=B)
    assert "The route's 'single'" in (await refused.json())["error"]["message"]
    statuses = [(await chat(running, "both", headers=B, max_tokens=10)).status for _ in range(8)]
    assert statuses == [200] * 7 + [429]
    found = await budgets(running)
    assert (found["route:single"]["spent"], found["gateway"]["spent"]) == (1200, 5400)


async def test_a_warning_is_said_once(start: Start, provider: Providers) -> None:
    """At `warn_at` one line is logged, and one in the page of the key."""
    running = await start(config(a="budget: {usd: 0.1, per: day, warn_at: 0.5}"))
    provider("one").will(body=chat_reply(0, 2000))  # 0.02 dollars
    for _ in range(4):
        await chat(running, max_tokens=10)
    warned = [line for line in running.log if line["event"] == "budget nearly spent"]
    assert [(line["budget"], line["spent"], line["of"]) for line in warned] == [("key:a", 0.06, 0.1)]
    assert (await budgets(running))["key:a"]["warned"] is True


async def test_sixty_four_clients_overrun_by_what_was_in_flight(start: Start, provider: Providers) -> None:
    """Under 64 clients at once a budget of one dollar is overrun by no more than what was in flight."""
    running = await start(config(a="budget: {usd: 1, per: month}, share: 1"))
    provider("one").will(body=chat_reply(1000, 3000), latency=0.005)  # 0.031 dollars each
    statuses: Counter[int] = Counter()

    async def client() -> None:
        while True:
            answer = await chat(running, max_tokens=3000)
            statuses[answer.status] += 1
            if answer.status != 200:
                return

    await asyncio.gather(*(client() for _ in range(64)))
    one = (await budgets(running))["key:a"]
    assert one["spent"] == pytest.approx(statuses[200] * 0.031)
    assert 1 <= one["spent"] <= 1 + 0.031, "the reserve holds back all but the last one"
    assert one["over"] == pytest.approx(one["spent"] - 1) and one["reserved"] == 0


async def test_a_reload_keeps_what_was_spent(start: Start, provider: Providers) -> None:
    """A budget that changes goes on from what was spent; a new one begins with what the sums know."""
    running = await start(config(a="budget: {usd: 0.01, per: day}"))
    provider("one").will(body=chat_reply(1000, 500))
    for _ in range(2):
        assert (await chat(running, max_tokens=10)).status == 200
    assert (await chat(running)).status == 429
    text = config(a="budget: {usd: 0.02, per: day}", b="budget: {usd: 5}", more="budget: {usd: 0.012}")
    await reload(running.gateway, running.load(text))
    found = await budgets(running)
    assert (found["key:a"]["spent"], found["gateway"]["spent"], found["key:b"]["spent"]) == (0.012, 0.012, 0.0)
    assert (await chat(running)).status == 429, "the gateway's own"
