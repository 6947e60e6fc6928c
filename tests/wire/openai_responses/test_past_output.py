"""What the model said before, as it is written to a Responses upstream: items as strict servers want them."""

from typing import Any

import pytest
from openai.types.responses import ResponseCustomToolCall, ResponseFunctionToolCall, ResponseOutputMessage
from pydantic import BaseModel

from tests.wire.crossings import memo_of, write

TYPES: dict[str, type[BaseModel]] = {
    "message": ResponseOutputMessage,
    "function_call": ResponseFunctionToolCall,
    "custom_tool_call": ResponseCustomToolCall,
}
PREFIXES = {"message": "msg_", "function_call": "fc_", "custom_tool_call": "ctc_"}
USER = {"role": "user", "content": "Hi"}


def past(client: str, said: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the items of the assistant that are written of a client's request."""
    items = write(memo_of(client, said), upstream="openai_responses")["input"]
    return [one for one in items if one["type"] in TYPES and one.get("role") != "user"]


def chat(*turns: dict[str, Any]) -> dict[str, Any]:
    return {"model": "m", "messages": [USER, *turns]}


def messages(*content: dict[str, Any]) -> dict[str, Any]:
    return {"model": "m", "max_tokens": 9, "messages": [USER, {"role": "assistant", "content": list(content)}, USER]}


CALL: dict[str, Any] = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
FREE: dict[str, Any] = {"id": "c2", "type": "custom", "custom": {"name": "p", "input": "x"}}
RESULTS = [{"role": "tool", "tool_call_id": name, "content": "r"} for name in ("c1", "c2")]
CASES: dict[str, tuple[str, dict[str, Any], list[str]]] = {
    "a text": ("openai_chat", chat({"role": "assistant", "content": "a"}, USER), ["message"]),
    "a refusal": ("openai_chat", chat({"role": "assistant", "refusal": "no"}, USER), ["message"]),
    "the same text twice": (
        "openai_chat",
        chat({"role": "assistant", "content": "a"}, USER, {"role": "assistant", "content": "a"}, USER),
        ["message", "message"],
    ),
    "text and calls": (
        "openai_chat",
        chat({"role": "assistant", "content": "a", "tool_calls": [CALL, FREE]}, *RESULTS),
        ["message", "function_call", "custom_tool_call"],
    ),
    "text between calls": (
        "anthropic_messages",
        messages(
            {"type": "text", "text": "a"},
            {"type": "text", "text": "b"},
            {"type": "tool_use", "id": "t1", "name": "f", "input": {"a": 1}},
            {"type": "text", "text": "a"},
        ),
        ["message", "function_call", "message"],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_items_of_the_assistant_have_an_id_and_a_status(name: str) -> None:
    """Every item is valid as the SDK's type for output, with an id of its kind and the status `completed`."""
    client, said, kinds = CASES[name]
    items = past(client, said)
    assert [one["type"] for one in items] == kinds
    for item in items:
        TYPES[item["type"]].model_validate(item)
        assert item["id"].startswith(PREFIXES[item["type"]]) and len(item["id"]) <= 64
        assert item["type"] == "custom_tool_call" or item["status"] == "completed"
    assert len({item["id"] for item in items}) == len(items)


@pytest.mark.parametrize("name", CASES)
def test_the_same_history_has_the_same_ids(name: str) -> None:
    """Ids depend on the history alone, and stay when it grows: otherwise no prompt cache would be hit."""
    client, said, _ = CASES[name]
    grown = said | {"messages": [*said["messages"], {"role": "assistant", "content": "more"}, USER]}
    assert past(client, said) == past(client, said) == past(client, grown)[: len(past(client, said))]
