"""What the tests of limits, budgets and usage share: a gateway with prices, and replies whose usage is known."""

import json
from typing import Any

from gateway.store.sums import NUMBERS, Query
from tests.conftest import Running

CONFIG = """
server: {listen: ["127.0.0.1:0"]}
store: {url: "memory:"}
keys:
  a: {secret: {env: KEY}, operator: true, labels: {team: search} A}
  b: {secret: {env: OTHER} B}
providers:
  one:
    base_url: MOCK/one/v1
    speaks: [openai_chat, openai_responses, openai_embeddings, openai_moderations]
    models: {"*": {price: {input: 1, output: 10, cache_read: 0.1}}}
  two: {base_url: MOCK/two/v1, speaks: [anthropic_messages], models: {"*": {price: {input: 3, output: 15}}}}
routes: {both: ["one:m", "two:m"], single: "one:m", claude: "two:m"}
MORE
"""
A, B = {"Authorization": "Bearer gwk_client-key"}, {"Authorization": "Bearer gwk_other-key"}


def config(*, a: str = "", b: str = "", more: str = "", store: str = "memory:") -> str:
    """Return the configuration with members of keys `a` and `b`, and of the whole file."""
    text = CONFIG.replace(" A}", f"{', ' + a if a else ''}}}").replace(" B}", f"{', ' + b if b else ''}}}")
    return text.replace("MORE", more).replace('"memory:"', f'"{store}"')


def chat_reply(prompt: int, output: int, cached: int = 0) -> dict[str, Any]:
    """Return a whole chat reply with this usage."""
    message = {"role": "assistant", "content": "Hello."}
    usage = {
        "prompt_tokens": prompt,
        "completion_tokens": output,
        "total_tokens": prompt + output,
        "prompt_tokens_details": {"cached_tokens": cached},
    }
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}


def chat_frames(prompt: int, output: int, words: int = 3) -> list[bytes]:
    """Return the frames of a chat stream with this usage."""
    head = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    deltas: list[tuple[dict[str, Any], str | None]] = [({"role": "assistant", "content": ""}, None)]
    deltas += [({"content": "word "}, None)] * words + [({}, "stop")]
    chunks = [{**head, "choices": [{"index": 0, "delta": delta, "finish_reason": end}]} for delta, end in deltas]
    usage = {"prompt_tokens": prompt, "completion_tokens": output, "total_tokens": prompt + output}
    chunks.append({**head, "choices": [], "usage": usage})
    return [b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks] + [b"data: [DONE]\n\n"]


async def sums(running: Running, *by: str, **where: str) -> list[dict[str, Any]]:
    """Return the sums of what was used, told apart by these names."""
    assert await running.gateway.usage_sums.flush()
    query = Query(by, "2000-01-01", "9999-12-31", tuple(where.items()))
    rows = await running.gateway.responses.read_sums(query)
    return [dict(zip((*by, *NUMBERS), (*names, *numbers), strict=True)) for names, numbers in rows]
