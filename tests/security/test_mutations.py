"""Fifteen hundred damaged bodies and as many damaged replies: no 500, no hang, nothing left behind."""

import asyncio
import gc
import json
import random
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiohttp import web

from tests.conftest import Start, eventually
from tests.security.fuzz import mutated

pytestmark = [pytest.mark.slow, pytest.mark.exhaustive]
COUNT = 1_500
AT_ONCE = 24
MAX_PAUSE_S = 0.25  # of the loop; on a busy test machine two and a half times what is promised
TEXT = """
server: {listen: ["127.0.0.1:0"], timeouts: {total: 20s}}
store: {url: "memory:"}
breaker: {failures: 0}
providers:
  chat: {base_url: MOCK/chat/v1, speaks: [openai_chat], timeouts: {first_byte: 1s, whole: 1s, idle: 1s}}
  claude: {base_url: MOCK/claude/v1, speaks: [anthropic_messages], timeouts: {first_byte: 1s, whole: 1s, idle: 1s}}
  native: {base_url: MOCK/native/v1, speaks: [openai_responses], timeouts: {first_byte: 1s, whole: 1s, idle: 1s}}
routes: {chat: "chat:m", claude: "claude:m", native: "native:m"}
"""
TOOL = {
    "type": "function",
    "function": {"name": "f", "parameters": {"type": "object", "properties": {"a": {"type": "string"}}}},
}
BODIES: list[tuple[str, Any]] = [
    ("/v1/chat/completions", {"model": "chat", "messages": [{"role": "user", "content": "hi"}], "tools": [TOOL], "stream": True, "n": 1}),
    ("/v1/chat/completions", {"model": "claude", "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": [{"type": "text", "text": "hi"}]}]}),
    ("/v1/messages", {"model": "native", "max_tokens": 5, "system": "s", "messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}], "stream": True}),
    ("/v1/messages", {"model": "chat", "max_tokens": 5, "messages": [{"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {}}]}]}),
    ("/v1/responses", {"model": "claude", "input": [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}], "stream": True}),
    ("/v1/responses", {"model": "native", "input": "hi", "instructions": "i", "text": {"format": {"type": "text"}}, "store": False}),
    ("/v1/embeddings", {"model": "chat", "input": ["a", "b"]}),
]  # fmt: skip


def _damaged(data: bytes, dice: random.Random) -> bytes:
    return mutated(data, dice, [data])


def _tasks() -> int:
    """Count the tasks, without those of connections that are kept open, on either side."""
    return sum("RequestHandler.start" not in repr(task.get_coro()) for task in asyncio.all_tasks())


class Watch:
    """Notes the longest time for which the loop stood still."""

    def __init__(self) -> None:
        self.longest = 0.0

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        last = loop.time()
        while True:
            await asyncio.sleep(0.005)
            now = loop.time()
            self.longest, last = max(self.longest, now - last), now


async def _all(work: Callable[[int], Any]) -> float:
    """Do `work` COUNT times, some at once; return the longest pause of the loop."""
    watch = Watch()
    watching = asyncio.create_task(watch.run())
    free = asyncio.Semaphore(AT_ONCE)

    async def one(number: int) -> None:
        async with free, asyncio.timeout(30):
            await work(number)

    await asyncio.gather(*(one(number) for number in range(COUNT)))
    watching.cancel()
    return watch.longest


async def test_damaged_bodies(start: Start) -> None:
    """Each damaged body is answered, never with a 500, and leaves no task and no slot."""
    running = await start(TEXT)
    dice = random.Random(20261128)
    statuses: dict[int, int] = {}
    tasks = _tasks()

    async def send(number: int) -> None:
        path, body = BODIES[number % len(BODIES)]
        data = _damaged(json.dumps(body).encode(), dice)
        async with running.session.post(
            running.url + path, data=data, headers={"Content-Type": "application/json"}
        ) as answer:
            text = await answer.read()
            statuses[answer.status] = statuses.get(answer.status, 0) + 1
            assert answer.status != 500, (data, text)

    pause = await _all(send)
    assert statuses.get(400, 0) > COUNT // 4
    assert not [line for line in running.log if line["event"] == "bug"]
    gc.collect()
    await eventually(lambda: _tasks() <= tasks + 1, 5)
    assert running.gateway.lifecycle.exchanges == {} and running.gateway.lifecycle.bodies.total == 0
    assert pause < MAX_PAUSE_S


@pytest.fixture
async def damaged() -> AsyncIterator[str]:
    """A provider whose good replies are damaged on their way; the same ones in every run."""
    dice = random.Random(28112026)
    message = {
        "role": "assistant",
        "content": "hi",
        "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
    }
    whole: dict[str, Any] = {
        "chat": {"id": "x", "object": "chat.completion", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": {"prompt_tokens": 1, "completion_tokens": 2}},
        "claude": {"id": "x", "type": "message", "role": "assistant", "content": [{"type": "text", "text": "hi"}], "stop_reason": "end_turn", "usage": {"input_tokens": 1, "output_tokens": 2}},
        "native": {"id": "x", "object": "response", "status": "completed", "output": [{"type": "message", "id": "m", "role": "assistant", "status": "completed", "content": [{"type": "output_text", "text": "hi", "annotations": []}]}]},
    }  # fmt: skip
    delta = {"choices": [{"index": 0, "delta": {"content": "hi"}, "finish_reason": None}]}
    end = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    block = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    text = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hi"}}
    streams: dict[str, list[Any]] = {
        "chat": [delta, delta, end],
        "claude": [{"type": "message_start", "message": whole["claude"] | {"content": []}}, block, text, {"type": "content_block_stop", "index": 0}, {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}}, {"type": "message_stop"}],
        "native": [{"type": "response.created", "response": whole["native"] | {"output": [], "status": "in_progress"}}, {"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "item_id": "m", "delta": "hi"}, {"type": "response.completed", "response": whole["native"]}],
    }  # fmt: skip

    async def answer(request: web.Request) -> web.Response:
        body = await request.json()
        name = request.path.split("/")[1]
        if not body.get("stream"):
            return web.Response(body=_damaged(json.dumps(whole[name]).encode(), dice), content_type="application/json")
        frames = [f"event: {one.get('type', '')}\ndata: {json.dumps(one)}\n\n".encode() for one in streams[name]]
        data = b"".join(frames) + b"data: [DONE]\n\n" * (name == "chat")
        return web.Response(body=_damaged(data, dice), content_type="text/event-stream")

    app = web.Application()
    app.router.add_post("/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def test_damaged_replies(start: Start, damaged: str) -> None:
    """Each damaged reply is delivered or told as a fault, in every pair of dialects, and leaves nothing behind."""
    running = await start(TEXT.replace("MOCK", damaged))
    tasks = _tasks()
    clients: list[tuple[str, dict[str, Any]]] = [
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "hi"}]}),
        ("/v1/messages", {"max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]}),
        ("/v1/responses", {"input": "hi", "store": False}),
    ]

    async def ask(number: int) -> None:
        path, body = clients[number % 3]
        model = ("chat", "claude", "native")[number // 3 % 3]
        more = {"model": model, "stream": number // 9 % 2 == 0}
        async with running.post(path, body | more) as answer:
            await answer.read()
            assert answer.status in (200, 400, 404, 413, 429, 502, 503, 504, 529), answer.status

    pause = await _all(ask)
    assert not [line for line in running.log if line["event"] == "bug"]
    gc.collect()
    await eventually(lambda: _tasks() <= tasks + 1, 5)
    upstream = running.gateway.upstream
    await eventually(lambda: upstream.in_use("chat") == upstream.in_use("claude") == upstream.in_use("native") == 0, 5)
    assert running.gateway.lifecycle.exchanges == {}
    assert pause < MAX_PAUSE_S
