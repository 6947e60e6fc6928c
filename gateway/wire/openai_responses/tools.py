"""Writes tools and the tool choice for Responses upstreams: flat, and of more kinds than Chat's.

See docs/wire/tools.md.
"""

from collections.abc import Sequence
from typing import Any

from gateway.errors import BadRequest
from gateway.wire.neutral import Request, Tool
from gateway.wire.openai_responses.write_items import NAME
from gateway.wire.profile import Profile
from gateway.wire.translation.memo import Memo
from gateway.wire.translation.schema import is_strict, may_be_object, tool_parameters
from gateway.wire.translation.tool_search import at_hand
from gateway.wire.translation.tools import CLIENT_KINDS, check_forced, check_number, chosen, is_offered, learn

# The members of another dialect's web search that are read.
_OPTIONS = frozenset({"type", "name", "search_context_size", "filters", "allowed_domains", "user_location"})


def write_tools(request: Request, memo: Memo, profile: Profile) -> dict[str, Any]:
    """Return `tools`, `tool_choice` and `parallel_tool_calls`; nothing if no tool can be sent.

    Raises CannotSay if a call is forced and no tool can be sent, BadRequest if the choice allows no tool.
    """
    learn(request, memo)
    tools = at_hand(request, profile)
    written = [one for tool in tools if (one := _write_tool(tool, request, memo, profile)) is not None]
    check_forced(request, bool(written))
    if not written:
        return {}
    check_number([tool for tool in written if not tool.get("defer_loading")])
    members: dict[str, Any] = {"tools": written}
    if request.choice is not None:
        members["tool_choice"] = _write_choice(request, tools, memo)
    if request.parallel is False:
        members["parallel_tool_calls"] = False
    return members


def _write_tool(tool: Tool, request: Request, memo: Memo, profile: Profile) -> dict[str, Any] | None:
    name = memo.names.safe(tool.name, tool.namespace) if tool.kind in CLIENT_KINDS else ""
    described = {"description": tool.description} if tool.description else {}
    match tool.kind:
        case "function":
            parameters = tool_parameters(tool.parameters)
            if not may_be_object(tool.parameters):
                memo.drops.add("tools.parameters")
            if tool.cache is not None:
                memo.drops.add("tools.cache_control")
            strict = bool(tool.strict) and is_strict(parameters)
            if tool.strict and not strict:
                memo.drops.add("tools.strict")
            # `strict` is always sent: without it OpenAI tries strict mode, and optional members become required
            # (docs/wire/tools.md#definitions).
            written = {"type": "function", "name": name, **described, "parameters": parameters, "strict": strict}
            return written | ({"defer_loading": True} if tool.is_deferred else {})
        case "custom":
            form = {"format": {"type": "grammar", **tool.grammar}} if tool.grammar else {}
            deferred = {"defer_loading": True} if tool.is_deferred else {}
            return {"type": "custom", "name": name, **described, **form, **deferred}
        case _ if not is_offered(tool, request, memo, profile):
            return None
        case _:
            return tool.raw if tool.origin == NAME else {"type": tool.kind, **_options(tool.raw or {}, memo)}


def _options(raw: dict[str, Any], memo: Memo) -> dict[str, Any]:
    """Return the options that another dialect's web search shares with this one's; note the lost ones in `memo`."""
    for name, value in raw.items():
        if name not in _OPTIONS and value:
            memo.drops.add(f"tools.{name}")
    kept: dict[str, Any] = {name: raw[name] for name in ("search_context_size", "filters") if name in raw}
    if raw.get("allowed_domains"):
        kept["filters"] = {"allowed_domains": raw["allowed_domains"]}
    location = raw.get("user_location")
    if isinstance(location, dict):
        inner = location.get("approximate")
        place = inner if isinstance(inner, dict) else {name: location[name] for name in location if name != "type"}
        kept["user_location"] = {"type": "approximate", **place}
    return kept


def _write_choice(request: Request, offered: Sequence[Tool], memo: Memo) -> Any:
    choice = request.choice
    assert choice is not None
    if choice.allowed is not None:
        mode = "required" if choice.mode == "required" else "auto"
        tools = [tool for tool in offered if tool.name in choice.allowed]
        named = [_named(tool.kind, memo.names.safe(tool.name, tool.namespace)) for tool in tools]
        if not named:
            raise BadRequest("'tool_choice' allows no tool of the request", param="tool_choice")
        return {"type": "allowed_tools", "mode": mode, "tools": named}
    if choice.mode != "named":
        return choice.mode
    tool = chosen(request)
    return _named(tool.kind, memo.names.safe(tool.name, tool.namespace) if tool.kind in CLIENT_KINDS else "")


def _named(kind: str, name: str) -> dict[str, str]:
    """Name a tool in a choice: one that the provider runs is named by its kind alone."""
    return {"type": kind, "name": name} if kind in CLIENT_KINDS else {"type": kind}
