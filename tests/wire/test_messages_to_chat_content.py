"""History, tools and formats of a Messages request, written for Chat."""

import json
from typing import Any

import pytest

from gateway.errors import BadRequest, CannotSay
from gateway.wire.neutral import ToolCall
from gateway.wire.profile import Profile
from tests.wire.crossings import chat_request, memo_of, messages_request, write, written
from tests.wire.messages_to_chat import HI, MARK, OPENAI, TOOL, results, sent, turns, use


def test_tools_and_choice() -> None:
    """Long names are shortened and restored, empty tools are left out, choices are mapped. (EC-103, EC-104)"""
    long = "n" * 90
    tools = [{**TOOL, "name": long, "strict": True, **MARK}, TOOL]
    choice = {"type": "tool", "name": long, "disable_parallel_tool_use": True}
    out, memo = written("anthropic_messages", messages_request(tools=tools, tool_choice=choice), OPENAI)
    safe = out["tools"][0]["function"]["name"]
    assert len(safe) == 64 and memo.names.original(safe).name == long
    assert out["tool_choice"] == {"type": "function", "function": {"name": safe}}
    assert out["parallel_tool_calls"] is False and memo.drops.names == ["tools.cache_control", "tools.strict"]
    out, _ = sent(tools=[], tool_choice={"type": "auto"})
    assert not {"tools", "tool_choice"} & set(out)
    assert sent(tools=[TOOL], tool_choice={"type": "any"})[0]["tool_choice"] == "required"
    out, drops = sent(Profile(tool_choice=("auto",)), tools=[TOOL], tool_choice={"type": "any"})
    assert out["tool_choice"] == "auto" and drops == ["tool_choice"]


def test_too_many_tools() -> None:
    """More tools than the 128 that OpenAI takes raise CannotSay."""
    with pytest.raises(CannotSay):
        sent(tools=[{**TOOL, "name": f"f{number}"} for number in range(129)])


def test_built_in_tools_have_the_schemas_that_they_are_known_to_have() -> None:
    """Built-in tools become functions; a toolset becomes one function for each member. (EC-127)"""
    tools = [
        {"type": "bash_20250124", "name": "bash"},
        {"type": "text_editor_20250728", "name": "str_replace_based_edit_tool"},
        {"type": "computer_toolset_20260801", "configs": {"zoom": {"enabled": False}}},
        {"type": "web_search_20250305", "name": "web_search"},
    ]
    out, memo = written("anthropic_messages", messages_request(tools=tools), OPENAI)
    names = [tool["function"]["name"] for tool in out["tools"]]
    assert names[:2] == ["bash", "str_replace_based_edit_tool"]
    assert "computer__left_click" in names and "computer__zoom" not in names
    known = memo.names.original("computer__left_click")
    assert (known.name, known.namespace) == ("left_click", "computer")
    assert memo.drops.names == ["tools.web_search"]
    with pytest.raises(CannotSay):
        sent(tools=tools[3:], tool_choice={"type": "tool", "name": "web_search"})


def test_calls_in_the_history() -> None:
    """Arguments keep their digits, and Mistral's ids are nine alphanumerics. (EC-121, EC-123)"""
    found = turns(HI, use("a", n=12345678901234567890123), results({"tool_use_id": "a"}))
    assert found[1] == {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {
                "id": "a",
                "type": "function",
                "function": {"name": "f", "arguments": '{"n": 12345678901234567890123}'},
            }
        ],
    }
    mistral = Profile(nine_character_ids=True, null_content=False)
    found = turns(HI, use("toolu_1"), results({"tool_use_id": "toolu_1"}), profile=mistral)
    made = found[1]["tool_calls"][0]["id"]
    assert len(made) == 9 and made.isalnum() and found[2]["tool_call_id"] == made and found[1]["content"] == ""


THOUGHT = {"type": "thinking", "thinking": "hm", "signature": "S"}


@pytest.mark.parametrize(
    ("replay", "has_tools", "wanted"),
    [
        ("forbidden", True, {}),  # EC-131
        ("ignored", True, {}),
        ("allowed", False, {"reasoning_content": "hm"}),
        ("required", False, {"reasoning_content": "hm"}),
        ("required", True, {"reasoning_content": "hm"}),
    ],
)
def test_thoughts_in_the_history(replay: str, has_tools: bool, wanted: dict[str, Any]) -> None:
    """Earlier thinking goes up only if the profile's `reasoning_replay` allows it."""
    said = {"role": "assistant", "content": [THOUGHT, {"type": "text", "text": "x"}]}
    tools = [TOOL] if has_tools else []
    found = turns(HI, said, HI, profile=Profile(reasoning_replay=replay), tools=tools)[1]
    assert {name: found[name] for name in found if name.startswith("reasoning")} == wanted


def test_a_server_that_wants_reasoning_gets_a_space_at_least() -> None:
    """A server that requires reasoning gets a space for a turn without any. (EC-139)"""
    found = turns(
        HI, use("a"), results({"tool_use_id": "a"}), profile=Profile(reasoning_replay="required"), tools=[TOOL]
    )
    assert found[1]["reasoning_content"] == " "


def test_details_are_told_with_their_index() -> None:
    """`reasoning_details` have an index, with signed text and encrypted data apart."""
    said = {"role": "assistant", "content": [THOUGHT, {"type": "redacted_thinking", "data": "D"}]}
    found = turns(HI, said, HI, profile=Profile(reasoning_replay="details"))[1]["reasoning_details"]
    assert found == [
        {"type": "reasoning.text", "text": "hm", "signature": "S", "format": "anthropic-claude-v1", "index": 0},
        {"type": "reasoning.encrypted", "data": "D", "format": "anthropic-claude-v1", "index": 1},
    ]


def test_structured_output() -> None:
    """A schema becomes `response_format`, strict only if it is closed, or a JSON object plus words."""
    schema = {"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": False}
    config = {"format": {"type": "json_schema", "schema": schema}}
    form = sent(output_config=config)[0]["response_format"]["json_schema"]
    assert form == {"name": "output", "schema": schema, "strict": False}
    closed = schema | {"required": ["a"]}
    form = sent(output_format={"type": "json_schema", "schema": closed})[0]["response_format"]["json_schema"]
    assert form["strict"] is True
    out, drops = sent(Profile(json_schema=False), output_config=config)
    assert out["response_format"] == {"type": "json_object"} and drops == ["response_format.json_schema"]
    assert "JSON" in out["messages"][0]["content"]


def test_what_only_anthropic_knows() -> None:
    """Members that only Anthropic has are noted as lost; a thread raises CannotSay."""
    edits = {"edits": [{"type": "clear_tool_uses_20250919"}]}
    out, drops = sent(container="c", inference_geo="eu", context_management=edits, cache_control={"type": "ephemeral"})
    assert drops == ["container", "inference_geo", "context_management"]
    assert not {"container", "inference_geo", "context_management", "cache_control"} & set(out)
    with pytest.raises(CannotSay) as raised:
        sent(thread={"type": "create"})
    assert raised.value.code == "thread_unsupported_request"
    block = {"role": "user", "content": [{"type": "container_upload", "file_id": "f"}, {"type": "text", "text": "x"}]}
    out, drops = sent(messages=[block])
    assert out["messages"][0]["content"][0]["text"] == "[container_upload]" and drops == ["messages.container_upload"]


@pytest.mark.parametrize(
    ("said", "place"),
    [
        ({"max_tokens": None}, "max_tokens"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"messages": None}, "messages"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": [{"text": "x"}]}]}, "messages[0].content[0].type"),
        ({"messages": [{"role": "user", "content": [{"type": "image"}]}]}, "messages[0].content[0].source"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "x"}}]}]},
            "messages[0].content[0].source.type",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "base64", "data": "%"}}]}]},
            "messages[0].content[0].source.data",
        ),
        ({"tool_choice": {"type": "perhaps"}}, "tool_choice.type"),
        ({"thinking": {"type": "hard"}}, "thinking.type"),
        ({"output_config": {"format": {"type": "xml"}}}, "output_config.format.type"),
        ({"tools": [{}]}, "tools[0].name"),
        ({"system": [{"type": "text"}]}, "system[0].text"),
        ({"stop_sequences": [5]}, "stop_sequences[0]"),
    ],
)
def test_bad_input_is_named(said: dict[str, Any], place: str) -> None:
    """An invalid member raises BadRequest with its path."""
    with pytest.raises(BadRequest) as raised:
        sent(**said)
    assert raised.value.param == place


def test_messages_to_messages_in_the_translation_lane() -> None:
    """Documents leave the assistant's turn, and citations leave the user's. (EC-87, EC-88)"""
    cited = {"type": "text", "text": "x", "citations": [{"type": "char_location"}]}
    document = {"type": "document", "source": {"type": "text", "data": "d"}}
    said = messages_request(
        messages=[
            {"role": "user", "content": [cited]},
            {"role": "assistant", "content": [document, cited, {"type": "server_tool_use", "id": "s", "name": "n"}]},
            HI,
        ]
    )
    found = write(memo_of("anthropic_messages", said))["messages"]
    assert "citations" not in found[0]["content"][0]
    assert [block["type"] for block in found[1]["content"]] == ["text", "server_tool_use"]
    assert "citations" in found[1]["content"][0] and found[2]["content"][0]["type"] == "document"


def test_legacy_functions_of_a_chat_client() -> None:
    """Legacy function calls, which have no ids, are paired with their results by order."""
    called = {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}}
    said = chat_request(
        messages=[HI, called, {"role": "function", "name": "f", "content": "r"}], functions=[{"name": "f"}]
    )
    memo = memo_of("openai_chat", said)
    assert memo.request.is_legacy
    found = write(memo)["messages"]
    assert found[1]["content"][0]["id"] == found[2]["content"][0]["tool_use_id"] == "call_fn_1"


def test_custom_calls_are_kept_where_they_are_known() -> None:
    """Custom tools stay custom where the profile has them, and else become functions with one `input`."""
    custom = {
        "type": "custom",
        "custom": {"name": "p", "description": "d", "format": {"type": "grammar", "grammar": {}}},
    }
    call = {"id": "c", "type": "custom", "custom": {"name": "p", "input": "raw"}}
    said = chat_request(
        messages=[
            HI,
            {"role": "assistant", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c", "content": "r"},
        ],
        tools=[custom],
        tool_choice={"type": "custom", "custom": {"name": "p"}},
    )
    memo = memo_of("openai_chat", said, Profile(custom_tools=True))
    out = write(memo, upstream="openai_chat")
    assert out["tools"][0]["type"] == "custom" and out["tool_choice"]["type"] == "custom"
    assert out["messages"][1]["tool_calls"][0]["custom"] == {"name": "p", "input": "raw"}
    memo = memo_of("openai_chat", said)
    out = write(memo, upstream="openai_chat")
    assert json.loads(out["messages"][1]["tool_calls"][0]["function"]["arguments"]) == {"input": "raw"}
    assert isinstance(memo.request.turns[1].blocks[0], ToolCall)
