"""Says of every member of an SDK's request what a crossing makes of it: seen upstream, named as lost, or silence."""

import re
from collections.abc import Iterator
from typing import Any

from gateway.errors import GatewayError
from gateway.wire.profile import Profile
from tests.wire.crossings import memo_of, write
from tests.wire.sdk_types import Case

_FUNCTION: dict[str, dict[str, Any]] = {
    "openai_chat": {"type": "function", "function": {"name": "tool_1", "parameters": {"type": "object"}}},
    "openai_responses": {"type": "function", "name": "tool_1", "parameters": {"type": "object"}},
    "anthropic_messages": {"name": "tool_1", "input_schema": {"type": "object"}},
}
_CHAT_CALL = {"id": "call_1", "type": "function", "function": {"name": "tool_1", "arguments": "{}"}}
_CALL = {"type": "function_call", "call_id": "call_1", "name": "tool_1", "arguments": "{}"}
_CUSTOM = {"type": "custom_tool_call", "call_id": "call_1", "name": "tool_1", "input": "x"}
_OUTPUT = {"type": "function_call_output", "call_id": "call_1", "output": "r"}
_USE = {"type": "tool_use", "id": "call_1", "name": "tool_1", "input": {}}
_RESULT = {"type": "tool_result", "tool_use_id": "call_1", "content": "r"}
_ASKED = {"role": "user", "content": "Hi"}
_SAID = {"role": "assistant", "content": "Well"}
# How kinds of blocks are named when they are lost.
_KINDS = {"thinking": "reasoning", "redacted_thinking": "reasoning", "web_search_preview": "web_search"}
_KINDS |= {f"tool_search_tool_{way}_20251119": "tool_search" for way in ("bm25", "regex")}
_PARTS = {"prompt_cache_breakpoint": "cache_control"}
_CHANGE = "tool_removal"
_DATED = re.compile(r"_\d{8}$")


def settled(dialect: str, said: dict[str, Any]) -> dict[str, Any]:
    """Put around a member what makes the request whole: a model, a question, the call of a result, the tool of a choice."""
    said = {"model": "m"} | said
    if "function_call" in said and "functions" not in said:
        said["functions"] = [{"name": "tool_1", "parameters": {"type": "object"}}]
    if "tool_choice" in said or "parallel_tool_calls" in said or _CHANGE in f"{said.get('messages')}":
        said.setdefault("tools", [_FUNCTION[dialect]])
    if dialect == "openai_responses":
        items = said.get("input", "Hi")
        return said | {"input": items if isinstance(items, str) else list(_around_items(items))}
    messages = said.get("messages", [_ASKED])
    around = _around_blocks if dialect == "anthropic_messages" else _around_messages
    cap = {"max_tokens": 1000} if dialect == "anthropic_messages" else {}
    return cap | said | {"messages": [_ASKED, *(one for message in messages for one in around(message))]}


def _around_items(items: list[Any]) -> Iterator[Any]:
    yield {"type": "message", **_ASKED}
    for item in items:
        kind = item.get("type", "")
        partner = kind.removesuffix("_output")
        if kind.endswith("_output") and kind != "tool_search_output":
            yield _CUSTOM if partner == "custom_tool_call" else _CALL
        yield item
        if kind in ("function_call", "custom_tool_call", "local_shell_call", "shell_call", "apply_patch_call"):
            yield {**_OUTPUT, "call_id": item.get("call_id")}
        if kind == "reasoning":
            yield {"type": "message", **_SAID}


def _around_messages(message: dict[str, Any]) -> Iterator[Any]:
    if message.get("role") == "tool":
        yield {"role": "assistant", "tool_calls": [_CHAT_CALL]}
    if message.get("role") == "function":
        yield {"role": "assistant", "function_call": {"name": "tool_1", "arguments": "{}"}}
    if message.get("role") == "assistant" and message.get("content") is None:
        message = {**message, "content": "Well"}
    yield message
    for call in message.get("tool_calls") or ():
        yield {"role": "tool", "tool_call_id": call["id"], "content": "r"}


def _around_blocks(message: dict[str, Any]) -> Iterator[Any]:
    content = message.get("content")
    blocks = content if isinstance(content, list) else []
    kinds = {block.get("type") for block in blocks if isinstance(block, dict)}
    if "tool_result" in kinds:
        yield {"role": "assistant", "content": [{**_USE, "id": block.get("tool_use_id")} for block in blocks]}
        yield {**message, "role": "user"}
    elif "tool_use" in kinds:
        yield {**message, "role": "assistant"}
        yield {"role": "user", "content": [{**_RESULT, "tool_use_id": block.get("id")} for block in blocks]}
    elif kinds & {"thinking", "redacted_thinking"}:
        yield {**message, "role": "assistant", "content": [*blocks, {"type": "text", "text": "Well"}]}
    elif any(f"{kind}".endswith("_tool_result") or kind in ("server_tool_use", "mcp_tool_use") for kind in kinds):
        yield {**message, "role": "assistant"}
    else:
        yield message


def crossed(client: str, upstream: str, said: dict[str, Any], profile: Profile) -> tuple[Any, list[str]]:
    """Return (what goes upstream, what is named as lost); for a refused request (None, [its words])."""
    try:
        memo = memo_of(client, settled(client, said), profile)
        out = write(memo, upstream=upstream)
        return (out, memo.stops, memo.request.wants_usage), memo.drops.names
    except GatewayError as error:
        return None, ["refused", f"{error}"]


def is_silent(client: str, upstream: str, case: Case, profile: Profile) -> bool:
    """Whether nobody could tell that the member was there."""
    given, other = (crossed(client, upstream, said, profile) for said in (case.given, case.other))
    return given == other and not _is_named_whole(case, given[1])


def _is_named_whole(case: Case, names: list[str]) -> bool:
    """Whether an object that the member stands in is named as lost, or the request is refused."""
    first, *inner = case.place.split(".")
    kinds = {undated(_KINDS.get(kind, kind)) for kind in case.kinds if kind}
    parts = {
        *(_PARTS.get(name, name) for name in inner),
        *kinds,
        *(["web_search"] if first == "web_search_options" else []),
    }
    covers = {first, "refused", *parts, *(f"{top}.{part}" for top in (first, "messages", "tools") for part in parts)}
    return bool(covers & {undated(name) for name in names})


def undated(kind: str) -> str:
    """Return the type of a tool or of its blocks without the date of its version."""
    return _DATED.sub("", kind)
