"""Four routes through the gateway, all to one mock: two client dialects times two upstream dialects."""

from typing import Any

from tests.conftest import Running
from tests.wire.crossings import messages_request

PAIRS = """
server: {listen: ["127.0.0.1:0"]}
store: {url: "memory:"}
providers:
  oai:
    base_url: "MOCK/oai/v1"
    auth: {bearer: {env: ONE}}
    speaks: [openai_chat]
    timeouts: {idle: 300ms, first_byte: 300ms, whole: 300ms}
    models: {"*": {token_field: max_completion_tokens, strict_tools: true, image: true}}
  ant:
    base_url: "MOCK/ant/v1"
    auth: {x-api-key: {env: TWO}}
    speaks: [anthropic_messages, anthropic_count_tokens]
    timeouts: {idle: 300ms, first_byte: 300ms, whole: 300ms}
    models: {"*": {thinking: adaptive, sampling: false, prefill: false}, "old*": {thinking: budget, sampling: true}}
routes:
  chat: oai:m
  claude: ant:m
  old: ant:old
  chat_first: [oai:m, ant:m]
  claude_first: [ant:m, oai:m]
  strict: {targets: [oai:m], on_shed: refuse}
  strict_claude: {targets: [ant:m], on_shed: refuse}
  strict_both: {targets: [oai:m, ant:m], on_shed: refuse}
"""
# Route -> provider. The model's name picks the route; the route's provider fixes the upstream dialect of the pair.
UPSTREAMS = {"chat": "oai", "claude": "ant"}


async def ask(running: Running, model: str, path: str = "/v1/messages", **more: Any) -> tuple[int, Any, Any]:
    """Request a whole Messages reply; return (status, JSON, headers)."""
    headers = more.pop("headers", {})
    async with running.post(path, messages_request(model=model) | more, headers=headers) as answer:
        return answer.status, await answer.json(), answer.headers
