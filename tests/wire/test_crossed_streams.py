"""Replies and streams translated between Chat and Messages."""

import json
from typing import Any

import pytest

from gateway.errors import Broke, Declined, Unreadable
from gateway.faults import Fault
from gateway.wire.profile import Profile
from tests.wire.crossings import (
    CHAT,
    MESSAGES,
    chunk,
    cross,
    crossing,
    event,
    memo_of,
    message,
    messages_request,
    usage_chunk,
)
from tests.wire.grammar import read_chat, read_messages
from tests.wire.streams import DONE, STOP, claude, fragment, openai, tools


def test_the_golden_transcript_of_interleaved_calls() -> None:
    """Interleaved calls become blocks one after the other (docs/wire/transcripts.md). (EC-182)"""
    told = claude(
        chunk(role="assistant", content="Let me check."),
        tools(fragment("", index=0, id="call_a", name="f")),
        tools(fragment('{"y":', index=1, id="call_b", name="g")),
        tools(fragment('{"x":1}', index=0)),
        tools(fragment("2}", index=1)),
        chunk("stop"),
        usage_chunk(
            prompt_tokens=100, completion_tokens=20, total_tokens=120, prompt_tokens_details={"cached_tokens": 64}
        ),
        DONE,
    )
    assert told.kinds == ["text", "tool_use", "tool_use"] and told.stop == "tool_use"
    assert told.calls == [("call_a", "f", '{"x": 1}'), ("call_b", "g", '{"y": 2}')]
    assert told.usage == {
        "output_tokens": 20,
        "input_tokens": 36,
        "cache_read_input_tokens": 64,
        "cache_creation_input_tokens": 0,
    }


def test_the_golden_transcript_of_thinking() -> None:
    """Thinking, text, a call and their usage reach a chat client (docs/wire/transcripts.md). (EC-150)"""
    usage: dict[str, Any] = {
        "input_tokens": 5,
        "cache_read_input_tokens": 10,
        "cache_creation_input_tokens": 2,
        "output_tokens": 30,
    }
    told = openai(
        message(
            {"type": "thinking", "thinking": "hm", "signature": "S"},
            {"type": "text", "text": "Hi"},
            {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": 1}},
            stop="tool_use",
            usage=usage | {"output_tokens_details": {"thinking_tokens": 8}},
        ),
        wants_usage=True,
    )
    assert (told.reasoning, told.signatures, told.text, told.stop) == ("hm", ["S"], "Hi", "tool_calls")
    assert told.calls == [("toolu_1", "f", '{"a": 1}')]
    assert told.usage is not None
    assert (told.usage["prompt_tokens"], told.usage["completion_tokens"], told.usage["total_tokens"]) == (17, 30, 47)
    assert told.usage["prompt_tokens_details"] == {"cached_tokens": 10, "cache_write_tokens": 2, "audio_tokens": 0}
    assert told.usage["completion_tokens_details"]["reasoning_tokens"] == 8


def test_what_servers_do_to_the_first_chunk() -> None:
    """Empty chunks, null choices and repeated roles open no block.

    (EC-173, EC-174, EC-175, EC-188, EC-193)
    """
    first = b'data: {"id":"","created":0,"choices":[],"prompt_filter_results":[]}\n\n'
    null = b'data: {"id":"c","choices":null}\n\n'
    told = claude(
        first,
        null,
        chunk("", role="assistant", content=""),
        chunk(role="assistant", content="a"),
        chunk(content=""),
        STOP,
    )
    assert told.text == "a" and told.kinds == ["text"]


@pytest.mark.parametrize(
    "fragments",
    [
        [fragment("{", index=0, id="c1", name="f"), fragment("}", index=0, id="c1", name="f")],  # EC-176
        [fragment("{", index=0, id="c1", name="f"), fragment("}", index=0, id="")],  # EC-177
        [fragment("{", index=0, id="c1", name="f"), fragment("}", index=0, name="")],  # EC-178
        [fragment("{", index=1, id="c1", name="f"), fragment("}", index=1)],  # EC-179
        [fragment("{", id="c1", name="f"), fragment("}")],  # EC-180
        [fragment(None, index=0, id="c1", name="f")],  # EC-183
        [fragment({}, index=0, id="c1", name="f")],  # EC-184
        [fragment("{", index=0, id="c1", name="fo"), fragment("}", index=0)],
    ],
)
def test_fragments_of_one_call(fragments: list[dict[str, Any]]) -> None:
    """Fragments of one call, however servers spell them, give one call with whole arguments."""
    told = claude(*map(tools, fragments), STOP)
    assert [(call_id, arguments) for call_id, _, arguments in told.calls] == [("c1", "{}")]
    assert told.stop == "tool_use"  # EC-144


def test_calls_that_all_have_index_zero() -> None:
    """Complete calls that share an index but not an id are separate calls. (EC-181)"""
    told = claude(*(tools(fragment("{}", index=0, id=f"c{n}", name="f")) for n in range(3)), STOP)
    assert [call_id for call_id, _, _ in told.calls] == ["c0", "c1", "c2"]


def test_odd_calls() -> None:
    """Split names, calls without a name, repeated ids, missing indices and legacy function_call are read."""
    told = claude(
        tools(fragment(None, index=0, id="c", name="get_")),
        tools(fragment(None, index=0, name="weather")),
        tools(fragment("{}", index=0)),
        STOP,
    )
    assert [name for _, name, _ in told.calls] == ["get_weather"]
    told = claude(tools(fragment('{"a":1}', index=0, id="c")), STOP)
    assert told.calls == [] and told.stop == "end_turn"  # EC-145
    told = claude(tools(fragment("{}", id="a", name="f"), fragment("{}", id="b", name="g"), fragment("", id="a")), STOP)
    assert [name for _, name, _ in told.calls] == ["f", "g"]
    told = claude(chunk(function_call={"name": "f", "arguments": "{}"}), chunk("function_call"), DONE)
    assert [name for _, name, _ in told.calls] == ["f"] and told.stop == "tool_use"


@pytest.mark.parametrize("call_id", ["", "functions.read:0", "used"])
def test_ids_that_are_none_are_made(call_id: str) -> None:
    """A missing, invalid or used id is replaced by one that is unique and within Anthropic's grammar."""
    history = [
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "used", "name": "f", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "used"}]},
    ]
    memo = memo_of("anthropic_messages", messages_request(messages=history, stream=True))
    told = claude(tools(fragment("{}", index=0, id=call_id, name="f")), STOP, memo=memo)
    made = told.calls[0][0]
    assert made != "used" and made.replace("_", "").replace("-", "").isalnum()


@pytest.mark.parametrize(
    ("usage", "wanted"),
    [
        ({"prompt_tokens": 10, "completion_tokens": 4, "prompt_cache_hit_tokens": 3}, (7, 3, 4)),  # EC-153
        (
            {"prompt_tokens": 10, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 99}},
            (0, 99, 4),
        ),  # EC-152
        (
            {
                "prompt_tokens": 291,
                "completion_tokens": 26,
                "total_tokens": 513,
                "completion_tokens_details": {"reasoning_tokens": 196},
            },
            (291, 0, 222),
        ),  # EC-154
        ({"prompt_tokens": "10", "completion_tokens": 4.0}, (10, 0, 4)),
    ],
)
def test_usage_of_compatible_servers(usage: dict[str, Any], wanted: tuple[int, int, int]) -> None:
    """Usage is read wherever a compatible server puts it, in disjoint parts. (EC-155, EC-185)"""
    data = json.dumps(usage).encode()
    on_finish = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":' + data + b"}\n\n"
    groq = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"x_groq":{"usage":' + data + b"}}\n\n"
    moonshot = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop","usage":' + data + b"}]}\n\n"
    for frames in ([STOP[: -len(DONE)], usage_chunk(**usage)], [on_finish], [groq], [moonshot]):
        told = claude(chunk(content="a"), *frames, DONE)
        assert told.usage is not None
        found = told.usage["input_tokens"], told.usage["cache_read_input_tokens"], told.usage["output_tokens"]
        assert found == wanted


def test_usage_that_never_comes_is_estimated() -> None:
    """Missing usage is estimated, and message_delta leaves unknown input out. (EC-185, EC-203)"""
    lane = crossing("anthropic_messages", "openai_chat")
    out = b"".join(lane.feed(frame + b"\n\n") for frame in (chunk(content="a" * 40) + STOP).split(b"\n\n")[:-1])
    told = read_messages(out)
    assert told.usage == {"output_tokens": 10}
    assert lane.usage is not None and lane.usage.is_estimated and lane.usage.input


def test_finish_is_held() -> None:
    """The finish is held and sent once, behind all content. (EC-187, EC-189, EC-198)"""
    told = claude(chunk(content="a"), chunk("length"), chunk("length"), chunk(content="b"))
    assert told.text == "ab" and told.stop == "max_tokens"


@pytest.mark.parametrize(
    ("finish", "wanted"),
    [
        ("stop", "end_turn"),
        ("length", "max_tokens"),
        ("content_filter", "refusal"),
        ("eos", "end_turn"),
        ("tool_calls", "end_turn"),
        ("anything", "end_turn"),
    ],
)
def test_stop_reasons_of_chat(finish: str, wanted: str) -> None:
    """Each finish reason of Chat becomes its stop reason of Messages; unknown ones are `end_turn`."""
    assert claude(chunk(content="a"), chunk(finish), DONE).stop == wanted


@pytest.mark.parametrize(
    ("stop", "wanted"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),  # EC-148
        ("refusal", "content_filter"),
        ("compaction", "stop"),
        ("tool_use", "stop"),  # without a call
    ],
)
def test_stop_reasons_of_messages(stop: str, wanted: str) -> None:
    """Each stop reason of Messages becomes its finish reason of Chat."""
    assert openai(message({"type": "text", "text": "a"}, stop=stop)).stop == wanted


def test_a_stop_sequence_that_the_server_names() -> None:
    """A stop sequence that the server names reaches the client, both ways. (EC-35)"""
    end = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop","stop_reason":"X"}]}\n\n'
    told = claude(chunk(content="a"), end, DONE)
    assert (told.stop, told.sequence) == ("stop_sequence", "X")
    told = openai(message({"type": "text", "text": "a"}, stop="stop_sequence", stop_sequence="X"))
    assert (told.stop, told.sequence) == ("stop", "X")


def test_refusals() -> None:
    """A refusal without blocks carries its explanation as the refusal text. (EC-147, EC-204)"""
    details: dict[str, Any] = {"stop_details": {"type": "refusal", "category": None, "explanation": "no"}}
    told = openai(message(stop="refusal", **details))
    assert (told.stop, told.refusal, told.text) == ("content_filter", "no", "")
    told = claude(chunk(refusal="I "), chunk(refusal="won't"), STOP)
    assert (told.stop, told.text, told.kinds) == ("refusal", "I won't", ["text"])
    told = claude(chunk("content_filter"), DONE)
    assert (told.stop, told.kinds) == ("refusal", [])


def test_mistrals_content_lists() -> None:
    """Mistral's content list becomes thinking, then text. (EC-190)"""
    thinking = [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]
    told = claude(chunk(content=thinking), chunk(content=[{"type": "text", "text": "a"}, {"type": "reference"}]), STOP)
    assert (told.reasoning, told.text, told.kinds) == ("hm", "a", ["thinking", "text"])


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_reasoning_and_text_in_turns(name: str) -> None:
    """Alternating reasoning and text become at most a thinking, a text and a late thinking. (EC-140, EC-191)"""
    frames = [chunk(**{name: "h"}), chunk(content="a"), chunk(**{name: "m"}), chunk(content="b"), chunk(**{name: "!"})]
    told = claude(*frames, STOP)
    assert told.kinds == ["thinking", "text", "thinking"]
    assert (told.reasoning, told.text) == ("hm!", "ab")
    assert len(told.signatures) == 2 and all(one.startswith("gw1.") for one in told.signatures)  # EC-205


def test_text_between_calls() -> None:
    """Text, a call and text are three blocks in that order. (EC-192)"""
    told = claude(
        chunk(content="a"),
        tools(fragment("{}", index=0, id="c", name="f")),
        chunk(content="b"),
        STOP,
    )
    assert told.kinds == ["text", "tool_use", "text"] and told.text == "ab"


def test_details_with_a_signature() -> None:
    """Signatures of `reasoning_details` survive, also without any text. (EC-137, EC-194)"""
    detail = {"type": "reasoning.text", "index": 0, "text": "hm", "format": "anthropic-claude-v1"}
    signed = {"type": "reasoning.text", "index": 0, "signature": "S"}
    told = claude(chunk(reasoning_details=[detail]), chunk(reasoning_details=[signed]), chunk(content="a"), STOP)
    assert (told.reasoning, told.signatures) == ("hm", ["S"])
    sealed = {"type": "reasoning.encrypted", "index": 0, "data": "D", "format": "openai-responses-v1"}
    told = claude(chunk(reasoning_details=[sealed]), chunk(content="a"), STOP)
    assert told.kinds == ["redacted_thinking", "text"]
    told = openai(message({"type": "redacted_thinking", "data": "D"}, {"type": "text", "text": "a"}))
    assert told.text == "a"
    out = cross("openai_chat", message({"type": "thinking", "thinking": "", "signature": "S"}))
    assert read_chat(out).signatures == ["S"] and b"reasoning_content" not in out


def test_think_tags() -> None:
    """With `think_tags` a split <think> becomes reasoning, and no tag leaks. (EC-143)"""
    memo = memo_of("anthropic_messages", profile=Profile(think_tags=True))
    told = claude(chunk(content="<th"), chunk(content="ink>hm</thi"), chunk(content="nk>\na"), STOP, memo=memo)
    assert (told.reasoning, told.text) == ("hm", "a")


@pytest.mark.parametrize(
    ("pieces", "wanted"),
    [
        (['{"a":1', "} trailing"], {"a": 1}),
        (['{"a":', "oops"], {"a": None, "__invalid_json": "oops"}),
        (['{"a":1,', "b:2}"], {"a": 1, "__invalid_json": "b:2}"}),
        (["{", "'a':1}"], {"__invalid_json": "'a':1}"}),
        (['"{\\"a\\":1}"'], {"a": 1}),
        (["[", "1]"], {"value": [1]}),
        ([""], {}),
    ],
)
def test_arguments_that_are_no_json(pieces: list[str], wanted: dict[str, Any]) -> None:
    """Invalid arguments of a call come out as a JSON object. (EC-206)"""
    told = claude(
        tools(fragment("", index=0, id="c", name="f")), *(tools(fragment(one, index=0)) for one in pieces), STOP
    )
    assert json.loads(told.calls[0][2]) == wanted


def test_a_call_that_is_cut_off() -> None:
    """A whole Messages reply keeps a cut call, with what an SDK reads of its stream. (EC-146)"""
    memo = memo_of("anthropic_messages")
    whole = {
        "choices": [
            {
                "finish_reason": "length",
                "message": {"content": "a", "tool_calls": [fragment('{"x":', id="c", name="f")]},
            }
        ]
    }
    assert CHAT.upstream is not None and MESSAGES.client is not None
    reply = CHAT.upstream.read_reply(json.dumps(whole).encode(), memo)
    said = json.loads(MESSAGES.client.write_reply(reply, memo))
    assert [block["type"] for block in said["content"]] == ["text", "tool_use"] and said["stop_reason"] == "max_tokens"
    whole["choices"][0]["message"] = {"tool_calls": [fragment('{"x":', id="c", name="f")]}
    reply = CHAT.upstream.read_reply(json.dumps(whole).encode(), memo)
    assert json.loads(MESSAGES.client.write_reply(reply, memo))["content"][0]["input"] == {}


def test_errors_inside_a_chat_stream() -> None:
    """An error inside a chat stream raises Declined in every shape. (EC-195, EC-196)"""
    for frame in (
        b'data: {"error":{"message":"m","code":429}}\n\n',
        b'data: {"choices":[{"index":0,"delta":{}}],"error":{"message":"m","code":"rate_limit_exceeded"}}\n\n',
        b'event: error\ndata: {"message":"m","type":"rate_limit_error"}\n\n',
        b'data: {"choices":[{"index":0,"delta":{},"error":{"message":"m","code":429}}]}\n\n',
        b'data: {"object":"error","message":"m","code":429}\n\n',
    ):
        with pytest.raises(Declined) as raised:
            claude(chunk(content="a"), frame)
        assert raised.value.fault is Fault.LIMITED
    with pytest.raises(Broke):
        claude(chunk(content="a"), chunk("error"))


def test_streams_that_break_off() -> None:
    """A stream that ends without a finish raises Broke; with one it ends. (EC-197, EC-210, EC-211)"""
    for frames in ([chunk(content="a")], [chunk(content="a"), DONE], []):
        with pytest.raises(Broke):
            claude(*frames)
    whole = message({"type": "text", "text": "a"})
    assert openai(whole.replace(event("message_stop"), b"")).stop == "stop"
    with pytest.raises(Broke):
        openai(whole[: whole.index(b"event: message_delta")])
    memo = memo_of("anthropic_messages", profile=Profile(no_finish=True))
    assert claude(chunk(content="a"), DONE, memo=memo).stop == "end_turn"


def test_junk_between_events() -> None:
    """Invalid frames are skipped; one at the start or three in a row raise Unreadable. (EC-171, EC-172)"""
    assert claude(chunk(content="a"), b"data: junk\n\n", b": ping\n\n", b"data: \n\n", STOP).text == "a"
    assert (
        claude(chunk(content="a"), b"data: data: {}\n\n", chunk("stop"), b"event: message\ndata: [DONE]\n\n").text
        == "a"
    )
    with pytest.raises(Unreadable):
        claude(chunk(content="a"), b"data: junk\n\n" * 3)
    with pytest.raises(Unreadable):
        openai(b"data: junk\n\n")
    assert openai(message({"type": "text", "text": "a"}).replace(b"event: ping", b"")).text == "a"
