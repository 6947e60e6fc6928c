"""Objects that Responses clients receive: ids, the response, calls of tools that the client runs."""

import json
from typing import Any

import pytest

from gateway.wire.neutral import Request, ToolCall
from gateway.wire.openai_responses.objects import (
    MAX_ECHO,
    builtin_item,
    is_builtin,
    make_id,
    new_response,
    response_object,
)
from gateway.wire.translation.envelope import Sealer
from gateway.wire.translation.memo import Memo


def memo(*lost: str, **echo: Any) -> Memo:
    made = Memo(Request("openai_responses", "alias", echo=echo), "req_1", 1_700_000_000, Sealer(b"s", "o"))
    for name in lost:
        made.drops.add(name)
    return made


def test_ids_follow_from_their_parts() -> None:
    """The same parts give the same id, and parts are not just joined."""
    assert make_id("msg_", "a", 1) == make_id("msg_", "a", 1)
    assert len({make_id("msg_", *parts) for parts in (("a", 1), ("a1",), ("a", 2), ("", "a", 1))}) == 4
    prefix, _, digits = make_id("msg_", "a").partition("_")
    assert prefix == "msg" and len(digits) == 40 and int(digits, 16)


def test_a_response_begins_with_what_the_request_said() -> None:
    """A new response repeats the request's members, is in progress and has no output."""
    search = {"type": "web_search"}
    made = new_response(memo(temperature=0.5, tools=[search], metadata={"a": "b"}, user="u"))
    assert (made["id"], made["created_at"], made["model"]) == (make_id("resp_", "req_1"), 1_700_000_000, "alias")
    assert (made["status"], made["output"], made["usage"]) == ("in_progress", [], None)
    assert (made["temperature"], made["tools"], made["metadata"]) == (0.5, [search], {"a": "b"})
    assert made["store"] is False and made["background"] is False and made["user"] == "u"


def test_what_was_lost_is_not_repeated() -> None:
    """A member that was dropped on the way is not repeated, nor a part of `text`; `metadata` always is."""
    text = {"verbosity": "low", "format": {"type": "json_object"}}
    made = new_response(memo("temperature", "verbosity", "metadata", temperature=0.5, text=text, metadata={"a": "b"}))
    assert made["temperature"] == 1.0 and made["metadata"] == {"a": "b"}
    assert made["text"] == {"format": {"type": "json_object"}}


@pytest.mark.parametrize(
    ("echo", "name", "value"),
    [
        ({}, "parallel_tool_calls", True),
        ({"parallel_tool_calls": False}, "parallel_tool_calls", False),
        ({"parallel_tool_calls": None}, "parallel_tool_calls", True),
        ({}, "tool_choice", "auto"),
        ({}, "service_tier", "default"),
        ({}, "truncation", "disabled"),
        ({}, "text", {"format": {"type": "text"}}),
        ({"text": {"verbosity": "low"}}, "text", {"verbosity": "low", "format": {"type": "text"}}),
        ({"text": None}, "text", {"format": {"type": "text"}}),
        ({}, "reasoning", {"effort": None, "summary": None}),
        ({"reasoning": {"effort": "low", "odd": 1}}, "reasoning", {"effort": "low", "summary": None}),
        ({"metadata": None}, "metadata", {}),
    ],
)
def test_defaults_are_those_of_the_real_api(echo: dict[str, Any], name: str, value: Any) -> None:
    """A member that the request did not say, or said as null, has the value that clients expect of it."""
    assert response_object(echo, "resp_1", 1, "m")[name] == value


@pytest.mark.parametrize(
    ("name", "arguments", "item"),
    [
        ("local_shell", {"command": ["ls"]}, {"action": {"type": "exec", "env": {}, "command": ["ls"]}}),
        (
            "local_shell",
            {"command": "ls -l"},
            {"action": {"type": "exec", "env": {}, "command": ["bash", "-lc", "ls -l"]}},
        ),
        (
            "shell",
            {"commands": ["ls", "pwd"], "timeout_ms": 1},
            {"action": {"commands": ["ls", "pwd"], "timeout_ms": 1}},
        ),
        ("shell", {"commands": "ls"}, {"action": {"commands": ["ls"]}}),
        ("apply_patch", {"operation": {"type": "delete_file"}}, {"operation": {"type": "delete_file"}}),
        ("apply_patch", {"type": "delete_file"}, {"operation": {"type": "delete_file"}}),
    ],
)
def test_calls_of_tools_that_the_client_runs(name: str, arguments: dict[str, Any], item: dict[str, Any]) -> None:
    """A function's arguments become the action of the built-in tool that it stands for."""
    made = builtin_item(ToolCall("c", name, ""), json.dumps(arguments))
    assert made is not None and made | item == made
    assert (made["type"], made["call_id"], made["status"]) == (f"{name}_call", "c", "in_progress")
    assert made["id"] == make_id({"local_shell": "lsh_", "shell": "sh_", "apply_patch": "apc_"}[name], "c")


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("local_shell", "{"),
        ("local_shell", ""),
        ("local_shell", "[]"),
        ("local_shell", '{"commands": ["ls"]}'),
        ("shell", '{"commands": ["ls", 1]}'),
        ("shell", '{"commands": {"a": 1}}'),
        ("apply_patch", '{"operation": "delete"}'),
        ("apply_patch", '{"a":' * 5000),
    ],
)
def test_invalid_arguments_make_no_item(name: str, arguments: str) -> None:
    """Arguments that the tool cannot use give None, so that the call stays a function's."""
    assert builtin_item(ToolCall("c", name, ""), arguments) is None


def test_only_some_functions_stand_for_built_in_tools() -> None:
    """The functions that stand for built-in tools are known by name."""
    assert [name for name in ("local_shell", "shell", "apply_patch", "f", "shell_call") if is_builtin(name)] == [
        "local_shell",
        "shell",
        "apply_patch",
    ]


@pytest.mark.parametrize(("size", "is_shown"), [(MAX_ECHO, True), (MAX_ECHO + 1, False)])
def test_large_members_are_not_repeated(size: int, is_shown: bool) -> None:
    """A response repeats instructions and metadata up to a bound: a stream would send them three times."""
    shown = response_object({"instructions": "x" * size, "metadata": {"a": "x" * size}}, "resp_1", 0, "m")
    assert (shown["instructions"] is not None, bool(shown["metadata"])) == (is_shown, is_shown)
