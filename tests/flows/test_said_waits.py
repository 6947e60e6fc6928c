"""A provider that has said when to come back is not asked before, and everybody can see that it rests."""

import asyncio
from email.utils import formatdate
from typing import Any

import pytest

from tests.conftest import FakeClock, Running, Start, chat_body
from tests.flows.messages import Providers
from tests.wire.crossings import messages_request

ROUTES = """
server: {listen: ["127.0.0.1:0"]}
store: {url: "memory:"}
providers:
  one: {base_url: MOCK/one/v1, speaks: [openai_chat], auth: {bearer: {env: ONE}}}
  two: {base_url: MOCK/two/v1, speaks: [openai_chat], auth: {bearer: [{env: ONE}, {env: TWO}]}}
routes:
  single: one:m
  both: [one:m, two:m]
  keys: two:m
"""


async def limited(running: Running, model: str = "single") -> tuple[int, Any, Any]:
    async with running.post("/v1/chat/completions", chat_body(model)) as answer:
        return answer.status, await answer.json(), answer.headers


async def states(running: Running) -> tuple[dict[str, Any], str]:
    async with running.session.get(f"{running.url}/health?format=json") as answer:
        health = await answer.json()
    async with running.session.get(f"{running.url}/metrics") as answer:
        return health, await answer.text()


@pytest.mark.parametrize(
    ("said", "forwarded", "rest"),
    [
        ({"retry-after": "300"}, 300, 300),
        ({"retry-after": "7200"}, 7200, 300),
        ({"retry-after-ms": "60500"}, 61, 60.5),
        ({"retry-after": formatdate(1_700_001_000.0 + 7200, usegmt=True)}, 7200, 300),
        ({"x-ratelimit-reset-requests": "2m0s", "x-ratelimit-remaining-requests": "0"}, 120, 120),
    ],
)
async def test_it_is_asked_once(
    start: Start, provider: Providers, said: dict[str, str], forwarded: int, rest: float
) -> None:
    """The wait reaches the client as it came; until it is over every other request is refused here, with what is left."""
    clock = FakeClock()
    running = await start(ROUTES, clock=clock.clock())
    provider("one").will(status=429, headers=said, times=1)
    status, _, headers = await limited(running)
    assert status == 429 and int(headers["Retry-After"]) == forwarded
    assert headers.get("retry-after-ms", "60500") == "60500"
    for _ in range(10):
        clock.now += 1
        status, body, headers = await limited(running)
        assert (status, body["error"]["code"]) == (429, "rate_limit_exceeded")
        assert headers["x-gateway-origin"] == "gateway"
    assert abs(int(headers["Retry-After"]) - (rest - 10)) < 1
    assert len(provider("one").seen) == 1
    async with running.post("/v1/messages", messages_request(model="single")) as answer:
        assert answer.status == 429 and (await answer.json())["error"]["type"] == "rate_limit_error"

    clock.now += rest
    assert (await limited(running))[0] == 200


async def test_a_short_wait_is_waited_for(start: Start, provider: Providers) -> None:
    """What is left of a wait that is short is waited for: the client gets its answer."""
    clock = FakeClock()
    running = await start(ROUTES, clock=clock.clock())
    provider("one").will(status=429, headers={"retry-after": "8"}, times=1)
    assert (await limited(running))[0] == 429
    clock.now += 5
    assert (await limited(running))[0] == 200
    assert clock.slept == [pytest.approx(3.0)]


async def test_an_overload_says_so(start: Start, provider: Providers) -> None:
    """A 503 with a long Retry-After is an overload while it lasts: 503, and 529 for Messages."""
    clock = FakeClock()
    running = await start(ROUTES, clock=clock.clock())
    provider("one").will(status=503, headers={"retry-after": "100"}, times=1)
    assert (await limited(running))[0] == 503
    status, body, headers = await limited(running)
    assert (status, body["error"]["code"], headers["Retry-After"]) == (503, "service_unavailable", "100")
    async with running.post("/v1/messages", messages_request(model="single")) as answer:
        assert answer.status == 529
    assert len(provider("one").seen) == 1


async def test_others_are_asked(start: Start, provider: Providers) -> None:
    """Another target, or another key of the provider, is asked meanwhile."""
    running = await start(ROUTES)
    provider("one").will(status=429, headers={"retry-after": "300"}, times=1)
    provider("two").will(status=429, headers={"retry-after": "300"}, times=1)
    answers = [await limited(running, name) for name in ("both", "both", "keys")]
    assert [status for status, _, _ in answers] == [200, 200, 200]
    assert len(provider("one").seen) == 1


async def test_a_rest_shows(start: Start, provider: Providers) -> None:
    """A rest by a 429 is a resting target in /health and in the metrics, until all is well again."""
    clock = FakeClock()
    running = await start(ROUTES, clock=clock.clock())
    assert (await states(running))[0]["resting"] in ({}, 0)
    provider("one").will(status=429, headers={"retry-after": "200"}, times=1)
    await limited(running)
    health, text = await states(running)
    assert health["status"] == "degraded" and health["resting"] in ({"one:m": 200.0}, 1)
    assert 'gateway_target_state{state="resting",target="one:m"} 1.0' in text
    assert 'gateway_target_state{state="live",target="one:m"} 0.0' in text
    assert 'gateway_target_state{state="live",target="two:m"} 1.0' in text
    clock.now += 201
    health, text = await states(running)
    assert health["status"] == "healthy" and 'gateway_target_state{state="live",target="one:m"} 1.0' in text


async def test_one_key_of_two_is_no_rest_of_the_target(start: Start, provider: Providers) -> None:
    """A target rests when all its keys do: with one of two it goes on."""
    running = await start(ROUTES)
    provider("two").will(status=429, headers={"retry-after": "200"}, times=1)
    await limited(running, "keys")
    assert (await states(running))[0]["status"] == "healthy"
    provider("two").server.script.rules.clear()
    provider("two").will(status=429, headers={"retry-after": "100"})
    await limited(running, "keys")
    assert (await states(running))[0]["status"] == "degraded"


async def test_many_at_once(start: Start, provider: Providers) -> None:
    """A crowd that comes after the refusal costs the provider nothing."""
    running = await start(ROUTES)
    provider("one").will(status=429, headers={"retry-after": "300"})
    await limited(running)
    answers = await asyncio.gather(*(limited(running) for _ in range(20)))
    assert {status for status, _, _ in answers} == {429} and len(provider("one").seen) == 1
