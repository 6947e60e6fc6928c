"""Every way a provider can misbehave: a second target hides it; without one the client gets an honest error."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import Provider, Running, events_of, text_of

# name -> (the provider's behaviour, the client's status when no other target is left)
WHOLE: dict[str, tuple[dict[str, Any], int]] = {
    "500": ({"status": 500}, 502),
    "502 html": ({"status": 502, "body": "<html>bad gateway</html>"}, 502),
    "503": ({"status": 503}, 503),
    "529": ({"status": 529}, 503),
    "504": ({"status": 504}, 502),
    "429": ({"status": 429, "headers": {"retry-after": "40"}}, 429),
    "401": ({"status": 401}, 502),
    "403 key": ({"status": 403, "error": {"message": "Invalid API key"}}, 502),
    "402": ({"status": 402}, 503),
    "404": ({"status": 404}, 404),
    "redirect": ({"status": 307, "headers": {"location": "http://127.0.0.1:9/"}}, 502),
    "reset before head": ({"fault": "reset_before_head"}, 502),
    "close before head": ({"fault": "close_before_head"}, 502),
    "reset in head": ({"fault": "reset_in_head"}, 502),
    "reset in body": ({"fault": "reset_in_body"}, 502),
    "truncated": ({"fault": "truncate"}, 502),
    "silence before head": ({"fault": "stall_before_head"}, 504),
    "silence in body": ({"fault": "stall_in_body"}, 504),
    "garbage": ({"fault": "garbage"}, 502),
    "html": ({"fault": "html"}, 502),
    "no http": ({"fault": "not_http"}, 502),
    "error in a 200": ({"body": {"error": {"message": "slow down", "code": 429}}}, 429),
    "empty body": ({"body": ""}, 502),
}
STREAM: dict[str, tuple[dict[str, Any], int]] = {
    "500": ({"status": 500}, 502),
    "429": ({"status": 429, "headers": {"retry-after": "40"}}, 429),
    "reset before head": ({"fault": "reset_before_head"}, 502),
    "reset in head": ({"fault": "reset_in_head"}, 502),
    "reset before content": ({"fault": "reset_in_body", "after": 1}, 502),
    "truncated before content": ({"fault": "truncate", "after": 1}, 502),
    "error event before content": (
        {"fault": "error_event", "after": 1, "error": {"type": "overloaded_error", "message": "busy"}},
        503,
    ),
    "silence before head": ({"fault": "stall_before_head"}, 504),
    "silence before content": ({"fault": "stall_in_body", "after": 1}, 504),
    "garbage": ({"fault": "garbage"}, 502),
    "html": ({"fault": "html"}, 502),
    "error in a 200": ({"body": {"error": {"message": "no", "code": 503}}}, 503),
}


@pytest.mark.parametrize("name", WHOLE)
async def test_with_a_second_target_a_whole_reply_comes(
    running: Running, provider: Callable[[str], Provider], name: str
) -> None:
    """Whatever the first target does, the client gets a good reply from the second."""
    provider("one").will(**WHOLE[name][0])
    status, said = await running.chat("both")
    assert status == 200
    assert said["choices"][0]["message"]["content"].startswith("Hello")
    assert len(provider("two").seen) == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", WHOLE)
async def test_without_a_second_target_the_error_is_honest(
    running: Running, provider: Callable[[str], Provider], name: str
) -> None:
    """The error has its own status in OpenAI's envelope, never a 500, never later than the timeouts allow."""
    behaviour, expected = WHOLE[name]
    provider("one").will(**behaviour)
    started = time.monotonic()
    async with running.post(
        "/v1/chat/completions", {"model": "single", "messages": [{"role": "user", "content": "Hi"}]}
    ) as answer:
        said = await answer.json()
        assert answer.status == expected, said
        assert set(said["error"]) >= {"message", "type", "param", "code"}
        assert isinstance(said["error"]["type"], str)
        assert answer.headers["x-gateway-origin"] == "upstream:one"
        assert "<html" not in str(said)
    assert time.monotonic() - started < 3


@pytest.mark.parametrize("name", STREAM)
async def test_with_a_second_target_a_whole_stream_comes(
    running: Running, provider: Callable[[str], Provider], name: str
) -> None:
    """Nothing of the broken stream reaches the client: one role, one text, one end."""
    provider("one").will(**STREAM[name][0])
    status, stream = await running.chat_stream("both")
    assert status == 200
    assert text_of(stream).startswith("Hello from the mock")
    assert events_of(stream)[-1] == "[DONE]"
    assert stream.count(b'"role"') == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", STREAM)
async def test_without_a_second_target_a_stream_is_refused_with_a_status(
    running: Running, provider: Callable[[str], Provider], name: str
) -> None:
    """Until content has been sent, a stream's error is an HTTP error. (EC-230)"""
    behaviour, expected = STREAM[name]
    provider("one").will(**behaviour)
    async with running.post(
        "/v1/chat/completions", {"model": "single", "messages": [{"role": "user", "content": "Hi"}], "stream": True}
    ) as answer:
        said = await answer.json()
        assert answer.status == expected, said
        assert said["error"]["message"]


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("reset_in_body", "upstream_stream_error"),
        ("truncate", "upstream_stream_error"),
        ("stall_in_body", "read_timeout"),
        ("error_event", "upstream_error"),
    ],
)
async def test_after_the_first_content_the_stream_ends_with_an_error(
    running: Running, provider: Callable[[str], Provider], fault: str, code: str
) -> None:
    """After content no other target is called and no finish is made up: the stream ends with an error, then [DONE]."""
    provider("one").will(fault=fault, after=3, pace=0.01)
    status, stream = await running.chat_stream("both")

    events = events_of(stream)
    assert status == 200
    assert events[-1] == "[DONE]"
    assert events[-2]["error"]["code"] == code
    assert not any(choice["finish_reason"] for event in events[:-2] for choice in event["choices"])
    assert not provider("two").seen
    assert running.exchanges[-1]["outcome"] != "ok"
    if fault == "stall_in_body":
        assert events[-2]["error"]["type"] == "upstream_timeout"
        assert "providers.one.timeouts.idle" in events[-2]["error"]["suggestion"]


async def test_a_client_error_is_not_retried_and_told_word_for_word(
    running: Running, provider: Callable[[str], Provider]
) -> None:
    """A 400 about the request comes back byte for byte after exactly one attempt."""
    body = '{"error": {"message":"Invalid value: temperature","type":"invalid_request_error","param":"temperature","code":"x"}}'
    provider("one").will(status=400, body=body)
    async with running.post(
        "/v1/chat/completions", {"model": "both", "messages": [{"role": "user", "content": "Hi"}]}
    ) as answer:
        assert answer.status == 400
        assert (await answer.read()).decode() == body
        assert answer.headers["x-should-retry"] == "false"
    assert len(provider("one").seen) == 1
    assert not provider("two").seen


async def test_a_422_becomes_a_400(running: Running, provider: Callable[[str], Provider]) -> None:
    """FastAPI's 422 with a list of places is a 400 with one sentence. (EC-243)"""
    provider("one").will(status=422, body={"detail": [{"loc": ["body", "x"], "msg": "m"}]})
    status, said = await running.chat("single")
    assert status == 400
    assert said["error"]["message"] == "body.x: m"


async def test_a_context_refusal_goes_only_to_the_configured_fallback(
    start: Any, provider: Callable[[str], Provider]
) -> None:
    """A context refusal is returned at once; with `context_fallback` the larger model answers."""
    text = """
    store: {url: "memory:"}
    providers:
      one: {base_url: MOCK/one/v1, speaks: [openai_chat]}
      two: {base_url: MOCK/two/v1, speaks: [openai_chat]}
    routes:
      plain: ["one:m", "two:m"]
      roomy: {targets: ["one:m"], context_fallback: ["two:long"]}
    """
    running = await start(text)
    error = {
        "message": "maximum context length is 8 tokens",
        "code": "context_length_exceeded",
        "type": "invalid_request_error",
    }
    provider("one").will(status=400, error=error)
    status, said = await running.chat("plain")
    assert (status, said["error"]["code"]) == (400, "context_length_exceeded")
    assert not provider("two").seen

    status, _ = await running.chat("roomy")
    assert status == 200
    assert provider("two").seen[0].json["model"] == "long"


async def test_the_smallest_retry_after_is_forwarded(running: Running, provider: Callable[[str], Provider]) -> None:
    """If all targets are limited, Retry-After is the wait until the first of them is free."""
    provider("one").will(status=429, headers={"retry-after": "40"})
    provider("two").will(status=429, headers={"retry-after-ms": "20500", "retry-after": "99"})
    async with running.post(
        "/v1/chat/completions", {"model": "both", "messages": [{"role": "user", "content": "Hi"}]}
    ) as answer:
        assert answer.status == 429
        assert answer.headers["Retry-After"] == "21"
        assert (await answer.json())["error"]["code"] == "rate_limit_exceeded"


async def test_a_reply_beyond_the_limit_is_refused(start: Any, provider: Callable[[str], Provider]) -> None:
    """A reply beyond `server.max_reply` is not held, and the next target is called."""
    running = await start(
        """
        server: {max_reply: 2KiB}
        store: {url: "memory:"}
        providers:
          one: {base_url: MOCK/one/v1, speaks: [openai_chat]}
          two: {base_url: MOCK/two/v1, speaks: [openai_chat]}
        routes: {both: ["one:m", "two:m"]}
        """
    )
    provider("one").will(text="x" * 5000)
    status, said = await running.chat()
    assert status == 200 and len(str(said)) < 2000


@pytest.mark.slow
async def test_a_compressed_reply_is_unpacked(start: Any, provider: Callable[[str], Provider]) -> None:
    """A reply that is compressed unasked is unpacked; a decompression bomb is a 502."""
    import gzip

    from aiohttp import web

    bodies = {"good": b'{"choices":[{"message":{"content":"hi"}}]}', "bomb": b"[" + b" " * 200_000_000}

    async def answer(request: web.Request) -> web.Response:
        name = (await request.json())["model"]
        return web.Response(
            body=gzip.compress(bodies[name], 1),
            headers={"Content-Encoding": "gzip", "Content-Type": "application/json"},
        )

    app = web.Application()
    app.router.add_post("/chat/completions", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    running = await start(
        f"""
        store: {{url: "memory:"}}
        providers: {{one: {{base_url: "{url}", speaks: [openai_chat]}}}}
        routes: {{good: "one:good", bomb: "one:bomb"}}
        """
    )
    assert (await running.chat("good"))[1]["choices"][0]["message"]["content"] == "hi"
    assert (await running.chat("bomb"))[0] == 502
    await runner.cleanup()


async def test_content_before_an_error_in_the_same_chunk_is_delivered(
    running: Running, provider: Callable[[str], Provider]
) -> None:
    """Content before an error in the same chunk reaches the client, however the socket cuts the bytes."""
    frames = [
        b'data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n',
        b'data: {"choices":[{"index":0,"delta":{"content":"b"}}]}\n\ndata: {"error":{"message":"no"}}\n\n',
    ]
    provider("one").will(frames=frames, pace=0.02)
    _, stream = await running.chat_stream("single")
    assert text_of(stream) == "ab"
    assert events_of(stream)[-2]["error"]["message"] == "no"
