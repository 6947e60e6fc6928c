"""Source requests and providers for the tests of plans."""

import json
from typing import Any

from gateway.config.provider_schema import Provider
from gateway.proxy.plan.reasoning_memory import ReasoningMemory
from gateway.proxy.plan.source_request import SourceRequest
from gateway.wire import DIALECTS
from gateway.wire.codec.json_body import JsonBody

HI = {"role": "user", "content": "Hi"}
BODIES: dict[str, dict[str, Any]] = {
    "openai_chat": {"model": "alias", "messages": [HI]},
    "anthropic_messages": {"model": "alias", "max_tokens": 100, "messages": [HI]},
    "openai_responses": {"model": "alias", "input": "Hi"},
    "openai_embeddings": {"model": "alias", "input": "Hi"},
}


def source(client: str = "openai_chat", said: dict[str, Any] | None = None, **more: Any) -> SourceRequest:
    """Make a request of a client; `said` are members beyond the least, `more` what else is known of it."""
    dialect = DIALECTS[client]
    body = JsonBody.read(json.dumps(BODIES[client] | (said or {})).encode())
    given: dict[str, Any] = {
        "dialect": dialect,
        "body": body,
        "asked": dialect.ask(body),
        "id": "req_1",
        "now": 1_700_000_000,
        "monotonic": 10.0,
        "time": lambda: 1_700_000_000.0,
        "owner": "owner",
        "is_stream": body.flag("stream") if "stream" in body.members else False,
        "secret": b"secret of the tests",
        "reasoning_memory": ReasoningMemory(),
        "forwarded": {},
        "model": "alias",
    }
    return SourceRequest(**(given | more))


def provider(*speaks: str, **more: Any) -> Provider:
    """Make a provider that speaks these dialects."""
    return Provider("http://x", {name: DIALECTS[name].path for name in speaks}, name="p", **more)
