"""Reads the tools that come and go in the middle of a conversation: `tool_addition`, `tool_removal`.

No other dialect has them. A tool that is defined there is offered as if it stood in `tools`; one that is withdrawn, and
does not come back, is not offered.
"""

from collections.abc import Iterator
from typing import Any

import msgspec
from attrs import evolve

from gateway.wire.anthropic_messages.read_messages import NAME
from gateway.wire.anthropic_messages.tools import read_tool
from gateway.wire.codec.node import Node
from gateway.wire.neutral import Opaque, Tool, Turn
from gateway.wire.translation.tools import distinct

_ADDITION, _REMOVAL = "tool_addition", "tool_removal"


def with_changes(body: Node, tools: list[Tool], turns: list[Turn]) -> tuple[list[Tool], list[Turn]]:
    """Return the tools that are offered at the end of the conversation, and the turns without the changes.

    A change that names a tool of an MCP server stays in its turn, where it is named as lost.
    """
    changes = [change for turn in turns for change in _changes(turn)]
    if not changes:
        return tools, turns
    removed: list[str] = []
    for change, said in changes:
        tool = said.get("tool")
        name = tool.get("name") if isinstance(tool, dict) else None
        if isinstance(tool, dict) and isinstance(tool.get("definition"), dict):
            raw = msgspec.json.encode(tool["definition"])
            added = list(read_tool(body.child(raw, f"tools[added {len(tools)}]")))
            tools = [*tools, *added]
            removed = [one for one in removed if one not in {tool.name for tool in added}]
        elif change.kind == _REMOVAL:
            removed.append(name or "")
        else:
            removed = [one for one in removed if one != name]
    kept = [tool for tool in distinct(tools) if tool.name not in removed]
    return kept, [_without(turn) for turn in turns]


def _changes(turn: Turn) -> Iterator[tuple[Opaque, dict[str, Any]]]:
    for block in turn.blocks:
        if isinstance(block, Opaque) and block.origin == NAME and block.kind in (_ADDITION, _REMOVAL):
            yield block, msgspec.json.decode(block.raw)


def _without(turn: Turn) -> Turn:
    handled = [block for block, said in _changes(turn) if not _is_of_server(said.get("tool"))]
    if not handled:
        return turn
    return evolve(turn, blocks=tuple(block for block in turn.blocks if not any(block is one for one in handled)))


def _is_of_server(tool: object) -> bool:
    return isinstance(tool, dict) and "server_name" in tool
