"""The digest of what a conversation begins with: the same in each of its requests, different between conversations."""

import json
import time
from typing import Any

import pytest

from gateway.wire.codec.json_body import JsonBody
from gateway.wire.stable_prefix import MAX_TEXT, stable_prefix

MARK = {"cache_control": {"type": "ephemeral"}}
USER = {"role": "user", "content": "Hi"}
ANSWER = {"role": "assistant", "content": "Hello"}


def digest(**members: Any) -> str:
    return stable_prefix(JsonBody.read(json.dumps({"model": "m", **members}).encode()))


SAME: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"messages": [USER]}, {"messages": [USER, ANSWER, {"role": "user", "content": "And?"}]}),
    ({"messages": [USER]}, {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]}),
    ({"messages": [USER]}, {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi", **MARK}]}]}),
    ({"system": "s", "messages": [USER]}, {"system": [{"type": "text", "text": "s", **MARK}], "messages": [USER]}),
    (
        {"system": [{"type": "text", "text": "x-anthropic-billing-header: cch=1"}], "messages": [USER]},
        {"system": [{"type": "text", "text": "x-anthropic-billing-header: cch=2"}], "messages": [USER]},
    ),
    ({"messages": [USER], "tools": [{"name": "t"}]}, {"messages": [USER], "tools": [{"name": "t", **MARK}]}),
    ({"messages": [USER], "tools": [{"name": "t", **MARK}]}, {"messages": [USER], "tools": [{**MARK, "name": "t"}]}),
    ({"messages": [USER], "temperature": 0}, {"messages": [USER], "stream": True}),
    ({"input": "Hi"}, {"input": [USER, ANSWER]}),
    (
        {"input": [{"role": "developer", "content": "d"}, USER]},
        {"input": [{"role": "developer", "content": "d"}, USER, USER]},
    ),
]
DIFFERENT: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"messages": [USER]}, {"messages": [{"role": "user", "content": "Ho"}]}),
    ({"messages": [USER]}, {"messages": [{"role": "system", "content": "s"}, USER]}),
    ({"messages": [USER]}, {"messages": [USER], "tools": [{"name": "t"}]}),
    ({"messages": [USER], "system": "a"}, {"messages": [USER], "system": "b"}),
    ({"input": "Hi", "instructions": "a"}, {"input": "Hi", "instructions": "b"}),
    ({"messages": [{"role": "user", "content": "x" * MAX_TEXT}]}, {"messages": [{"role": "user", "content": "x" * (MAX_TEXT + 1)}]}),
    (
        {"messages": [{"role": "user", "content": [{"type": "image", "source": {"data": "a"}}]}]},
        {"messages": [{"role": "user", "content": [{"type": "image", "source": {"data": "b"}}]}]},
    ),
]  # fmt: skip


@pytest.mark.parametrize(("first", "second"), SAME)
def test_turns_of_one_conversation(first: dict[str, Any], second: dict[str, Any]) -> None:
    """Later turns, cache marks that move and other settings leave the digest as it is."""
    assert digest(**first) == digest(**second) != ""


@pytest.mark.parametrize(("first", "second"), DIFFERENT)
def test_other_conversations(first: dict[str, Any], second: dict[str, Any]) -> None:
    """Another system prompt, other tools or another first turn make another digest."""
    assert digest(**first) != digest(**second)


@pytest.mark.parametrize("members", [{}, {"prompt": "x"}, {"system": "s"}])
def test_no_turns_no_digest(members: dict[str, Any]) -> None:
    """A request without turns belongs to no conversation."""
    assert digest(**members) == ""


@pytest.mark.parametrize(
    "odd", [[], [7], [None], ["x"], [{}], [{"role": 7}], {"a": 1}, 7, [{"role": "user", "content": 7}]]
)
def test_odd_turns_do_no_harm(odd: Any) -> None:
    """What is not a conversation has some digest or none; whoever reads it will say what is wrong."""
    assert digest(messages=odd) == digest(messages=odd)


def test_a_long_history_costs_nothing() -> None:
    """Only the beginning is looked at, however long the conversation has become."""
    body = JsonBody.read(json.dumps({"messages": [USER, *[ANSWER, USER] * 50_000]}).encode())
    began = time.perf_counter()
    stable_prefix(body)
    assert time.perf_counter() - began < 0.02
