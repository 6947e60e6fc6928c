"""The raw lane of Messages, its errors and its usage."""

import json
from typing import Any

import pytest

from gateway.errors import Broke, Declined, RateLimited, TimedOut, Unavailable, Unreadable
from gateway.faults import Fault
from gateway.wire.anthropic_messages import raw
from gateway.wire.anthropic_messages.counting import COUNT_TOKENS
from gateway.wire.anthropic_messages.errors import type_of, write_error, write_stream_error
from gateway.wire.anthropic_messages.usage import read_usage, write_usage
from gateway.wire.codec.json_body import JsonBody
from gateway.wire.dialect import Asked
from gateway.wire.neutral import Usage
from gateway.wire.profile import Profile
from gateway.wire.translation.memo import Drops
from tests.wire.crossings import event, message, messages_request

STREAM = message({"type": "text", "text": "a"}, {"type": "thinking", "thinking": "hm", "signature": "S"})


def fed(stream: bytes) -> tuple[bytes, raw.MessagesWatch]:
    lane = raw.watch(Asked())
    frames = [one + b"\n\n" for one in stream.split(b"\n\n")[:-1]]
    return b"".join([*map(lane.feed, frames), lane.end()]), lane


def test_a_good_stream_goes_through_unchanged() -> None:
    """A valid stream passes byte for byte, with comments, pings and unknown events. (EC-213)"""
    start, rest = STREAM.split(b"\n\n", 1)
    extra = b": c\n\n" + event("ping") + event("hologram", x=1)
    stream = start + b"\n\n" + extra + rest
    out, lane = fed(stream)
    assert out == stream and lane.has_content and lane.is_finished
    assert lane.usage == Usage(input=5, output=3)
    assert lane.feed(b": late\n\n") == b""


def test_most_chunks_pass_at_once() -> None:
    """After content a lone delta takes the fast path; pings and joined frames do not."""
    _, lane = fed(STREAM)
    delta = b'event: content_block_delta\ndata: {"type":"content_block_delta"}\n\n'
    assert lane.passes(delta) and not lane.passes(delta * 2) and not lane.passes(event("ping"))
    assert not raw.watch(Asked()).passes(delta)


def test_what_is_mended() -> None:
    """A second message_start is removed; missing message_stop and event names are added. (EC-207, EC-210)"""
    first = STREAM.split(b"\n\n")[0] + b"\n\n"
    assert fed(first + STREAM)[0] == STREAM
    assert fed(STREAM.replace(event("message_stop"), b""))[0] == STREAM.replace(
        event("message_stop"), b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
    )
    bare = b"".join(frame.split(b"\n", 1)[1] + b"\n\n" for frame in STREAM.split(b"\n\n")[:-1])
    assert fed(bare)[0] == STREAM
    assert fed(STREAM + b"data: [DONE]\n\n")[0] == STREAM


def test_a_second_beginning_that_has_content() -> None:
    """A second message_start takes the place of the first, also if the whole reply stands in it."""
    text = {"type": "text", "text": "a"}
    whole = {"id": "msg_2", "content": [text], "stop_reason": "end_turn", "usage": {"output_tokens": 1}}
    for members in (whole, {**whole, "stop_reason": None}):
        second = event("message_start", message=members)
        rest = event("message_delta", delta={"stop_reason": "end_turn"}, usage={}) + event("message_stop")
        first = STREAM.split(b"\n\n")[0] + b"\n\n" + event("ping")
        out, lane = fed(first + second + rest)
        assert out == second + rest and lane.has_content and lane.is_finished


def test_streams_that_break() -> None:
    """A stream cut before its end, or restarted after content, raises Broke; an error raises Declined.

    Invalid and endless frames raise Unreadable. (EC-208, EC-211, EC-212)
    """
    with pytest.raises(Broke):
        fed(STREAM[: STREAM.index(b"event: message_delta")])
    with pytest.raises(Broke):
        fed(STREAM[: STREAM.index(b"event: message_delta")] + STREAM)
    with pytest.raises(Broke):
        fed(STREAM[: STREAM.index(b"event: message_delta")] + event("message_stop"))
    for frame in (
        event("error", error={"type": "overloaded_error", "message": "m"}),
        b'data: {"error":{"type":"overloaded_error","message":"m"}}\n\n',
    ):
        with pytest.raises(Declined) as raised:
            fed(frame)
        assert raised.value.fault is Fault.OVERLOADED
    with pytest.raises(Unreadable):
        fed(b"data: junk\n\n")
    start = STREAM.split(b"\n\n")[0] + b"\n\n"
    with pytest.raises(Unreadable):
        fed(start + b"data: junk\n\n" * 3)
    with pytest.raises(Unreadable):
        fed(start + (b": " + b"x" * 1000 + b"\n\n") * 1100)


def test_emptiness() -> None:
    """A turn without blocks and tokens is empty; a refusal without blocks is not. (EC-204)"""
    _, lane = fed(message(usage={"input_tokens": 1, "output_tokens": 0}))
    assert lane.is_empty
    out, lane = fed(message(stop="refusal"))
    assert not lane.is_empty and b"refusal" in out
    whole = {"content": [], "stop_reason": "end_turn", "usage": {"input_tokens": 1, "output_tokens": 0}}
    assert raw.glance(json.dumps(whole).encode()).is_empty
    assert not raw.glance(json.dumps(whole | {"stop_reason": "refusal"}).encode()).is_empty


@pytest.mark.parametrize("body", [b"<html>", b"5"])
def test_bodies_that_are_no_message(body: bytes) -> None:
    """A body that is not a message or a count raises Unreadable; an error in a 200 raises Declined."""
    for look in (raw.glance, COUNT_TOKENS.glance):
        with pytest.raises(Unreadable):
            look(body)
    with pytest.raises(Unreadable):
        COUNT_TOKENS.glance(b"{}")
    with pytest.raises(Declined):
        raw.glance(b'{"type":"error","error":{"type":"rate_limit_error","message":"m"}}')


def cleaned(profile: Profile, *content: dict[str, Any]) -> Any:
    said = messages_request(
        messages=[{"role": "assistant", "content": list(content)}, {"role": "user", "content": "x"}]
    )
    put = raw.add_members(JsonBody.read(json.dumps(said).encode()), profile, Drops())
    return json.loads(put["messages"]) if put else None


def test_our_envelopes_never_reach_anthropic() -> None:
    """Our envelopes and blocks that the server refuses are removed; other bytes stay. (EC-98, EC-132)"""
    ours = {"type": "thinking", "thinking": "t", "signature": "gw1.x"}
    theirs = {"type": "thinking", "thinking": "t", "signature": "S"}
    text = {"type": "text", "text": "a"}
    assert cleaned(Profile(), theirs, text) is None
    assert cleaned(Profile(), ours, theirs, text)[0]["content"] == [theirs, text]
    assert len(cleaned(Profile(), ours)) == 1, "a turn without a word is no turn"
    assert cleaned(Profile(), {"type": "redacted_thinking", "data": "gw1.x"}, text)[0]["content"] == [text]
    added = {"type": "tool_addition", "tools": []}
    assert cleaned(Profile(), added, text) is None
    assert cleaned(Profile(refused_blocks=("tool_addition",)), added, text)[0]["content"] == [text]
    assert raw.add_members(JsonBody.read(b"{}"), Profile(), Drops()) == {}


@pytest.mark.parametrize(
    ("status", "wanted"),
    [(400, "invalid_request_error"), (401, "authentication_error"), (402, "billing_error"), (403, "permission_error"),
     (404, "not_found_error"), (405, "invalid_request_error"), (409, "conflict_error"), (413, "request_too_large"),
     (415, "invalid_request_error"), (429, "rate_limit_error"), (500, "api_error"), (502, "api_error"),
     (503, "overloaded_error"), (504, "timeout_error"), (529, "overloaded_error")],
)  # fmt: skip
def test_types_follow_the_status(status: int, wanted: str) -> None:
    """Each status has its error type of Anthropic."""
    assert type_of(status) == wanted


def test_errors() -> None:
    """Errors have Anthropic's envelope: a full gateway is a 529, and details carry an error_code."""
    status, body = write_error(Unavailable("full"), "req_1", 0)
    assert status == 529
    assert json.loads(body) == {
        "type": "error",
        "error": {"type": "overloaded_error", "message": "full"},
        "request_id": "req_1",
    }
    status, body = write_error(RateLimited("m", code="budget_exceeded"), "r", 0)
    assert json.loads(body)["error"]["details"] == {"error_code": "budget_exceeded"}
    said = write_stream_error(TimedOut("idle", 1, "x"), "r")
    assert said.startswith(b"event: error\n") and b"timeout_error" in said and b"Consider raising" in said


@pytest.mark.parametrize(
    ("body", "is_verbatim"),
    [
        (b'{"type":"error","error":{"type":"t","message":"m"}}', True),
        (b'{"error":{"message":"m"}}', False),
        (b"x", False),
    ],
)
def test_a_providers_own_words(body: bytes, is_verbatim: bool) -> None:
    """A provider's error in Anthropic's envelope is returned verbatim; any other is rewritten."""
    error = Declined("m", Fault.CALLER, status=400, dialect="x", body=body)
    assert (write_error(error, "r", 0)[1] == body) is is_verbatim


def test_usage() -> None:
    """Usage is read in disjoint parts, and a turn of several iterations is their sum. (EC-150)"""
    said = {"input_tokens": 5, "cache_read_input_tokens": 10, "cache_creation_input_tokens": 2, "output_tokens": 30}
    assert read_usage(said | {"output_tokens_details": {"thinking_tokens": 8}}) == Usage(5, 10, 2, 30, 8)
    twice = read_usage(said | {"iterations": [said, said]})
    assert twice == Usage(10, 20, 4, 60)
    assert read_usage(None) is None and read_usage({}) is None
    assert write_usage(Usage())["input_tokens"] == 0
