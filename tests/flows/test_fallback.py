"""The order of targets: policies, credentials in rotation, rests, repeats."""

import asyncio
import math
import time
from collections import Counter
from collections.abc import Callable

import pytest

from tests.conftest import FakeClock, Provider, Running, Start, chat_body

THREE = """
store: {{url: "memory:"}}
breaker: {{failures: 2, rest: 30s}}
providers:
  one: {{base_url: MOCK/one/v1, auth: {{bearer: [{{env: ONE}}, {{env: TWO}}]}}, speaks: SPEAKS}}
  two: {{base_url: MOCK/two/v1, speaks: SPEAKS}}
  three: {{base_url: MOCK/three/v1, speaks: [openai_embeddings]}}
  dim: {{base_url: MOCK/dim/v1, auth: {{bearer: {{env: NONE}}}}, speaks: SPEAKS}}
routes:
  both: ["one:m", "two:m"]
  single: "two:m"
  spread: {{policy: {policy}, targets: [{{provider: one, model: m}}, {{provider: two, model: m, weight: 3}}]}}
  dark: "dim:m"
  odd: ["three:m", "dim:m", "two:m"]
"""


async def test_a_rate_limited_target_is_passed_over(start: Start, provider: Callable[[str], Provider]) -> None:
    """After a 429 the next target answers, and the first rests as long as Retry-After says.

    A target that is passed over while it rests is a fallback, too, and stands in the log line.
    """
    clock = FakeClock()
    running = await start(
        THREE.format(policy="ordered").replace("[{env: ONE}, {env: TWO}]", "{env: ONE}"), clock=clock.clock()
    )
    provider("one").will(status=429, headers={"Retry-After": "7"}, times=1)

    assert (await running.chat())[0] == 200
    assert (await running.chat())[0] == 200
    assert (len(provider("one").seen), len(provider("two").seen)) == (1, 2)
    failed = [line["failed"] for line in running.exchanges]
    assert failed == [
        [{"target": "one:m", "why": "limited", "words": "429: The mock was told to answer 429"}],
        [{"target": "one:m", "why": "rests", "words": "for 7.0 s more"}],
    ]
    clock.now += 7.1
    assert (await running.chat())[0] == 200
    assert len(provider("one").seen) == 2
    said = [(line["event"], line["target"], line["why"]) for line in running.log if line["event"].startswith("rest ")]
    assert said == [("rest begins", "one:m", "limited"), ("rest ends", "one:m", "limited")]
    assert 'gateway_fallbacks_total{from="one",to="two"} 2.0' in running.gateway.telemetry.metrics.expose().decode()


async def test_a_single_target_is_waited_for_once_when_it_is_worth_it(
    start: Start, provider: Callable[[str], Provider]
) -> None:
    """A 429 with a short Retry-After on the only target costs one pause of that length. (EC-234)"""
    clock = FakeClock()
    running = await start(THREE.format(policy="ordered"), clock=clock.clock())
    provider("two").will(status=429, headers={"Retry-After": "2"}, times=1)
    async with running.post("/v1/chat/completions", chat_body("single")) as answer:
        assert answer.status == 200
        assert answer.headers["x-gateway-attempts"] == "2"
    assert clock.slept == [2.0]


async def test_both_keys_of_a_provider_are_used_in_turn(start: Start, provider: Callable[[str], Provider]) -> None:
    """A provider's keys take turns in new conversations; a refused key rests, and the other answers instead."""
    running = await start(THREE.format(policy="ordered"))
    for number in range(4):
        await running.chat(messages=[{"role": "user", "content": f"Hi, I am {number}"}])
    assert Counter(seen.headers["Authorization"] for seen in provider("one").seen) == {
        "Bearer one-upstream-key": 2,
        "Bearer two-upstream-key": 2,
    }
    provider("one").will(status=401, times=1)
    async with running.post("/v1/chat/completions", chat_body("both")) as answer:
        assert (answer.status, answer.headers["x-gateway-attempts"], answer.headers["x-gateway-provider"]) == (
            200,
            "2",
            "one",
        )
    used = [seen.headers["Authorization"] for seen in provider("one").seen[-2:]]
    assert used[0] != used[1]
    await running.chat()
    assert provider("one").seen[-1].headers["Authorization"] == used[1]
    assert not provider("two").seen


async def test_the_breaker_leaves_a_sick_target_out_and_finds_it_again(
    start: Start, provider: Callable[[str], Provider]
) -> None:
    """Two failures in a row open the breaker; after the rest one probe closes it."""
    clock = FakeClock()
    running = await start(THREE.format(policy="ordered"), clock=clock.clock())
    provider("one").will(status=500, times=2)
    for _ in range(5):
        assert (await running.chat())[0] == 200
    assert len(provider("one").seen) == 2
    assert (
        'gateway_target_state{state="resting",target="one:m"} 1.0'
        in running.gateway.telemetry.metrics.expose().decode()
    )
    async with running.session.get(f"{running.url}/health?format=json") as answer:
        report = await answer.json()
    assert report["status"] == "degraded" and list(report["resting"]) == ["one:m"]

    clock.now += 31
    provider("one").will(latency=0.1, times=1)
    await asyncio.gather(*(running.chat() for _ in range(5)))
    assert len(provider("one").seen) == 3  # one probe; the other four used the next target
    await running.chat()
    assert len(provider("one").seen) == 4


async def test_when_all_rest_the_least_bad_is_asked(start: Start, provider: Callable[[str], Provider]) -> None:
    """If all targets rest, the one that is free soonest is tried: it may be well again."""
    running = await start(THREE.format(policy="ordered"))
    provider("two").will(status=429, times=1)
    assert (await running.chat("single"))[0] == 429
    assert (await running.chat("single"))[0] == 200


@pytest.mark.parametrize(
    ("policy", "shares"), [("round_robin", (10, 10)), ("weighted", (5, 15)), ("least_latency", (19, 1))]
)
async def test_policies_share_the_load(
    start: Start, provider: Callable[[str], Provider], policy: str, shares: tuple[int, int]
) -> None:
    """round_robin is exact, weighted follows the weights, least_latency learns the faster target."""
    running = await start(THREE.format(policy=policy))
    provider("two").will(latency=0.03)
    for _ in range(20):
        assert (await running.chat("spread"))[0] == 200
    found = len(provider("one").seen), len(provider("two").seen)
    assert abs(found[0] - shares[0]) <= (4 if policy == "weighted" else 0), found


async def test_targets_that_cannot_serve_are_skipped(start: Start, provider: Callable[[str], Provider]) -> None:
    """A target without credential or dialect is skipped; with none left the 503 or 404 names the reason."""
    running = await start(THREE.format(policy="ordered"))
    assert (await running.chat("odd"))[0] == 200
    status, said = await running.chat("dark")
    assert status == 503
    assert said["error"]["message"] == "No target of 'dark' can be used: dim has no credential"
    async with running.post("/v1/chat/completions", chat_body("three:m")) as answer:
        assert answer.status == 404
        assert (await answer.json())["error"]["message"] == "The model 'three:m' cannot be used with /chat/completions"


async def test_a_storm_of_failures_does_not_multiply(start: Start, provider: Callable[[str], Provider]) -> None:
    """Repeats stay within the budget: ten, a fifth of the requests, and one for each second."""
    running = await start(THREE.format(policy="ordered").replace("failures: 2", "failures: 0"))
    provider("two").will(status=500, headers={"retry-after": "0"})
    begun = time.monotonic()
    await asyncio.gather(*(running.chat("single") for _ in range(60)))
    attempts = len(provider("two").seen)
    assert 60 < attempts <= 60 + 10 + 60 // 5 + 2 + math.ceil(time.monotonic() - begun)


async def test_three_attempts_then_success_are_one_answer(
    running: Running, start: Start, provider: Callable[[str], Provider]
) -> None:
    """Two failed attempts and a success are one reply, and its usage is booked once. (EC-250)"""
    running = await start(
        """
        store: {url: "memory:"}
        providers:
          one: {base_url: MOCK/one/v1, speaks: SPEAKS}
          two: {base_url: MOCK/two/v1, speaks: SPEAKS}
          three: {base_url: MOCK/three/v1, speaks: SPEAKS}
        routes: {both: ["one:m", "two:m", "three:m"]}
        """
    )
    provider("one").will(status=503)
    provider("two").will(fault="close_before_head")
    async with running.post("/v1/chat/completions", chat_body("both")) as answer:
        assert answer.headers["x-gateway-attempts"] == "3"
    assert len(running.exchanges) == 1
    text = running.gateway.telemetry.metrics.expose().decode()
    assert 'gateway_tokens_total{key="anonymous",part="output",provider="three",team=""} 9.0' in text
    assert 'gateway_tokens_total{key="anonymous",part="output",provider="one",team=""}' not in text
