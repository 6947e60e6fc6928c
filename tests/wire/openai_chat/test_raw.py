"""The raw lane of Chat: what it reads in frames and replies, and that it changes nothing else."""

import json
from typing import Any

import pytest

from gateway.errors import Broke, Declined, InternalError, TimedOut, Unreadable
from gateway.faults import Fault
from gateway.wire.codec.json_body import JsonBody
from gateway.wire.codec.sse import DONE
from gateway.wire.neutral import Usage
from gateway.wire.openai_chat import raw
from gateway.wire.openai_chat.usage import read_usage
from gateway.wire.openai_error import write_error
from gateway.wire.profile import Profile
from gateway.wire.translation.memo import Drops

USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}


def frame(*choices: dict[str, Any], **more: Any) -> bytes:
    return b"data: " + json.dumps({"choices": list(choices), **more}).encode() + b"\n\n"


def delta(finish: str | None = None, index: int = 0, **members: Any) -> dict[str, Any]:
    return {"index": index, "delta": members, "finish_reason": finish}


ROLE, TEXT, STOP = frame(delta(role="assistant", content="")), frame(delta(content="hi")), frame(delta("stop"))


def fed(*frames: bytes, wants_usage: bool = False) -> tuple[bytes, raw.ChatWatch]:
    lane = raw.ChatWatch(wants_usage)
    return b"".join([*(lane.feed(one) for one in frames), lane.end()]), lane


def test_id_lines_are_taken_out() -> None:
    """`id:` lines are removed: with one, openai-python breaks at the next comment. (EC-215)

    A text that looks like an id line inside a reply's JSON stays.
    """
    out, _ = fed(ROLE, b"id: 5\n" + TEXT, frame(delta(content="\nid: 6")), STOP, DONE)
    assert out == ROLE + TEXT + frame(delta(content="\nid: 6")) + STOP + DONE


def test_a_good_stream_goes_through_unchanged() -> None:
    """A valid stream passes byte for byte, comments included."""
    stream = [b": hello\n\n", ROLE, TEXT, STOP, DONE]
    out, lane = fed(*stream)
    assert out == b"".join(stream)
    assert lane.has_content and not lane.is_empty


def test_a_role_is_no_content_and_everything_else_is() -> None:
    """A role alone is not content, and any other delta is: until content the gateway can fall back."""
    lane = raw.ChatWatch(False)
    lane.feed(ROLE)
    lane.feed(frame())
    assert not lane.has_content
    for said in (
        {"content": "x"},
        {"reasoning_content": "x"},
        {"tool_calls": [{"index": 0}]},
        {"refusal": "no"},
        {"new": 1},
    ):
        lane = raw.ChatWatch(False)
        lane.feed(frame(delta(**said)))
        assert lane.has_content, said
    lane = raw.ChatWatch(False)
    lane.feed(frame({"index": 0, "text": "x", "finish_reason": None}))
    assert lane.has_content


def test_the_usage_chunk_is_hidden_from_who_did_not_ask() -> None:
    """The usage chunk is counted, and hidden unless the client requested it. (EC-42)"""
    usage = frame(usage=USAGE)
    assert fed(TEXT, STOP, usage, DONE)[0] == TEXT + STOP + DONE
    out, lane = fed(TEXT, STOP, usage, DONE, wants_usage=True)
    assert out == TEXT + STOP + usage + DONE
    assert lane.usage == Usage(input=10, output=5)


def test_an_empty_choices_chunk_without_usage_is_kept() -> None:
    """A chunk with empty choices and no usage is kept: Azure's first chunk is part of its dialect."""
    first = frame(prompt_filter_results=[])
    assert fed(first, TEXT, STOP, DONE)[0].startswith(first)


@pytest.mark.parametrize(
    "frames",
    [[ROLE, TEXT], [ROLE, TEXT, DONE], [frame(delta(content="a")), frame(delta("stop", index=1, content="b"))], []],
)
def test_a_stream_without_a_finish_of_every_choice_is_broken(frames: list[bytes]) -> None:
    """EOF or [DONE] without a finish reason for every choice is Broke. (EC-197)"""
    with pytest.raises(Broke):
        fed(*frames)


def test_a_missing_done_is_added() -> None:
    """A stream that has finished without [DONE] gets one. (EC-198)"""
    assert fed(TEXT, STOP)[0] == TEXT + STOP + DONE


@pytest.mark.parametrize("finish", ["error", "network_error", "insufficient_system_resource"])
def test_some_finishes_are_failures(finish: str) -> None:
    """Finish reasons that stand for an error raise Broke (docs/wire/replies.md#stop-reasons)."""
    with pytest.raises(Broke):
        fed(TEXT, frame(delta(finish)))
    with pytest.raises(Broke):
        raw.glance(json.dumps({"choices": [{"message": {}, "finish_reason": finish}]}).encode())


@pytest.mark.parametrize(
    "bad",
    [
        b'data: {"error":{"message":"m","code":429}}\n\n',
        b'event: error\ndata: {"message":"m","code":429}\n\n',
        frame(delta(content="x"), error={"message": "m", "code": 429}),
    ],
)
def test_errors_inside_a_stream_are_faults(bad: bytes) -> None:
    """An error as an event, as an object or beside choices raises Declined. (EC-195, EC-196)"""
    lane = raw.ChatWatch(False)
    with pytest.raises(Declined) as caught:
        lane.feed(bad)
    assert (caught.value.fault, caught.value.message) == (Fault.LIMITED, "m")


def test_junk_between_good_frames_is_dropped_and_three_in_a_row_are_a_fault() -> None:
    """Invalid frames are dropped; one at the start or three in a row raise Unreadable. (EC-172)

    An empty data line, which is dropped too, would crash OpenAI's SDKs.
    """
    junk = b"data: {not json\n\n"
    assert fed(ROLE, junk, TEXT, b"data: \n\n", STOP, DONE)[0] == ROLE + TEXT + STOP + DONE
    with pytest.raises(Unreadable):
        fed(ROLE, junk, junk, junk)
    with pytest.raises(Unreadable):
        fed(junk)


def test_what_follows_done_is_ignored() -> None:
    """Frames behind `[DONE]`, with or without the space, are left out."""
    assert fed(TEXT, STOP, b"data:[DONE]\n\n", TEXT)[0] == TEXT + STOP + b"data:[DONE]\n\n"


def test_passes_only_what_decides_nothing() -> None:
    """After content `passes` is true only for frames that need no reading: the fast path misses nothing."""
    lane = raw.ChatWatch(False)
    assert not lane.passes(TEXT)
    lane.feed(TEXT)
    assert lane.passes(TEXT)
    for other in (
        STOP,
        DONE,
        frame(usage=USAGE),
        frame(error={}),
        TEXT + TEXT,
        TEXT[:-1],
        b": c\n\n",
        b"data: {x}\n\n",
        frame(),
    ):
        assert not lane.passes(other), other


@pytest.mark.parametrize(
    ("reply", "is_empty"),
    [
        ({"choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}]}, False),
        ({"choices": [{"message": {"content": ""}, "finish_reason": "stop"}]}, True),
        ({"choices": [{"message": {"content": None}, "finish_reason": "length"}]}, False),
        ({"choices": [{"message": {"tool_calls": [{}]}, "finish_reason": "stop"}]}, False),
        ({"choices": [{"message": {"content": ""}, "finish_reason": "stop"}], "usage": USAGE}, False),
        ({"choices": [{"text": "hi", "finish_reason": "stop"}]}, False),
        ({"choices": []}, False),
    ],
)
def test_a_reply_that_says_nothing_is_noticed(reply: dict[str, Any], is_empty: bool) -> None:
    """A reply that stops without content, calls or counted output is empty.

    See docs/wire/errors.md#errors-inside-http-200.
    """
    assert raw.glance(json.dumps(reply).encode()).is_empty is is_empty


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'"x"', b"\xff"])
def test_what_is_no_reply_is_unreadable(body: bytes) -> None:
    """A body that is not a JSON object raises Unreadable, so that the next target is tried."""
    with pytest.raises(Unreadable):
        raw.glance(body)


def test_odd_spellings_are_put_right() -> None:
    """Counts as text, a delta that is a text, and an invalid index are read."""
    lane = raw.ChatWatch(False)
    lane.feed(
        frame(
            {"index": "0", "delta": "x", "finish_reason": "stop"},
            usage={"prompt_tokens": "7", "completion_tokens": 2.0},
        )
    )
    assert lane.usage == Usage(input=7, output=2)


@pytest.mark.parametrize(
    ("said", "usage"),
    [
        (USAGE | {"prompt_tokens_details": {"cached_tokens": 4}}, Usage(input=6, cache_read=4, output=5)),
        ({"prompt_tokens": 100, "prompt_cache_hit_tokens": 320, "completion_tokens": 1}, Usage(0, 320, None, 1)),
        ({"prompt_tokens": 10, "cached_tokens": 3, "completion_tokens": 1}, Usage(7, 3, None, 1)),
        (
            {
                "prompt_tokens": 291,
                "completion_tokens": 26,
                "total_tokens": 513,
                "completion_tokens_details": {"reasoning_tokens": 196},
            },
            Usage(291, None, None, 222, 196),
        ),
        ({"prompt_tokens": None, "completion_tokens": None}, None),
        ({"prompt_tokens": "x", "completion_tokens": True}, None),
        ("nothing", None),
    ],
)
def test_usage_is_read_from_where_servers_put_it(said: Any, usage: Usage | None) -> None:
    """Usage is in disjoint parts, never negative, with xAI's reasoning added. (EC-151, EC-152, EC-153, EC-154)"""
    assert read_usage(said) == usage


def test_usage_beside_the_choices_is_found() -> None:
    """Usage is found in Groq's x_groq and in Moonshot's choice. (EC-155)"""
    assert fed(frame(delta("stop", content="x"), x_groq={"usage": USAGE}))[1].usage == Usage(input=10, output=5)
    assert fed(frame(delta("stop", content="x") | {"usage": USAGE}))[1].usage == Usage(input=10, output=5)


def test_usage_is_asked_for_without_losing_other_options() -> None:
    """include_usage joins the client's own stream_options, unless the profile refuses them."""
    body = JsonBody.read(b'{"stream":true,"stream_options":{"include_obfuscation":false}}')
    put = raw.add_members(body, Profile(), Drops())
    assert json.loads(put["stream_options"]) == {"include_obfuscation": False, "include_usage": True}
    assert raw.add_members(body, Profile(stream_options=False), Drops()) == {}
    assert raw.add_members(JsonBody.read(b"{}"), Profile(), Drops()) == {}
    assert raw.ask(JsonBody.read(b'{"stream_options":{"include_usage":true}}')).wants_usage
    assert not raw.ask(body).wants_usage


def test_a_broken_stream_ends_with_an_error_and_done() -> None:
    """A broken stream ends with the documented error frame, then [DONE]."""
    lane = raw.ChatWatch(False)
    assert lane.fail(TimedOut("idle", 60, "x.idle"), "r") == (
        b'data: {"error":{"message":"Upstream idle timeout after 60 s","type":"upstream_timeout","param":null,'
        b'"code":"read_timeout","suggestion":"Consider raising x.idle"}}\n\ndata: [DONE]\n\n'
    )
    assert b'"internal_error"' in lane.fail(InternalError("x"), "r")


def test_azures_words_about_its_filter_are_kept() -> None:
    """Azure's filter error gets the type that SDKs need, and keeps its other members. (EC-242)"""
    inner = {"code": "ResponsibleAIPolicyViolation", "content_filter_result": {"hate": {"filtered": True}}}
    said = {"error": {"code": "content_filter", "message": "m", "type": None, "status": 400, "innererror": inner}}
    error = Declined(
        "m", Fault.FILTERED, status=400, dialect="x", body=json.dumps(said).encode(), code="content_filter"
    )
    status, body = write_error(error, "r", 0)
    told = json.loads(body)["error"]
    assert status == 400 and told["innererror"] == inner and told["code"] == "content_filter"
    assert told["type"] == "invalid_request_error"
