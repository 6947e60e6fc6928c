"""A provider sends what nobody should: packed bombs, floods of nothing, values of wrong types."""

import asyncio
import gzip
import io
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.conftest import Provider, Start, chat_body, text_of

pytestmark = [pytest.mark.slow, pytest.mark.exhaustive]

ONE = """
store: {url: "memory:"}
providers:
  chat: {base_url: MOCK/chat/v1, speaks: [openai_chat]}
  messages: {base_url: MOCK/messages/v1, speaks: [anthropic_messages]}
  responses: {base_url: MOCK/responses/v1, speaks: [openai_responses]}
  spare: {base_url: MOCK/spare/v1, speaks: [openai_chat]}
routes:
  chat: ["chat:m", "spare:m"]
  messages: ["messages:m", "spare:m"]
  responses: ["responses:m", "spare:m"]
"""
HELLO = b'data: {"choices":[{"index":0,"delta":{"content":"Hello"}}]}\n\n'
FINISH = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'


async def longest_pause(work: Any) -> tuple[float, Any]:
    """Await `work`; return the longest time for which the loop stood still meanwhile, and the result."""
    longest, last = 0.0, time.monotonic()
    task = asyncio.ensure_future(work)
    while not task.done():
        await asyncio.sleep(0.002)
        now = time.monotonic()
        longest, last = max(longest, now - last), now
    return longest, task.result()


@pytest.mark.parametrize("name", ["chat", "messages", "responses"])
@pytest.mark.parametrize("piece", [b":\n\n", b"\n\n", b"data: {}\n\n", b"event: ping\n\n"])
async def test_a_flood_of_nothing_is_given_up(
    start: Start, provider: Callable[[str], Provider], name: str, piece: bytes
) -> None:
    """A stream of frames without content is given up, the next target answers, and the loop turns meanwhile."""
    running = await start(ONE)
    provider(name).will(frames=[piece * 20_000] * 20)
    pause, (status, stream) = await longest_pause(running.chat_stream(name))
    assert status == 200 and text_of(stream)
    assert len(provider("spare").seen) == 1
    assert pause < 1.0


@pytest.fixture
async def serve_packed() -> AsyncIterator[Callable[[bytes], Awaitable[str]]]:
    """Serve bytes as a gzip stream; yields the function that starts it and returns its address."""
    servers: list[TestServer] = []

    async def serve(data: bytes) -> str:
        async def respond(request: web.Request) -> web.Response:
            headers = {"Content-Type": "text/event-stream", "Content-Encoding": "gzip", "Connection": "close"}
            return web.Response(body=io.BytesIO(data), headers=headers)

        app = web.Application()
        app.router.add_post("/{path:.*}", respond)
        servers.append(TestServer(app))
        await servers[0].start_server(shutdown_timeout=0.1)
        return str(servers[0].make_url("")).rstrip("/")

    yield serve
    for server in servers:
        await server.close()


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (gzip.compress(HELLO + FINISH), "Hello"),
        (gzip.compress(HELLO + FINISH) + b"trailing" + gzip.compress(HELLO), "Hello"),
        (gzip.compress(HELLO * 2 + FINISH + b":\n\n" * 100_000), "HelloHello"),
        (gzip.compress(b"data: " + b"a" * 30_000_000), None),
        (gzip.compress(b":" * 60_000_000), None),
        (gzip.compress(HELLO)[:-4] + b"damaged!", None),
    ],
    ids=["whole", "trailing", "comments", "frame", "ratio", "damaged"],
)
async def test_a_packed_stream(
    start: Start, serve_packed: Callable[[bytes], Awaitable[str]], data: bytes, text: str | None
) -> None:
    """A packed stream is read in steps, ends with the packed data, and is bounded in its ratio."""
    running = await start(ONE.replace("MOCK/chat/v1", f"{await serve_packed(data)}/v1"))
    pause, (status, stream) = await longest_pause(running.chat_stream("chat"))
    assert status == 200 and pause < 1.0
    assert text is None or text_of(stream) == text


@pytest.mark.parametrize("count", [4, 40])
async def test_interim_responses_are_bounded(start: Start, count: int) -> None:
    """A few 1xx responses are passed over; a flood of them is a fault, and the next target answers."""

    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = json.dumps(
            {"choices": [{"index": 0, "message": {"content": "first"}, "finish_reason": "stop"}]}
        ).encode()
        writer.write(b"HTTP/1.1 103 Early Hints\r\n\r\n" * count)
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        )
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(respond, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    running = await start(ONE.replace("MOCK/chat/v1", f"http://127.0.0.1:{port}/v1"))
    status, said = await running.chat("chat")
    server.close()
    assert status == 200
    assert (said["choices"][0]["message"]["content"] == "first") is (count <= 5)


ODD: list[Any] = [{"a": 1}, [1], 7, True, "x", None, 1e308]
CHAT = {"id": "x", "object": "x", "created": 1, "model": "m", "usage": {"prompt_tokens": 1, "completion_tokens": 1}}


def bent(value: Any) -> list[dict[str, Any]]:
    """Return chat replies in which one member each has this value."""
    message = {"role": "assistant", "content": "Hi"}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    replies = [CHAT | {"choices": [choice]} | {name: value} for name in ("id", "created", "model", "usage", "choices")]
    replies += [
        CHAT | {"choices": [choice | {name: value}]} for name in ("index", "message", "finish_reason", "logprobs")
    ]
    replies += [
        CHAT | {"choices": [choice | {"message": message | {name: value}}]}
        for name in ("role", "content", "tool_calls", "refusal", "annotations", "reasoning_content")
    ]
    replies += [
        CHAT | {"choices": [choice | {"message": message | {"tool_calls": [call | {name: value}]}}]} for name in call
    ]
    replies += [
        CHAT | {"choices": [choice], "usage": {name: value}}
        for name in ("prompt_tokens", "completion_tokens", "prompt_tokens_details")
    ]
    return replies


@pytest.mark.parametrize("value", ODD, ids=repr)
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages", "/v1/responses"])
async def test_no_wrong_type_is_a_500(start: Start, provider: Callable[[str], Provider], path: str, value: Any) -> None:
    """Whatever type a member of a provider's reply has, the client gets an answer or that provider's fault."""
    running = await start(ONE)
    for reply in bent(value):
        provider("chat").will(times=1, body=reply)
        body = {**chat_body("chat:m"), "input": "Hi", "max_tokens": 9}
        if path == "/v1/responses":
            del body["messages"]
        async with running.post(path, body) as answer:
            assert answer.status != 500, (reply, await answer.text())
        choices = (
            [
                {key: one for key, one in choice.items() if key != "message"} | {"delta": choice.get("message")}
                for choice in reply["choices"]
                if isinstance(choice, dict)
            ]
            if isinstance(reply["choices"], list)
            else reply["choices"]
        )
        frames = [b"data: " + json.dumps(reply | {"choices": choices}).encode() + b"\n\n", FINISH]
        provider("chat").will(times=1, frames=frames)
        async with running.post(path, body | {"stream": True}) as answer:
            assert answer.status != 500, (reply, await answer.text())
    assert not [line for line in running.log if line["event"] == "bug"]
