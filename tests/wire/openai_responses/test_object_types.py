"""Crossed response objects and events are what OpenAI's API returns: the SDK's types and the Open Responses schemas.

`MEMBERS` are the required members of the Open Responses schemas (openresponses.org), which every recording of OpenAI's
API has too.
"""

import json
from typing import Any

import pytest
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from gateway.errors import Broke
from gateway.wire import DIALECTS
from gateway.wire.codec.sse import FrameCutter
from gateway.wire.openai_responses.objects import response_object
from gateway.wire.translated_lane import read_whole
from gateway.wire.translation.memo import Memo
from tests.wire.crossings import chunk, cross, crossing, event, memo_of, message, usage_chunk
from tests.wire.grammar import frames_of

DONE = b"data: [DONE]\n\n"
EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
MEMBERS = frozenset(
    {
        "id", "object", "created_at", "completed_at", "status", "incomplete_details", "model", "previous_response_id",
        "instructions", "output", "error", "tools", "tool_choice", "truncation", "parallel_tool_calls", "text", "top_p",
        "presence_penalty", "frequency_penalty", "top_logprobs", "temperature", "reasoning", "usage", "background",
        "max_output_tokens", "max_tool_calls", "store", "service_tier", "metadata", "safety_identifier",
        "prompt_cache_key",
    }
)  # fmt: skip
NUMBERS = ("temperature", "top_p", "top_logprobs", "presence_penalty", "frequency_penalty", "created_at")
OF_A_FUNCTION = {"type", "name", "description", "parameters", "strict"}
OF_AN_ITEM = {
    "message": {"id", "type", "status", "role", "content"},
    "function_call": {"id", "type", "status", "call_id", "name", "arguments"},
    "custom_tool_call": {"id", "type", "call_id", "name", "input"},
    "reasoning": {"id", "type", "summary"},
}
TOOLS: list[dict[str, Any]] = [
    {"type": "function", "name": "f"},
    {"type": "custom", "name": "p"},
    {"type": "local_shell"},
    {"type": "namespace", "name": "n", "description": "d", "tools": [{"type": "function", "name": "g"}]},
]
SCHEMA = {"type": "json_schema", "name": "o", "schema": {"type": "object"}}


def asked(**more: Any) -> Memo:
    said = {"model": "m", "input": "Hi", "stream": True, "tools": TOOLS} | more
    return memo_of("openai_responses", said)


def call(name: str, arguments: str) -> dict[str, Any]:
    return {"index": 0, "id": "c1", "type": "function", "function": {"name": name, "arguments": arguments}}


CITED = {"type": "url_citation", "url_citation": {"url": "https://x.example", "title": "t"}}
USE = {"type": "tool_use", "id": "t1", "name": "f", "input": {"a": 1}}
LOCATION = {"type": "web_search_result_location", "url": "https://x.example", "title": None, "cited_text": "a"}
STREAMS: list[tuple[str, str, bytes]] = [
    ("openai_chat", "text", chunk(content="a") + chunk("stop") + usage_chunk(prompt_tokens=1, completion_tokens=1)),
    ("openai_chat", "no usage", chunk(content="a") + chunk("stop")),
    ("openai_chat", "cut", chunk(content="a") + chunk("length")),
    ("openai_chat", "filtered", chunk(refusal="no") + chunk("content_filter")),
    ("openai_chat", "thought", chunk(reasoning_content="hm") + chunk(content="a") + chunk("stop")),
    ("openai_chat", "call", chunk(tool_calls=[call("f", '{"a":1}')]) + chunk("tool_calls")),
    ("openai_chat", "half a call", chunk(tool_calls=[call("f", '{"a":')]) + chunk("length")),
    ("openai_chat", "freeform", chunk(tool_calls=[call("p", '{"input":"x"}')]) + chunk("tool_calls")),
    ("openai_chat", "shell", chunk(tool_calls=[call("local_shell", '{"command":["ls"]}')]) + chunk("tool_calls")),
    ("openai_chat", "cited", chunk(content="a") + chunk(annotations=[CITED]) + chunk("stop")),
    ("anthropic_messages", "text", message({"type": "text", "text": "a"})),
    ("anthropic_messages", "thought", message({"type": "thinking", "thinking": "hm", "signature": "S"}, USE)),
    ("anthropic_messages", "sealed", message({"type": "redacted_thinking", "data": "D"}, USE, stop="tool_use")),
    (
        "anthropic_messages",
        "cited",
        event("message_start", message={"usage": {"input_tokens": 1, "output_tokens": 1}})
        + event("content_block_start", index=0, content_block={"type": "text", "text": ""})
        + event("content_block_delta", index=0, delta={"type": "text_delta", "text": "a"})
        + event("content_block_delta", index=0, delta={"type": "citations_delta", "citation": LOCATION})
        + event("content_block_stop", index=0)
        + event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 1})
        + event("message_stop"),
    ),
]  # fmt: skip
NAMES = [f"{upstream}-{name}" for upstream, name, _ in STREAMS]


def check(response: dict[str, Any]) -> None:
    """Assert that a response object has every member of the schemas, with types that no client refuses."""
    Response.model_validate(response)
    assert not MEMBERS - set(response)
    assert all(isinstance(response[name], int | float) for name in NUMBERS)
    assert isinstance(response["completed_at"], int) is (response["status"] == "completed")
    for tool in response["tools"]:
        assert tool["type"] != "function" or not OF_A_FUNCTION - set(tool)
    for item in response["output"]:
        assert not OF_AN_ITEM.get(item["type"], set()) - set(item)
    if (form := response["text"]["format"])["type"] == "json_schema":
        assert form["description"] is None and form["strict"] is False


@pytest.mark.parametrize(("upstream", "stream"), [one[::2] for one in STREAMS], ids=NAMES)
def test_every_event_fits_the_sdks_types(upstream: str, stream: bytes) -> None:
    """Every event of a crossed stream is valid as the SDK's type, and each response object in it is complete."""
    tail = DONE if upstream == "openai_chat" else b""
    out = cross("openai_responses", stream + tail, asked(text={"format": SCHEMA}), upstream)
    events = [json.loads(data) for _, data in frames_of(out)]
    assert events[0]["type"] == "response.created" and events[-1]["response"]["usage"] is not None
    for said in events:
        EVENT.validate_python(said)
        if "response" in said:
            check(said["response"])


@pytest.mark.parametrize(("upstream", "stream"), [one[::2] for one in STREAMS], ids=NAMES)
def test_a_whole_object_is_the_streams_last(upstream: str, stream: bytes) -> None:
    """The object of a client that wants no stream is complete too."""
    writes, reads = DIALECTS["openai_responses"].client, DIALECTS[upstream].upstream
    assert writes is not None and reads is not None
    memo = asked(stream=False)
    tail = DONE if upstream == "openai_chat" else b""
    check(json.loads(writes.write_reply(read_whole(reads, stream + tail, True, memo), memo)))


def test_a_failed_stream_ends_with_a_whole_object() -> None:
    """The object of `response.failed` has every member as well, behind text and as the first event."""
    for frames in (b"", chunk(content="a")):
        lane = crossing("openai_responses", "openai_chat", asked())
        out = b"".join(lane.feed(frame) for frame in FrameCutter().feed(frames))
        out += lane.fail(Broke("The provider was silent"), "req_1")
        events = [json.loads(data) for _, data in frames_of(out)]
        assert [one["type"] for one in events[-2:]] == ["error", "response.failed"]
        for said in events:
            EVENT.validate_python(said)
        check(events[-1]["response"])


@pytest.mark.parametrize(
    ("name", "given", "value"),
    [
        ("temperature", None, 1.0),
        ("temperature", 0, 0),
        ("temperature", 0.5, 0.5),
        ("top_p", None, 1.0),
        ("top_p", 0, 0),
        ("top_logprobs", None, 0),
        ("top_logprobs", 3, 3),
        ("presence_penalty", None, 0),
        ("frequency_penalty", None, 0),
        ("prompt_cache_retention", "24h", "24h"),
        ("safety_identifier", None, None),
    ],
)
@pytest.mark.parametrize("is_said", [False, True])
def test_what_a_request_leaves_out_has_the_apis_default(name: str, given: Any, value: Any, is_said: bool) -> None:
    """A number is never null; a given 0 stays 0."""
    echo = {name: given} if is_said or given is not None else {}
    assert response_object(echo, "resp_1", 1, "m")[name] == value


def test_tools_are_filled_in_and_never_changed() -> None:
    """A function has `description`, `parameters` and `strict`, also inside a namespace; what was given stays."""
    given = {"type": "function", "name": "f", "strict": True, "description": "d", "parameters": {"a": 1}, "x": 2}
    search = {"type": "web_search", "filters": {}}
    shown = response_object({"tools": [given, *TOOLS, search, "odd", 5]}, "resp_1", 1, "m")["tools"]
    assert shown[0] == given and shown[-3:] == [search, "odd", 5]
    bare = {"type": "function", "name": "f", "description": None, "parameters": None, "strict": None}
    assert shown[1] == bare
    assert shown[2] == {"type": "custom", "name": "p", "description": None, "format": {"type": "text"}}
    assert shown[4]["tools"] == [bare | {"name": "g"}]


def test_members_that_were_dropped_have_the_default() -> None:
    """A temperature that the upstream was not sent is 1.0 in the reply, never null."""
    memo = asked(temperature=0.5, top_p=0.5)
    memo.drops.add("temperature")
    final = json.loads(
        frames_of(cross("openai_responses", chunk("stop", content="a") + DONE, memo, "openai_chat"))[-1][1]
    )
    assert (final["response"]["temperature"], final["response"]["top_p"]) == (1.0, 0.5)
