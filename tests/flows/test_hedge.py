"""`hedge`: a slow target is left behind by the next one, and the client hears only of who spoke first."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import Provider, Running, Start, events_of, eventually, text_of

pytestmark = pytest.mark.slow
Providers = Callable[[str], Provider]
TEXT = """
server: {listen: ["127.0.0.1:0"], keepalive: 40ms COMMIT}
store: {url: "memory:"}
providers:
  one: {base_url: "MOCK/one/v1", speaks: [openai_chat, openai_responses]}
  two: {base_url: "MOCK/two/v1", speaks: [openai_chat, openai_responses]}
  three: {base_url: "MOCK/three/v1", speaks: [openai_chat]}
routes:
  both: {targets: [one:m, two:m, three:m], hedge: 100ms}
"""


async def go(start: Start, commit: str = "") -> Running:
    return await start(TEXT.replace("COMMIT", commit))


async def last_line(running: Running, number: int = 1) -> dict[str, Any]:
    """Return the line of an exchange, which is written after the client has its last byte."""
    await eventually(lambda: len(running.exchanges) >= number)
    return running.exchanges[-1]


def counted(running: Running, metric: str) -> list[str]:
    lines = running.gateway.telemetry.metrics.expose().decode().splitlines()
    return [line for line in lines if line.startswith(metric)]


@pytest.mark.parametrize("is_stream", [True, False])
async def test_the_second_answers_where_the_first_is_slow(start: Start, provider: Providers, is_stream: bool) -> None:
    """After `hedge` without a byte the next target is asked as well; it answers, and the first is cut and counted."""
    running = await go(start)
    provider("one").will(latency=3)
    if is_stream:
        status, stream = await running.chat_stream()
        assert text_of(stream)
    else:
        status, _ = await running.chat()
    line = await last_line(running)
    assert (status, line["provider"], line["attempts"]) == (200, "two", 2) and line["ms"] < 2000
    assert line["failed"] == [{"target": "one:m", "why": "beaten", "words": "another target spoke first"}]
    assert line["output"]
    await eventually(lambda: provider("one").seen[0].was_cut)
    assert not provider("three").seen
    assert counted(running, "gateway_hedges_total{") == ['gateway_hedges_total{from="one",to="two"} 1.0']
    assert 'gateway_attempts_total{outcome="beaten",provider="one"} 1.0' in counted(running, "gateway_attempts_total")
    assert running.gateway.upstream.in_use("one") == running.gateway.upstream.in_use("two") == 0


@pytest.mark.parametrize("is_stream", [True, False])
async def test_the_first_may_still_win(start: Start, provider: Providers, is_stream: bool) -> None:
    """Whoever speaks first answers, also if it is the one that was asked first."""
    running = await go(start)
    provider("one").will(latency=0.3)
    provider("two").will(latency=3)
    assert (await (running.chat_stream() if is_stream else running.chat()))[0] == 200
    line = await last_line(running)
    assert (line["provider"], line["model"], [one["target"] for one in line["failed"]]) == ("one", "m", ["two:m"])


async def test_who_is_quick_is_not_hedged(start: Start, provider: Providers) -> None:
    """A target whose head has come in time is left alone, however long its first word takes."""
    running = await go(start)
    provider("one").will(first_byte=0.3)
    assert (await running.chat_stream())[0] == 200
    assert not provider("two").seen and (await last_line(running))["provider"] == "one"


async def test_a_fault_of_one_leaves_the_other(start: Start, provider: Providers) -> None:
    """If the first fails while the second runs, the second answers; if both fail, the third is asked."""
    running = await go(start)
    provider("one").will(latency=0.2, status=500)
    provider("two").will(latency=0.3, times=1)
    assert (await running.chat_stream())[0] == 200
    assert (await last_line(running))["provider"] == "two"
    provider("two").will(latency=0.1, status=500)
    assert (await running.chat_stream())[0] == 200
    line = await last_line(running, 2)
    assert line["provider"] == "three" and {one["target"] for one in line["failed"]} == {"two:m", "one:m"}


async def test_keep_alives_come_once_while_two_are_asked(start: Start, provider: Providers) -> None:
    """With `commit_after` the client is kept alive by one of them at a time, and by the winner after its first word."""
    running = await go(start, ", commit_after: 20ms")
    word = b'data: {"choices":[{"index":0,"delta":{"content":"hm"},"finish_reason":null}]}\n\n'
    end = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
    provider("two").will(latency=0.2, frames=[word, end], pace=0.2)
    provider("one").will(latency=3)
    status, stream = await running.chat_stream()
    assert status == 200 and text_of(stream) == "hm"
    before, _, after = stream.partition(b"data: {")
    assert 4 <= before.count(b": keep-alive") <= 9 and 3 <= after.count(b": keep-alive") <= 5


async def test_a_client_that_leaves_ends_both(start: Start, provider: Providers) -> None:
    """When the client goes, both attempts are cut."""
    running = await go(start)
    provider("one").will(latency=3)
    provider("two").will(latency=3)
    asking = asyncio.create_task(running.chat_stream())
    await eventually(lambda: bool(provider("two").seen))
    asking.cancel()
    await eventually(lambda: provider("one").seen[0].was_cut and provider("two").seen[0].was_cut)
    assert running.gateway.upstream.in_use("one") == running.gateway.upstream.in_use("two") == 0


async def test_what_is_stored_is_what_was_sent(start: Start, provider: Providers) -> None:
    """A stored response is the winner's, with its maker."""
    running = await go(start)
    provider("one").will(latency=3)
    body = {"model": "both", "input": "hi", "stream": True}
    async with running.post("/v1/responses", body) as answer:
        events = events_of(await answer.read())
    name = events[0]["response"]["id"]
    async with running.session.get(f"{running.url}/v1/responses/{name}") as answer:
        stored = await answer.json()
    assert stored["output"] == events[-1]["response"]["output"] and stored["status"] == "completed"
    body = {"model": "both", "input": "and now", "previous_response_id": name}
    async with running.post("/v1/responses", body) as answer:
        assert answer.status == 200


async def test_hedges_are_bounded_as_retries_are(start: Start, provider: Providers) -> None:
    """Second targets are asked out of the budget of retries: a slow hour does not double everybody's load."""
    running = await go(start)
    provider("one").will(latency=0.15)
    provider("two").will(latency=3)
    await asyncio.gather(*(running.chat() for _ in range(20)))
    assert 5 <= len(provider("two").seen) <= 16


async def test_a_hedge_without_budget_loses_no_target(start: Start, provider: Providers) -> None:
    """Where the budget allows no second one, the next target is still there when the first has failed."""
    running = await go(start)
    provider("one").will(latency=0.3, status=500)
    statuses = await asyncio.gather(*(running.chat() for _ in range(30)))
    assert [status for status, _ in statuses] == [200] * 30


async def test_a_second_target_that_cannot_be_asked_costs_nothing(start: Start, provider: Providers) -> None:
    """A second target that wants the client's own key, which is not there, does not end the first one's attempt."""
    text = TEXT.replace("COMMIT", "").replace("two: {", "two: {auth: passthrough, ")
    running = await start(text)
    provider("one").will(latency=0.4)
    provider("three").will(latency=3)
    assert (await running.chat())[0] == 200
    assert (await last_line(running))["provider"] == "one"


async def test_a_break_after_the_first_word_is_told_by_the_winner(start: Start, provider: Providers) -> None:
    """When the first target wins and breaks off, the error goes on where its stream was, and what it said is stored."""
    running = await go(start)
    provider("one").will(latency=0.2, fault="reset_in_body", after=6)
    provider("two").will(latency=3)
    async with running.post("/v1/responses", {"model": "both", "input": "hi", "stream": True}) as answer:
        events = events_of(await answer.read())
    numbers = [one["sequence_number"] for one in events if isinstance(one, dict)]
    assert numbers == sorted(numbers) and len(set(numbers)) == len(numbers)
    assert events[-1]["type"] == "response.failed"
