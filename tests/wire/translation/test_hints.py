"""Which losses a route with `on_shed: refuse` refuses: what a call asks for, not hints and not what crosses as text."""

from typing import Any

import pytest

from gateway.wire.translation.memo import Drops
from tests.wire.crossings import chat_request, messages_request, written
from tests.wire.responses_to_others import responses_request

SAID: dict[str, Any] = {
    "type": "message",
    "id": "msg_1",
    "role": "assistant",
    "status": "completed",
    "phase": "commentary",
}
TOOL: dict[str, Any] = {"name": "f", "input_schema": {"type": "object"}}


@pytest.mark.parametrize(
    ("client", "said", "names", "losses"),
    [
        ("openai_responses", {"reasoning": {"mode": "pro"}}, ["reasoning.mode"], ["reasoning.mode"]),
        ("openai_responses", {"reasoning": {"context": "all_turns"}}, ["reasoning.context"], []),
        ("openai_responses", {"reasoning": {"effort": "high", "summary": "auto"}}, [], []),
        ("openai_responses", {"input": [{**SAID, "content": "x"}]}, ["input.phase"], []),
        ("openai_responses", {"include": ["reasoning.encrypted_content"]}, [], []),
        ("openai_responses", {"include": ["web_search_call.action.sources"]}, ["include"], []),
        ("openai_responses", {"stream_options": {"include_obfuscation": False}}, [], []),
        ("openai_chat", {"stream_options": {"include_obfuscation": True}}, ["stream_options.include_obfuscation"], []),
        ("openai_chat", {"prompt_cache_retention": "24h"}, ["prompt_cache_retention"], []),
        ("openai_chat", {"moderation": {"model": "m"}}, ["moderation"], ["moderation"]),
        ("openai_chat", {"max_tokens": 5, "max_completion_tokens": 5}, [], []),
        ("anthropic_messages", {"output_config": {"task_budget": {"type": "tokens", "total": 9}}},
         ["output_config.task_budget"], ["output_config.task_budget"]),
        ("anthropic_messages", {"tools": [{**TOOL, "allowed_callers": ["code_execution_20260120"]}]},
         ["tools.allowed_callers"], ["tools.allowed_callers"]),
        ("anthropic_messages", {"tools": [{**TOOL, "allowed_callers": ["direct"], "eager_input_streaming": False}]},
         [], []),
        ("anthropic_messages", {"tools": [{**TOOL, "input_examples": [{"a": 1}]}]}, ["tools.input_examples"], []),
        ("anthropic_messages", {"tools": [{**TOOL, "a_new_member": 1}]}, ["tools.a_new_member"], ["tools.a_new_member"]),
    ],
)  # fmt: skip
def test_hints_are_named_and_not_refused(
    client: str, said: dict[str, Any], names: list[str], losses: list[str]
) -> None:
    """Every member that is lost is named at its place; only those that change the answer count as losses."""
    whole = {
        "openai_chat": chat_request(**said),
        "openai_responses": responses_request(**said),
        "anthropic_messages": messages_request(**said),
    }
    upstream = "anthropic_messages" if client == "openai_chat" else "openai_chat"
    _, memo = written(client, whole[client], upstream=upstream)
    assert (memo.drops.names, memo.drops.losses) == (names, losses)


def test_a_loss_is_not_made_less_by_a_note() -> None:
    """What is lost in one place and crosses as text in another counts as lost."""
    drops = Drops()
    drops.add("messages.a")
    drops.note("messages.a")
    drops.note("messages.b")
    assert (drops.names, drops.losses) == (["messages.a", "messages.b"], ["messages.a"])
    drops.add("messages.b")
    assert drops.losses == ["messages.a", "messages.b"]
