"""Promises about providers that no other test shows (docs/reliability.md)."""

import asyncio
from collections.abc import Callable

import pytest
from aiohttp import web
from attrs import evolve

from tests.conftest import TWO_TARGETS, FakeClock, Provider, Running, Start, eventually

PAUSE = 0.4  # seconds, of a client in the middle of its body
Providers = Callable[[str], Provider]


async def test_a_stale_connection_costs_one_more_request(start: Start, provider: Providers) -> None:
    """When a provider has closed the kept connections, a request is sent again once, on a fresh one. (P7)"""
    server, connections = await _closing_provider()
    running = await start(TWO_TARGETS.replace("MOCK/one/v1", server))
    assert [status for status, _ in await asyncio.gather(*(running.chat("single") for _ in range(5)))] == [200] * 5
    connections.close_next = 5
    connections.requests = 0
    status, _ = await running.chat("single")
    assert status == 200 and connections.requests == 2
    assert running.exchanges[-1]["attempts"] == 1
    await connections.runner.cleanup()


class _Connections:
    """Counts the requests that reach a provider; closes the connection of the next few without an answer."""

    def __init__(self) -> None:
        self.requests = 0
        self.close_next = 0
        self.used: set[object] = set()
        self.runner: web.AppRunner


async def _closing_provider() -> tuple[str, _Connections]:
    seen = _Connections()

    async def answer(request: web.Request) -> web.Response:
        await request.read()
        seen.requests += 1
        is_kept = request.transport in seen.used
        seen.used.add(request.transport)
        if seen.close_next and is_kept:
            seen.close_next -= 1
            assert request.transport is not None
            request.transport.abort()
        await asyncio.sleep(0.05)
        message = {"role": "assistant", "content": "hi"}
        return web.json_response(
            {"object": "chat.completion", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
        )

    app = web.Application()
    app.router.add_post("/v1/chat/completions", answer)
    seen.runner = web.AppRunner(app, shutdown_timeout=0.1)
    await seen.runner.setup()
    site = web.TCPSite(seen.runner, "127.0.0.1", 0)
    await site.start()
    return f"http://127.0.0.1:{seen.runner.addresses[0][1]}/v1", seen


async def test_no_attempt_begins_that_could_not_connect(start: Start, provider: Providers) -> None:
    """With less time left than a connection may take, no further target is asked. (P2)"""
    text = TWO_TARGETS.replace("server: {", "server: {timeouts: {total: 1s}, ").replace(
        "first_byte: 300ms, whole: 300ms", "first_byte: 850ms, whole: 850ms"
    )
    running = await start(text)
    provider("one").will(fault="stall_before_head")
    status, _ = await running.chat()
    assert status == 504 and not provider("two").seen


@pytest.mark.slow
async def test_the_time_of_a_body_counts(start: Start, provider: Providers) -> None:
    """The total time runs from when the request came in, not from when its body was read. (P2)"""
    running = await start(TWO_TARGETS.replace("server: {", "server: {timeouts: {total: 500ms}, "))
    provider("two").will(latency=5)

    async def slow() -> object:
        yield b'{"model": "two:m", "messages"'
        await asyncio.sleep(PAUSE)
        yield b": []}"

    began = asyncio.get_running_loop().time()
    async with running.session.post(
        f"{running.url}/v1/chat/completions", data=slow(), headers={"Content-Type": "application/json"}
    ) as answer:
        assert answer.status == 504
    assert asyncio.get_running_loop().time() - began < 0.8


async def test_headers_of_a_provider_do_not_pass(start: Start, provider: Providers) -> None:
    """Cookies, CORS, security policies and the like of a provider reach no client; its long headers do no harm. (P12)"""
    running = await start()
    provider("one").will(
        headers={
            "Set-Cookie": "a=b", "Access-Control-Allow-Origin": "*", "Location": "http://evil.example", "X-Evil": "x" * 60_000,
            "Strict-Transport-Security": "max-age=1", "x-request-id": "up-1\u00e9", "openai-version": "2020-10-01",
        }
    )  # fmt: skip
    for stream in (False, True):
        async with running.post("/v1/chat/completions", {"model": "both", "messages": [], "stream": stream}) as answer:
            await answer.read()
            assert answer.status == 200
            passed = {name.lower() for name in answer.headers}
        assert not passed & {
            "set-cookie",
            "access-control-allow-origin",
            "location",
            "x-evil",
            "strict-transport-security",
        }
        assert {"openai-version", "x-gateway-upstream-request-id"} <= passed


async def test_a_redirect_gets_nothing_and_the_environments_proxy_neither(
    start: Start, provider: Providers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A 307 is a failed attempt: its target never sees prompt or credential. HTTP_PROXY is not read. (P14)"""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    running = await start()
    other = provider("elsewhere")
    provider("one").will(status=307, headers={"Location": f"{other.server.url}/elsewhere/v1/chat/completions"})
    status, _ = await running.chat("single")
    assert status == 502 and not other.seen
    assert (await running.chat())[0] == 200


async def test_the_wall_clock_may_jump(start: Start, provider: Providers) -> None:
    """Hours forwards or back on the wall end no rest, no limit and no request, and model lists come again. (P4)"""
    clock = FakeClock()
    jumps = [0.0]
    made = clock.clock()
    wall = evolve(made, time=lambda: 1_700_000_000.0 + clock.now + jumps[-1])
    running = await start(
        TWO_TARGETS + "limits: {address: {default: {requests: 3/hour}}}\nbreaker: {failures: 1, rest: 60s}\n",
        clock=wall,
    )
    provider("one").will(status=503, times=2)
    assert (await running.chat())[0] == 200
    for jump in (-90_000.0, 90_000.0):
        jumps.append(jump)
        assert next(iter(running.gateway.selection.health.resting(clock.now)))[1] == 60.0
        assert (await running.chat())[0] == 200
    assert (await running.chat())[0] == 429


async def _names(running: Running) -> list[str]:
    async with running.session.get(f"{running.url}/v1/models") as answer:
        return [one["id"] for one in (await answer.json())["data"]]


async def test_a_model_list_is_not_kept_for_a_clock_that_went_back(start: Start, provider: Providers) -> None:
    """A list from the future is fetched again. (P4)"""
    clock = FakeClock()
    jump = 10_000.0
    wall = evolve(clock.clock(), time=lambda: 1_700_000_000.0 + clock.now + jump)
    running = await start(clock=wall)
    await _names(running)
    before = len(provider("one").seen)
    jump = -10_000.0
    await _names(running)
    await eventually(lambda: len(provider("one").seen) == before + 1)
