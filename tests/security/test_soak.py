"""Ten thousand refused and broken requests of all kinds, then a rest: the memory is what it was before."""

import asyncio
import contextlib
import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path

import aiohttp
import pytest

from tests.conftest import Provider, chat_body, eventually
from tests.flows.processes import Process, Run

pytestmark = [pytest.mark.slow, pytest.mark.exhaustive]
COUNT = 10_000
MIB = 1024 * 1024
REST_S = 12.0  # the daemon keeps house every ten seconds
CONFIG = """
server: {listen: ["127.0.0.1:PORT"], drain: 2s}
store: {url: "memory:"}
breaker: {failures: 0}
providers:
  chat: {base_url: MOCK/chat/v1, speaks: [openai_chat], timeouts: {idle: 100ms, whole: 1s, first_byte: 1s}}
  messages: {base_url: MOCK/messages/v1, speaks: [anthropic_messages]}
  broken: {base_url: MOCK/broken/v1, speaks: [openai_chat], timeouts: {idle: 100ms, first_byte: 1s}}
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


def resident(process: Process) -> int:
    """Return the bytes of the daemon that are in memory."""
    return int(Path(f"/proc/{process.popen.pid}/statm").read_text().split()[1]) * 4096


async def flood(url: str, count: int) -> None:
    """Send requests of all kinds in turn, forty at a time; some clients leave in the middle."""
    free = asyncio.Semaphore(40)
    async with aiohttp.ClientSession() as session:

        async def one(number: int) -> None:
            path, data, headers = REQUESTS[number % len(REQUESTS)]
            timeout = aiohttp.ClientTimeout(total=0.02 if number % 37 == 0 else 20)
            async with free:
                with contextlib.suppress(TimeoutError, aiohttp.ClientError):
                    body = io.BytesIO(data)
                    async with session.post(url + path, data=body, headers=headers, timeout=timeout) as answer:
                        await answer.read()

        await asyncio.gather(*(one(number) for number in range(count)))


async def test_the_memory_is_what_it_was_before(run: Run, provider: Callable[[str], Provider]) -> None:
    """After ten thousand bad requests and a rest, the daemon has at most ten mebibytes more than before."""
    provider("broken").server.keeps = False
    provider("broken").will(fault="garbage")
    process = run(CONFIG)
    await eventually(lambda: process.has("listening"), 10)
    await flood(process.url, 2_000)  # what is made once is made here
    await asyncio.sleep(REST_S)
    before = resident(process)
    await flood(process.url, COUNT)
    await eventually(lambda: resident(process) < before + 10 * MIB, REST_S)
