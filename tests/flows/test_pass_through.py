"""`/pt` changes the model's name, converts the format where it must, and does nothing else."""

from collections.abc import Callable

import pytest

from tests.conftest import Provider, Start

CONFIG = """
store: {url: "memory:"}
providers:
  claude:
    base_url: MOCK/claude/v1
    speaks: [anthropic_messages]
    system_prefix: "You are ours."
    set: {speed: fast}
    drop: [temperature]
  open: {base_url: MOCK/open/v1, speaks: [openai_chat], set: {seed: 1}}
routes: {c: "claude:m", o: "open:m"}
"""


@pytest.mark.parametrize("path", ["/pt/openai/v1/chat/completions", "/pt/v1/chat/completions", "/pt/v1/responses"])
async def test_the_format_is_converted_and_nothing_else(
    start: Start, provider: Callable[[str], Provider], path: str
) -> None:
    """An OpenAI client reaches a Claude provider: no prefix, no settings, no cache marks; nothing is stored."""
    running = await start(CONFIG)
    said = {"input": "Hi"} if "responses" in path else {"messages": [{"role": "user", "content": "Hi"}]}
    async with running.post(path, {"model": "c", "temperature": 0.5, **said}) as answer:
        assert answer.status == 200, await answer.text()
        reply = await answer.json()
    sent = provider("claude").seen[0].json
    assert sent["model"] == "m" and sent["temperature"] == 0.5
    assert "system" not in sent and "speed" not in sent and "cache_control" not in str(sent)
    if "responses" in path:
        async with running.session.get(f"{running.url}/v1/responses/{reply['id']}") as answer:
            assert answer.status == 404


async def test_the_bytes_are_kept(start: Start, provider: Callable[[str], Provider]) -> None:
    """Of a body in the provider's own dialect every byte outside the model's value stays, white space too."""
    running = await start(CONFIG)
    body = b'{ "messages" : [\n {"role":"user","content":"H\\u00fc"} ],\t"top_p":1.0 , "model" : "o" }\n'
    headers = {"Content-Type": "application/json"}
    async with running.session.post(f"{running.url}/pt/v1/chat/completions", data=body, headers=headers) as answer:
        assert answer.status == 200
    assert provider("open").seen[0].body == body.replace(b'"o"', b'"m"')
