"""Limits over real sockets: exact under concurrency, reported in headers."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable

import pytest

from tests.conftest import FakeClock, Provider, Running, Start, chat_body, eventually

LIMITED = """
server: {listen: ["127.0.0.1:0"], trusted_proxies: ["127.0.0.0/8", "10.0.0.0/8"]}
store: {url: "memory:"}
limits:
  address:
    default: {requests: 60/minute}
    chat: {requests: 5/minute, burst: 1}
providers: {one: {base_url: MOCK/one/v1, speaks: SPEAKS}}
routes: {both: "one:m"}
"""


@pytest.mark.slow
async def test_two_hundred_at_once_admit_exactly_sixty(start: Start) -> None:
    """Of 200 requests at once, 60 are admitted, and one more for each full second that the test takes."""
    text = LIMITED.replace("chat: {requests: 5/minute, burst: 1}", "")
    running = await start(text)
    started = time.monotonic()

    async def ask() -> int:
        async with running.post("/v1/chat/completions", chat_body("both")) as answer:
            await answer.read()
            return int(answer.status)

    statuses = Counter(await asyncio.gather(*(ask() for _ in range(200))))
    seconds = int(time.monotonic() - started)
    assert set(statuses) == {200, 429}
    assert 60 <= statuses[200] <= 60 + seconds + 1
    assert statuses[200] == 60 or seconds >= 1


async def test_headers_on_success_and_refusal(start: Start) -> None:
    """Headers give the limit, what is left and when it is full; a 429 gives Retry-After."""
    clock = FakeClock()
    running = await start(LIMITED, clock=clock.clock())
    for left in (4, 3, 2, 1, 0, 0):  # the burst is not counted
        async with running.post("/v1/chat/completions", chat_body("both")) as answer:
            assert answer.status == 200
            assert answer.headers["X-RateLimit-Limit"] == "5"
            assert answer.headers["X-RateLimit-Remaining"] == str(left)
    assert int(answer.headers["X-RateLimit-Reset"]) == 1_700_001_000 + 72
    assert answer.headers["x-ratelimit-reset-requests"] == "1m12s"

    async with running.post("/v1/chat/completions", chat_body("both")) as answer:
        assert answer.status == 429
        assert answer.headers["Retry-After"] == "12"
        said = (await answer.json())["error"]
        assert (said["type"], said["code"]) == ("requests", "rate_limit_exceeded")
    clock.now += 12
    assert (await running.chat())[0] == 200
    assert 'gateway_refusals_total{limit="address"} 1.0' in running.gateway.telemetry.metrics.expose().decode()


async def test_a_stream_carries_the_headers_too(start: Start) -> None:
    """A stream has the limit headers, which are known before its first byte."""
    running = await start(LIMITED)
    async with running.post("/v1/chat/completions", chat_body("both") | {"stream": True}) as answer:
        assert answer.headers["X-RateLimit-Remaining"] == "4"
        assert answer.headers["x-request-id"].startswith("req_")


async def test_classes_have_buckets_of_their_own(start: Start) -> None:
    """A refusal of chat leaves embeddings free, and probes are never limited."""
    running = await start(LIMITED)
    for _ in range(7):
        status, _ = await running.chat()
    assert status == 429
    async with running.post("/v1/embeddings", {"model": "both", "input": "x"}) as answer:
        assert answer.status == 200
    for _ in range(100):
        async with running.session.get(f"{running.url}/livez") as answer:
            assert answer.status == 200


async def ask_as(running: Running, forwarded: str) -> int:
    async with running.post(
        "/v1/chat/completions", chat_body("both"), headers={"X-Forwarded-For": forwarded}
    ) as answer:
        await answer.read()
        return int(answer.status)


async def test_an_address_is_the_rightmost_untrusted_hop(start: Start) -> None:
    """The client's address is the rightmost untrusted hop of X-Forwarded-For; hops further left do not count."""
    running = await start(LIMITED)
    for n in range(6):
        assert await ask_as(running, f"{n}.9.9.9, 8.8.8.8, 10.0.0.7") == 200
    assert await ask_as(running, "1.1.1.1, 8.8.8.8, 10.0.0.7") == 429
    assert await ask_as(running, "8.8.4.4") == 200
    assert await ask_as(running, "nonsense") == 200
    assert running.exchanges[-2]["address"] == "8.8.4.4"


async def test_without_trusted_proxies_nothing_is_believed(start: Start) -> None:
    """Without `trusted_proxies`, the default, X-Forwarded-For does not change the address."""
    running = await start(LIMITED.replace(', trusted_proxies: ["127.0.0.0/8", "10.0.0.0/8"]', ""))
    statuses = [await ask_as(running, f"1.1.1.{n}") for n in range(7)]
    assert statuses == [200] * 6 + [429]


async def test_the_gateway_sheds_what_is_too_much(start: Start, provider: Callable[[str], Provider]) -> None:
    """Beyond `max_concurrent` a request is a 503 with Retry-After at once; probes still answer."""
    text = LIMITED.replace("server: {", "server: {max_concurrent: 1, ")
    running = await start(text)
    provider("one").will(latency=0.2)
    first = asyncio.create_task(running.chat())
    await eventually(lambda: bool(provider("one").seen))
    async with running.post("/v1/chat/completions", chat_body("both")) as answer:
        assert answer.status == 503
        assert answer.headers["Retry-After"] == "1"
        assert (await answer.json())["error"]["code"] == "service_unavailable"
    async with running.session.get(f"{running.url}/readyz") as answer:
        assert answer.status == 200
    assert (await first)[0] == 200


async def test_a_provider_takes_no_more_than_its_connections(start: Start, provider: Callable[[str], Provider]) -> None:
    """Beyond `max_connections` the next target is called: one sick provider cannot hold everything."""
    running = await start(
        """
        store: {url: "memory:"}
        providers:
          one: {base_url: MOCK/one/v1, speaks: [openai_chat], max_connections: 1}
          two: {base_url: MOCK/two/v1, speaks: [openai_chat]}
        routes: {both: ["one:m", "two:m"], single: "one:m"}
        """
    )
    provider("one").will(latency=0.2)
    first = asyncio.create_task(running.chat())
    await eventually(lambda: bool(provider("one").seen))
    assert (await running.chat("both"))[0] == 200
    assert len(provider("two").seen) == 1
    status, said = await running.chat("single")
    assert status == 503 and "in use" in said["error"]["message"]
    assert (await first)[0] == 200
