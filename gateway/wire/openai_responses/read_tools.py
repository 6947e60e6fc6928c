"""Reads the tools of Responses requests and items, and the choice among them (docs/wire/tools.md)."""

from typing import Any

from attrs import evolve

from gateway.wire.codec.node import Node
from gateway.wire.neutral import Tool, ToolChoice
from gateway.wire.openai_responses.write_items import NAME
from gateway.wire.translation.tool_search import SEARCH
from gateway.wire.translation.tools import CLIENT_KINDS, MODES

_STRINGS = {"type": "array", "items": {"type": "string"}}
# Built-in tools that the client runs, as functions for models that do not know them
# (docs/wire/tools.md#codex-built-ins).
# Name -> (description, properties of the parameters, required ones).
_BUILTIN: dict[str, tuple[str, dict[str, Any], list[str]]] = {
    "local_shell": (
        "Run a command on the user's machine",
        {"command": _STRINGS, "working_directory": {"type": "string"}, "timeout_ms": {"type": "integer"}},
        ["command"],
    ),
    "shell": (
        "Run commands in a shell",
        {"commands": _STRINGS, "timeout_ms": {"type": "integer"}, "max_output_length": {"type": "integer"}},
        ["commands"],
    ),
    "apply_patch": (
        "Create, update or delete a file",
        {
            "operation": {
                "type": "object",
                "properties": {
                    "type": {"type": "string", "enum": ["create_file", "update_file", "delete_file"]},
                    "path": {"type": "string"},
                    "diff": {"type": "string"},
                },
                "required": ["type", "path"],
            }
        },
        ["operation"],
    ),
}
# OpenAI's search for tools, where a client runs it and does not say how.
_SEARCH_DESCRIPTION = "Search for tools that are not offered yet. Those that it finds can be called from then on."
_SEARCH_PARAMETERS: dict[str, Any] = {
    "type": "object",
    "properties": {"query": {"type": "string", "description": "what the tool should do, in a few words"}},
    "required": ["query"],
}


def read_tools(node: Node) -> list[Tool]:
    """Read the member `tools`, of a request or of an item. Raises BadRequest with the place."""
    return [tool for one in node.nodes("tools") for tool in _read_tool(one, None)]


def _read_tool(node: Node, namespace: str | None) -> list[Tool]:
    kind = node.needed_text("type")
    match kind:
        case "function":
            return [
                Tool(
                    node.needed_text("name"),
                    description=node.text("description"),
                    parameters=node.mapping("parameters"),
                    strict=node.flag("strict"),
                    namespace=namespace,
                    is_deferred=bool(node.flag("defer_loading")),
                )
            ]
        case "custom":
            form = node.mapping("format") or {}
            grammar: dict[str, Any] = {name: form[name] for name in ("syntax", "definition") if name in form}
            name, described = node.needed_text("name"), node.text("description")
            is_deferred = bool(node.flag("defer_loading"))
            tool = Tool(
                name, "custom", described, grammar=grammar or None, namespace=namespace, is_deferred=is_deferred
            )
            return [tool]
        case "namespace":
            inside = node.needed_text("name")
            tools = [tool for one in node.nodes("tools") for tool in _read_tool(one, inside)]
            about = node.text("description") if node.kind("description") == "a string" else None
            return _described(inside, about, tools) if about else tools
        case _ if kind in _BUILTIN and not is_in_container(node):
            description, properties, required = _BUILTIN[kind]
            schema = {"type": "object", "properties": properties, "required": required}
            return [Tool(kind, description=description, parameters=schema, raw={"type": kind})]
        case "tool_search" if _is_client_run(node):
            described = node.text("description") or _SEARCH_DESCRIPTION
            parameters = node.mapping("parameters") or _SEARCH_PARAMETERS
            return [Tool(SEARCH, description=described, parameters=parameters, raw={"type": kind})]
        case _:
            family = "web_search" if kind.startswith("web_search") else kind
            raw = {name: node.value(name) for name in node.members}
            return [Tool(node.text("name") or kind, family, origin=NAME, raw=raw)]


def is_in_container(node: Node) -> bool:
    """Whether a shell, or a call of it, says that it runs in a container of the provider."""
    where = node.node("environment") if node.kind("environment") == "an object" else None
    return where is not None and where.text("type") != "local"


def _is_client_run(node: Node) -> bool:
    """Whether the client runs the search itself. Only such a search has `parameters` (SDK type ToolSearchToolParam)."""
    execution = node.text("execution")
    return execution == "client" or (execution is None and node.has("parameters"))


def _described(namespace: str, about: str, tools: list[Tool]) -> list[Tool]:
    """Put a namespace's description behind that of its first tool: no other dialect has a place for it.

    The first that is not deferred, if there is one: the others are not offered yet.
    """
    places = [number for number, tool in enumerate(tools) if tool.kind in CLIENT_KINDS]
    if not places:
        return tools
    place = next((number for number in places if not tools[number].is_deferred), places[0])
    own = f"{tools[place].description}\n\n" if tools[place].description else ""
    tools[place] = evolve(tools[place], description=f"{own}About all tools of {namespace}: {about}")
    return tools


def read_choice(node: Node) -> ToolChoice | None:
    """Read `tool_choice`. Raises BadRequest with the place."""
    if not node.has("tool_choice"):
        return None
    if node.kind("tool_choice") == "a string":
        mode = node.needed_text("tool_choice")
        if mode not in MODES:
            raise node.refuse(
                "tool_choice", f"'tool_choice' must be auto, none, required or an object, not '{mode[:50]}'"
            )
        return ToolChoice(MODES[mode])
    choice = node.node("tool_choice")
    assert choice is not None
    kind = choice.needed_text("type")
    if kind == "allowed_tools":
        names = tuple(one.text("name") or one.needed_text("type") for one in choice.nodes("tools"))
        return ToolChoice("required" if MODES.get(choice.text("mode") or "") == "required" else "auto", allowed=names)
    if kind in MODES:
        return ToolChoice(MODES[kind])
    if kind == SEARCH:  # run by the client or by the provider: the tool itself says which
        return ToolChoice("named", kind)
    return ToolChoice(
        "named", choice.text("name") or kind, is_hosted=None if kind in _BUILTIN else kind not in CLIENT_KINDS
    )
