"""Content, tools and formats of a Chat request, written for Messages."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import BadRequest, CannotSay
from gateway.wire.neutral import Reasoning, Role, Turn
from gateway.wire.profile import Profile
from tests.wire.chat_to_messages import CLAUDE_45, HI, MIXED, OPUS_46, OPUS_48, TOOL, call, result, sent, turns
from tests.wire.crossings import PIXEL, chat_request, memo_of, write, written


def picture(url: str) -> dict[str, Any]:
    return {"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}


JPEG = "/9j/4AAQSkZJRg=="


@pytest.mark.parametrize(
    ("url", "source"),
    [
        (
            "data:image/PNG;charset=x;base64," + PIXEL[:40] + "\n" + PIXEL[40:],
            {"type": "base64", "media_type": "image/png", "data": PIXEL},
        ),  # EC-82
        (f"data:image/png;base64,{JPEG}", {"type": "base64", "media_type": "image/jpeg", "data": JPEG}),  # EC-83
        (PIXEL, {"type": "base64", "media_type": "image/png", "data": PIXEL}),  # EC-84
        ("https://example.com/a.png", {"type": "url", "url": "https://example.com/a.png"}),
    ],
)
def test_pictures(url: str, source: dict[str, Any]) -> None:
    """A picture's media type is that of its bytes, and its data has no whitespace."""
    assert turns(picture(url))[0]["content"][0]["source"] == source


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "data:image/svg+xml;base64,PHN2Zz4="}},  # EC-85
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},  # EC-90
        {"type": "file", "file": {"file_id": "file-1"}},  # EC-89
        {"type": "file", "file": {"file_data": "data:application/zip;base64,UEsDBA=="}},
    ],
)
def test_content_that_cannot_be_said_is_refused(part: dict[str, Any]) -> None:
    """Content that Messages cannot take raises CannotSay."""
    with pytest.raises(CannotSay):
        turns({"role": "user", "content": [part]})


def test_documents() -> None:
    """Documents keep their names; one in an assistant turn moves to the next user turn. (EC-86, EC-87)"""
    pdf = {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0="}}
    found = turns({"role": "user", "content": [pdf]})[0]["content"][0]
    assert (found["type"], found["title"]) == ("document", "a.pdf")
    text = {"type": "file", "file": {"filename": "a.txt", "file_data": "data:text/plain;base64,aGk="}}
    assert turns({"role": "user", "content": [text]})[0]["content"][0]["source"]["data"] == "hi"
    moved = turns(HI, {"role": "assistant", "content": [pdf, {"type": "text", "text": "x"}]}, HI)
    assert [block["type"] for block in moved[2]["content"]] == ["document", "text"]


def test_unknown_parts_and_members() -> None:
    """An unknown part becomes a text, and it and an unknown member are noted as lost."""
    out, drops = sent(messages=[{"role": "user", "content": [{"type": "hologram"}]}], prediction={"content": "a"})
    assert out["messages"][0]["content"][0]["text"] == "[hologram]"
    assert drops == ["messages.hologram", "prediction"]


def test_breakpoints() -> None:
    """Of the client's breakpoints the latest four are kept; without any, one is set at the top. (EC-94)"""
    assert sent()[0]["cache_control"] == {"type": "ephemeral"}
    mark = {"prompt_cache_breakpoint": {"mode": "explicit", "ttl": "12h"}}
    parts = [{"type": "text", "text": str(number), **mark} for number in range(6)]
    out, drops = sent(messages=[{"role": "user", "content": parts}])
    marked = [block["text"] for block in out["messages"][0]["content"] if "cache_control" in block]
    assert marked == ["2", "3", "4", "5"] and drops == ["cache_control"] and "cache_control" not in out
    assert out["messages"][0]["content"][5]["cache_control"] == {"type": "ephemeral", "ttl": "1h"}


@pytest.mark.parametrize(
    ("parameters", "wanted"),
    [
        (None, {"type": "object", "properties": {}}),  # EC-99
        ({"type": "object", "properties": None}, {"type": "object", "properties": {}}),  # EC-100
        (
            {"anyOf": [{"properties": {"a": {}}, "required": ["a"]}, {"properties": {"b": {}}}]},
            {"type": "object", "properties": {"b": {}, "a": {}}},
        ),  # EC-101
        ({"type": ["object", "null"], "$schema": "x"}, {"type": "object", "properties": {}}),
    ],
)
def test_parameters(parameters: Any, wanted: dict[str, Any]) -> None:
    """A tool's parameters become an object schema, whatever they were."""
    out, _ = sent(tools=[{"type": "function", "function": {"name": "f", "parameters": parameters}}])
    assert out["tools"][0]["input_schema"] == wanted


def test_names_that_have_to_change_come_back() -> None:
    """Names that become equal are made distinct, and are restored. (EC-102)"""
    names = ["actions/download", "actions_download"]
    tools = [{"type": "function", "function": {"name": name}} for name in names]
    out, memo = written("openai_chat", chat_request(tools=tools))
    safe = [tool["name"] for tool in out["tools"]]
    assert safe == ["actions_download_2", "actions_download"]
    assert [memo.names.original(name).name for name in safe] == names


@pytest.mark.parametrize(
    ("more", "wanted"),
    [
        ({"parallel_tool_calls": False}, {"type": "auto", "disable_parallel_tool_use": True}),  # EC-105
        ({"parallel_tool_calls": False, "tool_choice": "none"}, {"type": "none"}),
        ({"parallel_tool_calls": True}, None),
        ({"tool_choice": "required"}, {"type": "any"}),
        ({"tool_choice": {"type": "function", "function": {"name": "f"}}}, {"type": "tool", "name": "f"}),
        ({"function_call": {"name": "f"}}, {"type": "tool", "name": "f"}),
        (
            {"tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [TOOL]}}},
            {"type": "any"},
        ),  # EC-106
    ],
)
def test_choice(more: dict[str, Any], wanted: Any) -> None:
    """Each `tool_choice` becomes that of Messages; allowed_tools narrows the tools."""
    other = {"type": "function", "function": {"name": "g"}}
    out, _ = sent(tools=[TOOL, other], **more)
    assert out.get("tool_choice") == wanted
    assert len(out["tools"]) == (1 if "allowed_tools" in str(more) else 2)


def test_no_tools() -> None:
    """Empty tools are left out; tools that only the history has are declared. (EC-104, EC-119)"""
    out, _ = sent(tools=[], tool_choice="auto", parallel_tool_calls=False)
    assert not {"tools", "tool_choice"} & set(out)
    out, _ = sent(messages=[HI, call("c"), result("c")])
    assert out["tools"] == [{"name": "f", "input_schema": {"type": "object"}}]


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        ("", {}),
        ("  ", {}),
        ("[1]", {"value": [1]}),
        ("{bad", {"__invalid_json": "{bad"}),
        ('{"n":12345678901234567890123}', {"n": 12345678901234567890123}),
    ],
)
def test_arguments_in_the_history(arguments: str, wanted: Any) -> None:
    """Arguments of earlier calls become an object, digits unchanged. (EC-120, EC-121)"""
    assert turns(HI, call("c", arguments=arguments), result("c"))[1]["content"][0]["input"] == wanted


def test_odd_ids_are_made_safe_on_both_sides() -> None:
    """An id outside Anthropic's grammar is made safe, the same in call and result. (EC-122)"""
    found = turns(HI, call("functions.read:0"), result("functions.read:0"))
    made = found[1]["content"][0]["id"]
    assert made == found[2]["content"][0]["tool_use_id"] and "." not in made and ":" not in made


def test_structured_output() -> None:
    """A schema goes up in Anthropic's subset, the rest in words; old models get a tool.

    (EC-108, EC-109, EC-110)
    """
    schema = {
        "type": "object",
        "properties": {"n": {"type": "integer", "minimum": 1}, "k": {"type": "string", "enum": ["a"]}},
        "oneOf": [{"type": "object", "properties": {}}],
    }
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    out, _ = sent(response_format=form, tools=[TOOL])
    said = out["output_config"]["format"]["schema"]
    assert said["additionalProperties"] is False and said["anyOf"][0]["additionalProperties"] is False
    assert said["properties"]["n"]["description"] == "{minimum: 1}" and "type" not in said["properties"]["k"]
    assert "tool_choice" not in out
    out, memo = written("openai_chat", chat_request(response_format=form), Profile(json_schema=False))
    assert out["tool_choice"] == {"type": "tool", "name": "json_response"} and memo.forced_output == "json_response"
    out, drops = sent(Profile(json_schema=False), response_format=form, tools=[TOOL])
    assert "JSON schema" in out["system"][-1]["text"] and drops == ["response_format.json_schema"]


def test_json_object() -> None:
    """`json_object` becomes a system text, and a prefill on models that take one. (EC-111)"""
    form = {"type": "json_object"}
    out, memo = written("openai_chat", chat_request(response_format=form), CLAUDE_45)
    assert "JSON" in out["system"][0]["text"] and memo.prefill == "{"
    assert out["messages"][-1] == {"role": "assistant", "content": [{"type": "text", "text": "{"}]}
    out, memo = written("openai_chat", chat_request(response_format=form), OPUS_46)
    assert out["messages"][-1]["role"] == "user" and memo.prefill == ""


def test_freeform_tools_become_functions() -> None:
    """A freeform tool becomes a function with one `input`, its grammar in the description. (EC-112)"""
    custom = {"name": "patch", "description": "d", "format": {"type": "grammar", "grammar": {"definition": "start: x"}}}
    out, memo = written("openai_chat", chat_request(tools=[{"type": "custom", "custom": custom}]))
    assert "start: x" in out["tools"][0]["description"] and memo.freeform == {"patch"}
    assert out["tools"][0]["input_schema"]["required"] == ["input"]


def test_web_search() -> None:
    """Web search is sent where known, dropped elsewhere, and refused there if forced. (EC-115, EC-116)"""
    out, drops = sent(web_search_options={})
    assert "tools" not in out and drops == ["tools.web_search"]
    known = Profile(hosted_tools=("web_search",))
    out, _ = sent(
        known, web_search_options={"user_location": {"type": "approximate", "approximate": {"city": "Paris"}}}
    )
    assert out["tools"][0]["user_location"] == {"type": "approximate", "city": "Paris"}
    with pytest.raises(CannotSay):
        sent(tools=[{"type": "web_search"}], tool_choice={"type": "web_search"})


THOUGHT = {"type": "reasoning.text", "index": 0, "format": "anthropic-claude-v1", "text": "hm", "signature": "S"}


def test_thoughts_come_back_signed() -> None:
    """Signed details become thinking before their call; unsigned ones are left out. (EC-134, EC-136, EC-138)"""
    sealed = {"type": "reasoning.encrypted", "index": 1, "format": "anthropic-claude-v1", "data": "D"}
    echoed = {**call("c"), "reasoning_content": "hm", "reasoning_details": [THOUGHT, sealed]}
    found = turns(HI, echoed, result("c"), reasoning_effort="high")[1]["content"]
    assert found[:2] == [
        {"type": "thinking", "thinking": "hm", "signature": "S"},
        {"type": "redacted_thinking", "data": "D"},
    ]
    plain = turns(HI, {**call("c"), "reasoning_content": "hm"}, result("c"))[1]["content"]
    assert [block["type"] for block in plain] == ["tool_use"]


def test_a_budget_gives_way_to_a_call_without_its_thoughts() -> None:
    """If a call lacks its thinking on a budget model, all thinking is left out. (EC-135)"""
    earlier = {"role": "assistant", "content": "x", "reasoning_details": [THOUGHT]}
    out, drops = sent(CLAUDE_45, messages=[HI, earlier, HI, call("c"), result("c")], reasoning_effort="high")
    assert "thinking" not in out and "thinking" in drops
    assert "thinking" not in json.dumps(out["messages"])


def test_thoughts_of_others_are_dropped() -> None:
    """Another provider's thinking does not go to Anthropic. (EC-132)"""
    memo = memo_of("openai_chat", chat_request(messages=[HI, {"role": "assistant", "content": "x"}, HI]), OPUS_48)
    alien = Reasoning(("hm",), signature="S", origin="openai_responses")
    turn = memo.request.turns[1]
    memo.request.turns[1] = Turn(Role.ASSISTANT, (alien, *turn.blocks))
    assert [block["type"] for block in write(memo)["messages"][1]["content"]] == ["text"]


@pytest.mark.parametrize(
    ("said", "place"),
    [
        ({"messages": "x"}, "messages"),
        ({"messages": [{"content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "wizard", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": 5}]}]}, "messages[0].content[0].text"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].tool_call_id"),
        ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function.name"),
        ({"temperature": "hot"}, "temperature"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"tool_choice": "maybe"}, "tool_choice"),
        ({"response_format": {"type": "xml"}}, "response_format.type"),
        ({"n": 0}, "n"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"modalities": ["audio"]}, "modalities"),
        ({"stop": [1]}, "stop[0]"),
    ],
)
def test_bad_input_is_named(said: dict[str, Any], place: str) -> None:
    """An invalid member raises BadRequest with its path."""
    with pytest.raises(BadRequest) as raised:
        sent(**said)
    assert raised.value.param == place


@pytest.mark.slow
@pytest.mark.parametrize("client", ["openai_chat", "anthropic_messages"])
def test_the_same_conversation_gives_the_same_bytes(client: str) -> None:
    """The same conversation is the same bytes in another process with another hash seed. (EC-95)"""
    code = (
        "import json, sys\n"
        "from tests.wire.crossings import written\n"
        f"print(json.dumps(written({client!r}, json.load(sys.stdin))[0]))"
    )
    said = chat_request(messages=[*MIXED, call("c.1"), result("c.1")], tools=[TOOL], user="a@b.example")
    if client == "anthropic_messages":
        use = {"type": "tool_use", "id": "c.1", "name": "n" * 90, "input": {"b": 1, "a": 2}}
        done = {"type": "tool_result", "tool_use_id": "c.1", "content": "r"}
        turns = [HI, {"role": "assistant", "content": [use]}, {"role": "user", "content": [done]}]
        said = {"model": "m", "max_tokens": 5, "messages": turns, "metadata": {"user_id": "u" * 300}}
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            input=json.dumps(said),
            capture_output=True,
            text=True,
            check=True,
            cwd=Path(__file__).parents[2],
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(found) == 1


@pytest.mark.parametrize(
    "schema",
    [
        {"oneOf": 5},
        {"anyOf": [5, {"properties": 5}]},
        {"properties": 5},
        {"type": "object", "properties": {"a": {"format": []}}, "required": 5},
        {"type": "object", "additionalProperties": False, "properties": {"a": {}}, "required": [[]]},
    ],
)
def test_odd_schemas_are_no_bug_of_ours(schema: dict[str, Any]) -> None:
    """Whatever is in a schema, it is tidied or sent, and raises nothing."""
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    tool = {"type": "function", "function": {"name": "f", "parameters": schema, "strict": True}}
    for profile in (Profile(strict_tools=True), Profile(json_schema=False)):
        for client in ("anthropic_messages", "openai_chat"):
            memo = memo_of("openai_chat", chat_request(tools=[tool], response_format=form), profile)
            write(memo, upstream=client)


def test_deep_nesting_is_refused_not_a_crash() -> None:
    """A schema of 200 levels is written without a crash."""
    deep: dict[str, Any] = {}
    for _ in range(200):
        deep = {"type": "object", "properties": {"a": deep}}
    assert sent(tools=[{"type": "function", "function": {"name": "f", "parameters": deep, "strict": True}}])


def test_a_prefill_and_thinking_do_not_go_together() -> None:
    """A prefill drops the thinking, and ours is not added behind the client's.

    See docs/wire/conversation.md#turn-order step 7.
    """
    begun = [HI, {"role": "assistant", "content": "Sure:"}]
    out, drops = sent(CLAUDE_45, messages=begun, reasoning_effort="high")
    assert "thinking" not in out and "thinking" in drops
    out, memo = written("openai_chat", chat_request(messages=begun, response_format={"type": "json_object"}), CLAUDE_45)
    assert out["messages"][-1]["content"][0]["text"] == "Sure:" and memo.prefill == ""


@pytest.mark.parametrize(
    "more",
    [
        {"tool_choice": {"type": "function"}},
        {"tool_choice": {"type": "function", "function": {"name": "nobody"}}},
        {"tools": [{"type": "web_search"}], "tool_choice": "required"},
        {"thinking": {"type": "weird"}},
        {"max_tokens": 1e308},
    ],
)
def test_what_makes_no_sense_is_refused(more: dict[str, Any]) -> None:
    """A contradictory or impossible request raises BadRequest."""
    with pytest.raises(BadRequest):
        sent(**({"tools": [TOOL]} | more))


def test_small_things_that_are_easily_lost() -> None:
    """System pictures move to the first user turn, no budget is no thinking, legacy clients get one call."""
    shown = {
        "role": "system",
        "content": [{"type": "text", "text": "see"}, picture(f"data:image/png;base64,{PIXEL}")["content"][0]],
    }
    assert [block["type"] for block in turns(shown, HI)[0]["content"]] == ["text", "image", "text"]
    assert "thinking" not in sent(CLAUDE_45, thinking_budget=0)[0]
    out, _ = sent(functions=[{"name": "f"}])
    assert out["tool_choice"]["disable_parallel_tool_use"] is True


def test_long_inputs_cost_little() -> None:
    """A long user name and a megabyte of arguments take less than a second, so as not to hold up the loop."""
    start = time.perf_counter()
    sent(user="a@" + "." * 200_000 + "@")
    turns(HI, call("c", arguments=json.dumps({"a": [1] * 300_000})), result("c"))
    assert time.perf_counter() - start < 1.0
