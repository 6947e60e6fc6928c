"""What a crossing sends begins with the same bytes in each turn of a conversation, or no prompt cache is ever read."""

import itertools
from typing import Any

import pytest

from gateway.wire import DIALECTS
from gateway.wire.codec.json_body import to_json
from gateway.wire.profile import Profile
from gateway.wire.translation.memo import Memo, Setting
from tests.wire.crossings import SEALER, body

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
NAMES = ("openai_chat", "openai_responses", "anthropic_messages")
TURNS = {"openai_chat": "messages", "openai_responses": "input", "anthropic_messages": "messages"}
HISTORIES: dict[str, dict[str, Any]] = {
    "openai_chat": {
        "tools": [{"type": "function", "function": {"name": "get_weather", "parameters": SCHEMA}}],
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Weather?"},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}}
                ],
            },
            {"role": "tool", "tool_call_id": "call_1", "content": "Rain"},
            {"role": "assistant", "content": "It rains."},
            {"role": "user", "content": "And tomorrow?"},
            {"role": "assistant", "content": "Sun."},
            {"role": "user", "content": "Thanks"},
        ],
    },
    "openai_responses": {
        "instructions": "Be brief.",
        "tools": [{"type": "function", "name": "get_weather", "parameters": SCHEMA}],
        "input": [
            {"role": "user", "content": "Weather?"},
            {"type": "function_call", "call_id": "call_1", "name": "get_weather", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "call_1", "output": "Rain"},
            {"role": "assistant", "content": "It rains."},
            {"role": "user", "content": "And tomorrow?"},
            {"role": "assistant", "content": "Sun."},
            {"role": "user", "content": "Thanks"},
        ],
    },
    "anthropic_messages": {
        "max_tokens": 100,
        "system": [{"type": "text", "text": "Be brief."}],
        "tools": [{"name": "get_weather", "input_schema": SCHEMA}],
        "messages": [
            {"role": "user", "content": "Weather?"},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": {}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "Rain"}]},
            {"role": "assistant", "content": "It rains."},
            {"role": "user", "content": "And tomorrow?"},
            {"role": "assistant", "content": "Sun."},
            {"role": "user", "content": "Thanks"},
        ],
    },
}  # fmt: skip


def sent(client: str, upstream: str, until: int, seed: str) -> dict[str, Any]:
    """Return the members that go upstream for a conversation's first `until` turns, in a request of its own."""
    said = HISTORIES[client]
    given = {"model": "m", **said, TURNS[client]: said[TURNS[client]][:until]}
    near, far = DIALECTS[client].client, DIALECTS[upstream].upstream
    assert near is not None
    assert far is not None
    profile = Profile()
    memo = Memo(near.read_request(body(given)), seed, len(seed), SEALER, profile, near.call_prefix)
    return dict(far.write_request(memo.request, Setting("up", profile, "2023-06-01"), memo).members)


@pytest.mark.parametrize(("client", "upstream"), list(itertools.permutations(NAMES, 2)))
def test_a_later_turn_only_adds(client: str, upstream: str) -> None:
    """System, tools and all earlier turns are written alike in each request, whatever its id and its time."""
    first = 6 if client == "openai_chat" else 5
    before = sent(client, upstream, first, "req_1")
    after = sent(client, upstream, first + 2, "req_number_two")
    turns = TURNS[upstream]
    earlier = [to_json(turn) for turn in before.pop(turns)]
    later = [to_json(turn) for turn in after.pop(turns)]
    assert later[: len(earlier)] == earlier and len(later) > len(earlier)
    assert to_json(after) == to_json(before)
