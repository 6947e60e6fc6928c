"""Small bodies that become large ones, and requests that are over and keep what they had."""

import asyncio
import gc
import gzip
import io
import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from gateway.proxy.exchange import Exchange
from gateway.wire.codec.unpack import zstd
from tests.conftest import Provider, Running, Start, eventually

pytestmark = [pytest.mark.slow, pytest.mark.exhaustive]

PACKERS: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "zstd": zstd.compress}
MIB = 1024 * 1024
SPOKEN = """
store: {url: "memory:"}
providers:
  chat: {base_url: MOCK/chat/v1, speaks: [openai_chat]}
  messages: {base_url: MOCK/messages/v1, speaks: [anthropic_messages]}
routes: {raw: "chat:m", crossed: "messages:m"}
"""


async def send(running: Running, data: bytes, path: str = "/v1/chat/completions", encoding: str = "") -> int:
    headers = {"Content-Type": "application/json"} | ({"Content-Encoding": encoding} if encoding else {})
    async with running.session.post(running.url + path, data=io.BytesIO(data), headers=headers) as answer:
        await answer.read()
        return answer.status


@pytest.mark.parametrize("encoding", sorted(PACKERS))
@pytest.mark.parametrize("piece", [b"{},", b" ", b'{"role":"user","content":"a"},'])
async def test_a_bomb_is_refused_before_it_is_unpacked(start: Start, encoding: str, piece: bytes) -> None:
    """A body that unpacks to more than a hundred times its size is refused, whatever is in it."""
    running = await start(SPOKEN)
    count = 40 * MIB // len(piece)
    bomb = PACKERS[encoding](b'{"model":"crossed","messages":[' + piece * count + b"{}]}")
    assert len(bomb) < MIB // 4
    assert await send(running, bomb, encoding=encoding) == 413


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"crossed","messages":[' + b'{"role":"user","content":"a"},' * 70_000 + b"{}]}",
        b'{"model":"crossed","messages":[' + b"{}," * 1_000_000 + b"{}]}",
        b'{"model":"crossed",' + b",".join(b'"m%d":1' % number for number in range(200_000)) + b"}",
        b'{"model":"crossed","messages":[{"role":"user","content":['
        + b'{"type":"text","text":""},' * 90_000
        + b"0]}]}",
    ],
    ids=["turns", "values", "members", "blocks"],
)
async def test_too_many_values_are_refused_and_others_are_served(start: Start, body: bytes) -> None:
    """A body of too many values is a 400, and the loop serves others while it is looked at."""
    running = await start(SPOKEN)
    gaps: list[float] = []

    async def watch() -> None:
        last = time.monotonic()
        while True:
            await asyncio.sleep(0.005)
            gaps.append(time.monotonic() - last)
            last = time.monotonic()

    watching = asyncio.create_task(watch())
    status = await send(running, body)
    watching.cancel()
    assert status == 400
    assert max(gaps) < 1.0  # a machine under test is slow at times; before, the loop stood for seconds


@pytest.mark.parametrize(
    "body",
    [
        {"model": "nothing", "messages": []},
        {"model": "raw"},
        {"model": "crossed", "messages": [{"role": "odd"}]},
        {"model": "raw", "messages": [], "stream": "yes"},
    ],
)
@pytest.mark.parametrize("status", [200, 400, 500])
async def test_no_exchange_is_in_a_cycle_when_it_is_over(
    start: Start, provider: Callable[[str], Provider], body: dict[str, Any], status: int
) -> None:
    """However an exchange ends, nothing but the collector's own list holds it: its body is free at once."""
    running = await start(SPOKEN)
    if status != 200:
        provider("chat").will(status=status)
        provider("messages").will(status=status)
    await send(running, json.dumps(body).encode())  # what is made once is made here
    gc.collect()
    gc.disable()
    try:
        before = sum(isinstance(one, Exchange) for one in gc.get_objects())
        for _ in range(5):
            await send(running, json.dumps(body).encode())
        await eventually(lambda: sum(isinstance(one, Exchange) for one in gc.get_objects()) <= before + 1)
    finally:
        gc.enable()


@pytest.mark.parametrize(("size", "count"), [(300_000, 3), (1_000_000, 2)])
async def test_the_bytes_in_flight_are_given_back(start: Start, size: int, count: int) -> None:
    """What a body holds of the budget is given back when its exchange is over, however it ended."""
    running = await start(SPOKEN)
    for model in ("raw", "nothing", "crossed") * count:
        body = {"model": model, "messages": [{"role": "user", "content": "x" * size}]}
        await send(running, gzip.compress(json.dumps(body).encode(), 1), encoding="gzip")
    assert running.gateway.lifecycle.bodies.total == 0
    assert running.gateway.lifecycle.slots.total == 0
