"""Tools that come and go in the middle of an Anthropic conversation."""

from typing import Any

import pytest

from tests.wire.crossings import messages_request, written


def tool(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "input_schema": {"type": "object"}, **more}


def added(*definitions: dict[str, Any]) -> dict[str, Any]:
    changes = [{"type": "tool_addition", "tool": {"type": "tool_definition", "definition": d}} for d in definitions]
    return {"role": "system", "content": changes}


def named(change: str, name: str) -> dict[str, Any]:
    return {"role": "system", "content": [{"type": change, "tool": {"type": "tool_reference", "name": name}}]}


def offered(upstream: str, *changes: dict[str, Any], **more: Any) -> tuple[list[str], list[str]]:
    """Return (the names of the tools that are offered, what was noted as lost)."""
    turns = [{"role": "user", "content": "Hi"}, *changes]
    out, memo = written("anthropic_messages", messages_request(messages=turns, **more), upstream=upstream)
    assert "tool_addition" not in f"{out}" and "tool_removal" not in f"{out}"
    return [one["name"] if "name" in one else one["function"]["name"] for one in out.get("tools", ())], memo.drops.names


@pytest.mark.parametrize("upstream", ["openai_chat", "openai_responses"])
@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ([], ["old"]),
        ([added(tool("new"))], ["old", "new"]),
        ([added(tool("new")), added(tool("newer"))], ["old", "new", "newer"]),
        ([added(tool("old", description="again"))], ["old"]),
        ([named("tool_removal", "old")], []),
        ([named("tool_addition", "old")], ["old"]),
        ([named("tool_removal", "old"), named("tool_addition", "old")], ["old"]),
        ([named("tool_removal", "old"), added(tool("old"))], ["old"]),
        ([added(tool("new")), named("tool_removal", "new")], ["old"]),
    ],
)
def test_what_is_offered_at_the_end(upstream: str, changes: list[dict[str, Any]], names: list[str]) -> None:
    """A tool that was added is offered, one that was withdrawn is not, and nothing of it is lost."""
    assert offered(upstream, *changes, tools=[tool("old")]) == (names, [])


def test_the_first_tool_may_come_late() -> None:
    """A request without `tools` offers those that its conversation has added."""
    assert offered("openai_chat", added(tool("new"))) == (["new"], [])


def test_members_of_an_added_tool_are_named_as_those_of_others() -> None:
    """What no other dialect has of a tool is named, wherever the tool stands."""
    names, drops = offered("openai_chat", added(tool("new", input_examples=[{"a": 1}])))
    assert (names, drops) == (["new"], ["tools.input_examples"])


def test_tools_of_a_server_are_named_as_lost() -> None:
    """A change that means an MCP server's tools cannot be made elsewhere."""
    change = {"type": "mcp_toolset_reference", "server_name": "gh"}
    turns = [
        {"role": "user", "content": "Hi"},
        {"role": "system", "content": [{"type": "tool_addition", "tool": change}]},
    ]
    _, memo = written("anthropic_messages", messages_request(messages=turns))
    assert memo.drops.names == ["messages.tool_addition"]
