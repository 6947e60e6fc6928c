"""Which kinds of tools and items stand in a body, found by their types alone."""

import json
from typing import Any

import pytest

from gateway.wire import DIALECTS
from gateway.wire.codec.json_body import JsonBody

SEARCH = {"type": "web_search_20250305", "name": "web_search"}
OWN = {"name": "f", "input_schema": {"type": "object"}}
FUNCTION = {"type": "function", "name": "f"}


def body(**members: Any) -> JsonBody:
    return JsonBody.read(json.dumps(members).encode())


@pytest.mark.parametrize(
    ("dialect", "members", "kinds"),
    [
        ("anthropic_messages", {"tools": [OWN, SEARCH]}, {"function", "web_search"}),
        ("anthropic_messages", {"tools": [OWN | {"type": "custom"}]}, {"function"}),
        ("anthropic_messages", {"tools": [{"type": "bash_20250124", "name": "bash"}]}, {"bash"}),
        ("anthropic_messages", {}, set()),
        ("anthropic_messages", {"tools": None}, set()),
        ("anthropic_messages", {"tools": "x"}, set()),
        ("anthropic_messages", {"tools": [1]}, set()),
        ("openai_responses", {"tools": [FUNCTION, {"type": "namespace"}]}, {"function", "namespace"}),
        ("openai_responses", {"tools": [{"type": 5}]}, {"function"}),
        ("openai_chat", {"tools": [{"type": "function", "function": {}}]}, {"function"}),
        ("openai_chat", {"web_search_options": {}}, {"web_search"}),
        ("openai_embeddings", {"tools": [FUNCTION]}, set()),
    ],
)
def test_kinds_of_tools(dialect: str, members: dict[str, Any], kinds: set[str]) -> None:
    """The kinds are the types, without Anthropic's dates; what cannot be read has none."""
    assert DIALECTS[dialect].tool_kinds(body(**members)) == kinds


@pytest.mark.parametrize(
    ("given", "kinds"),
    [
        ("Hi", set()),
        ([{"role": "user", "content": "Hi"}], {"message"}),
        ([{"type": "additional_tools", "tools": []}, {"type": "function_call"}], {"additional_tools", "function_call"}),
    ],
)
def test_kinds_of_items(given: Any, kinds: set[str]) -> None:
    """An input item without a type is a message; a text has no items."""
    assert DIALECTS["openai_responses"].item_kinds(body(input=given)) == kinds


@pytest.mark.parametrize(
    ("dialect", "members", "sought"),
    [
        ("anthropic_messages", {"tools": [{"type": "tool_search_tool_regex_20251119", "name": "s"}]}, {"tool_search"}),
        ("anthropic_messages", {"tools": [SEARCH]}, {"web_search"}),
        ("anthropic_messages", {"tools": [OWN, SEARCH]}, {"web_search"}),
        ("anthropic_messages", {"tools": [OWN]}, set()),
        ("openai_chat", {"web_search_options": {}, "tools": [{"type": "function"}]}, {"web_search"}),
        ("openai_responses", {"tools": [{"type": "web_search"}]}, {"web_search"}),
        ("openai_responses", {"tools": [{"type": "web_search"}, FUNCTION]}, set()),
        ("openai_responses", {"tools": [{"type": "web_search"}, {"type": "namespace"}]}, set()),
        (
            "openai_responses",
            {"tools": [{"type": "web_search"}, FUNCTION], "tool_choice": {"type": "web_search"}},
            {"web_search"},
        ),
        (
            "openai_responses",
            {"tools": [{"type": "web_search"}, FUNCTION], "tool_choice": {"type": "function", "name": "f"}},
            set(),
        ),
        ("openai_responses", {"tools": [{"type": "web_search"}], "tool_choice": "auto"}, {"web_search"}),
        ("openai_responses", {}, set()),
    ],
)
def test_tools_that_a_request_is_about(dialect: str, members: dict[str, Any], sought: set[str]) -> None:
    """A provider's tool is sought where it is offered; beside Responses' other tools only if it is forced."""
    assert DIALECTS[dialect].sought_tools(body(**members)) == sought
