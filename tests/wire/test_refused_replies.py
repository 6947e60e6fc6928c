"""Which replies are refusals without content: the same in whole replies, in streams and in any dialect."""

import json
from typing import Any

import pytest

from gateway.wire import DIALECTS
from gateway.wire.anthropic_messages.fallbacks import read_fallbacks, with_fallback
from gateway.wire.dialect import Asked, Fallback
from tests.wire.crossings import body, messages_request


def chat(finish: str, **said: Any) -> dict[str, Any]:
    return {
        "choices": [{"index": 0, "message": {"role": "assistant", "content": None, **said}, "finish_reason": finish}]
    }


def message(stop: str, *content: dict[str, Any]) -> dict[str, Any]:
    return {"type": "message", "id": "msg_1", "content": list(content), "stop_reason": stop}


def response(reason: str | None, *output: dict[str, Any]) -> dict[str, Any]:
    return {"status": "incomplete", "output": list(output), "incomplete_details": reason and {"reason": reason}}


@pytest.mark.parametrize(
    ("name", "said", "refuses"),
    [
        ("openai_chat", chat("content_filter"), True),
        ("openai_chat", chat("content_filter", content=""), True),
        ("openai_chat", chat("SAFETY"), True),
        ("openai_chat", chat("content_filter", content="Well"), False),
        ("openai_chat", chat("content_filter", tool_calls=[{"id": "c"}]), False),
        ("openai_chat", chat("stop"), False),
        ("openai_chat", {"choices": []}, False),
        ("anthropic_messages", message("refusal"), True),
        ("anthropic_messages", message("refusal", {"type": "text", "text": ""}), True),
        ("anthropic_messages", message("refusal", {"type": "text", "text": "Well"}), False),
        ("anthropic_messages", message("refusal", {"type": "thinking", "thinking": ""}), False),
        ("anthropic_messages", message("end_turn"), False),
        ("openai_responses", response("content_filter"), True),
        ("openai_responses", response("content_filter", {"type": "message"}), False),
        ("openai_responses", response("max_output_tokens"), False),
        ("openai_responses", response(None), False),
    ],
)
def test_whole(name: str, said: dict[str, Any], refuses: bool) -> None:
    """A refusal is one by its finish reason, and only as long as nothing else was said."""
    assert DIALECTS[name].glance(json.dumps(said).encode()).is_refusal is refuses


@pytest.mark.parametrize(
    ("text", "refuses"), [(None, True), ("Well", False)], ids=["nothing was said", "something was said"]
)
def test_streamed(text: str | None, refuses: bool) -> None:
    """A raw Messages stream knows its id from the beginning, and at the end whether it was a refusal."""
    lane = DIALECTS["anthropic_messages"].watch(Asked())
    frames: list[dict[str, Any]] = [{"type": "message_start", "message": {"id": "msg_7", "content": []}}]
    if text is not None:
        frames.append({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}})
    frames += [{"type": "message_delta", "delta": {"stop_reason": "refusal"}}, {"type": "message_stop"}]
    for frame in frames:
        lane.feed(f"event: {frame['type']}\ndata: {json.dumps(frame)}\n\n".encode())
    assert lane.reply_id == "msg_7" and lane.is_refusal is refuses


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ("default", [""]),
        ([{"model": "a"}, {"model": "b", "speed": "fast"}], ["a", "b"]),
        ([{"model": ""}, {"speed": "fast"}, {"model": "c"}], ["c"]),
        (None, []),
        ("other", []),
        ([{"model": 7}], []),
        ([7], []),
        ({"model": "a"}, []),
    ],
)
def test_fallbacks_are_read(given: Any, names: list[str]) -> None:
    """Each entry that names a model is one; what is not valid is none."""
    assert [one.model for one in read_fallbacks(body(messages_request(fallbacks=given)))] == names
    assert read_fallbacks(body(messages_request())) == ()


@pytest.mark.parametrize(
    ("settings", "changed"),
    [
        ({}, {}),
        ({"max_tokens": 5, "speed": "fast"}, {"max_tokens": 5, "speed": "fast"}),
        ({"max_tokens": None}, {}),
        ({"thinking": None}, {"thinking": None}),
        ({"output_config": {"effort": "low"}}, {"output_config": {"format": {"type": "x"}, "effort": "low"}}),
        ({"output_config": {"format": None}}, {"output_config": {"effort": "high"}}),
        ({"output_config": None}, {"output_config": None}),
    ],
)
def test_a_fallback_has_its_own_settings(settings: dict[str, Any], changed: dict[str, Any]) -> None:
    """An entry's settings replace the request's, null takes one away, and `output_config` is merged by field."""
    config = {"format": {"type": "x"}, "effort": "high"}
    asked = messages_request(
        thinking={"type": "adaptive"}, output_config=config, fallbacks=[{"model": "a", **settings}]
    )
    (fallback,) = read_fallbacks(body(asked))
    found = with_fallback(body(asked), fallback)
    wanted = {name: value for name, value in (asked | changed).items() if name != "fallbacks" and value is not None}
    assert json.loads(found.edited()) == wanted
    assert json.loads(with_fallback(body(messages_request()), Fallback("a")).edited()) == messages_request()
