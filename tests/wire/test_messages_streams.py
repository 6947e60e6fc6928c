"""Streams of Messages upstreams, read for chat clients."""

import json

import pytest

from gateway.errors import Broke, Declined
from gateway.faults import Fault
from gateway.wire.profile import Profile
from tests.wire.crossings import (
    chat_request,
    chunk,
    cross,
    crossing,
    event,
    memo_of,
    message,
    messages_request,
    written,
)
from tests.wire.grammar import read_chat, read_messages
from tests.wire.streams import openai


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
