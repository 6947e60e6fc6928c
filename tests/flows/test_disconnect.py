"""A client that leaves ends the upstream call on every path; a client that stops reading stops the upstream reading."""

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import Provider, Running, Start, chat_body, eventually


async def leave(
    running: Running, provider: Callable[[str], Provider], body: dict[str, Any], path: str = "/v1/chat/completions"
) -> None:
    """Send a request, wait until the provider works on it, and disconnect."""
    task = asyncio.create_task(running.post(path, body).__aenter__())
    await eventually(lambda: bool(provider("one").seen))
    await asyncio.sleep(0.03)
    if task.done():
        task.result().close()
    else:
        task.cancel()


@pytest.mark.parametrize(
    ("behaviour", "body", "path"),
    [
        ({"latency": 30}, {}, "/v1/chat/completions"),
        ({"latency": 30}, {"stream": True}, "/v1/chat/completions"),
        ({"first_byte": 30}, {"stream": True}, "/v1/chat/completions"),
        ({"pace": 30}, {"stream": True}, "/v1/chat/completions"),
        ({"fault": "stall_in_body", "after": 3}, {"stream": True}, "/v1/chat/completions"),
        ({"fault": "stall_in_body"}, {}, "/v1/chat/completions"),
        ({"latency": 30}, {"input": "x"}, "/v1/embeddings"),
    ],
)
async def test_the_upstream_is_closed_at_once(
    start: Start, provider: Callable[[str], Provider], behaviour: dict[str, Any], body: dict[str, Any], path: str
) -> None:
    """When the client leaves before the head, before content or in mid-body, the upstream is closed within 1 s."""
    running = await start(
        "store: {url: 'memory:'}\nproviders: {one: {base_url: MOCK/one/v1, speaks: SPEAKS}}\nroutes: {both: 'one:m'}"
    )
    provider("one").will(**behaviour)
    await leave(running, provider, chat_body("both") | body, path)
    await eventually(lambda: provider("one").seen[0].was_cut, seconds=1)
    await eventually(lambda: bool(running.exchanges), seconds=1)
    line = running.exchanges[-1]
    assert (line["status"], line["outcome"]) == (499, "abandoned")
    assert not running.gateway.lifecycle.exchanges
    assert running.gateway.upstream.in_use("one") == 0
    assert len(provider("one").seen) == 1


async def test_a_half_open_probe_is_released_when_its_client_leaves(
    start: Start, provider: Callable[[str], Provider]
) -> None:
    """A probe's place is free again after its client leaves; otherwise no request would try the target again."""
    running = await start(
        """
        store: {url: "memory:"}
        breaker: {failures: 1, rest: 10ms}
        providers: {one: {base_url: MOCK/one/v1, speaks: SPEAKS}}
        routes: {both: "one:m"}
        """
    )
    provider("one").will(status=500, headers={"x-should-retry": "false"}, times=1)
    await running.chat()
    await asyncio.sleep(0.02)
    provider("one").will(latency=30, times=1)
    task = asyncio.create_task(running.chat())
    await eventually(lambda: len(provider("one").seen) == 2)
    task.cancel()
    await eventually(lambda: len(running.exchanges) == 2)
    assert (await running.chat())[0] == 200


@pytest.mark.slow
async def test_a_slow_reader_slows_the_provider(start: Start, provider: Callable[[str], Provider]) -> None:
    """The gateway stops reading from the provider while the client does not read: nothing is queued between."""
    running = await start(
        """
        server: {timeouts: {write: 10s}}
        store: {url: "memory:"}
        providers: {one: {base_url: MOCK/one/v1, speaks: SPEAKS, timeouts: {idle: 200ms}}}
        routes: {both: "one:m"}
        """
    )
    frame = b'data: {"choices":[{"index":0,"delta":{"content":"' + b"x" * 60_000 + b'"}}]}\n\n'
    sent = []

    def frames() -> Any:
        for number in range(600):
            sent.append(number)
            yield frame
        yield b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'

    provider("one").will(frames=frames())
    async with running.post("/v1/chat/completions", chat_body("both") | {"stream": True}) as answer:
        await answer.content.readany()
        answer.connection.transport.pause_reading()
        await asyncio.sleep(0.5)  # longer than the idle timeout: it is not the provider who is silent
        held = len(sent)
        assert held < 500
        await asyncio.sleep(0.1)
        assert len(sent) == held
        answer.connection.transport.resume_reading()
        rest = await answer.read()
    assert rest.endswith(b"data: [DONE]\n\n")
    assert len(sent) == 600


async def test_a_reader_that_stopped_is_given_up(start: Start, provider: Callable[[str], Provider]) -> None:
    """After `server.timeouts.write` without a read the exchange ends and the upstream connection is closed."""
    running = await start(
        """
        server: {timeouts: {write: 200ms}, keepalive: 50ms}
        store: {url: "memory:"}
        providers: {one: {base_url: MOCK/one/v1, speaks: SPEAKS}}
        routes: {both: "one:m"}
        """
    )
    provider("one").will(
        frames=[b'data: {"choices":[{"index":0,"delta":{"content":"' + b"x" * 60_000 + b'"}}]}\n\n'] * 600
    )
    host, port = running.url.removeprefix("http://").split(":")
    sock = socket.create_connection((host, int(port)))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    body = b'{"model":"both","messages":[],"stream":true}'
    sock.sendall(
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
        % (len(body), body)
    )
    await eventually(lambda: bool(running.exchanges), seconds=5)
    assert running.exchanges[-1]["outcome"] == "abandoned"
    await eventually(lambda: provider("one").seen[0].was_cut, seconds=1)
    sock.close()
