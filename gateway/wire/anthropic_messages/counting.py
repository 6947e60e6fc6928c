"""`/messages/count_tokens`: asked by Anthropic clients, and of providers that have it."""

import msgspec

from gateway.wire.anthropic_messages import ANTHROPIC_MESSAGES, read_request
from gateway.wire.codec.json_body import JsonBody
from gateway.wire.neutral import Request
from gateway.wire.token_counts import counting

# SDK type MessageCountTokensParams.
_COUNTED = frozenset({"model", "messages", "system", "thinking", "tool_choice", "tools", "output_config"})


def _read(body: JsonBody) -> Request:
    """A request that asks for a count has no cap on its answer."""
    members = body.members if body.has("max_tokens") else body.members | {"max_tokens": msgspec.Raw(b"1")}
    return read_request(JsonBody(dict(members)))


COUNT_TOKENS = counting(ANTHROPIC_MESSAGES, "anthropic_count_tokens", "/messages/count_tokens", _COUNTED, {}, _read)
