"""Streams: whole frames, keep-alives in silence, and a proper end."""

import asyncio
from collections.abc import Callable

import pytest

from tests.conftest import Provider, Running, Start, chat_body, events_of, text_of

ONE = """
server: {{{server}}}
store: {{url: "memory:"}}
providers:
  one: {{base_url: MOCK/one/v1, speaks: SPEAKS, timeouts: {{idle: 400ms, first_byte: 400ms}}}}
  two: {{base_url: MOCK/two/v1, speaks: SPEAKS}}
routes: {{both: ["one:m", "two:m"], single: "one:m"}}
"""


async def test_a_stream_arrives_as_it_was_sent(running: Running, provider: Callable[[str], Provider]) -> None:
    """A raw stream arrives byte for byte, with the headers that keep proxies from buffering."""
    frames = [
        b": hello\n\n",
        b'data: {"choices":[{"index":0,"delta":{"role":"assistant"}}],"x":1.0}\r\n\r\n',
        'data: {"choices":[{"index":0,"delta":{"content":"é🎉"}}]}\n\n'.encode(),
        b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n',
        b"data: [DONE]\n\n",
    ]
    provider("one").will(frames=frames, chunk=3)
    async with running.post("/v1/chat/completions", chat_body("both") | {"stream": True}) as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        assert answer.headers["Cache-Control"] == "no-cache, no-transform"
        assert answer.headers["X-Accel-Buffering"] == "no"
        assert answer.headers["x-gateway-provider"] == "one"
        assert await answer.read() == b"".join(frames)


async def test_usage_is_asked_for_and_hidden(running: Running, provider: Callable[[str], Provider]) -> None:
    """The provider is always asked for usage; only a client that asked for it gets the usage chunk. (EC-42)"""
    _, stream = await running.chat_stream()
    assert provider("one").seen[0].json["stream_options"] == {"include_usage": True}
    assert not any(event.get("usage") for event in events_of(stream)[:-1])
    assert running.exchanges[-1]["output"] == 9

    _, stream = await running.chat_stream(stream_options={"include_usage": True})
    assert events_of(stream)[-2]["usage"]["completion_tokens"] == 9
    assert events_of(stream)[-2]["choices"] == []


async def test_silence_is_filled_between_frames(start: Start, provider: Callable[[str], Provider]) -> None:
    """Keep-alive comments fill silence between frames, never inside one, however the provider cuts its bytes."""
    running = await start(ONE.format(server="keepalive: 20ms"))
    text = b'data: {"choices":[{"index":0,"delta":{"content":"abcdefgh"}}]}\n\n'
    end = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
    provider("one").will(frames=[text, text[:20], text[20:], end], pace=0.07)
    _, stream = await running.chat_stream()
    assert stream.replace(b": keep-alive\n\n", b"") == text + text + end
    assert stream.count(b": keep-alive") >= 5
    assert text in stream and end in stream


@pytest.mark.slow
async def test_comments_of_a_slow_provider_are_signs_of_life(start: Start, provider: Callable[[str], Provider]) -> None:
    """Comments reset the idle timer; the gateway holds them back until content comes. (EC-167)"""
    running = await start(ONE.format(server="keepalive: 15s"))
    comments = [b": OPENROUTER PROCESSING\n\n"] * 6
    end = b'data: {"choices":[{"index":0,"delta":{"content":"x"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
    provider("one").will(frames=[*comments, end], pace=0.1)
    status, stream = await running.chat_stream("single")
    assert status == 200 and stream == b"".join(comments) + end


async def test_a_stream_can_be_opened_before_the_provider_speaks(
    start: Start, provider: Callable[[str], Provider]
) -> None:
    """With `commit_after` the 200 and keep-alives go out early, and the fallback still works until content comes."""
    running = await start(ONE.format(server="commit_after: 50ms, keepalive: 30ms"))
    provider("one").will(fault="stall_before_head")
    async with running.post("/v1/chat/completions", chat_body("both") | {"stream": True}) as answer:
        async with asyncio.timeout(0.3):
            assert answer.status == 200
            assert await answer.content.readany() == b": keep-alive\n\n"
        rest = await answer.read()
    assert text_of(rest).startswith("Hello") and events_of(rest)[-1] == "[DONE]"
    assert running.exchanges[-1]["provider"] == "two"


async def test_after_an_early_opening_errors_are_said_inside(start: Start, provider: Callable[[str], Provider]) -> None:
    """After an early 200 an upstream timeout is the dialect's error event, then [DONE]."""
    running = await start(ONE.format(server="commit_after: 20ms, keepalive: 30ms"))
    provider("one").will(fault="stall_before_head")
    status, stream = await running.chat_stream("single")
    assert status == 200
    assert events_of(stream)[-2]["error"]["type"] == "upstream_timeout"
    assert events_of(stream)[-1] == "[DONE]"


async def test_the_total_time_is_bounded(start: Start, provider: Callable[[str], Provider]) -> None:
    """One token at a time resets the idle timer, but `server.timeouts.total` still ends the stream."""
    running = await start(ONE.format(server="timeouts: {total: 300ms}"))
    frames = [b'data: {"choices":[{"index":0,"delta":{"content":"x"}}]}\n\n'] * 100
    provider("one").will(frames=frames, pace=0.05)
    _, stream = await running.chat_stream()
    assert "server.timeouts.total" in events_of(stream)[-2]["error"]["suggestion"]
    assert 3 <= len(text_of(stream)) <= 7


@pytest.mark.slow
async def test_the_clients_own_deadline_is_kept(start: Start, provider: Callable[[str], Provider]) -> None:
    """x-stainless-timeout bounds the wait for the upstream: a second after it the client gets a 504. (EC-19)"""
    running = await start(ONE.format(server="").replace("first_byte: 400ms", "first_byte: 9s, whole: 9s"))
    provider("one").will(latency=5)

    async def ask(stream: bool) -> int:
        body = chat_body("single") | {"stream": stream}
        async with running.post("/v1/chat/completions", body, headers={"x-stainless-timeout": "0.1"}) as answer:
            status: int = answer.status
            return status

    async with asyncio.timeout(2):
        assert list(await asyncio.gather(ask(False), ask(True))) == [504, 504]


async def test_a_provider_that_lingers_after_the_finish_is_not_waited_for(
    start: Start, provider: Callable[[str], Provider]
) -> None:
    """If a provider stays open after the finish, the stream ends soon: only usage could still follow."""
    running = await start(ONE.format(server=""))
    frames = [b'data: {"choices":[{"index":0,"delta":{"content":"x"},"finish_reason":"stop"}]}\n\n']
    provider("one").will(frames=[*frames, b""], fault="stall_in_body", after=1)
    async with asyncio.timeout(2):
        status, stream = await running.chat_stream("single")
    assert status == 200 and stream == frames[0] + b"data: [DONE]\n\n"
    assert running.exchanges[-1]["outcome"] == "ok"


async def test_a_last_frame_without_its_empty_line_counts(
    running: Running, provider: Callable[[str], Provider]
) -> None:
    """A last frame without its empty line is completed and sent. (EC-168)"""
    frames = [b'data: {"choices":[{"index":0,"delta":{"content":"x"},"finish_reason":"stop"}]}\n\n', b"data: [DONE]"]
    provider("one").will(frames=frames)
    _, stream = await running.chat_stream()
    assert stream == frames[0] + b"data: [DONE]\n\n"


async def test_a_completion_stream_and_an_unknown_event_stream(
    running: Running, provider: Callable[[str], Provider]
) -> None:
    """Streams of legacy completions are watched like chat; image events pass through and their usage is logged."""
    async with running.post("/v1/completions", {"model": "both", "prompt": "x", "stream": True}) as answer:
        assert (await answer.read()).endswith(b"data: [DONE]\n\n")
    provider("one").will(frames=[b'event: image.done\ndata: {"usage":{"input_tokens":1,"output_tokens":2}}\n\n'])
    async with running.post("/v1/images/generations", {"model": "both", "prompt": "x", "stream": True}) as answer:
        assert (await answer.read()).startswith(b"event: image.done")
    assert running.exchanges[-1]["output"] == 2


async def test_sound_that_breaks_off_is_cut_not_ended(running: Running, provider: Callable[[str], Provider]) -> None:
    """A sound that breaks off ends with a cut connection: there is no error event for sound."""
    import aiohttp
    import pytest

    provider("one").will(
        frames=[b"RIFF" * 100, b"x", b"y"],
        fault="reset_in_body",
        after=2,
        pace=0.02,
        headers={"Content-Type": "audio/wav"},
    )
    async with running.post("/v1/audio/speech", {"model": "single", "input": "x", "voice": "a"}) as answer:
        assert answer.status == 200
        with pytest.raises(aiohttp.ClientPayloadError):
            await answer.read()
