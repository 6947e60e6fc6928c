"""A chat stream that is put right for its own dialect's strict SDKs."""

import json
from typing import Any

import pytest

from gateway.errors import Broke, Declined
from gateway.wire.dialect import Asked
from gateway.wire.openai_chat.tidy import tidy
from tests.wire.crossings import chunk, usage_chunk
from tests.wire.grammar import frames_of
from tests.wire.recordings import Recording, recordings

DONE = b"data: [DONE]\n\n"
USAGE = {"prompt_tokens": 1, "completion_tokens": 2}


def fed(*frames: bytes, wants_usage: bool = True) -> list[Any]:
    lane = tidy(Asked(wants_usage))
    out = b"".join([*map(lane.feed, frames), lane.end()])
    assert not lane.passes(chunk(content="x"))
    assert out.endswith(DONE)
    return [json.loads(data) for _, data in frames_of(out)[:-1]]


def deltas(*frames: bytes) -> list[dict[str, Any]]:
    return [choice["delta"] for said in fed(*frames, chunk("stop"), DONE) for choice in said["choices"]]


def test_roles_and_empty_first_chunks() -> None:
    """The role is sent once, and members of an empty first chunk join the next one. (EC-173, EC-174, EC-175)"""
    first = b'data: {"id":"","created":0,"choices":[],"prompt_filter_results":[1]}\n\n'
    said = fed(
        first,
        b'data: {"choices":null}\n\n',
        chunk(role="assistant", content="a"),
        chunk(role="assistant"),
        chunk("stop"),
    )
    assert said[0]["prompt_filter_results"] == [1] and said[0]["id"] == "c1"
    assert [one["choices"][0]["delta"] for one in said] == [{"role": "assistant", "content": "a"}, {}, {}]
    assert {one["id"] for one in said} == {"c1"}


def call(**more: Any) -> dict[str, Any]:
    function = {name: more.pop(name) for name in ("name", "arguments") if name in more}
    return {**more, "function": function}


def test_calls() -> None:
    """Ids and names of calls are sent once, and indices are dense. (EC-176, EC-177, EC-179, EC-180, EC-181)"""
    found = deltas(
        chunk(tool_calls=[call(index=1, id="a", type="function", name="f", arguments="")]),
        chunk(tool_calls=[call(index=1, id="a", type="function", name="f", arguments="{}")]),
        chunk(tool_calls=[call(index=1, id="b", type="function", name="g", arguments="{}")]),
        chunk(tool_calls=[call(index=1, id="", arguments=" ")]),
    )
    calls = [one for delta in found for one in delta.get("tool_calls", ())]
    assert [one["index"] for one in calls] == [0, 0, 1, 1]
    assert [one.get("id") for one in calls] == ["a", None, "b", None]
    assert [one["function"].get("name") for one in calls] == ["f", None, "g", None]
    found = deltas(chunk(tool_calls=[call(id="a", name="f", arguments="{")]), chunk(tool_calls=[call(arguments="}")]))
    assert [one["index"] for delta in found for one in delta.get("tool_calls", ())] == [0, 0]


def test_the_end() -> None:
    """One finish stands behind all content, then the usage. (EC-186, EC-187, EC-188, EC-189)"""
    said = fed(
        chunk(content="a"),
        chunk("length"),
        usage_chunk(**USAGE),
        chunk(content="b"),
        chunk("length"),
        b'data: {"choices":[]}\n\n',
        DONE,
    )
    assert [one["choices"][0]["finish_reason"] for one in said[:-1]] == [None, None, "length"]
    assert said[-1]["choices"] == [] and said[-1]["usage"] == USAGE
    with_finish = (
        b'data: {"choices":[{"delta":{"content":"a"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1}}\n\n'
    )
    assert [bool(one["choices"]) for one in fed(with_finish)] == [True, True, False]
    assert all(one["choices"] for one in fed(with_finish, wants_usage=False))
    assert fed(chunk("", content="a"), chunk("stop"))[0]["choices"][0]["finish_reason"] is None


def test_reasoning() -> None:
    """Reasoning in any shape becomes `reasoning_content`, and details get an index. (EC-140, EC-190, EC-194)"""
    thinking = [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "a"}]
    found = deltas(
        chunk(reasoning="x"),
        chunk(content=thinking),
        chunk(reasoning_details=[{"type": "reasoning.text", "text": "y"}]),
    )
    assert found[0] == {"role": "assistant", "reasoning_content": "x"}
    assert found[1] == {"content": "a", "reasoning_content": "hm"}
    assert found[2]["reasoning_details"][0]["index"] == 0


def test_several_choices_and_unknown_members() -> None:
    """Each choice is put right for itself, and unknown members stay. (EC-200)"""
    two = {"id": "c", "provider": "p", "choices": [{"index": n, "delta": {"content": "a"}, "x": n} for n in (0, 1)]}
    end = {"id": "c", "choices": [{"index": n, "message": {}, "finish_reason": "stop"} for n in (0, 1)]}
    said = fed(*(b"data: " + json.dumps(one).encode() + b"\n\n" for one in (two, end)))
    assert said[0]["provider"] == "p" and [one["x"] for one in said[0]["choices"]] == [0, 1]
    assert len(said[1]["choices"]) == 2


def test_faults_stay_faults() -> None:
    """An error beside or between choices raises Declined, and a missing finish raises Broke. (EC-195, EC-197)"""
    with pytest.raises(Declined):
        fed(chunk(content="a"), b'data: {"error":{"message":"m"}}\n\n')
    with pytest.raises(Broke):
        fed(chunk(content="a"), DONE)
    assert fed(b": comment\n\n", chunk(content="a"), chunk("stop"))


ODD = [one for one in recordings() if one.dialect == "openai_chat" and "stream_error" not in one.name]
ODD = [one for one in ODD if "tool_use_failed" not in one.name and "snowflake" not in one.name]


@pytest.mark.skipif(not ODD, reason="set GATEWAY_CORPUS to the folder of recorded streams")
@pytest.mark.parametrize("recording", ODD, ids=str)
def test_recordings_keep_all_their_text(recording: Recording) -> None:
    """Every recorded chat stream comes out with one role, and one finish at its end."""
    lane = tidy(Asked())
    frames = [
        one + b"\n\n"
        for one in recording.stream.replace(b"\r\n", b"\n").split(b"\n\n")
        if one.startswith((b"data:", b"event:"))
    ]
    out = b"".join([*map(lane.feed, frames), lane.end()])
    said = [json.loads(data) for _, data in frames_of(out) if data != "[DONE]"]
    roles = [choice["delta"].get("role") for one in said for choice in one["choices"]]
    assert sum(role is not None for role in roles) == 1
    finishes = [choice["finish_reason"] for one in said for choice in one["choices"]]
    assert sum(finish is not None for finish in finishes) == 1 and finishes[-1] is not None
