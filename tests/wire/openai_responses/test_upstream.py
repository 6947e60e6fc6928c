"""Responses upstreams behind clients of Chat and Messages."""

import contextlib
import json
from typing import Any

import pytest

from gateway.errors import BadRequest, Broke, CannotSay, Declined, GatewayError, Unreadable
from gateway.faults import Fault
from gateway.mock import responses
from gateway.wire import DIALECTS
from gateway.wire.codec.json_body import JsonBody
from gateway.wire.dialect import Asked
from gateway.wire.neutral import Reasoning, StopReason
from gateway.wire.openai_responses import raw
from gateway.wire.profile import Profile
from gateway.wire.translated_lane import read_whole
from gateway.wire.translation.envelope import unseal
from gateway.wire.translation.memo import Drops, Memo
from tests.wire.crossings import PIXEL, chat_request, cross, memo_of, messages_request, write, written
from tests.wire.grammar import Told, read_chat, read_messages

RESPONSES = DIALECTS["openai_responses"]
GPT = Profile(sampling=False, stops=0, efforts=("none", "low", "medium", "high"), verbosity=True, cache_key=True)
HI: dict[str, Any] = {"role": "user", "content": "Hi"}
TOOL: dict[str, Any] = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}


def sent(client: str = "openai_chat", profile: Profile = GPT, **more: Any) -> tuple[dict[str, Any], list[str]]:
    said = chat_request(**more) if client == "openai_chat" else messages_request(**more)
    out, memo = written(client, said, profile, upstream="openai_responses")
    return out, memo.drops.names


def stream(sample: str, **more: Any) -> bytes:
    return b"".join(responses.events({"model": "m", "input": "Hi"} | more, sample, ""))


def claude(data: bytes, memo: Memo | None = None) -> Told:
    return read_messages(cross("anthropic_messages", data, memo, "openai_responses"))


def openai(data: bytes, memo: Memo | None = None) -> Told:
    return read_chat(cross("openai_chat", data, memo, "openai_responses"))


def test_the_request() -> None:
    """A request sets `store: false`, includes encrypted reasoning, and raises small caps to the least. (EC-29)"""
    system = {"role": "system", "content": "Be brief."}
    out, drops = sent(
        messages=[system, HI], max_tokens=5, temperature=0.5, stop=["X"], seed=3, verbosity="low", user="u"
    )
    assert out["instructions"] == "Be brief." and out["store"] is False
    assert out["include"] == ["reasoning.encrypted_content"] and out["max_output_tokens"] == 16
    assert out["input"] == [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi"}]}]
    assert out["text"] == {"verbosity": "low"} and drops == ["max_tokens", "temperature", "seed"]
    assert not {"stop", "temperature", "seed", "messages"} & set(out)
    out, _ = sent(messages=[system, system, HI])
    assert "instructions" not in out and out["input"][0]["role"] == "developer"
    assert sent(stream=True, profile=Profile(obfuscation=True))[0]["stream_options"] == {"include_obfuscation": False}


def test_tools() -> None:
    """Functions have `strict: false` outright: without it their optional members would become required. (EC-107)"""
    out, _ = sent(
        tools=[TOOL, {"type": "custom", "custom": {"name": "p"}}], tool_choice="required", parallel_tool_calls=False
    )
    assert out["tools"][0] == {
        "type": "function",
        "name": "f",
        "parameters": {"type": "object", "properties": {}},
        "strict": False,
    }
    assert out["tools"][1] == {"type": "custom", "name": "p"} and out["parallel_tool_calls"] is False
    named = {"type": "function", "function": {"name": "f"}}
    assert sent(tools=[TOOL], tool_choice=named)[0]["tool_choice"] == {"type": "function", "name": "f"}
    allowed = {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [TOOL]}}
    assert sent(tools=[TOOL], tool_choice=allowed)[0]["tool_choice"]["mode"] == "required"
    known = Profile(hosted_tools=("web_search",))
    place = {"user_location": {"type": "approximate", "approximate": {"city": "Paris"}}, "search_context_size": "low"}
    out, _ = sent(profile=known, web_search_options=place)
    assert out["tools"] == [
        {"type": "web_search", "search_context_size": "low", "user_location": {"type": "approximate", "city": "Paris"}}
    ]
    with pytest.raises(BadRequest):
        sent(tools=[TOOL], tool_choice={"type": "function", "function": {"name": "nobody"}})


def test_history() -> None:
    """Pictures stay inside results, only past output has ids, and call ids are made safe. (EC-79, EC-125)"""
    use = {"type": "tool_use", "id": "functions.x:0", "name": "f", "input": {"a": 1}}
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}
    result = {
        "type": "tool_result",
        "tool_use_id": "functions.x:0",
        "content": [{"type": "text", "text": "see"}, image],
    }
    thought = {"type": "thinking", "thinking": "hm", "signature": "S"}
    failed = {"type": "tool_result", "tool_use_id": "b", "content": "no", "is_error": True}
    turns = [
        HI,
        {"role": "assistant", "content": [thought, {"type": "text", "text": "Let me."}, use, {**use, "id": "b"}]},
        {"role": "user", "content": [result, failed, {"type": "text", "text": "so?"}]},
    ]
    out, drops = sent("anthropic_messages", messages=turns, tools=[{"name": "f"}])
    kinds = [item["type"] for item in out["input"]]
    assert kinds == ["message", "message", "function_call", "function_call", *["function_call_output"] * 2, "message"]
    assert out["input"][1]["content"] == [{"type": "output_text", "text": "Let me.", "annotations": []}]
    assert [item.get("id", "")[:3] for item in out["input"]] == ["", "msg", "fc_", "fc_", "", "", ""]
    assert drops == ["reasoning"]
    assert out["input"][2]["call_id"] == out["input"][4]["call_id"] and "." not in out["input"][2]["call_id"]
    assert [part["type"] for part in out["input"][4]["output"]] == ["input_text", "input_image"]
    assert out["input"][5]["output"] == "[tool error] no"


def test_reasoning_goes_back_where_it_came_from() -> None:
    """The original reasoning item goes back, encrypted content included, directly before its call. (EC-129)"""
    memo = memo_of("anthropic_messages", messages_request(stream=True))
    told = claude(stream("thinking_tools"), memo)
    assert told.kinds == ["thinking", "tool_use"] and told.reasoning == "The user greets.\n\nI greet."
    thought = {"type": "thinking", "thinking": told.reasoning, "signature": told.signatures[0]}
    use = {"type": "tool_use", "id": told.calls[0][0], "name": "get_weather", "input": {"city": "Paris"}}
    result = {"type": "tool_result", "tool_use_id": use["id"], "content": "sunny"}
    turns = [HI, {"role": "assistant", "content": [thought, use]}, {"role": "user", "content": [result]}]
    memo = memo_of("anthropic_messages", messages_request(messages=turns))
    found = memo.sealer.open(told.signatures[0], told.reasoning)
    assert isinstance(found, Reasoning) and found.sealed == responses.SEALED and found.id == "rs_mock"
    unseal(memo.request, memo.sealer)
    items = write(memo, upstream="openai_responses")["input"]
    assert [item["type"] for item in items] == ["message", "reasoning", "function_call", "function_call_output"]
    assert items[1]["encrypted_content"] == responses.SEALED and items[1]["id"] == "rs_mock"
    assert [part["text"] for part in items[1]["summary"]] == ["The user greets.", "I greet."]


def test_effort_and_format() -> None:
    """An effort requests a summary too, so that there is something to show; a format becomes `text.format`."""
    assert sent(reasoning_effort="high")[0]["reasoning"] == {"effort": "high", "summary": "auto"}
    assert sent(reasoning_effort="none")[0]["reasoning"] == {"effort": "none"}
    assert sent(reasoning_effort="max")[0]["reasoning"]["effort"] == "high"
    hidden: dict[str, Any] = {
        "thinking": {"type": "adaptive", "display": "omitted"},
        "output_config": {"effort": "low"},
    }
    assert sent("anthropic_messages", **hidden)[0]["reasoning"] == {"effort": "low"}
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema, "strict": True}}
    assert sent(response_format=form)[0]["text"]["format"] == {
        "type": "json_schema",
        "name": "x",
        "schema": schema,
        "strict": False,
    }
    assert sent(response_format={"type": "json_object"})[0]["text"]["format"] == {"type": "json_object"}


@pytest.mark.parametrize("part", [{"type": "file", "file": {"file_id": "f"}}])
def test_foreign_files_are_refused(part: dict[str, Any]) -> None:
    """A file id of another provider raises CannotSay."""
    with pytest.raises(CannotSay):
        sent(messages=[{"role": "user", "content": [part]}])


def test_content_parts() -> None:
    """Every content part becomes its Responses part; unknown parts become text and are noted as lost."""
    parts = [
        {"type": "image_url", "image_url": {"url": "https://x.example/a.png", "detail": "low"}},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0="}},
        {"type": "hologram"},
    ]
    out, drops = sent(messages=[{"role": "user", "content": parts}])
    content = out["input"][0]["content"]
    assert content[0] == {"type": "input_image", "image_url": "https://x.example/a.png", "detail": "low"}
    assert content[1]["filename"] == "a.pdf"
    assert content[2]["text"] == "[hologram]" and drops == ["messages.hologram"]
    text = {"type": "document", "title": "t", "source": {"type": "text", "data": "body"}}
    url = {"type": "document", "source": {"type": "url", "url": "https://x.example/a.pdf"}}
    mark = {"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}
    breaks = Profile(cache_breakpoints=True)
    out, _ = sent("anthropic_messages", breaks, messages=[{"role": "user", "content": [text, url, *[mark] * 6]}])
    content = out["input"][0]["content"]
    assert content[0]["text"] == "[document: t]\nbody" and content[1]["file_url"] == "https://x.example/a.pdf"
    assert ["prompt_cache_breakpoint" in part for part in content[2:]] == [False] * 2 + [True] * 4


@pytest.mark.parametrize("read", [claude, openai])
def test_replies(read: Any) -> None:
    """Text, calls, reasoning and ends of a Responses stream reach Messages and Chat clients."""
    told = read(stream("text"))
    assert told.text == "Hello from the mock provider. You said: Hi"
    told = read(stream("parallel_tools"))
    assert [json.loads(arguments) for _, _, arguments in told.calls] == [{"city": "Paris"}, {"zone": "Europe/Paris"}]
    assert told.stop in ("tool_use", "tool_calls") and told.text == "Let me look."
    told = read(stream("reasoning"))
    assert told.reasoning == "The user greets.\n\nI greet." and told.text  # EC-225
    assert read(stream("length")).stop in ("max_tokens", "length")
    assert read(stream("content_filter")).stop in ("refusal", "content_filter")
    assert read(stream("refusal")).stop in ("refusal", "stop")


def test_a_whole_reply_is_the_same_as_a_streamed_one() -> None:
    """A whole reply, a stream, and a lone terminal event all give the same blocks. (EC-224)"""
    assert RESPONSES.upstream is not None
    for sample in ("text", "parallel_tools", "reasoning", "custom", "length", "refusal"):
        whole = json.dumps(responses.whole({"input": "Hi"}, sample, "")).encode()
        memos = memo_of("openai_chat"), memo_of("openai_chat")
        streamed = read_whole(RESPONSES.upstream, stream(sample), True, memos[0])
        assert read_whole(RESPONSES.upstream, whole, False, memos[1]).blocks == streamed.blocks
        terminal = stream(sample).split(b"\n\n")[-2] + b"\n\n"
        assert read_whole(RESPONSES.upstream, terminal, True, memo_of("openai_chat")).blocks == streamed.blocks


def test_ids_that_rotate_do_not_matter() -> None:
    """Items whose ids change in each event are told apart by their output_index. (EC-218)"""
    data = stream("parallel_tools")
    for number in range(40):
        data = data.replace(b"fc_mock", b"fc_%d_" % number, 1)
    assert len(openai(data).calls) == 2


def test_errors_in_both_shapes() -> None:
    """Flat and nested errors raise; so does a stream without its terminal event. (EC-223, EC-226)"""
    begun = stream("text").split(b"event: response.output_text.done")[0]
    flat = b'event: error\ndata: {"type":"error","code":"rate_limit_exceeded","message":"m","param":null}\n\n'
    for frame in (flat, responses.error_event({"code": "rate_limit_exceeded", "message": "m"})):
        with pytest.raises(Declined) as raised:
            openai(begun + frame)
        assert raised.value.fault is Fault.LIMITED
    with pytest.raises(Declined):
        openai(stream("failed"))
    with pytest.raises(Broke):
        openai(begun)
    with pytest.raises(Unreadable):
        openai(b"data: junk\n\n")
    assert RESPONSES.upstream is not None
    for body in (b"<", b"5", b"{}"):
        with pytest.raises(Unreadable):
            RESPONSES.upstream.read_reply(body, memo_of("openai_chat"))
    with pytest.raises(Declined):
        RESPONSES.upstream.read_reply(b'{"error":{"message":"m"}}', memo_of("openai_chat"))


def test_stops_are_enforced() -> None:
    """The gateway cuts the text before a stop sequence that Responses cannot take. (EC-34)"""
    _, memo = written(
        "anthropic_messages", messages_request(stream=True, stop_sequences=["mock"]), upstream="openai_responses"
    )
    told = claude(stream("text"), memo)
    assert (told.text, told.stop, told.sequence) == ("Hello from the ", "stop_sequence", "mock")


@pytest.mark.parametrize("odd", [None, True, 5, "x", [], {}, [[]], [5]], ids=repr)
def test_odd_types_are_the_providers_fault(odd: Any) -> None:
    """A frame with an odd type anywhere raises at most a GatewayError, never a bug's exception."""
    assert RESPONSES.upstream is not None
    kinds = ["output_item.added", "output_item.done", "output_text.delta", "completed", "reasoning_summary_text.delta"]
    kinds += ["function_call_arguments.done", "output_text.annotation.added", "reasoning_summary_part.added"]
    for kind in kinds:
        members = dict.fromkeys(
            ("item", "output_index", "delta", "response", "annotation", "content_index", "arguments"), odd
        )
        frame = json.dumps({"type": f"response.{kind}", **members}).encode()
        item = json.dumps(
            {"type": "response.output_item.done", "item": {"type": "message", "content": odd, "summary": odd}}
        )
        for data in (frame, item.encode()):
            with contextlib.suppress(GatewayError):
                openai(b"data: " + data + b"\n\n")


def test_the_raw_lane() -> None:
    """The raw lane keeps every byte, and finds first content, the end, and errors.

    An error after content is written as the error event, then `response.failed`. (EC-222)
    """
    lane = raw.watch(Asked())
    frames = [one + b"\n\n" for one in stream("text").split(b"\n\n")[:-1]]
    assert b"".join([*map(lane.feed, frames), lane.end()]) == stream("text")
    assert lane.has_content and lane.is_finished and lane.usage is not None and lane.usage.output == 9
    assert lane.passes(b'event: response.output_text.delta\ndata: {"type":"x"}\n\n') and lane.feed(frames[0]) == b""
    with pytest.raises(Declined):
        raw.watch(Asked()).feed(stream("failed").split(b"\n\n")[-2] + b"\n\n")
    begun = raw.watch(Asked())
    for frame in frames[:6]:
        begun.feed(frame)
    with pytest.raises(Broke):
        begun.end()
    said = begun.fail(Broke("m"), "req").split(b"\n\n")
    assert said[0].startswith(b"event: error") and said[1].startswith(b"event: response.failed")
    assert b'"sequence_number":6' in said[0] and begun.proceed() is None
    with pytest.raises(Declined):
        begun.feed(responses.error_event(None))
    for _ in range(2):
        assert begun.feed(b"data: junk\n\n") == b""
    with pytest.raises(Unreadable):
        begun.feed(b"data: junk\n\n")
    empty = raw.watch(Asked())
    for frame in [one + b"\n\n" for one in stream("empty").split(b"\n\n")[:-1]]:
        empty.feed(frame)
    assert empty.is_empty and raw.glance(json.dumps(responses.whole({}, "empty", "")).encode()).is_empty
    for body in (b"<", b"5"):
        with pytest.raises(Unreadable):
            raw.glance(body)
    with pytest.raises(Declined):
        raw.glance(json.dumps(responses.whole({}, "failed", "")).encode())


def test_the_stop_of_a_reply() -> None:
    """An incomplete reply with an unknown reason ends normally, and a cancelled one raises Broke."""
    assert RESPONSES.upstream is not None
    said = {"output": [], "status": "incomplete", "incomplete_details": {"reason": "steered"}}
    assert (
        RESPONSES.upstream.read_reply(json.dumps(said).encode(), memo_of("openai_chat")).stop.reason is StopReason.END
    )
    with pytest.raises(Broke):
        RESPONSES.upstream.read_reply(b'{"output":[],"status":"cancelled"}', memo_of("openai_chat"))


def test_the_kind_of_the_last_event_decides() -> None:
    """A `response.failed` whose object has no status has failed all the same."""
    data = (
        b'event: response.failed\ndata: {"type":"response.failed","sequence_number":1,'
        b'"response":{"id":"resp_1","error":{"code":"server_error","message":"no"},"output":[]}}\n\n'
    )
    with pytest.raises(GatewayError):
        claude(data)


def test_the_raw_lane_takes_out_what_openai_refuses() -> None:
    """The raw lane removes foreign ids and our envelopes; other bytes stay. (EC-97, EC-126)

    An envelope of ours never reaches OpenAI, as none reaches Anthropic in EC-132.
    """
    said = {"type": "message", "role": "assistant", "id": "msg_1", "content": "a", "phase": "commentary"}
    ours = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gw1.x"}
    theirs = {"type": "reasoning", "id": "rs_2", "summary": [], "encrypted_content": "gAAA"}
    reference = {"type": "item_reference", "id": "item_9"}
    foreign = [said | {"id": "item_1"}, said | {"id": "chatcmpl-1"}, {"role": "user", "content": '"gw1."'}]

    def put(*items: Any) -> tuple[Any, list[str]]:
        drops = Drops()
        members = raw.add_members(JsonBody.read(json.dumps({"input": list(items)}).encode()), Profile(), drops)
        return json.loads(members["input"]) if members else None, drops.names

    assert put(said, theirs, reference) == (None, [])
    bare = {name: value for name, value in said.items() if name != "id"}
    assert put(*foreign, theirs) == ([bare, bare, foreign[2], theirs], [])
    assert put(said, ours, theirs) == ([said, theirs], ["reasoning"])
    assert raw.add_members(JsonBody.read(b'{"input":"say \\"gw1. and \\"item_"}'), Profile(), Drops()) == {}
    assert raw.add_members(JsonBody.read(b"{}"), Profile(), Drops()) == {}
