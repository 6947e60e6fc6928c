"""What tests of Chat requests for Messages upstreams share."""

from typing import Any

from gateway.wire.profile import Profile
from tests.wire.crossings import chat_request, written

CLAUDE_45 = Profile(thinking="budget", efforts=(), max_output=64_000, strict_tools=True, mid_system=False)


OPUS_46 = Profile(thinking="both", efforts=("low", "medium", "high", "max"), prefill=False, mid_system=False)


OPUS_48 = Profile(thinking="adaptive", efforts=("low", "medium", "high", "xhigh", "max"), sampling=False, prefill=False)


TOOL: dict[str, Any] = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}


HI: dict[str, Any] = {"role": "user", "content": "Hi"}


def sent(profile: Profile = OPUS_48, version: str = "2023-06-01", **more: Any) -> tuple[dict[str, Any], list[str]]:
    """Return (what goes upstream, what was noted as lost)."""
    out, memo = written("openai_chat", chat_request(**more), profile, version)
    return out, memo.drops.names


def turns(*messages: dict[str, Any], profile: Profile = OPUS_48, **more: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = sent(profile, messages=list(messages), **more)[0]["messages"]
    return found


def call(call_id: str, name: str = "f", arguments: str = "{}") -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    return {"role": "assistant", "tool_calls": [{"id": call_id, "type": "function", "function": function}]}


def result(call_id: str, content: Any = "r") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": content}


MIXED = [
    {"role": "system", "content": "one"},
    HI,
    {"role": "system", "content": "two"},
    {"role": "assistant", "content": "yes"},
    HI,
]
