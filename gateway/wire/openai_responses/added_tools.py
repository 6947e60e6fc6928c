"""Lifts tools that come inside the input into the request's `tools`, for servers that do not know the item.

Codex and LangChain send tools in an item `additional_tools`, at the beginning of a conversation or in the middle. Only
some servers know it; others refuse the whole request (docs/wire/tools.md#tools-inside-the-input).
"""

from collections.abc import Iterable
from typing import Any

from gateway.wire.codec.json_body import JsonBody

ITEM = "additional_tools"
MARK = b'"additional_tools"'  # an input without it is not decoded


def lift(body: JsonBody, items: Iterable[Any]) -> tuple[list[Any], list[Any]]:
    """Return (the items without those that bring tools, all tools of the request in order, each once).

    Raises BadRequest if the request's `tools` is not an array.
    """
    kept: list[Any] = []
    tools: list[Any] = list(body.get("tools", list[Any], "an array") or [])
    for item in items:
        added = item.get("tools") if isinstance(item, dict) and item.get("type") == ITEM else None
        if isinstance(added, list):
            tools += added
        else:
            kept.append(item)
    return kept, _each_once(tools)


def _each_once(tools: Iterable[Any]) -> list[Any]:
    """Keep the later of two tools with one name, in the place of the first; two parts of a namespace become one."""
    found: dict[Any, Any] = {}
    for number, tool in enumerate(tools):
        place = _place(tool, number)
        is_more = place in found and tool.get("type") == "namespace"
        found[place] = _joined(found[place], tool) if is_more else tool
    return list(found.values())


def _joined(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    """Return the second part of a namespace with the tools of both."""
    parts = [first.get("tools"), second.get("tools")]
    return second | {"tools": _each_once(one for part in parts if isinstance(part, list) for one in part)}


def _place(tool: Any, number: int) -> Any:
    """Return what tells a tool from the others; a tool without a name is told by its place."""
    if not isinstance(tool, dict):
        return number
    name, kind = tool.get("name"), tool.get("type")
    if isinstance(name, str) and isinstance(kind, str):
        return "tool" if kind in ("function", "custom") else kind, name
    server = tool.get("server_label")
    return (kind, server) if isinstance(kind, str) and (server is None or isinstance(server, str)) else number
