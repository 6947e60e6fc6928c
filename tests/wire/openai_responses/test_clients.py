"""Responses clients on Chat and Messages upstreams, without storage."""

import json
import re
from typing import Any

import pytest

from gateway.errors import BadRequest, Broke, CannotSay
from gateway.wire import DIALECTS
from gateway.wire.events import unfold
from gateway.wire.neutral import Citation, Reasoning, Refusal, Reply, Stop, StopReason, Text
from gateway.wire.profile import Profile
from gateway.wire.translation.compaction import UNREADABLE
from gateway.wire.translation.envelope import unseal
from gateway.wire.translation.memo import Memo
from gateway.wire.translation.sequence import BlockSequencer
from tests.wire.crossings import SEALER, body, chunk, cross, crossing, message, usage_chunk, write
from tests.wire.grammar import read_responses

RESPONSES = DIALECTS["openai_responses"]
DONE = b"data: [DONE]\n\n"
STOP = chunk("stop") + DONE
TOOL: dict[str, Any] = {"type": "function", "name": "f", "parameters": {"type": "object"}}
USER: dict[str, Any] = {"role": "user", "content": "Hi"}


def memo_of(profile: Profile | None = None, **more: Any) -> Memo:
    assert RESPONSES.client is not None
    request = RESPONSES.client.read_request(body({"model": "m", "input": "Hi", "stream": True} | more))
    return Memo(request, "req_1", 1_700_000_000, SEALER, profile or Profile())


def sent(
    upstream: str = "openai_chat", profile: Profile | None = None, **more: Any
) -> tuple[dict[str, Any], list[str]]:
    memo = memo_of(profile, **more)
    unseal(memo.request, SEALER)
    return write(memo, upstream=upstream), memo.drops.names


def told(stream: bytes, upstream: str, memo: Memo | None = None) -> Any:
    return read_responses(cross("openai_responses", stream, memo or memo_of(), upstream))


def test_input_of_every_kind() -> None:
    """Items become turns; calls that follow each other share a turn, and unknown items do no harm.

    (EC-96, EC-97, EC-117, EC-118)
    """
    items = [
        {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "d"}]},
        USER,
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "theirs"},
        {"role": "assistant", "content": [{"type": "output_text", "text": "a"}], "phase": "commentary"},
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}", "id": "fc_1", "status": "completed"},
        {"type": "custom_tool_call", "call_id": "c2", "name": "p", "input": "raw"},
        {"type": "function_call_output", "call_id": "c1", "output": [{"type": "input_text", "text": "r"}]},
        {"type": "custom_tool_call_output", "call_id": "c2", "output": "s"},
        {"type": "agent_message", "content": [{"type": "output_text", "text": "b"}]},
        {"type": "context_compaction", "encrypted_content": "x"},
        {"type": "ghost_snapshot"},
    ]
    out, drops = sent(instructions="Be brief.", input=items, tools=[TOOL, {"type": "custom", "name": "p"}])
    roles = [one["role"] for one in out["messages"]]
    assert roles == ["system", "user", "assistant", "tool", "tool", "assistant", "user"]
    assert out["messages"][0]["content"] == "Be brief.\n\nd" and len(out["messages"][2]["tool_calls"]) == 2
    assert json.loads(out["messages"][2]["tool_calls"][1]["function"]["arguments"]) == {"input": "raw"}
    assert out["messages"][-1]["content"] == UNREADABLE and {"input.ghost_snapshot", "input.compaction"} <= set(drops)
    out, _ = sent("anthropic_messages", input=items, tools=[TOOL, {"type": "custom", "name": "p"}])
    assert [one["role"] for one in out["messages"]] == ["user", "assistant", "user", "assistant", "user"]


def test_pictures_and_files() -> None:
    """Pictures and files become Messages blocks; a file id raises CannotSay."""
    parts = [
        {"type": "input_image", "image_url": "https://x.example/a.png", "detail": "low"},
        {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0="},
        {"type": "input_file", "file_url": "https://x.example/a.pdf"},
    ]
    out, _ = sent("anthropic_messages", input=[{"role": "user", "content": parts}])
    assert [block["type"] for block in out["messages"][0]["content"]] == ["image", "document", "document"]
    with pytest.raises(CannotSay):
        sent(input=[{"role": "user", "content": [{"type": "input_file", "file_id": "f"}]}])


def test_tools_of_codex() -> None:
    """Codex's tools become functions, and their calls come back as their own items.

    Namespaces are flattened and separated again; hosted tools are dropped, or refused if forced. (EC-113, EC-114,
    EC-115, EC-116)
    """
    tools = [
        {"type": "local_shell"},
        {"type": "apply_patch"},
        {"type": "namespace", "name": "gh", "description": "d", "tools": [{**TOOL, "name": "list"}]},
        {"type": "web_search"},
        {"type": "custom", "name": "p", "format": {"type": "grammar", "syntax": "lark", "definition": "start: x"}},
    ]
    out, drops = sent(tools=tools, tool_choice="auto", parallel_tool_calls=False)
    names = [tool["function"]["name"] for tool in out["tools"]]
    assert names == ["local_shell", "apply_patch", "gh__list", "p"] and drops == ["tools.web_search"]
    with pytest.raises(CannotSay):
        sent(tools=tools, tool_choice={"type": "web_search"})
    memo = memo_of(tools=tools)
    write(memo, upstream="openai_chat")
    calls = [
        {"index": 0, "id": "a", "function": {"name": "local_shell", "arguments": '{"command":["ls"]}'}},
        {"index": 1, "id": "b", "function": {"name": "gh__list", "arguments": "{}"}},
        {"index": 2, "id": "c", "function": {"name": "p", "arguments": '{"input":"x\\ny"}'}},
        {
            "index": 3,
            "id": "d",
            "function": {"name": "apply_patch", "arguments": '{"operation":{"type":"delete_file"}}'},
        },
    ]
    said, final = told(chunk(tool_calls=calls) + STOP, "openai_chat", memo)
    assert said.kinds == ["local_shell_call", "function_call", "custom_tool_call", "apply_patch_call"]
    shell, listed, custom, patch = final["output"]
    assert shell["action"] == {"type": "exec", "command": ["ls"], "env": {}} and shell["call_id"] == "a"
    assert (listed["namespace"], listed["name"]) == ("gh", "list") and custom["input"] == "x\ny"
    assert patch["operation"] == {"type": "delete_file"}
    history = [
        USER,
        *final["output"],
        *({"type": f"{item['type']}_output", "call_id": item["call_id"], "output": "o"} for item in final["output"]),
    ]
    out, _ = sent(input=history, tools=tools)
    assert [call["function"]["name"] for call in out["messages"][1]["tool_calls"]] == [
        "local_shell",
        "gh__list",
        "p",
        "apply_patch",
    ]
    assert [one["role"] for one in out["messages"][2:]] == ["tool"] * 4


def test_reasoning_and_format() -> None:
    """Effort and format reach the upstream; what a chat profile cannot take is noted as lost."""
    more: dict[str, Any] = {
        "reasoning": {"effort": "high"},
        "text": {"format": {"type": "json_schema", "name": "x", "schema": {}}},
    }
    adaptive = Profile(thinking="adaptive", sampling=False)
    out, _ = sent("anthropic_messages", adaptive, **more)
    assert out["thinking"] == {"type": "adaptive", "display": "summarized"}  # EC-62
    assert out["output_config"]["effort"] == "high" and out["output_config"]["format"]["type"] == "json_schema"
    assert sent(reasoning={"effort": "none"}, text={"verbosity": "low"})[1] == ["reasoning_effort", "verbosity"]


@pytest.mark.parametrize(
    ("said", "place", "code"),
    [
        ({"previous_response_id": "resp_x"}, "previous_response_id", "previous_response_not_found"),
        ({"previous_response_id": "x"}, "previous_response_id", "invalid_value"),
        ({"conversation": "c"}, "conversation", None),
        ({"background": True}, "background", "background_not_supported"),
        ({"prompt": {"id": "p"}}, "prompt", "unsupported_parameter"),
        ({"include": ["nonsense"]}, "include[0]", "invalid_value"),  # EC-45
        ({"input": None}, "input", "missing_required_parameter"),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "input[0].id", None),
        ({"input": [{"content": "x"}]}, "input[0].type", "missing_required_parameter"),
        ({"input": [{"role": "wizard", "content": "x"}]}, "input[0].role", "invalid_value"),
        ({"input": [{"type": "function_call", "name": "f"}]}, "input[0].call_id", "missing_required_parameter"),
        ({"tools": [{"name": "f"}]}, "tools[0].type", "missing_required_parameter"),
        ({"tool_choice": "maybe"}, "tool_choice", "invalid_value"),
        ({"text": {"format": {"type": "xml"}}}, "text.format.type", "invalid_value"),
    ],
)
def test_bad_input_is_named(said: dict[str, Any], place: str, code: str | None) -> None:
    """An invalid member raises BadRequest with its path and code."""
    with pytest.raises(BadRequest) as raised:
        memo_of(**said)
    assert raised.value.param == place and (code is None or raised.value.code == code)


def test_the_golden_transcript() -> None:
    """The golden transcript of a Messages stream becomes a valid Responses stream, and its items go back.

    (docs/wire/transcripts.md; EC-130, EC-156, EC-216, EC-217, EC-219, EC-220, EC-227)
    """
    memo = memo_of(include=["reasoning.encrypted_content"], tools=[TOOL], metadata={"k": "v"}, instructions="i")
    stream = message(
        {"type": "thinking", "thinking": "hm", "signature": "S"},
        {"type": "text", "text": "Hi"},
        {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": 1}},
        stop="tool_use",
        usage={"input_tokens": 5, "cache_read_input_tokens": 10, "cache_creation_input_tokens": 2, "output_tokens": 30},
    )
    said, final = told(stream, "anthropic_messages", memo)
    assert said.kinds == ["reasoning", "message", "function_call"] and said.calls == [("toolu_1", "f", '{"a": 1}')]
    assert (said.reasoning, said.text, said.stop) == ("hm", "Hi", "completed")
    assert said.signatures[0].startswith("gw1.")
    assert final["usage"]["input_tokens"] == 17 and final["usage"]["input_tokens_details"]["cached_tokens"] == 10
    shown = TOOL | {"description": None, "strict": None}
    assert (final["instructions"], final["metadata"], final["tools"]) == ("i", {"k": "v"}, [shown])
    assert [item["id"][:4] for item in final["output"]] == [
        "rs_" + final["output"][0]["id"][3],
        "msg_",
        "fc_" + final["output"][2]["id"][3],
    ]
    result = {"type": "function_call_output", "call_id": "toolu_1", "output": "r"}
    out, _ = sent(
        "anthropic_messages", Profile(thinking="adaptive"), input=[USER, *final["output"], result], tools=[TOOL]
    )
    assert out["messages"][1]["content"][0] == {"type": "thinking", "thinking": "hm", "signature": "S"}  # EC-130


def test_texts_and_thoughts_of_open_models() -> None:
    """Unsigned reasoning is a reasoning_text in our envelope, and two text blocks are parts of one message."""
    said, final = told(
        chunk(reasoning_content="h") + chunk(reasoning_content="m") + chunk(content="a") + STOP, "openai_chat"
    )
    assert (said.reasoning, said.text) == ("hm", "a")
    assert (
        final["output"][0]["content"] == [{"type": "reasoning_text", "text": "hm"}]
        and final["output"][0]["summary"] == []
    )
    assert final["output"][0]["encrypted_content"].startswith("gw1.")
    said, final = told(message({"type": "text", "text": "a"}, {"type": "text", "text": "b"}), "anthropic_messages")
    assert said.kinds == ["message"] and [part["text"] for part in final["output"][0]["content"]] == ["a", "b"]
    said, _ = told(
        message({"type": "redacted_thinking", "data": "D"}, {"type": "text", "text": "a"}), "anthropic_messages"
    )
    assert said.kinds == ["reasoning", "message"] and said.signatures  # EC-138


@pytest.mark.parametrize(
    ("finish", "status", "why"),
    [
        ("stop", "completed", None),
        ("length", "incomplete", "max_output_tokens"),
        ("content_filter", "incomplete", "content_filter"),
    ],
)
def test_ends(finish: str, status: str, why: str | None) -> None:
    """Each finish has its own last event: `response.completed` or `response.incomplete` with a reason. (EC-221)"""
    said, final = told(
        chunk(content="a") + chunk(finish) + usage_chunk(prompt_tokens=1, completion_tokens=1) + DONE, "openai_chat"
    )
    assert said.stop == status and (final["incomplete_details"] or {}).get("reason") == why
    details = {"stop_details": {"type": "refusal", "explanation": "no"}}
    said, _ = told(message(stop="refusal", **details), "anthropic_messages")  # type: ignore[arg-type]
    assert said.refusal == "no" and said.stop == "incomplete"


def test_broken_streams() -> None:
    """A stream that breaks ends with the combined error event, then the failed response with its output.

    (EC-222, docs/wire/transcripts.md)
    """
    memo = memo_of()
    lane = crossing("openai_responses", "openai_chat", memo)
    begun = lane.feed(chunk(content="Hel"))
    said, final = read_responses(begun + lane.fail(Broke("m"), "req"))
    assert said.error is not None and said.error["code"] == "server_error"
    assert final["output"][0]["content"][0]["text"] == "Hel" and final["output"][0]["status"] == "incomplete"


def test_whole_replies_are_what_their_streams_build() -> None:
    """A whole reply is the final object of the same reply as a stream."""
    assert RESPONSES.client is not None
    cited = Text("b", (Citation("x", {}, "https://x.example", "t"),))
    blocks = (
        Reasoning(("one", "two"), is_summary=True, origin="openai_responses", sealed="E"),
        Text("a"),
        cited,
        Refusal("no"),
    )
    reply = Reply("i", "m", blocks, Stop(StopReason.END))
    writer, sequencer = RESPONSES.client.stream_writer(memo_of()), BlockSequencer()
    stream = b"".join(writer.feed(out) for event in unfold(reply) for out in sequencer.feed(event))
    said, final = read_responses(stream)
    assert json.loads(RESPONSES.client.write_reply(reply, memo_of())) == final
    assert said.reasoning == "onetwo" and said.signatures == ["E"] and said.refusal == "no"
    assert [part["text"] for part in final["output"][0]["summary"]] == ["one", "two"]
    assert said.citations[0]["url"] == "https://x.example" and writer.end() == b""


def test_what_is_dropped_is_not_echoed_as_in_force() -> None:
    """A dropped member is echoed with its default: the header reports it as dropped."""
    asked: dict[str, Any] = {
        "service_tier": "flex",
        "text": {"verbosity": "low"},
        "truncation": "auto",
        "metadata": {"a": "b"},
    }
    memo = memo_of(**asked)
    write(memo, upstream="openai_chat")
    assert {"service_tier", "verbosity", "truncation"} <= set(memo.drops.names)
    _, final = told(chunk(content="x") + STOP, "openai_chat", memo)
    assert (final["service_tier"], final["truncation"]) == ("default", "disabled")
    assert "verbosity" not in final["text"] and final["metadata"] == {"a": "b"}


def test_defaults_are_no_loss() -> None:
    """A member with its default value is no loss, so that strict routes serve clients that always send it."""
    _, drops = sent(truncation="disabled", text={"verbosity": "medium"}, service_tier="auto", background=False)
    assert drops == []


def test_a_function_called_web_search_is_one() -> None:
    """A function named like a built-in tool is a function: only the declared type counts."""
    mine = {**TOOL, "name": "web_search"}
    out, drops = sent(tools=[mine, {"type": "web_search"}])
    assert [tool["function"]["name"] for tool in out["tools"]] == ["web_search"] and drops == ["tools.web_search"]
    memo = memo_of(tools=[{**TOOL, "name": "local_shell"}])
    write(memo, upstream="openai_chat")
    call = {"index": 0, "id": "a", "function": {"name": "local_shell", "arguments": '{"command":["ls"]}'}}
    said, _ = told(chunk(tool_calls=[call]) + STOP, "openai_chat", memo)
    assert said.kinds == ["function_call"]


def test_a_call_that_was_cut_is_incomplete() -> None:
    """A call cut by the output cap is an incomplete item of an incomplete response."""
    call = {"index": 0, "id": "a", "function": {"name": "f", "arguments": '{"a": '}}
    memo = memo_of(tools=[TOOL])
    write(memo, upstream="openai_chat")
    _, final = told(chunk(tool_calls=[call]) + chunk("length") + DONE, "openai_chat", memo)
    assert final["status"] == "incomplete"
    assert [item["status"] for item in final["output"]] == ["incomplete"]


def test_ids_that_are_ours_can_be_sent_to_openai() -> None:
    """Our ids have OpenAI's prefixes and fit its length. (EC-124, EC-162)"""
    parallel = [
        {"index": number, "id": f"c{number}", "type": "function", "function": {"name": name, "arguments": "{}"}}
        for number, name in enumerate(("f", "p"))
    ]
    stream = chunk(reasoning_content="hm", content="a", tool_calls=parallel) + STOP
    memo = memo_of(tools=[TOOL, {"type": "custom", "name": "p"}])
    sent("openai_chat", tools=[TOOL, {"type": "custom", "name": "p"}])
    _, final = told(stream, "openai_chat", memo)
    ids = {item["type"]: item["id"] for item in final["output"]}
    assert set(ids) >= {"reasoning", "message", "function_call"}
    prefixes = {"reasoning": "rs_", "message": "msg_", "function_call": "fc_", "custom_tool_call": "ctc_"}
    assert all(re.fullmatch(rf"{prefixes[kind]}[0-9a-f]{{40}}", name) for kind, name in ids.items())
    assert final["id"].startswith("resp_") and len(final["id"]) <= 64


def test_usage_has_every_number() -> None:
    """Usage has every number, as zero if the provider has reported none. (EC-156, EC-227)"""
    _, final = told(chunk(content="a") + STOP, "openai_chat")
    usage = final["usage"]
    assert usage["input_tokens_details"] == {"cached_tokens": 0, "cache_write_tokens": 0}
    assert usage["output_tokens_details"] == {"reasoning_tokens": 0}
    assert all(isinstance(usage[f"{name}_tokens"], int) for name in ("input", "output", "total"))


def test_interleaved_calls_become_items_one_after_the_other() -> None:
    """Interleaved calls become items one after the other, each with its own arguments. (EC-182)"""

    def piece(number: int, text: str, **head: Any) -> bytes:
        return chunk(
            tool_calls=[{"index": number, "function": {"arguments": text, **head.pop("function", {})}, **head}]
        )

    stream = piece(0, '{"a"', id="c0", function={"name": "f"}) + piece(1, '{"b"', id="c1", function={"name": "g"})
    said, _ = told(stream + piece(0, ":1}") + piece(1, ":2}") + chunk("tool_calls") + DONE, "openai_chat")
    assert [(name, arguments) for _, name, arguments in said.calls] == [("f", '{"a":1}'), ("g", '{"b":2}')]
