"""Reads and writes the tools of Chat requests, and the choice among them (docs/wire/tools.md)."""

from collections.abc import Iterator
from typing import Any

from gateway.wire.codec.node import Node
from gateway.wire.neutral import CacheMark, Request, Tool, ToolChoice
from gateway.wire.profile import Profile
from gateway.wire.translation.arguments import FREEFORM_PARAMETERS, describe_freeform
from gateway.wire.translation.memo import Memo
from gateway.wire.translation.schema import is_strict, may_be_object, tool_parameters
from gateway.wire.translation.tools import (
    CLIENT_KINDS,
    MODES,
    check_forced,
    check_number,
    chosen_name,
    distinct,
    is_offered,
    offered,
)

NAME = "openai_chat"
# In Chat the provider runs no tools, even if the model's profile lists some: those are for Responses.
_NO_HOSTED = Profile()


def read_tools(body: Node) -> list[Tool]:
    """Read `tools`, the legacy `functions`, and `web_search_options`; of two with one name the later counts."""
    tools = [_read_tool(node) for node in body.nodes("tools")]
    tools += [_read_function(node) for node in body.nodes("functions")]
    if (options := body.mapping("web_search_options")) is not None:
        tools.append(Tool("web_search", "web_search", origin=NAME, raw=options))
    return distinct(tools)


def _read_tool(node: Node) -> Tool:
    kind = node.text("type") or "function"
    if kind == "function":
        return _read_function(node.node("function") or node, read_cache(node))
    if kind == "custom":
        custom = node.node("custom") or node
        form = custom.node("format")
        grammar = form.mapping("grammar") if form is not None else None
        return Tool(custom.needed_text("name"), "custom", custom.text("description"), grammar=grammar)
    return Tool(node.text("name") or kind, kind, origin=NAME, raw={name: node.value(name) for name in node.members})


def _read_function(node: Node, cache: CacheMark | None = None) -> Tool:
    described = node.text("description") if node.kind("description") == "a string" else None
    return Tool(
        node.needed_text("name"),
        description=described,
        parameters=node.mapping("parameters"),
        strict=node.flag("strict"),
        cache=cache,
    )


def read_cache(node: Node) -> CacheMark | None:
    """Read a cache breakpoint: OpenAI's `prompt_cache_breakpoint`, or `cache_control`, which some Chat servers take."""
    if (mark := node.node("prompt_cache_breakpoint") or node.node("cache_control")) is None:
        return None
    mark.take("mode")  # of OpenAI's: always explicit
    return CacheMark(mark.text("ttl"))


def read_choice(body: Node) -> ToolChoice | None:
    """Read `tool_choice`, or the legacy `function_call`."""
    name = "tool_choice" if body.has("tool_choice") else "function_call"
    if not body.has(name):
        return None
    if body.kind(name) == "a string":
        mode = body.needed_text(name)
        if mode not in MODES:
            raise body.refuse(name, f"'{name}' must be auto, none, required or an object, not '{mode[:50]}'")
        return ToolChoice(MODES[mode])
    choice = body.node(name)
    assert choice is not None
    kind = choice.text("type")
    if kind == "allowed_tools":
        return _read_allowed(choice.node("allowed_tools") or choice)
    if kind in MODES:
        return ToolChoice(MODES[kind])
    inner = choice.node("function") or choice.node("custom") or choice
    called = inner.text("name") if kind in ("function", "custom", "tool", None) else kind
    if not called:
        raise inner.refuse("name", f"'{inner.at('name')}' is missing", "missing_required_parameter")
    return ToolChoice("named", called, is_hosted=kind not in ("function", "custom", "tool", None))


def _read_allowed(choice: Node) -> ToolChoice:
    names = []
    for node in choice.nodes("tools"):
        inner = node.node("function") or node.node("custom") or node
        names.append(inner.needed_text("name"))
    return ToolChoice("required" if choice.text("mode") == "required" else "auto", allowed=tuple(names))


def write_tools(request: Request, memo: Memo, profile: Profile) -> dict[str, Any]:
    """Write `tools`, `tool_choice` and `parallel_tool_calls`; no member if no tool can be offered. Raises CannotSay."""
    tools = offered(request, memo)
    written = [one for tool in tools if (one := _write_tool(tool, request, memo, profile)) is not None]
    check_forced(request, bool(written))
    if not written:
        return {}
    check_number(written)
    members: dict[str, Any] = {"tools": written}
    if request.choice is not None:
        members |= _write_choice(request, memo, profile)
    if request.parallel is False:
        if profile.parallel_flag:
            members["parallel_tool_calls"] = False
        else:
            memo.drops.add("parallel_tool_calls")
    return members


def _write_tool(tool: Tool, request: Request, memo: Memo, profile: Profile) -> dict[str, Any] | None:
    name = memo.names.safe(tool.name, tool.namespace) if tool.kind in CLIENT_KINDS else ""
    match tool.kind:
        case "function":
            return {"type": "function", "function": _write_function(tool, name, memo, profile)}
        case "custom" if profile.custom_tools:
            return {"type": "custom", "custom": dict(_write_custom(tool, name))}
        case "custom":
            memo.freeform.add(name)
            stand_in = {"name": name, "description": describe_freeform(tool), "parameters": FREEFORM_PARAMETERS}
            return {"type": "function", "function": stand_in}
        case _:
            is_offered(tool, request, memo, _NO_HOSTED)
            return None


def _write_function(tool: Tool, name: str, memo: Memo, profile: Profile) -> dict[str, Any]:
    parameters = tool_parameters(tool.parameters)
    if not may_be_object(tool.parameters):
        memo.drops.add("tools.parameters")
    function: dict[str, Any] = {"name": name}
    if tool.description:
        function["description"] = tool.description
    function["parameters"] = parameters
    if tool.cache is not None:
        memo.drops.add("tools.cache_control")
    if tool.strict and profile.strict_tools and is_strict(parameters):
        function["strict"] = True
    elif tool.strict:
        memo.drops.add("tools.strict")
    return function


def _write_custom(tool: Tool, name: str) -> Iterator[tuple[str, Any]]:
    yield "name", name
    if tool.description:
        yield "description", tool.description
    if tool.grammar:
        yield "format", {"type": "grammar", "grammar": tool.grammar}


def _write_choice(request: Request, memo: Memo, profile: Profile) -> dict[str, Any]:
    choice = request.choice
    assert choice is not None
    if choice.mode not in profile.tool_choice:
        memo.drops.add("tool_choice")
        return {"tool_choice": "auto"} if "auto" in profile.tool_choice else {}
    if choice.mode != "named":
        return {"tool_choice": choice.mode}
    name = chosen_name(request, memo)
    if memo.names.original(name).kind == "custom" and name not in memo.freeform:
        return {"tool_choice": {"type": "custom", "custom": {"name": name}}}
    return {"tool_choice": {"type": "function", "function": {"name": name}}}
