"""The sums of what was used: of each attempt that cost something, to the token, whatever became of its exchange."""

import asyncio
import random
from collections.abc import Callable
from typing import Any

import pytest

from gateway.accounts.budgets import PICO
from gateway.mock.script import Rule, make_behaviour
from tests.conftest import Provider, Running, Start, chat_body, eventually
from tests.flows.accounts import A, B, chat_frames, chat_reply, config, sums

Providers = Callable[[str], Provider]


async def chat(running: Running, model: str = "single", headers: Any = A, **more: Any) -> Any:
    async with running.post("/v1/chat/completions", chat_body(model) | more, headers=headers) as answer:
        await answer.read()
        return answer


async def test_a_row_for_each_place(start: Start, provider: Providers) -> None:
    """Whole replies, streams and crossed ones are counted with their parts, their cost, their key and their team."""
    running = await start(config())
    provider("one").will(1, body=chat_reply(100, 50, cached=40))
    provider("one").will(1, frames=chat_frames(10, 5))
    await chat(running)
    await chat(running, stream=True, headers=B)
    async with running.post("/v1/messages", chat_body("claude") | {"max_tokens": 9}, headers=A) as answer:
        await answer.read()
    rows = await sums(running, "key", "team", "alias", "provider", "model")
    found = {(row["key"], row["alias"]): row for row in rows}
    one = found["a", "single"]
    assert (one["team"], one["input"], one["cache_read"], one["output"], one["requests"]) == ("search", 60, 40, 50, 1)
    assert one["cost"] == (60 * 1_000_000 + 40 * 100_000 + 50 * 10_000_000)
    assert (found["b", "single"]["input"], found["b", "single"]["output"], found["b", "single"]["team"]) == (10, 5, "")
    assert found["a", "claude"]["provider"] == "two" and found["a", "claude"]["unpriced"] == 1, "reads have no price"
    line = running.exchanges[0]
    assert line["cost"] == pytest.approx(one["cost"] / PICO) and line["labels"] == {"team": "search"}
    assert running.exchanges[2]["cost"] is None


async def test_each_attempt_is_counted_to_its_provider(start: Start, provider: Providers) -> None:
    """An error costs nothing, a reply that says nothing costs what its provider says, and the exchange counts once."""
    running = await start(config())
    provider("one").will(1, status=500)
    provider("one").will(1, body=chat_reply(30, 0) | {"choices": [{"index": 0, "message": {"role": "assistant", "content": ""}, "finish_reason": "stop"}]})  # fmt: skip
    await chat(running, "both")
    await chat(running, "both")
    rows = {row["provider"]: row for row in await sums(running, "provider")}
    assert (rows["one"]["requests"], rows["one"]["input"]) == (0, 30)
    assert (rows["two"]["requests"], rows["two"]["errors"]) == (2, 0)
    assert [line["failed"][0]["why"] for line in running.exchanges] == ["transient", "empty"]
    async with running.session.get(f"{running.url}/metrics/running-totals?format=json", headers=A) as answer:
        totals = await answer.json()
    assert totals["providers"]["one"]["rollup"]["total"]["errors"] == 2
    assert totals["summary"]["requests"] == 2


@pytest.mark.parametrize("fault", ["stall_in_body", "reset_in_body"])
async def test_a_stream_that_was_cut_is_estimated(start: Start, provider: Providers, fault: str) -> None:
    """What was said until then is estimated, and so is the prompt; the row and the log line say so."""
    running = await start(config().replace("    base_url", "    timeouts: {idle: 200ms}\n    base_url", 1))
    provider("one").will(frames=chat_frames(0, 0, words=40), fault=fault, after=30)
    await chat(running, stream=True)
    (row,) = await sums(running, "key")
    assert (row["estimated"], row["errors"], row["requests"]) == (1, 1, 1)
    assert 25 <= row["output"] <= 40 and 3 <= row["input"] <= 40 and row["cost"] > 0
    assert running.exchanges[-1]["estimated"] is True


async def test_a_client_that_leaves_is_estimated(start: Start, provider: Providers) -> None:
    """A client that leaves in the middle has used what was said until then; one that leaves at once, its prompt."""
    running = await start(config())
    provider("one").will(frames=chat_frames(0, 0, words=400), pace=0.005)
    async with running.post("/v1/chat/completions", chat_body("single") | {"stream": True}, headers=A) as answer:
        for _ in range(40):
            await answer.content.readline()
    await eventually(lambda: len(running.exchanges) == 1)
    (row,) = await sums(running, "key")
    assert (row["estimated"], row["errors"], row["requests"]) == (1, 0, 1) and 10 <= row["output"] <= 60


async def test_sessions_are_told_apart(start: Start, provider: Providers) -> None:
    """A session that the client names has a row of its own; without one there is none."""
    running = await start(config())
    provider("one").will(body=chat_reply(1, 1))
    await chat(running, prompt_cache_key="mine")
    async with running.post("/v1/chat/completions", chat_body("single"), headers=A | {"session-id": "s-1"}) as answer:
        await answer.read()
    await chat(running)
    assert {row["session"]: row["requests"] for row in await sums(running, "session")} == {"mine": 1, "s-1": 1, "": 1}


async def test_endpoints_without_tokens(start: Start, provider: Providers) -> None:
    """Embeddings count their input; a moderation is a request without tokens and without a price."""
    running = await start(config())
    for path, body in (("embeddings", {"input": "hello"}), ("moderations", {"input": "hello"})):
        async with running.post(f"/v1/{path}", {"model": "single"} | body, headers=A) as answer:
            assert answer.status == 200
    (row,) = await sums(running, "key")
    assert (row["requests"], row["unpriced"], row["estimated"]) == (2, 1, 0) and row["input"] > 0


@pytest.mark.slow
async def test_two_thousand_mixed_exchanges_to_the_token(start: Start, provider: Providers) -> None:
    """Over faults, fallbacks, streams, crossings and clients that leave: what is not estimated is what was told."""
    running = await start(config(a="share: 1", b="share: 1"))
    dice = random.Random(14)
    told: dict[str, list[int]] = {"a": [0, 0, 0], "b": [0, 0, 0]}  # input, cache_read, output

    async def one(number: int) -> None:
        key, headers = ("a", A) if number % 3 else ("b", B)
        prompt, cached, output = dice.randrange(10, 900), dice.randrange(10), dice.randrange(1, 300)
        kind = dice.choice(("whole", "stream", "fault", "leave", "fallback"))
        stream = kind in ("stream", "leave")
        body = chat_body("both" if kind == "fallback" else "single") | {"stream": stream, "user": f"n{number}"}
        if kind == "whole":
            told[key][0] += prompt - cached
            told[key][1] += cached
            told[key][2] += output
            await _answer(running, provider, body, headers, body_=chat_reply(prompt, output, cached))
        elif kind == "stream":
            told[key][0] += prompt
            told[key][2] += output
            await _answer(running, provider, body, headers, frames=chat_frames(prompt, output))
        elif kind == "fallback":
            told[key][0] += 12  # of the mock's own message
            told[key][1] += 4
            told[key][2] += 9
            await _answer(running, provider, body, headers, status=500)
        elif kind == "fault":
            await _answer(running, provider, body, headers, status=400)
        else:
            try:
                async with asyncio.timeout(0.02):
                    await _answer(running, provider, body, headers, frames=chat_frames(9, 9, words=200), pace=0.002)
            except TimeoutError:
                pass

    for start_at in range(0, 2000, 40):
        await asyncio.gather(*(one(number) for number in range(start_at, start_at + 40)))
    await eventually(lambda: not running.gateway.lifecycle.exchanges)
    rows = {row["key"]: row for row in await sums(running, "key")}
    left = {row["key"]: row for row in await sums(running, "key", session="left")}
    for key, (prompt, cached, output) in told.items():
        rest = left.get(key, dict.fromkeys(("input", "cache_read", "output"), 0))
        assert rows[key]["input"] - rest["input"] == prompt
        assert rows[key]["cache_read"] - rest["cache_read"] == cached
        assert rows[key]["output"] - rest["output"] == output
    asked = [line for line in running.exchanges if "alias" in line]  # some left before they had asked
    assert sum(row["requests"] for row in rows.values()) == len(asked) > 1900
    assert running.gateway.lifecycle.slots.total == running.gateway.upstream.in_use("one") == 0


async def _answer(running: Running, provider: Providers, body: Any, headers: Any, **behaviour: Any) -> None:
    """Ask, with the provider behaving as it is told to for this very request, which its model names."""
    if "body_" in behaviour:
        behaviour["body"] = behaviour.pop("body_")
    if "pace" in behaviour:
        headers = headers | {"session-id": "left"}
    name = body["user"]
    provider("one").server.script.rules.insert(0, _rule(name, behaviour))
    model = f"one:{name}" if body["model"] == "single" else body["model"]
    if body["model"] == "both":
        provider("one").server.script.rules.pop(0)
        provider("one").will(1, **behaviour)
    async with running.post("/v1/chat/completions", body | {"model": model}, headers=headers) as answer:
        await answer.read()


def _rule(model: str, behaviour: dict[str, Any]) -> Any:
    return Rule(make_behaviour(behaviour), name="one", model=model, times=1)
