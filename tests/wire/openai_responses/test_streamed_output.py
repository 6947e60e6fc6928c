"""Recorded streams whose last event has no output: what was streamed counts."""

import json
from typing import Any

import pytest

from gateway.wire import DIALECTS
from gateway.wire.dialect import Asked
from gateway.wire.openai_responses.recording_lane import RecordingLane
from tests.wire.crossings import event

MESSAGE = {"id": "msg_1", "type": "message", "role": "assistant", "status": "in_progress", "content": []}
CALL = {"id": "fc_1", "type": "function_call", "call_id": "c", "name": "f", "arguments": "", "status": "in_progress"}
CUSTOM = {"id": "ctc_1", "type": "custom_tool_call", "call_id": "k", "name": "g", "input": ""}
SAID = MESSAGE | {"status": "completed", "content": [{"type": "output_text", "text": "Hello", "annotations": []}]}
CALLED = CALL | {"arguments": '{"a":1}', "status": "completed"}
THOUGHT = {"id": "rs_1", "type": "reasoning", "summary": [], "encrypted_content": "E"}
BEGIN = event("response.created", response={"id": "resp_u", "status": "in_progress", "output": []})


def added(item: dict[str, Any], index: int = 0) -> bytes:
    return event("response.output_item.added", output_index=index, item=item)


def done(item: dict[str, Any], index: int = 0) -> bytes:
    return event("response.output_item.done", output_index=index, item=item)


def text(*pieces: str, kind: str = "output_text", name: str = "msg_1") -> bytes:
    place = {"item_id": name, "output_index": 0, "content_index": 0}
    return b"".join(event(f"response.{kind}.delta", delta=piece, **place) for piece in pieces)


def arguments(*pieces: str, kind: str = "function_call_arguments") -> bytes:
    return b"".join(event(f"response.{kind}.delta", delta=piece, item_id="fc_1", output_index=0) for piece in pieces)


def told(item: dict[str, Any]) -> Any:
    """Return what matters of an item."""
    content = [part.get("text") or part.get("refusal") for part in item.get("content", ())]
    return item["type"], *content, *(item[name] for name in ("arguments", "input") if name in item)


STREAMS: list[tuple[bytes, list[Any]]] = [
    (added(MESSAGE) + text("Hel", "lo") + done(SAID), [("message", "Hello")]),
    (done(SAID), [("message", "Hello")]),
    (done(THOUGHT) + done(SAID, 1) + done(CALLED, 2), [("reasoning",), ("message", "Hello"), ("function_call", '{"a":1}')]),
    (added(MESSAGE) + text("Hel", "lo"), [("message", "Hello")]),
    (text("Hel", "lo"), [("message", "Hello")]),
    (added(MESSAGE) + text("No", kind="refusal"), [("message", "No")]),
    (added(MESSAGE) + event("response.output_text.done", text="Hello", content_index=0), [("message", "Hello")]),
    (added(CALL) + arguments('{"a":', "1}"), [("function_call", '{"a":1}')]),
    (added(CALL) + event("response.function_call_arguments.done", arguments='{"a":1}'), [("function_call", '{"a":1}')]),
    (added(CALL), [("function_call", "{}")]),
    (added(CUSTOM) + arguments("*** ", "x", kind="custom_tool_call_input"), [("custom_tool_call", "*** x")]),
    (added(MESSAGE) + text("Hello") + added(CALL, 1) + arguments('{"a":1}'), [("message", "Hello"), ("function_call", '{"a":1}')]),
    (added(MESSAGE) + text("Hel") + added(CALL, 1) + done(SAID) + done(CALLED, 1), [("message", "Hello"), ("function_call", '{"a":1}')]),
    (added(CALL) + arguments('{"a":'), []),
    (b"", []),
]  # fmt: skip
ENDS: list[Any] = [{}, {"output": []}, {"output": None}, {"output": [], "status": "completed", "usage": None}]


def recorded(stream: bytes) -> tuple[bytes, RecordingLane]:
    lane = RecordingLane(DIALECTS["openai_responses"].watch(Asked()), {"id": b'"resp_ours"'})
    frames = [frame + b"\n\n" for frame in stream.split(b"\n\n")[:-1]]
    out = b"".join(frame if lane.passes(frame) else lane.feed(frame) for frame in frames)
    return out + lane.end(), lane


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize(("stream", "wanted"), STREAMS)
def test_what_was_streamed_counts(stream: bytes, wanted: list[Any], end: Any) -> None:
    """A final object without output gets the items of its stream, for the client and for the store."""
    out, lane = recorded(BEGIN + stream + event("response.completed", response=end))
    assert lane.final is not None
    final = json.loads(out.rpartition(b"data: ")[2])["response"]
    assert json.loads(bytes(lane.final.response.get("output", b"null"))) == final.get("output")
    assert [told(item) for item in final.get("output") or []] == wanted
    assert final["id"] == "resp_ours"
    assert all(item.get("status", "completed") == "completed" for item in final.get("output") or [])


@pytest.mark.parametrize("kind", ["incomplete", "failed", "cancelled"])
def test_an_end_that_is_not_whole(kind: str) -> None:
    """A response that ends otherwise keeps the text so far, and no half call."""
    end = event(f"response.{kind}", response={"status": kind, "output": []})
    out, _ = recorded(BEGIN + added(MESSAGE) + text("Hel") + end)
    (item,) = json.loads(out.rpartition(b"data: ")[2])["response"]["output"]
    assert told(item) == ("message", "Hel") and item["status"] == "incomplete"
    out, _ = recorded(BEGIN + done(SAID) + added(CALL, 1) + arguments('{"a":1}') + end)
    assert [told(item) for item in json.loads(out.rpartition(b"data: ")[2])["response"]["output"]] == [
        ("message", "Hello")
    ]


def test_what_the_final_object_says_is_kept() -> None:
    """A final object with output is what its provider says, to the byte."""
    other = SAID | {"content": [{"type": "output_text", "text": "Other"}]}
    out, _ = recorded(BEGIN + done(SAID) + event("response.completed", response={"output": [other]}))
    assert json.loads(out.rpartition(b"data: ")[2])["response"]["output"] == [other]


def test_a_reply_that_is_too_large_is_not_filled() -> None:
    """What was let go of, because it was too much to keep, is not put into the final object in part."""
    lane = RecordingLane(DIALECTS["openai_responses"].watch(Asked()), {}, limit=200)
    for frame in (
        BEGIN,
        done(SAID),
        done(SAID | {"id": "msg_2"}, 1),
        event("response.completed", response={"output": []}),
    ):
        lane.feed(frame)
    assert lane.is_too_large and b'"output":[]' in lane.end()
