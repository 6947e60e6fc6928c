"""Limits of tokens and of exchanges at the same time: reserved, settled, and given back however an exchange ends."""

import asyncio
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.store import sqlite
from tests.conftest import FakeClock, Provider, Running, Start, chat_body, eventually
from tests.flows.accounts import A, B, chat_frames, chat_reply, config

Providers = Callable[[str], Provider]
TOKENS = "limits: {default: {tokens: 1000/minute}}"


async def chat(running: Running, model: str = "single", headers: Any = A, **more: Any) -> Any:
    async with running.post("/v1/chat/completions", chat_body(model) | more, headers=headers) as answer:
        await answer.read()
        return answer


async def test_tokens_are_settled_by_what_was_used(start: Start, provider: Providers) -> None:
    """Of what was reserved only what was used stays taken, a cached token counts a tenth, and debt is paid off."""
    clock = FakeClock()
    running = await start(config(a=TOKENS), clock=clock.clock())
    provider("one").will(1, body=chat_reply(100, 50, cached=50))
    provider("one").will(1, body=chat_reply(100, 1100))
    answer = await chat(running, max_tokens=500)
    assert answer.headers["x-ratelimit-limit-tokens"] == "1000"
    assert answer.headers["x-ratelimit-remaining-tokens"] == "895", "50 + 5 + 50 of 1,000"
    assert answer.headers["X-RateLimit-Limit"] == "1000", "where only tokens are limited"
    assert (await chat(running, max_tokens=10)).headers["x-ratelimit-remaining-tokens"] == "0"
    refused = await chat(running, max_tokens=10)
    assert refused.status == 429
    said = (await refused.json())["error"]
    assert (said["type"], said["code"]) == ("tokens", "rate_limit_exceeded")
    clock.now += int(refused.headers["Retry-After"])
    assert (await chat(running, max_tokens=10)).status == 200, "who waits exactly so long is let in"


async def test_what_nobody_used_comes_back(start: Start, provider: Providers) -> None:
    """A provider's fault costs a request and no tokens; so does a body that is refused."""
    clock = FakeClock()
    limits = "limits: {default: {requests: 10/minute, tokens: 1000/minute}}"
    running = await start(config(a=limits), clock=clock.clock())
    provider("one").will(status=500)
    assert (await chat(running, max_tokens=900)).status == 502
    assert (await chat(running, max_tokens=900)).status == 502
    async with running.post("/v1/chat/completions", {"messages": []}, headers=A) as answer:
        assert answer.status == 400
    async with running.session.get(f"{running.url}/v1/usage", headers=A) as answer:
        found = {one["unit"]: one["left"] for one in (await answer.json())["limits"]}
    assert found == {"requests": 6, "tokens": 1000}, "four requests, this one included"


async def test_a_stream_tells_what_is_reserved(start: Start, provider: Providers) -> None:
    """A stream's head goes out before its usage is known: it tells the reserve; the next reply what was settled."""
    clock = FakeClock()
    running = await start(config(a=TOKENS), clock=clock.clock())
    provider("one").will(frames=chat_frames(20, 30))
    answer = await chat(running, stream=True, max_tokens=500)
    assert int(answer.headers["x-ratelimit-remaining-tokens"]) < 500
    async with running.session.get(f"{running.url}/v1/usage", headers=A) as answer:
        assert (await answer.json())["limits"][0]["left"] == 950


async def test_counts_draw_on_requests_only(start: Start) -> None:
    """Counting tokens costs none."""
    running = await start(config(a="limits: {default: {requests: 10/minute, tokens: 50/minute}}"))
    body = {"model": "claude", "messages": [{"role": "user", "content": "x" * 4000}]}
    for left in (9, 8, 7):
        async with running.post("/v1/messages/count_tokens", body, headers=A) as answer:
            assert answer.status == 200
            assert answer.headers["anthropic-ratelimit-requests-remaining"] == str(left)
            assert "anthropic-ratelimit-tokens-remaining" not in answer.headers


async def test_the_mean_of_a_keys_replies_is_reserved(start: Start, provider: Providers) -> None:
    """Without max_tokens the first call reserves 1,000 tokens, later ones what the key's replies had."""
    clock = FakeClock()
    running = await start(config(a="limits: {default: {tokens: 1500/minute}}"), clock=clock.clock())
    provider("one").will(body=chat_reply(5, 20))
    provider("one").will(frames=chat_frames(5, 20))
    first = await chat(running, stream=True)
    assert int(first.headers["x-ratelimit-remaining-tokens"]) < 500
    second = await chat(running, stream=True)
    assert int(second.headers["x-ratelimit-remaining-tokens"]) > 1400


async def test_only_so_many_at_once(start: Start, provider: Providers) -> None:
    """Beyond `concurrent` exchanges of a key at once there is a 429; another key's are not counted; all come back."""
    running = await start(config(a="limits: {default: {concurrent: 3}}"))
    provider("one").will(latency=0.2)
    answers = await asyncio.gather(*(chat(running) for _ in range(8)), chat(running, headers=B))
    assert Counter(answer.status for answer in answers[:8]) == {200: 3, 429: 5} and answers[8].status == 200
    refused = next(answer for answer in answers if answer.status == 429)
    assert refused.headers["Retry-After"] == "1"
    assert [answer.status for answer in await asyncio.gather(*(chat(running) for _ in range(3)))] == [200] * 3


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_who_leaves_frees_the_slot(start: Start, provider: Providers, stream: bool) -> None:
    """Clients that leave at any moment leave no slot and no reserve behind."""
    running = await start(config(a="limits: {default: {tokens: 100000/minute, concurrent: 50}}", b="share: 1"))
    provider("one").will(latency=0.01, first_byte=0.01, pace=0.01)

    async def leave(after: float) -> None:
        try:
            async with asyncio.timeout(after):
                await chat(running, stream=stream, max_tokens=100)
        except TimeoutError:
            pass

    for _ in range(5):
        await asyncio.gather(*(leave(0.001 * number) for number in range(50)))
    cells = running.gateway.ledger.cells
    limited = running.gateway.snapshot.limit_book.of_key("a", running.gateway.snapshot.config.keys["a"])
    (slot,) = next(iter(limited)).slots
    await eventually(lambda: cells.held(slot) == 0 and not running.gateway.lifecycle.exchanges)
    assert running.gateway.lifecycle.slots.total == running.gateway.upstream.in_use("one") == 0
    assert not any(exchange["status"] == 500 for exchange in running.exchanges)


async def test_a_run_in_the_background_holds_its_slot(start: Start, provider: Providers) -> None:
    """The client's own exchange ends at once; the slot is the run's until that ends."""
    running = await start(config(a="limits: {default: {concurrent: 1}}"))
    provider("one").will(latency=0.15)
    body = {"model": "single", "input": "hi", "background": True}
    async with running.post("/v1/responses", body, headers=A) as answer:
        assert answer.status == 200
        name = (await answer.json())["id"]
    assert (await chat(running)).status == 429
    async with running.session.get(f"{running.url}/v1/responses/{name}", headers=A) as answer:
        assert answer.status == 200, "reading takes no slot"
    await eventually(lambda: not running.gateway.lifecycle.exchanges)
    assert (await chat(running)).status == 200


async def test_a_run_that_cannot_begin_leaves_nothing(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A background run that cannot be stored is a 507, and gives back its slot and what was reserved for it."""
    limits = "limits: {default: {concurrent: 1, tokens: 100000/day}}, budget: {tokens: 100000}"
    running = await start(config(a=limits, store="sqlite:state.db"), state_dir=str(tmp_path))
    monkeypatch.setattr(sqlite, "RESERVE", 1 << 60)  # the disk is full
    for _ in range(2):
        body = {"model": "single", "input": "hi", "background": True, "max_output_tokens": 500}
        async with running.post("/v1/responses", body, headers=A) as answer:
            assert answer.status == 507
    monkeypatch.setattr(sqlite, "RESERVE", 0)
    async with running.session.get(f"{running.url}/usage", headers=A) as answer:
        page = await answer.json()
    assert {one["unit"]: one["left"] for one in page["limits"]} == {"concurrent": 1, "tokens": 100_000}
    assert [one["reserved"] for one in page["budgets"]] == [0]
