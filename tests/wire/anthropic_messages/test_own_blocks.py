"""On the raw lane each delta reaches a block of its own kind, as the official SDK reads it."""

import inspect
import json
from functools import partial
from typing import Any

import pytest
from anthropic.lib.streaming._messages import accumulate_event
from anthropic.types import RawMessageStreamEvent
from pydantic import TypeAdapter

from gateway.wire.anthropic_messages.raw import MessagesWatch
from gateway.wire.codec.sse import FrameCutter

START: dict[str, Any] = {"type": "message_start", "message": {"id": "m", "type": "message", "role": "assistant", "model": "x", "content": [], "stop_reason": None, "stop_sequence": None, "usage": {"input_tokens": 1, "output_tokens": 1}}}  # fmt: skip
END: list[dict[str, Any]] = [
    {
        "type": "message_delta",
        "delta": {"stop_reason": "tool_use", "stop_sequence": None},
        "usage": {"output_tokens": 5},
    },
    {"type": "message_stop"},
]


def opens(number: int, kind: str, name: str = "f") -> dict[str, Any]:
    block: dict[str, Any] = {"type": kind}
    block |= {"text": ""} if kind == "text" else {"id": f"t{number}", "name": name, "input": {}}
    return {"type": "content_block_start", "index": number, "content_block": block}


def text(number: int, words: str) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": number, "delta": {"type": "text_delta", "text": words}}


def arguments(number: int, part: str) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": number, "delta": {"type": "input_json_delta", "partial_json": part}}


def stop(number: int) -> dict[str, Any]:
    return {"type": "content_block_stop", "index": number}


def written(events: list[dict[str, Any]]) -> bytes:
    return b"".join(f"event: {one['type']}\ndata: {json.dumps(one)}\n\n".encode() for one in events)


def sent(events: list[dict[str, Any]]) -> bytes:
    """Return what the lane sends, fed as the relay does it."""
    lane, cutter, out = MessagesWatch(), FrameCutter(), b""
    for event in (written([one]) for one in events):
        out += event if lane.passes(event) else b"".join(lane.feed(frame) for frame in cutter.feed(event))
    return out + lane.end()


def read_by_sdk(stream: bytes) -> list[tuple[Any, ...]]:
    adapter: Any = TypeAdapter(RawMessageStreamEvent)
    accumulate: Any = accumulate_event
    if "json_bufs" in inspect.signature(accumulate).parameters:  # of this major version of the SDK
        accumulate = partial(accumulate, json_bufs={})
    snapshot: Any = None
    for frame in stream.split(b"\n\n"):
        if frame:
            event = adapter.validate_json(frame.partition(b"data: ")[2])
            snapshot = accumulate(event=event, current_snapshot=snapshot)
    return [(one.type, one.text if one.type == "text" else (one.name, one.input)) for one in snapshot.content]


CASES: dict[str, tuple[list[dict[str, Any]], list[tuple[Any, ...]]]] = {
    "text on a call": (
        [opens(0, "tool_use"), arguments(0, '{"a"'), text(0, "Let me "), arguments(0, ": 1}"), text(0, "see."), stop(0)],
        [("tool_use", ("f", {"a": 1})), ("text", "Let me see.")],
    ),
    "and more blocks behind it": (
        [opens(0, "tool_use"), text(0, "x"), arguments(0, "{}"), stop(0), opens(1, "text"), text(1, "y"), stop(1), opens(2, "tool_use", "g"), arguments(2, '{"b": 2}'), stop(2)],
        [("tool_use", ("f", {})), ("text", "x"), ("text", "y"), ("tool_use", ("g", {"b": 2}))],
    ),
    "arguments on a text": (
        [opens(0, "tool_use"), arguments(0, '{"a"'), opens(1, "text"), arguments(1, ": 1}"), text(1, "z"), stop(1), stop(0)],
        [("tool_use", ("f", {"a": 1})), ("text", "z")],
    ),
    "arguments of nobody": ([opens(0, "text"), text(0, "a"), arguments(0, "{}"), text(0, "b"), stop(0)], [("text", "ab")]),
}  # fmt: skip


@pytest.mark.sdk
@pytest.mark.parametrize(("events", "content"), CASES.values(), ids=CASES)
def test_each_delta_reaches_a_block_of_its_kind(events: list[dict[str, Any]], content: list[tuple[Any, ...]]) -> None:
    """Text stays text and arguments stay arguments, whatever block they come in."""
    assert read_by_sdk(sent([START, *events, *END])) == content


def test_what_is_in_order_passes_byte_for_byte() -> None:
    """A stream whose deltas are where they belong is not written anew."""
    events = [
        START,
        opens(0, "text"),
        text(0, "a"),
        text(0, "b"),
        stop(0),
        opens(1, "tool_use"),
        arguments(1, "{}"),
        stop(1),
        *END,
    ]
    assert sent(events) == written(events)
