"""Bodies under wrong labels: the gateway looks at the bytes."""

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.conftest import Running, Start
from tests.wire.crossings import message
from tests.wire.odd_streams import NAMES, STREAMS, read, whole

BOM = b"\xef\xbb\xbf"
PATHS = {"openai_chat": "/chat/completions", "anthropic_messages": "/messages", "openai_responses": "/responses"}
MODELS = {"openai_chat": "oai", "anthropic_messages": "ant", "openai_responses": "rsp"}
CONFIG = """
server: {listen: ["127.0.0.1:0"]}
store: {url: "memory:"}
providers:
  oai: {base_url: "URL", speaks: [openai_chat], timeouts: {idle: 1s, first_byte: 1s}}
  ant: {base_url: "URL", speaks: [anthropic_messages], timeouts: {idle: 1s, first_byte: 1s}}
  rsp: {base_url: "URL", speaks: [openai_responses], timeouts: {idle: 1s, first_byte: 1s}}
routes: {oai: "oai:m", ant: "ant:m", rsp: "rsp:m"}
"""
Ask = Callable[..., Any]


@pytest.fixture
async def ask(start: Start) -> AsyncIterator[Ask]:
    """Ask for a reply whose provider sends these bytes, cut so, under this label; return (status, body)."""
    answer: dict[str, Any] = {}

    async def respond(request: web.Request) -> web.StreamResponse:
        label, body, step = answer["label"], answer["body"], answer["step"] or len(answer["body"])
        said = web.StreamResponse(headers={"Content-Type": label})
        await said.prepare(request)
        for at in range(0, len(body), step):
            await said.write(body[at : at + step])
        return said

    app = web.Application()
    app.router.add_post("/{path:.*}", respond)
    async with TestServer(app) as server:
        running: Running = await start(CONFIG.replace("URL", str(server.make_url("")).rstrip("/")))

        async def run(
            client: str, upstream: str, body: bytes, label: str, *, is_stream: bool, step: int = 0
        ) -> tuple[int, bytes]:
            answer.update(label=label, body=body, step=step)
            said: dict[str, Any] = {"model": MODELS[upstream], "stream": is_stream}
            said |= {"input": "Hi", "store": False} if client == "openai_responses" else {"max_tokens": 100}
            said |= {} if "input" in said else {"messages": [{"role": "user", "content": "Hi"}]}
            async with running.post("/v1" + PATHS[client], said) as found:
                return found.status, await found.read()

        yield run


def text_of(client: str, body: bytes) -> str:
    """Return the text of a whole reply."""
    said = json.loads(body)
    match client:
        case "openai_chat":
            return str(said["choices"][0]["message"]["content"])
        case "anthropic_messages":
            return "".join(block["text"] for block in said["content"])
        case _:
            return "".join(part["text"] for item in said["output"] for part in item["content"])


STREAM_LABELS = ["application/json", "text/plain; charset=utf-8", "application/octet-stream", "text/html", ""]


@pytest.mark.slow
@pytest.mark.parametrize("label", STREAM_LABELS)
@pytest.mark.parametrize("client", NAMES)
@pytest.mark.parametrize("upstream", NAMES)
async def test_a_stream_under_another_label(ask: Ask, client: str, upstream: str, label: str) -> None:
    """A stream is a stream whatever its label, for clients that want one and for those that do not."""
    body = STREAMS[upstream]('"a"', '"b"')
    status, out = await ask(client, upstream, body, label, is_stream=True)
    assert status == 200
    assert out == body if client == upstream else read(client, out).text == "ab"
    status, out = await ask(client, upstream, body, label, is_stream=False)
    assert (status, text_of(client, out)) == (200, "ab")


@pytest.mark.parametrize("client", NAMES)
@pytest.mark.parametrize("upstream", NAMES)
async def test_a_stream_that_nobody_asked_for(ask: Ask, client: str, upstream: str) -> None:
    """A rightly labelled stream is put together for a client that wants a whole reply."""
    status, out = await ask(client, upstream, STREAMS[upstream]('"a"', '"b"'), "text/event-stream", is_stream=False)
    assert (status, text_of(client, out)) == (200, "ab")


@pytest.mark.slow
@pytest.mark.parametrize("label", ["text/event-stream", "text/event-stream; charset=utf-8", "text/html", "text/plain"])
@pytest.mark.parametrize("begin", [b"", BOM, b"\r\n \n", BOM + b"\n"])
@pytest.mark.parametrize("client", NAMES)
@pytest.mark.parametrize("upstream", NAMES)
async def test_whole_json_under_another_label(ask: Ask, client: str, upstream: str, label: str, begin: bytes) -> None:
    """Whole JSON is a whole reply whatever its label, with a byte order mark or space before it."""
    body = begin + whole(upstream, '"ab"')
    status, out = await ask(client, upstream, body, label, is_stream=True)
    assert (status, read(client, out).text) == (200, "ab")
    status, out = await ask(client, upstream, body, label, is_stream=False)
    assert (status, text_of(client, out)) == (200, "ab")


@pytest.mark.slow
@pytest.mark.parametrize("label", ["text/event-stream", "application/json", ""])
@pytest.mark.parametrize("begin", [BOM, BOM + b"\n\n", b"\n", b": hello\n\n", b"retry: 5\n\n", BOM + b"event: ping\n"])
async def test_what_stands_before_the_first_event(ask: Ask, label: str, begin: bytes) -> None:
    """A byte order mark, empty lines, comments and other fields may stand before the first event, cut anywhere."""
    body = begin + STREAMS["openai_chat"]('"a"', '"b"')
    for step in (0, 1, 2, 3):
        for client in ("openai_chat", "anthropic_messages"):
            status, out = await ask(client, "openai_chat", body, label, is_stream=True, step=step)
            assert status == 200 and BOM not in out
            if client == "anthropic_messages":
                assert read(client, out).text == "ab"


@pytest.mark.slow
@pytest.mark.parametrize("label", ["text/html", "application/json", "text/event-stream"])
@pytest.mark.parametrize("body", [b"<!doctype html><p>data: x</p>", b"", b"\n\n", b"Bad gateway", b"d"])
@pytest.mark.parametrize("is_stream", [True, False])
async def test_neither_a_stream_nor_json(ask: Ask, label: str, body: bytes, is_stream: bool) -> None:
    """A page, nothing and plain words are a 502 under any label."""
    status, _ = await ask("openai_chat", "openai_chat", body, label, is_stream=is_stream)
    assert status == 502


async def test_an_error_as_json_under_the_label_of_a_stream(ask: Ask) -> None:
    """An error object in place of the stream is that error, not a broken stream."""
    body = b'{"error":{"message":"slow down","type":"rate_limit_error","code":429}}'
    status, out = await ask("openai_chat", "openai_chat", body, "text/event-stream", is_stream=True)
    assert status == 429 and b"slow down" in out


async def test_calls_of_a_stream_that_nobody_asked_for(ask: Ask) -> None:
    """A call is put together too, with its arguments as they were."""
    body = message({"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": 1.5}}, stop="tool_use")
    status, out = await ask("anthropic_messages", "anthropic_messages", body, "application/json", is_stream=False)
    said = json.loads(out)
    assert status == 200 and said["content"][0]["input"] == {"a": 1.5} and said["stop_reason"] == "tool_use"
