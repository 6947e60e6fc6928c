"""The endpoints beside `/responses`: `/input_tokens` counts its input, `/compact` shortens a conversation."""

from typing import Any

from attrs import evolve

from gateway.wire.codec.json_body import JsonBody, to_json
from gateway.wire.neutral import Compaction, Opaque, Reply, Request, Usage
from gateway.wire.openai_responses import OPENAI_RESPONSES
from gateway.wire.openai_responses.compaction import COMPACTIONS
from gateway.wire.openai_responses.objects import make_id
from gateway.wire.openai_responses.read_request import read_request
from gateway.wire.openai_responses.usage import write_usage
from gateway.wire.token_counts import counting
from gateway.wire.translation.memo import Memo

# SDK type InputTokenCountParams.
_COUNTED = frozenset(
    {"model", "input", "instructions", "parallel_tool_calls", "reasoning", "text", "tool_choice", "tools", "truncation"}
)
_SAID = {"object": "response.input_tokens"}  # SDK type InputTokenCountResponse
_USERS = "user messages"  # where the request keeps them for its reply; not the name of a member


def _read_request(body: JsonBody) -> Request:
    """Read a request to compact a conversation; the user's messages are kept for the reply."""
    request = read_request(body)
    given = body.get("input", object, "a string or an array")
    items = [{"role": "user", "content": given}] if isinstance(given, str) else given
    users = [item for item in items if _is_user(item)] if isinstance(items, list) else []
    return evolve(request, compaction=Compaction(), echo={_USERS: users})


def _is_user(item: Any) -> bool:
    return isinstance(item, dict) and item.get("role") == "user" and item.get("type") in (None, "message")


def _write_reply(reply: Reply, memo: Memo) -> bytes:
    """Write the conversation as it goes on (SDK type CompactedResponse).

    These are the user's messages, and one item that stands for everything else.
    """
    users = [_message(item, memo, number) for number, item in enumerate(memo.request.echo[_USERS])]
    made = [block.raw for block in reply.blocks if isinstance(block, Opaque)]
    payload = {"id": make_id("resp_", memo.seed), "object": "response.compaction", "created_at": memo.now}
    return to_json(payload | {"output": [*users, *made], "usage": write_usage(reply.usage or Usage())})


def _message(item: dict[str, Any], memo: Memo, number: int) -> dict[str, Any]:
    content = item.get("content")
    parts = [{"type": "input_text", "text": content}] if isinstance(content, str) else content
    named = {"id": item.get("id") or make_id("msg_", memo.seed, number), "type": "message", "role": "user"}
    return named | {"status": "completed", "content": parts}


INPUT_TOKENS = counting(OPENAI_RESPONSES, "openai_input_tokens", "/responses/input_tokens", _COUNTED, _SAID)
assert OPENAI_RESPONSES.client is not None
COMPACT = evolve(
    OPENAI_RESPONSES,
    name="openai_compact",
    path="/responses/compact",
    limit_class="default",
    client=evolve(OPENAI_RESPONSES.client, read_request=_read_request, write_reply=_write_reply),
    upstream=None,
    compactions=evolve(COMPACTIONS, is_asked=lambda body: True),
    compacts=True,
    generates=False,
    probe={},
)
