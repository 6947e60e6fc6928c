"""Reads and writes the tools of Messages requests, and the choice among them (docs/wire/tools.md)."""

from collections.abc import Iterator, Sequence
from typing import Any

from attrs import evolve

from gateway.wire.anthropic_messages.builtin import members, single, toolset
from gateway.wire.anthropic_messages.read_messages import NAME, read_cache
from gateway.wire.codec.node import Node
from gateway.wire.neutral import Request, Tool, ToolCall, ToolChoice
from gateway.wire.profile import Profile
from gateway.wire.translation.arguments import FREEFORM_PARAMETERS, describe_freeform
from gateway.wire.translation.memo import Memo
from gateway.wire.translation.schema import (
    can_constrain,
    has_union,
    may_be_object,
    tool_parameters,
    with_defs,
    without_root_ref,
    without_unions,
)
from gateway.wire.translation.tool_search import SEARCH
from gateway.wire.translation.tools import (
    CLIENT_KINDS,
    MODES,
    check_forced,
    chosen,
    distinct,
    is_chosen,
    is_offered,
    offered,
)

MAX_NAME = 128
# Tools that Anthropic runs: the beginning of the dated type -> the kind in the neutral model.
_HOSTED = {
    "web_search": "web_search",
    "code_execution": "code_execution",
    "web_fetch": "web_fetch",
    "tool_search_tool": SEARCH,
}
WEB_SEARCH = "web_search_20250305"
# Anthropic's search by words. Its other one takes regular expressions.
_TOOL_SEARCH = {"type": "tool_search_tool_bm25_20251119", "name": "tool_search_tool_bm25"}
# The members of OpenAI's web search that are read, and the values of the others that are no loss.
_SEARCH = frozenset({"type", "name", "user_location", "filters"})
_SEARCH_DEFAULTS = {"search_context_size": "medium", "external_web_access": True}


def read_tools(body: Node) -> list[Tool]:
    """Read `tools`. The client's built-in tools get their schemas from `builtin`."""
    tools = [tool for node in body.nodes("tools") for tool in read_tool(node)]
    return distinct(tools)


def read_tool(node: Node) -> Iterator[Tool]:
    """Read one entry of `tools`: a toolset is several tools."""
    kind = node.text("type") or "custom"
    if kind == "custom":
        yield Tool(
            node.needed_text("name"),
            description=node.text("description") if node.kind("description") == "a string" else None,
            parameters=node.mapping("input_schema"),
            strict=node.flag("strict"),
            cache=read_cache(node),
            is_deferred=bool(node.flag("defer_loading")),
        )
    elif (family := toolset(kind)) is not None:
        configs = node.node("configs") or Node({})
        for name, (description, schema) in members(family).items():
            config = configs.node(name) if configs.kind(name) == "an object" else None
            if config is None or config.flag("enabled") is not False:
                is_deferred = config is not None and config.flag("defer_loading") is True
                yield Tool(name, description=description, parameters=schema, namespace=family, is_deferred=is_deferred)
    elif (known := single(kind)) is not None:
        tool = Tool(node.needed_text("name"), description=known[0], parameters=known[1], cache=read_cache(node))
        yield evolve(tool, is_deferred=bool(node.flag("defer_loading")))
    else:
        hosted = next((word for start, word in _HOSTED.items() if kind.startswith(start)), kind)
        raw = {name: node.value(name) for name in node.members}
        yield Tool(node.text("name") or kind, hosted, origin=NAME, raw=raw)


def read_choice(body: Node) -> tuple[ToolChoice | None, bool | None]:
    """Read `tool_choice`: return the choice, and False if calls may not be parallel (None: the client did not say)."""
    if body.kind("tool_choice") == "a string" and (mode := MODES.get(body.needed_text("tool_choice"))) is not None:
        return ToolChoice(mode), None  # a word alone, as in OpenAI's dialects
    if (choice := body.node("tool_choice")) is None:
        return None, None
    kind = choice.needed_text("type")
    parallel = False if choice.flag("disable_parallel_tool_use") else None
    if kind == "tool":
        return ToolChoice("named", choice.needed_text("name")), parallel
    if kind not in MODES:
        raise choice.refuse("type", f"'{choice.at('type')}' must be auto, any, tool or none, not '{kind[:50]}'")
    return ToolChoice(MODES[kind]), parallel


def write_tools(request: Request, memo: Memo, profile: Profile) -> dict[str, Any]:
    """Write `tools` and `tool_choice`. Raises CannotSay if a tool is forced and none can be offered.

    Anthropic refuses a history with calls if there are no tools. If none can be offered, each tool that was called
    in the history is written, without its parameters.
    """
    memo.names.longest = MAX_NAME
    for tool in request.tools:  # names are unique here: a function of the same name gets another
        if tool.kind in profile.hosted_tools:
            memo.names.reserve(_hosted_name(tool))
    tools: Sequence[Tool] = [*offered(request, memo, profile)]
    choice = request.choice
    if choice is not None and choice.mode == "none" and "none" not in profile.tool_choice:
        tools, choice = [], None
        memo.drops.add("tool_choice")
    if choice is not None and choice.mode == "named" and "named" not in profile.tool_choice:
        tools = [tool for tool in tools if is_chosen(tool, choice)]
    written = [one for tool in tools if (one := _write_tool(tool, request, memo, profile)) is not None]
    check_forced(request, bool(written))
    written = written or [{"name": name, "input_schema": {"type": "object"}} for name in _called(request, memo)]
    if not written:
        return {}
    return {"tools": written, **_write_choice(request, choice, memo, profile)}


def _called(request: Request, memo: Memo) -> Sequence[str]:
    calls = (block for turn in request.turns for block in turn.blocks if isinstance(block, ToolCall))
    return list(dict.fromkeys(memo.names.safe(call.name, call.namespace) for call in calls))


def _write_tool(tool: Tool, request: Request, memo: Memo, profile: Profile) -> dict[str, Any] | None:
    name = memo.names.safe(tool.name, tool.namespace) if tool.kind in CLIENT_KINDS else ""
    match tool.kind:
        case "function":
            return _write_function(tool, name, memo, profile)
        case "custom":
            memo.freeform.add(name)
            stand_in = {"name": name, "description": describe_freeform(tool), "input_schema": FREEFORM_PARAMETERS}
            return stand_in | _deferred(tool)
        case _ if not is_offered(tool, request, memo, profile):
            return None
        case "web_search":
            return _write_search(tool, memo)
        case "tool_search":
            return tool.raw if tool.origin == NAME else _TOOL_SEARCH
        case _ if tool.origin == NAME:
            return tool.raw
        case _:  # another dialect's tool of the same kind has members that this one does not know
            memo.drops.add(f"tools.{tool.kind}")
            return None


def _write_function(tool: Tool, name: str, memo: Memo, profile: Profile) -> dict[str, Any]:
    parameters = without_root_ref(with_defs(tool.parameters)) if tool.parameters else None
    if has_union(parameters) or not may_be_object(parameters):
        memo.drops.add("tools.parameters")
    written: dict[str, Any] = {"name": name}
    if tool.description:
        written["description"] = tool.description
    written["input_schema"] = tool_parameters(without_unions(parameters) if parameters else None)
    if tool.strict and profile.strict_tools and can_constrain(parameters):
        written["strict"] = True
    elif tool.strict:
        memo.drops.add("tools.strict")
    if tool.cache is not None:
        written["cache_control"] = write_cache(tool.cache.ttl)
    return written | _deferred(tool)


def _deferred(tool: Tool) -> dict[str, Any]:
    return {"defer_loading": True} if tool.is_deferred else {}


def _write_search(tool: Tool, memo: Memo) -> dict[str, Any]:
    """Write a web search from OpenAI's members; those that Anthropic has no words for are noted in `memo`."""
    raw = tool.raw or {}
    if tool.origin == NAME:
        return raw
    written: dict[str, Any] = {"type": WEB_SEARCH, "name": "web_search"}
    if isinstance(location := raw.get("user_location"), dict):
        inner = location.get("approximate")
        place = inner if isinstance(inner, dict) else location
        written["user_location"] = {"type": "approximate", **{k: v for k, v in place.items() if k != "type" and v}}
    filters = raw.get("filters")
    filters = filters if isinstance(filters, dict) else {}
    kind = next((name for name in ("allowed_domains", "blocked_domains") if filters.get(name)), None)  # takes one only
    if kind is not None:
        written[kind] = filters[kind]
    lost = {name: value for name, value in (raw | filters).items() if name not in (*_SEARCH, kind)}
    for name, value in lost.items():
        if value not in (None, "", [], {}, _SEARCH_DEFAULTS.get(name)):
            memo.drops.add(f"tools.{name}")
    return written


def _hosted_name(tool: Tool) -> str:
    if tool.kind == SEARCH and tool.origin != NAME:
        return _TOOL_SEARCH["name"]
    return tool.name if tool.origin == NAME else tool.kind


def write_cache(ttl: str | None) -> dict[str, Any]:
    """Write a cache breakpoint. OpenAI's times become the nearest that Anthropic has.

    See docs/wire/requests.md#prompt-caching.
    """
    found = {"1h": "1h", "12h": "1h", "5m": "5m"}.get(ttl or "")
    return {"type": "ephemeral", **({"ttl": found} if found else {})}


def _write_choice(request: Request, choice: ToolChoice | None, memo: Memo, profile: Profile) -> dict[str, Any]:
    is_single = request.parallel is False
    if choice is None:
        return {"tool_choice": {"type": "auto", "disable_parallel_tool_use": True}} if is_single else {}
    if choice.mode not in profile.tool_choice:
        memo.drops.add("tool_choice")
        choice = evolve(choice, mode="auto")
    written: dict[str, Any]
    match choice.mode:
        case "none":
            return {"tool_choice": {"type": "none"}}
        case "required":
            written = {"type": "any"}
        case "named":
            tool = chosen(request)
            is_ours = tool.kind in CLIENT_KINDS
            name = memo.names.safe(tool.name, tool.namespace) if is_ours else _hosted_name(tool)
            written = {"type": "tool", "name": name}
        case _:
            written = {"type": "auto"}
    if is_single:
        written["disable_parallel_tool_use"] = True
    return {"tool_choice": written}
