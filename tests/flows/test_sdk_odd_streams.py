"""Odd streams as the official OpenAI SDK reads them through the raw lane."""

from collections.abc import Callable
from typing import Any

import openai
import pytest

from tests.conftest import Provider, Running
from tests.wire.odd_streams import TEXT, chat, final

pytestmark = pytest.mark.sdk


async def told(running: Running) -> tuple[str, str | None, int | None]:
    """Return (text, finish, output tokens) as the SDK's plain iteration gives them."""
    text, finish, count = "", None, None
    async with openai.AsyncOpenAI(base_url=running.url + "/v1", api_key="x", max_retries=0) as client:
        messages: Any = [{"role": "user", "content": "Hi"}]
        async for chunk in await client.chat.completions.create(model="single", messages=messages, stream=True):
            count = chunk.usage.completion_tokens if chunk.usage is not None else count
            for choice in chunk.choices:
                text += choice.delta.content or ""
                finish = choice.finish_reason or finish
    return text, finish, count


async def test_halves_of_a_character(running: Running, provider: Callable[[str], Provider]) -> None:
    """The SDK gets both halves of a character that its provider has cut in two."""
    provider("one").will(frames=[chat(r'"a\ud83d"', r'"\ude00b"')])
    text, finish, _ = await told(running)
    assert text.encode("utf-16-le", "surrogatepass").decode("utf-16-le") == "a😀b" and finish == "stop"


async def test_a_message_behind_its_deltas(running: Running, provider: Callable[[str], Provider]) -> None:
    """The SDK reads a stream whose last frame repeats the message."""
    provider("one").will(frames=[TEXT, final(content="Hello"), b"data: [DONE]\n\n"])
    assert await told(running) == ("Hello", "stop", 7)
