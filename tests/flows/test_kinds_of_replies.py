"""Odd but complete replies of a provider, over real sockets: without a finish reason, with a picture."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import Provider, Serve, Start
from tests.flows.messages import stream
from tests.flows.pairs import PAIRS, ask
from tests.wire.crossings import PIXEL, chunk, usage_chunk

DONE = b"data: [DONE]\n\n"
USAGE: dict[str, int] = {"prompt_tokens": 3, "completion_tokens": 2}
PICTURE = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}


def whole(**message: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "message": {"role": "assistant", **message}}], "usage": USAGE}


async def test_a_whole_reply_without_a_finish(start: Start, provider: Callable[[str], Provider]) -> None:
    """It is no 502: a Messages client reads an end, a Chat client the reply as it came."""
    running = await start(PAIRS)
    provider("oai").will(body=whole(content="a"))
    status, told, _ = await ask(running, "chat")
    assert (status, told["stop_reason"], told["content"][0]["text"]) == (200, "end_turn", "a")
    status, told = await running.chat("chat")
    assert (status, told["choices"][0]["message"]["content"]) == (200, "a")


async def test_a_picture_is_named_in_the_header(start: Start, provider: Callable[[str], Provider]) -> None:
    """`x-gateway-dropped` names a picture that a Messages client cannot have."""
    running = await start(PAIRS)
    provider("oai").will(body=whole(content="", images=[PICTURE]))
    status, told, headers = await ask(running, "chat")
    assert status == 200 and "picture" in told["content"][0]["text"] and "images" in headers["x-gateway-dropped"]


ROUTE = """
server: {{listen: ["127.0.0.1:0"]}}
store: {{url: "memory:"}}
providers:
  oai: {{base_url: "{url}/v1", auth: {{bearer: {{env: ONE}}}}, speaks: [openai_chat]}}
routes: {{chat: "oai:m"}}
"""


@pytest.mark.parametrize("is_first", [True, False])
async def test_a_picture_in_a_stream(start: Start, serve_stream: Serve, is_first: bool) -> None:
    """In a stream the header names it if it is the first content: later the head has gone out."""
    frames = [chunk(images=[PICTURE]), chunk(content="a")]
    data = b"".join(frames if is_first else frames[::-1]) + chunk("stop") + DONE
    running = await start(ROUTE.format(url=serve_stream(data).rstrip("/")))
    body = {"model": "chat", "max_tokens": 9, "stream": True, "messages": [{"role": "user", "content": "Hi"}]}
    async with running.post("/v1/messages", body) as answer:
        assert b"picture" in await answer.read()
        assert not is_first or "images" in answer.headers["x-gateway-dropped"]


async def test_a_stream_without_a_finish(start: Start, serve_stream: Serve) -> None:
    """Content, usage and [DONE] are an end for both clients; the Chat client gets a finish."""
    data = chunk(content="a") + usage_chunk(**USAGE) + DONE
    running = await start(ROUTE.format(url=serve_stream(data).rstrip("/")))
    status, told = await stream(running, "chat")
    assert status == 200 and b'"stop_reason":"end_turn"' in told
    status, told = await running.chat_stream("chat")
    assert status == 200 and told.endswith(DONE)
    last = json.loads(told.split(b"\n\n")[-3].removeprefix(b"data: "))
    assert last["choices"][0]["finish_reason"] == "stop"
