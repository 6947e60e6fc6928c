"""Parameters of tools that no provider takes as they are: what is sent instead, and what is told."""

from typing import Any

import pytest

from tests.wire.crossings import chat_request, messages_request, written

WAYS = [
    ("openai_chat", "anthropic_messages"),
    ("openai_chat", "openai_responses"),
    ("anthropic_messages", "openai_chat"),
    ("anthropic_messages", "openai_responses"),
]


def tools_of(client: str, schema: Any) -> dict[str, Any]:
    if client == "openai_chat":
        return chat_request(tools=[{"type": "function", "function": {"name": "f", "parameters": schema}}])
    return messages_request(tools=[{"name": "f", "input_schema": schema}])


def schema_in(out: dict[str, Any]) -> Any:
    tool = out["tools"][0]
    return tool.get("input_schema") or tool.get("function", tool)["parameters"]


@pytest.mark.parametrize(("client", "upstream"), WAYS)
@pytest.mark.parametrize(
    ("schema", "lost"),
    [
        ({"type": "string"}, ["tools.parameters"]),
        ({"type": "array", "items": {"type": "string"}}, ["tools.parameters"]),
        ({"type": ["string", "null"]}, ["tools.parameters"]),
        ({"type": ["object", "null"]}, []),
        ({}, []),
    ],
)
def test_what_is_no_object_becomes_one_and_is_told(client: str, upstream: str, schema: Any, lost: list[str]) -> None:
    """Every provider refuses parameters that are no object: an object goes up, and the loss is told."""
    out, memo = written(client, tools_of(client, schema), upstream=upstream)
    assert schema_in(out) == {"type": "object", "properties": {}}
    assert memo.drops.names == lost
