"""Messages requests written for Chat upstreams."""

import json
from typing import Any

import pytest

from gateway.errors import BadRequest, CannotSay
from gateway.wire.neutral import ToolCall
from gateway.wire.profile import Profile
from tests.wire.crossings import PIXEL, chat_request, memo_of, messages_request, write, written

OPENAI = Profile(
    token_field="max_completion_tokens",
    safety_identifier=True,
    tiers=True,
    cache_key=True,
    strict_tools=True,
    developer_role=True,
    reasoning_replay="forbidden",
    efforts=("none", "low", "medium", "high"),
)
TOOL: dict[str, Any] = {"name": "f", "input_schema": {"type": "object", "properties": {}}}
HI: dict[str, Any] = {"role": "user", "content": "Hi"}
MARK = {"cache_control": {"type": "ephemeral"}}


def sent(profile: Profile = OPENAI, **more: Any) -> tuple[dict[str, Any], list[str]]:
    out, memo = written("anthropic_messages", messages_request(**more), profile)
    return out, memo.drops.names


def turns(*messages: dict[str, Any], profile: Profile = OPENAI, **more: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = sent(profile, messages=list(messages), **more)[0]["messages"]
    return found


def use(call_id: str, name: str = "f", **given: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": [{"type": "tool_use", "id": call_id, "name": name, "input": given}]}


def results(*found: dict[str, Any]) -> dict[str, Any]:
    return {"role": "user", "content": [{"type": "tool_result", **one} for one in found]}


def test_the_output_cap() -> None:
    """`max_tokens` becomes the profile's field, at most its `max_output`. (EC-22, EC-23)"""
    assert sent()[0]["max_completion_tokens"] == 1000 and "max_tokens" not in sent()[0]
    assert sent(Profile())[0]["max_tokens"] == 1000
    assert sent(Profile(max_output=10))[0]["max_tokens"] == 10


def test_sampling_and_stops() -> None:
    """Sampling that the upstream does not take is noted as lost; stops beyond its bound are kept here. (EC-33)"""
    out, drops = sent(temperature=0.5, top_k=3, stop_sequences=["a", "b", "c", "d", "e", "f"])
    assert out["temperature"] == 0.5 and out["top_k"] == 3 and out["stop"] == ["a", "b", "c", "d"] and not drops
    reasoning = Profile(sampling=False, penalties=False, stops=0, top_k=False)
    out, memo = written(
        "anthropic_messages", messages_request(temperature=0.5, top_k=3, stop_sequences=["a"]), reasoning
    )
    assert not {"temperature", "top_k", "stop"} & set(out) and memo.stops == ("a",)
    assert memo.drops.names == ["temperature", "top_k"]


def test_identity_and_tier() -> None:
    """The user id is hashed to OpenAI's length and the tier is mapped. (EC-39, EC-40)"""
    user = json.dumps({"device": "x" * 300, "session_id": "12345678-1234-1234-1234-123456789012"})
    out, _ = sent(metadata={"user_id": user}, service_tier="standard_only")
    assert len(out["safety_identifier"]) == 64 and out["service_tier"] == "default"
    assert out["prompt_cache_key"] == "12345678-1234-1234-1234-123456789012"
    assert sent(Profile(), metadata={"user_id": "u"})[0]["user"] == "u"
    assert sent(Profile(user=False), metadata={"user_id": "u"})[1] == ["user"]
    assert sent(OPENAI, speed="fast")[0]["service_tier"] == "priority"


def test_streams_ask_for_usage_without_padding() -> None:
    """A stream requests usage and no obfuscation; a large cap makes the call a stream. (EC-42, EC-44, EC-46)"""
    padded = Profile(obfuscation=True)
    assert sent(padded, stream=True)[0]["stream_options"] == {"include_usage": True, "include_obfuscation": False}
    assert sent(stream=True)[0]["stream_options"] == {"include_usage": True}
    assert "stream_options" not in sent(Profile(stream_options=False), stream=True)[0]
    assert sent(max_tokens=64_000)[0]["stream"] is True and "stream" not in sent()[0]
    assert sent(Profile(stream_only=True))[0]["stream"] is True


@pytest.mark.parametrize(
    ("more", "wanted"),
    [
        ({}, None),
        ({"thinking": {"type": "enabled", "budget_tokens": 2000}}, "low"),  # EC-52
        ({"thinking": {"type": "enabled", "budget_tokens": 20_000}}, "high"),
        ({"thinking": {"type": "enabled", "budget_tokens": 2000}, "output_config": {"effort": "max"}}, "high"),  # EC-53
        ({"thinking": {"type": "adaptive"}}, None),
        ({"thinking": {"type": "between_tools"}, "output_config": {"effort": "medium"}}, "medium"),  # EC-55
        ({"thinking": {"type": "disabled"}}, "none"),
    ],
)
def test_effort(more: dict[str, Any], wanted: str | None) -> None:
    """`thinking` and `output_config.effort` become the nearest `reasoning_effort`; the effort wins."""
    assert sent(**more)[0].get("reasoning_effort") == wanted


@pytest.mark.parametrize(
    ("knob", "on", "off"),
    [
        ("thinking", {"thinking": {"type": "enabled"}, "reasoning_effort": "low"}, {"thinking": {"type": "disabled"}}),
        ("enable_thinking", {"enable_thinking": True, "thinking_budget": 2000}, {"enable_thinking": False}),
        ("reasoning", {"reasoning": {"max_tokens": 2000}}, {"reasoning": {"enabled": False}}),
        (
            "template",
            {"chat_template_kwargs": {"enable_thinking": True}},
            {"chat_template_kwargs": {"enable_thinking": False}},
        ),
        ("none", {}, {}),
    ],
)
def test_knobs(knob: str, on: dict[str, Any], off: dict[str, Any]) -> None:
    """Thinking on and off is written with the profile's own member (docs/wire/requests.md#reasoning-controls). (EC-61)"""
    profile = Profile(knob=knob)
    base = set(sent(profile)[0])
    for thinking, wanted in (({"type": "enabled", "budget_tokens": 2000}, on), ({"type": "disabled"}, off)):
        out, _ = sent(profile, thinking=thinking)
        assert {name: value for name, value in out.items() if name not in base} == wanted


def test_adaptive_thinking_on_a_model_that_takes_budgets_only() -> None:
    """In the translation lane of Messages itself adaptive thinking becomes a budget. (EC-51)"""
    memo = memo_of("anthropic_messages", messages_request(thinking={"type": "adaptive"}, max_tokens=20_000))
    memo.profile = Profile(thinking="budget", efforts=())
    assert write(memo)["thinking"] == {"type": "enabled", "budget_tokens": 8192}


def test_system_texts() -> None:
    """The system text loses Anthropic's attribution line and has the profile's role. (EC-92)"""
    system = [{"type": "text", "text": "x-anthropic-billing-header: cc"}, {"type": "text", "text": "Be brief."}]
    assert turns(HI, system=system)[0] == {"role": "developer", "content": "Be brief."}
    assert turns(HI, system=system, profile=Profile())[0]["role"] == "system"
    middle = turns(HI, {"role": "system", "content": "now"}, HI, profile=Profile(single_system=True), system="a")
    assert [one["role"] for one in middle] == ["system", "user"] and middle[0]["content"] == "a\n\nnow"


def test_results_before_the_rest() -> None:
    """All results of a turn come first, with their pictures in the user message behind them. (EC-77, EC-78, EC-81)"""
    answer = results(
        {"tool_use_id": "a", "content": [{"type": "text", "text": "see"}, image()]},
        {"tool_use_id": "b"},
    )
    answer["content"].append({"type": "text", "text": "so?"})
    calls = {"role": "assistant", "content": use("a")["content"] + use("b")["content"]}
    found = turns(HI, calls, answer)
    assert [one["role"] for one in found] == ["user", "assistant", "tool", "tool", "user"]
    assert found[2]["content"] == "see\n[image #1 attached below]" and found[3]["content"] == ""
    assert [part["type"] for part in found[4]["content"]] == ["image_url", "text"]


def image() -> dict[str, Any]:
    return {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}


def test_errors_are_marked() -> None:
    """The text of a failed result begins with `[tool error]`. (EC-80)"""
    found = turns(HI, use("a"), results({"tool_use_id": "a", "content": "no", "is_error": True}))
    assert found[2]["content"] == "[tool error] no"


def test_every_call_is_answered() -> None:
    """A call without a result gets one that says it was interrupted. (EC-74)"""
    found = turns(HI, use("a"), HI)
    assert [one["role"] for one in found] == ["user", "assistant", "tool", "user"]
    assert "interrupted" in found[2]["content"]


@pytest.mark.parametrize(
    ("block", "profile"),
    [
        ({"type": "document", "source": {"type": "url", "url": "https://x.example/a.pdf"}}, OPENAI),
        ({"type": "document", "source": {"type": "file", "file_id": "f"}}, OPENAI),  # EC-89
        ({"type": "image", "source": {"type": "file", "file_id": "f"}}, OPENAI),
        ({"type": "image", "source": {"type": "url", "url": "https://x.example/a.png"}}, Profile(image_url=False)),
        (image(), Profile(image=False)),
        (image(), Profile(string_content=True)),
        (
            {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}},
            Profile(pdf=False),
        ),
    ],
)
def test_content_that_cannot_be_said_is_refused(block: dict[str, Any], profile: Profile) -> None:
    """Content that the profile does not take raises CannotSay."""
    with pytest.raises(CannotSay):
        turns({"role": "user", "content": [block]}, profile=profile)


def test_documents_and_search_results() -> None:
    """Text documents and search results become text with a heading."""
    text = {"type": "document", "title": "t", "context": "c", "source": {"type": "text", "data": "body"}}
    found = {"type": "search_result", "title": "T", "source": "s", "content": [{"type": "text", "text": "hit"}]}
    parts = turns({"role": "user", "content": [text, found]})[0]["content"]
    assert parts[0]["text"] == "[document: t — c]\nbody"
    assert parts[1]["text"] == "[search result: T — s]\nhit"
    flat = turns({"role": "user", "content": [text]}, profile=Profile(string_content=True))
    assert flat[0]["content"] == "[document: t — c]\nbody"


@pytest.mark.parametrize(
    ("profile", "member"),
    [
        (OPENAI, None),
        (Profile(cache_breakpoints=True), "prompt_cache_breakpoint"),
        (Profile(cache_control=True), "cache_control"),
    ],
)
def test_cache_marks(profile: Profile, member: str | None) -> None:
    """Cache marks are dropped, kept or turned into breakpoints, by profile. (EC-93)"""
    out, drops = sent(profile, messages=[{"role": "user", "content": [{"type": "text", "text": "x", **MARK}]}])
    content = out["messages"][0]["content"]
    if member is None:
        assert content == "x" and drops == ["cache_control"]
    else:
        assert set(content[0]) == {"type", "text", member} and not drops


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
    out, drops = sent(container="c", inference_geo="eu", context_management={}, cache_control={"type": "ephemeral"})
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
