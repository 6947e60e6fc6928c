"""What tests of Messages requests for Chat upstreams share."""

from typing import Any

from gateway.wire.profile import Profile
from tests.wire.crossings import messages_request, written

OPENAI = Profile(
    token_field="max_completion_tokens",
    safety_identifier=True,
    tiers=True,
    cache_key=True,
    strict_tools=True,
    developer_role=True,
    reasoning_replay="forbidden",
    efforts=("none", "low", "medium", "high"),
)


TOOL: dict[str, Any] = {"name": "f", "input_schema": {"type": "object", "properties": {}}}


HI: dict[str, Any] = {"role": "user", "content": "Hi"}


MARK = {"cache_control": {"type": "ephemeral"}}


def sent(profile: Profile = OPENAI, **more: Any) -> tuple[dict[str, Any], list[str]]:
    out, memo = written("anthropic_messages", messages_request(**more), profile)
    return out, memo.drops.names


def turns(*messages: dict[str, Any], profile: Profile = OPENAI, **more: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = sent(profile, messages=list(messages), **more)[0]["messages"]
    return found


def use(call_id: str, name: str = "f", **given: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": [{"type": "tool_use", "id": call_id, "name": name, "input": given}]}


def results(*found: dict[str, Any]) -> dict[str, Any]:
    return {"role": "user", "content": [{"type": "tool_result", **one} for one in found]}
