"""Replies and streams translated between Chat and Messages."""

import contextlib
import json
from typing import Any

import pytest

from gateway.errors import Broke, Declined, Fault, GatewayError, Unreadable
from gateway.wire.neutral import StopReason
from gateway.wire.profile import Profile
from gateway.wire.translated_lane import read_whole, says_nothing
from gateway.wire.translation.memo import Memo
from tests.wire.crossings import (
    CHAT,
    MESSAGES,
    chat_request,
    chunk,
    cross,
    crossing,
    event,
    memo_of,
    message,
    messages_request,
    usage_chunk,
    write,
    written,
)
from tests.wire.grammar import Told, read_chat, read_messages

DONE = b"data: [DONE]\n\n"
STOP = chunk("stop") + DONE


def claude(*frames: bytes, memo: Memo | None = None) -> Told:
    """Return what an Anthropic client gets of a chat stream."""
    return read_messages(cross("anthropic_messages", b"".join(frames), memo))


def openai(*frames: bytes, memo: Memo | None = None, wants_usage: bool = False) -> Told:
    """Return what an OpenAI client gets of a Messages stream."""
    memo = memo or memo_of("openai_chat", chat_request(stream=True, stream_options={"include_usage": wants_usage}))
    return read_chat(cross("openai_chat", b"".join(frames), memo), wants_usage)


def tools(*calls: dict[str, Any]) -> bytes:
    return chunk(tool_calls=list(calls))


def fragment(arguments: Any = None, **more: Any) -> dict[str, Any]:
    function = {name: more.pop(name) for name in ("name",) if name in more}
    return {"function": function | ({} if arguments is None else {"arguments": arguments}), **more}


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
        (['{"a":', "oops"], {"a": None}),
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
    """A whole Messages reply leaves a cut call out, or gives it `{}` if it is the only block. (EC-146)"""
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
    assert [block["type"] for block in said["content"]] == ["text"] and said["stop_reason"] == "max_tokens"
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


def test_errors_inside_a_messages_stream() -> None:
    """An error event inside a Messages stream raises Declined with its fault. (EC-212)"""
    start = message({"type": "text", "text": "a"}).split(b"event: content_block_stop")[0]
    with pytest.raises(Declined) as raised:
        openai(start, event("error", error={"type": "overloaded_error", "message": "m"}))
    assert raised.value.fault is Fault.OVERLOADED


def test_a_message_that_begins_twice() -> None:
    """A second message_start replaces the first until content was sent; then it is Broke. (EC-207, EC-208)"""
    start = event("message_start", message={"id": "1", "usage": {"input_tokens": 43, "output_tokens": 1}})
    empty = event("content_block_start", index=0, content_block={"type": "text", "text": ""})
    again = message({"type": "text", "text": "a"})
    assert openai(start, again).text == "a"
    assert openai(start, empty, again).text == "a"
    with pytest.raises(Broke):
        openai(again.split(b"event: content_block_stop")[0], again)


def test_usage_that_is_put_right_later() -> None:
    """Input tokens in message_delta replace those of message_start. (EC-209)"""
    whole = message({"type": "text", "text": "a"}, usage={"input_tokens": 43, "output_tokens": 1})
    whole = whole.replace(
        b'"stop_sequence": null}, "usage": {"input_tokens": 43', b'"stop_sequence": null}, "usage": {"input_tokens": 61'
    )
    told = openai(whole, wants_usage=True)
    assert told.usage is not None and told.usage["prompt_tokens"] == 61


def test_unknown_events_and_deltas_are_ignored() -> None:
    """Unknown events and deltas are left out of a translated stream. (EC-213)"""
    strange = event("content_block_delta", index=0, delta={"type": "hologram_delta"}) + event("new_event", x=1)
    whole = message({"type": "text", "text": "a"}).replace(
        b"event: content_block_stop", strange + b"event: content_block_stop"
    )
    assert openai(whole).text == "a"


def test_server_tools_stay_between_provider_and_model() -> None:
    """A server tool is not sent; texts around it are joined, and citations count code points. (EC-158)"""
    use = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}
    cited = {
        "type": "text",
        "text": "b",
        "citations": [{"type": "web_search_result_location", "url": "u", "title": "t"}],
    }
    told = openai(message({"type": "text", "text": "\U0001f600a"}, use, cited))
    assert told.text == "\U0001f600a\n\nb" and told.calls == []
    assert told.citations[0]["url_citation"] == {"url": "u", "title": "t", "start_index": 4, "end_index": 5}


def test_a_tool_use_that_comes_whole() -> None:
    """A tool_use block with its whole input at its start, without deltas, is a whole call."""
    start = event("message_start", message={"usage": {"input_tokens": 1, "output_tokens": 1}})
    use = {"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}}
    block = event("content_block_start", index=0, content_block=use) + event("content_block_stop", index=0)
    end = event("message_delta", delta={"stop_reason": "tool_use"}, usage={"output_tokens": 1}) + event("message_stop")
    assert openai(start, block, end).calls == [("t", "f", '{"a":1}')]


def test_a_legacy_client_gets_its_function_call() -> None:
    """A client with `functions` gets `function_call`, never tool_calls."""
    memo = memo_of("openai_chat", chat_request(stream=True, functions=[{"name": "f"}]))
    out = cross(
        "openai_chat", message({"type": "tool_use", "id": "t", "name": "f", "input": {}}, stop="tool_use"), memo
    )
    assert b'"function_call":{"name":"f","arguments":""}' in out and b'"finish_reason":"function_call"' in out
    assert b"tool_calls" not in out


def test_freeform_calls_come_back_as_raw_text() -> None:
    """A freeform call comes back as raw text, with JSON escapes decoded across deltas. (EC-112)"""
    said = chat_request(stream=True, tools=[{"type": "custom", "custom": {"name": "p"}}])
    _, memo = written("openai_chat", said)
    start = event("message_start", message={"usage": {"input_tokens": 1, "output_tokens": 1}})
    use = {"type": "tool_use", "id": "t", "name": "p", "input": {}}
    deltas = [
        event("content_block_delta", index=0, delta={"type": "input_json_delta", "partial_json": one})
        for one in ('{"in', 'put":"a\\', "n\\u00", 'e9b"}')
    ]
    end = event("content_block_stop", index=0)
    end += event("message_delta", delta={"stop_reason": "tool_use"}, usage={"output_tokens": 1}) + event("message_stop")
    out = cross(
        "openai_chat", b"".join([start, event("content_block_start", index=0, content_block=use), *deltas, end]), memo
    )
    told = read_chat(out)
    assert told.calls == [("t", "p", "a\n\u00e9b")]
    assert b'"type":"custom"' in out


def test_structured_output_by_a_tool_is_text_again() -> None:
    """Structured output that a forced tool has made comes back as text with finish `stop`."""
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}
    _, memo = written("openai_chat", chat_request(stream=True, response_format=form), Profile(json_schema=False))
    use = {"type": "tool_use", "id": "t", "name": "json_response", "input": {"a": 1}}
    told = openai(message(use, stop="tool_use"), memo=memo)
    assert (json.loads(told.text), told.calls, told.stop) == ({"a": 1}, [], "stop")


def test_a_prefill_of_ours_is_put_back() -> None:
    """A prefill that the gateway added is put back before the reply's text. (EC-111)"""
    said = chat_request(stream=True, response_format={"type": "json_object"})
    _, memo = written("openai_chat", said, Profile(thinking="budget", efforts=()))
    told = openai(message({"type": "text", "text": '"a":1}'}), memo=memo)
    assert told.text == '{"a":1}'


def test_stops_that_we_enforce() -> None:
    """A stop sequence that spans deltas cuts the text, and the rest of the upstream is not needed. (EC-34)"""
    _, memo = written("anthropic_messages", messages_request(stream=True, stop_sequences=["STOP"]), Profile(stops=0))
    lane = crossing("anthropic_messages", "openai_chat", memo)
    out = b"".join(map(lane.feed, (chunk(content="ab S"), chunk(content="TO"), chunk(content="P and more"))))
    assert lane.is_enough and lane.feed(chunk(content="x")) == b"" == lane.end()
    told = read_messages(out)
    assert (told.text, told.stop, told.sequence) == ("ab ", "stop_sequence", "STOP")


def test_a_whole_reply_without_content() -> None:
    """A reply of thinking only has `content: ""`; two choices that are one are joined. (EC-157, EC-159)"""
    assert CHAT.upstream is not None and MESSAGES.upstream is not None and CHAT.client is not None
    memo = memo_of("openai_chat")
    thought = {"type": "thinking", "thinking": "hm", "signature": "S"}
    whole = {"content": [thought], "stop_reason": "end_turn", "usage": {"input_tokens": 1, "output_tokens": 1}}
    said = json.loads(CHAT.client.write_reply(MESSAGES.upstream.read_reply(json.dumps(whole).encode(), memo), memo))
    assert said["choices"][0]["message"]["content"] == ""
    assert said["id"].startswith("chatcmpl-")  # EC-162
    two = {
        "choices": [
            {"index": 0, "message": {"content": "a"}, "finish_reason": "stop"},
            {"index": 1, "message": {"tool_calls": [fragment("{}", id="c", name="f")]}, "finish_reason": "tool_calls"},
        ]
    }
    reply = CHAT.upstream.read_reply(json.dumps(two).encode(), memo_of("anthropic_messages"))
    assert len(reply.blocks) == 2 and reply.stop.reason is StopReason.TOOLS


@pytest.mark.parametrize("upstream", [CHAT, MESSAGES])
@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"<html>", Unreadable),
        (b"5", Unreadable),
        (b"{}", Unreadable),
        (b'{"error":{"message":"m","code":429}}', Declined),
    ],
)
def test_bodies_that_are_no_reply(upstream: Any, data: bytes, kind: type[Exception]) -> None:
    """A 200 that is not a reply raises Unreadable, or Declined if it holds an error. (EC-160)"""
    with pytest.raises(kind):
        upstream.upstream.read_reply(data, memo_of("openai_chat"))


def test_emptiness() -> None:
    """A reply without text or counted tokens is empty and worth another target; reasoning is content."""
    assert CHAT.upstream is not None
    memo = memo_of("anthropic_messages")
    empty = {"choices": [{"message": {"content": ""}, "finish_reason": "stop"}], "usage": {"completion_tokens": 0}}
    assert says_nothing(read_whole(CHAT.upstream, json.dumps(empty).encode(), False, memo))
    empty["choices"][0]["message"]["reasoning_content"] = "hm"  # type: ignore[index]
    assert not says_nothing(read_whole(CHAT.upstream, json.dumps(empty).encode(), False, memo))
    lane = crossing("anthropic_messages", "openai_chat")
    for frame in (
        chunk(role="assistant", content=""),
        chunk("stop"),
        usage_chunk(prompt_tokens=1, completion_tokens=0),
    ):
        lane.feed(frame)
    lane.feed(DONE)
    assert lane.is_empty and lane.is_finished


def test_pictures_that_a_model_makes_are_marked() -> None:
    """A picture in a chat stream leaves a mark in the text."""
    told = claude(chunk(content="a"), chunk(images=[{"type": "image_url"}]), STOP)
    assert told.text == "a[images]"


def test_all_calls_are_delivered() -> None:
    """Both of two calls are delivered, although the client disabled parallel calls. (EC-128)"""
    said = messages_request(
        stream=True, tools=[{"name": "f"}], tool_choice={"type": "auto", "disable_parallel_tool_use": True}
    )
    _, memo = written("anthropic_messages", said)
    assert (
        len(claude(*(tools(fragment("{}", index=n, id=f"c{n}", name="f")) for n in (0, 1)), STOP, memo=memo).calls) == 2
    )


def test_names_come_back() -> None:
    """Shortened names and members of toolsets come back, streamed and whole. (EC-103, EC-127)"""
    long = "n" * 90
    tool_list: list[dict[str, Any]] = [{"name": long}, {"type": "computer_toolset_20260801"}]
    out, memo = written("anthropic_messages", messages_request(stream=True, tools=tool_list))
    safe = out["tools"][0]["function"]["name"]
    calls = [fragment("{}", index=0, id="a", name=safe), fragment("{}", index=1, id="b", name="computer__left_click")]
    out_stream = cross("anthropic_messages", tools(*calls) + STOP, memo)
    assert [name for _, name, _ in read_messages(out_stream).calls] == [long, "left_click"]
    assert b'"toolset_name":"computer"' in out_stream
    assert CHAT.upstream is not None and MESSAGES.client is not None
    whole = {"choices": [{"message": {"tool_calls": calls}, "finish_reason": "tool_calls"}]}
    _, memo = written("anthropic_messages", messages_request(tools=tool_list))
    said = json.loads(MESSAGES.client.write_reply(CHAT.upstream.read_reply(json.dumps(whole).encode(), memo), memo))
    assert [block["name"] for block in said["content"]] == [long, "left_click"]
    assert said["content"][1]["toolset_name"] == "computer"


def test_sealed_thoughts_and_empty_ones() -> None:
    """Redacted thinking comes out exactly; thinking without text and state is left out. (EC-136, EC-138)"""
    out = cross("openai_chat", message({"type": "redacted_thinking", "data": "D"}, {"type": "text", "text": "a"}))
    assert b'"reasoning_details":[{"index":0,"type":"reasoning.encrypted","data":"D"' in out
    assert read_chat(out).text == "a"
    empty = message({"type": "thinking", "thinking": "", "signature": ""}, {"type": "text", "text": "a"})
    out = cross("openai_chat", empty)
    assert b"reasoning" not in out
    assert claude(chunk(reasoning_content=""), chunk(content="a"), STOP).kinds == ["text"]


def test_a_call_without_a_delta() -> None:
    """A call without any delta has the arguments `{}` in chat. (EC-183)"""
    start = event("message_start", message={"usage": {"input_tokens": 1, "output_tokens": 1}})
    use = event("content_block_start", index=0, content_block={"type": "tool_use", "id": "t", "name": "f", "input": {}})
    end = event("content_block_stop", index=0) + event(
        "message_delta", delta={"stop_reason": "tool_use"}, usage={"output_tokens": 1}
    )
    assert openai(start, use, end + event("message_stop")).calls == [("t", "f", "{}")]


def test_usage_on_every_chunk() -> None:
    """If every chunk has usage, the last one counts. (EC-185)"""
    frames = []
    for number in (1, 2, 3):
        said = {
            "choices": [{"index": 0, "delta": {"content": "a"}}],
            "usage": {"prompt_tokens": 5, "completion_tokens": number},
        }
        frames.append(b"data: " + json.dumps(said).encode() + b"\n\n")
    told = claude(*frames, STOP)
    assert told.usage is not None and told.usage["output_tokens"] == 3


def test_googles_signature_on_a_call() -> None:
    """Google's signature on a call reaches a chat client, and goes back upstream from there. (EC-141)"""
    extra = {"google": {"thought_signature": "G"}}
    memo = memo_of("openai_chat", chat_request(stream=True))
    out = cross(
        "openai_chat", tools(fragment("{}", index=0, id="c", name="f", extra_content=extra)) + STOP, memo, "openai_chat"
    )
    assert b'"extra_content":{"google":{"thought_signature":"G"}}' in out
    echoed = {
        "role": "assistant",
        "tool_calls": [
            {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}, "extra_content": extra}
        ],
    }
    memo = memo_of(
        "openai_chat",
        chat_request(
            messages=[{"role": "user", "content": "x"}, echoed, {"role": "tool", "tool_call_id": "c", "content": "r"}]
        ),
    )
    assert write(memo, upstream="openai_chat")["messages"][1]["tool_calls"][0]["extra_content"] == extra


def test_padding_is_never_copied() -> None:
    """Obfuscation is not copied across dialects, and ids are the client dialect's. (EC-44, EC-162)"""
    padded = b'data: {"id":"x","obfuscation":"zzz","choices":[{"index":0,"delta":{"content":"a"}}]}\n\n'
    out = cross("anthropic_messages", padded + STOP)
    assert b"zzz" not in out and b'"id":"msg_' in out
    assert b'"id":"chatcmpl-' in cross("openai_chat", message({"type": "text", "text": "a"}))


ODD: list[Any] = [None, True, 5, "x", [], {}, [[]], [5], {"a": []}]


@pytest.mark.parametrize("odd", ODD, ids=repr)
def test_odd_types_are_the_providers_fault(odd: Any) -> None:
    """An odd type anywhere in a frame or reply raises at most a GatewayError, so that another target is tried."""
    call = {"index": odd, "id": odd, "type": odd, "function": odd, "extra_content": odd}
    delta = dict.fromkeys(
        ("content", "role", "reasoning", "annotations", "images", "reasoning_details", "refusal"), odd
    )
    said: list[bytes] = [
        chunk(**{name: value}) for name, value in [*delta.items(), ("tool_calls", odd), ("tool_calls", [call])]
    ]
    said += [b"data: " + json.dumps({"choices": odd, "usage": odd, "error": None}).encode() + b"\n\n"]
    block = {"type": "text", "text": odd, "citations": odd}
    frames = [
        event("content_block_start", index=odd, content_block=odd),
        event("content_block_start", index=0, content_block=block),
        event("content_block_delta", index=odd, delta=odd),
        event("content_block_delta", index=0, delta={"type": "text_delta", "text": odd}),
        event("content_block_stop", index=odd),
        event("message_delta", delta=odd, usage=odd),
    ]
    start = event("message_start", message=odd) + message().split(b"\n\n")[0] + b"\n\n"
    for client, prelude, pieces in (("anthropic_messages", b"", said), ("openai_chat", start, frames)):
        for piece in pieces:
            with contextlib.suppress(GatewayError):
                cross(client, prelude + piece)
    assert CHAT.upstream is not None and MESSAGES.upstream is not None
    for body in ({"choices": odd}, {"choices": [odd]}, {"choices": [{"message": delta, "finish_reason": odd}]}, {"content": odd},
                 {"content": [odd]}, {"content": [block], "usage": odd, "stop_reason": odd}):  # fmt: skip
        for side in (CHAT.upstream, MESSAGES.upstream):
            with contextlib.suppress(GatewayError):
                read_whole(side, json.dumps(body).encode(), False, memo_of("openai_chat"))


def test_an_error_beside_choices_is_an_error() -> None:
    """An `error` beside choices of a whole reply raises Declined (docs/wire/errors.md#errors-inside-http-200)."""
    assert CHAT.upstream is not None
    said = {"choices": [{"message": None}], "error": {"message": "m", "code": 429}}
    with pytest.raises(Declined) as raised:
        CHAT.upstream.read_reply(json.dumps(said).encode(), memo_of("openai_chat"))
    assert raised.value.fault is Fault.LIMITED


def test_numbers_of_a_whole_reply_stay_as_they_were() -> None:
    """Numbers in a call's input keep their digits. (EC-121)"""
    assert MESSAGES.upstream is not None and CHAT.client is not None
    use = b'{"type":"tool_use","id":"t","name":"f","input":{"a":1.10,"b":12345678901234567890123,"c":1e400}}'
    data = b'{"content":[' + use + b'],"stop_reason":"tool_use","usage":{"input_tokens":1,"output_tokens":1}}'
    memo = memo_of("openai_chat")
    said = json.loads(CHAT.client.write_reply(MESSAGES.upstream.read_reply(data, memo), memo))
    arguments = said["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"]
    assert arguments == '{"a":1.10,"b":12345678901234567890123,"c":1e400}'


def test_only_the_first_choice_of_several() -> None:
    """Of several choices only the one with index 0 is used, in any order (docs/wire/replies.md#content)."""
    two = {"choices": [{"index": 1, "delta": {"content": "B"}}, {"index": 0, "delta": {"content": "A"}}]}
    assert claude(b"data: " + json.dumps(two).encode() + b"\n\n", STOP).text == "A"
    assert CHAT.upstream is not None
    whole = {"choices": [{"index": n, "message": {"content": t}, "finish_reason": "stop"} for n, t in enumerate("AB")]}
    reply = CHAT.upstream.read_reply(json.dumps(whole).encode(), memo_of("anthropic_messages"))
    assert [getattr(block, "text", "") for block in reply.blocks] == ["A"]


def test_cut_calls_and_nothing_else() -> None:
    """If all calls are cut, one is kept with an empty input, so that the turn has a block. (EC-146)"""
    assert CHAT.upstream is not None and MESSAGES.client is not None
    calls = [fragment('{"x":', id=f"c{n}", name="f") for n in (0, 1)]
    whole = {"choices": [{"message": {"tool_calls": calls}, "finish_reason": "length"}]}
    memo = memo_of("anthropic_messages")
    said = json.loads(MESSAGES.client.write_reply(CHAT.upstream.read_reply(json.dumps(whole).encode(), memo), memo))
    assert [block["input"] for block in said["content"]] == [{}]
