"""The dialect of `/messages/count_tokens`, for Anthropic clients and for providers that have this path."""

import msgspec

from gateway.wire.anthropic_messages import ANTHROPIC_MESSAGES, read_request
from gateway.wire.codec.json_body import JsonBody
from gateway.wire.neutral import Request
from gateway.wire.token_counts import counting

# The members that a request for a count may have (SDK type MessageCountTokensParams).
_COUNTED = frozenset({"model", "messages", "system", "thinking", "tool_choice", "tools", "output_config"})


def _read(body: JsonBody) -> Request:
    """Read a request for a count. It has no `max_tokens`, so one is put in for `read_request`, which requires it."""
    members = body.members if body.has("max_tokens") else body.members | {"max_tokens": msgspec.Raw(b"1")}
    return read_request(JsonBody(dict(members)))


COUNT_TOKENS = counting(ANTHROPIC_MESSAGES, "anthropic_count_tokens", "/messages/count_tokens", _COUNTED, {}, _read)
