"""Dialects that a provider speaks elsewhere at its host, or under a version of their own."""

from collections.abc import Callable

from tests.conftest import Provider, Start

ELSEWHERE = """
store: {url: "memory:"}
providers:
  one:
    base_url: MOCK/api/paas/v4
    query: {api-version: "2024-10-21"}
    speaks: {openai_chat: /chat/completions, anthropic_messages: "{origin}/two/v1/messages",
             openai_responses: "{origin}/three/v1/responses?api-version=v1"}
routes: {m: "one:demo"}
"""


async def test_each_dialect_is_asked_at_its_place(start: Start, provider: Callable[[str], Provider]) -> None:
    """`{origin}` leads to another path of the same host, and a path's own query is sent in place of `query`."""
    running = await start(ELSEWHERE)
    ask = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}
    async with running.post("/v1/messages", ask) as answer:
        assert answer.status == 200 and (await answer.json())["type"] == "message"
    async with running.post("/v1/responses", {"model": "m", "input": "Hi"}) as answer:
        assert answer.status == 200 and (await answer.json())["object"] == "response"
    (messages,), (responses,) = provider("two").seen, provider("three").seen
    assert (messages.path, messages.query) == ("/messages", "api-version=2024-10-21")
    assert (responses.path, responses.query) == ("/responses", "api-version=v1")
