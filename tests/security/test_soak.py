"""Ten thousand refused and broken requests of all kinds, then a rest: the memory is what it was before."""

import asyncio
import contextlib
import ctypes
import gc
import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path

import aiohttp
import pytest

from tests.conftest import Provider, Running, Start, chat_body

pytestmark = pytest.mark.slow
COUNT = 10_000
MIB = 1024 * 1024
CONFIG = """
store: {url: "memory:"}
breaker: {failures: 0}
providers:
  chat: {base_url: MOCK/chat/v1, speaks: [openai_chat], timeouts: {idle: 100ms, whole: 1s, first_byte: 1s}}
  messages: {base_url: MOCK/messages/v1, speaks: [anthropic_messages]}
  broken: {base_url: MOCK/broken/v1, speaks: [openai_chat], timeouts: {idle: 100ms}}
routes: {raw: "chat:m", crossed: "messages:m", broken: ["broken:m", "chat:m"]}
"""
JSON = {"Content-Type": "application/json"}
PACKED = JSON | {"Content-Encoding": "gzip"}
LARGE = json.dumps(chat_body("nothing") | {"x": ["a" * 50] * 5_000}).encode()
REQUESTS: list[tuple[str, bytes, dict[str, str]]] = [
    ("/v1/chat/completions", b"{", JSON),
    ("/v1/chat/completions", b"x" * 70_000, JSON),
    ("/v1/chat/completions", LARGE, JSON),
    ("/v1/chat/completions", gzip.compress(b"{}," * 2_000_000), PACKED),
    ("/v1/chat/completions", gzip.compress(LARGE)[:-9], PACKED),
    ("/v1/messages", json.dumps({"model": "raw", "max_tokens": 1, "messages": [{"role": "odd"}]}).encode(), JSON),
    (
        "/v1/responses",
        json.dumps({"model": "crossed", "input": [{"type": "item_reference", "id": "x"}]}).encode(),
        JSON,
    ),
    ("/v1/responses", json.dumps({"model": "crossed", "input": "Hi", "previous_response_id": "x"}).encode(), JSON),
    ("/v1/chat/completions", json.dumps(chat_body("broken")).encode(), JSON),
    ("/v1/chat/completions", json.dumps(chat_body("broken") | {"stream": True}).encode(), JSON),
    ("/v1/chat/completions", b"{}", {"Content-Type": "text/plain"}),
    ("/nothing", b"{}", JSON),
    ("/v1/models", b"", {"Origin": "https://evil.example"}),
]


def resident() -> int:
    """Return the bytes of this process that are in memory, after what is free was given back."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


async def flood(running: Running, count: int) -> None:
    """Send requests of all kinds in turn, forty at a time; some clients leave in the middle."""
    free = asyncio.Semaphore(40)

    async def one(number: int) -> None:
        path, data, headers = REQUESTS[number % len(REQUESTS)]
        async with free:
            timeout = aiohttp.ClientTimeout(total=0.02 if number % 37 == 0 else 20)
            with contextlib.suppress(TimeoutError, aiohttp.ClientError):
                async with running.session.post(
                    running.url + path, data=io.BytesIO(data), headers=headers, timeout=timeout
                ) as answer:
                    await answer.read()

    await asyncio.gather(*(one(number) for number in range(count)))


async def test_the_memory_is_what_it_was_before(start: Start, provider: Callable[[str], Provider]) -> None:
    """After ten thousand bad requests and a rest, the process has at most ten mebibytes more than before."""
    running = await start(CONFIG)
    provider("broken").server.keeps = False
    provider("broken").will(fault="garbage")
    await flood(running, 1_000)  # what is made once is made here
    running.output.seek(0)
    running.output.truncate(0)
    before = resident()
    await flood(running, COUNT)
    await asyncio.sleep(0.05)
    running.output.seek(0)
    running.output.truncate(0)
    after = resident()
    assert after - before < 10 * MIB, f"{(after - before) / MIB:.1f} MiB more"
    assert running.gateway.lifecycle.bodies.total == 0
