"""What providers send is read as far as it can be, and given up only when it is plainly something else."""

import json
from typing import Any

import pytest

from gateway.errors import Unreadable
from gateway.faults import Fault
from gateway.wire.codec.lenient import MAX_JUNK, Junk, count, read_object

GOOD, BAD = b'{"a":1}', b"<html>"


@pytest.mark.parametrize("data", [BAD, b"[1]", b'"text"', b"null", b'{"a":', b"[" * 100_000])
def test_junk_between_good_frames_is_left_out(data: bytes) -> None:
    """Up to two unreadable frames in a row are left out, again and again; the third in a row ends the stream."""
    junk = Junk()
    for _ in range(3):
        assert junk.read(GOOD) == {"a": 1}
        assert [junk.read(data) for _ in range(MAX_JUNK - 1)] == [None] * (MAX_JUNK - 1)
    with pytest.raises(Unreadable) as caught:
        junk.read(data)
    assert caught.value.fault is Fault.BROKEN


def test_junk_before_anything_good_ends_the_stream() -> None:
    """A stream that begins with junk is of another dialect."""
    junk = Junk()
    assert not junk.has_begun
    with pytest.raises(Unreadable, match="not the JSON of its dialect"):
        junk.read(BAD)
    assert not junk.has_begun


@pytest.mark.parametrize("data", [b"", b"  ", b"[DONE]", b" [DONE]\n"])
def test_empty_data_and_the_end_are_not_junk(data: bytes) -> None:
    """Empty data and `[DONE]` count as nothing, however many come and even before the first good frame."""
    junk = Junk()
    assert [junk.read(data) for _ in range(2 * MAX_JUNK)] == [None] * (2 * MAX_JUNK)
    assert not junk.has_begun
    assert junk.bad(data) == b""


@pytest.mark.parametrize(
    ("frame", "wanted"),
    [
        (b'data: {"a":1}\n\n', {"a": 1}),
        (b'event: x\ndata:{"a":\ndata:1}\n\n', {"a": 1}),
        (b"data: [DONE]\n\n", None),
        (b"data:\n\n", None),
        (b": comment\n\n", None),
        (b"event: ping\n\n", None),
    ],
)
def test_frames_are_read(frame: bytes, wanted: dict[str, Any] | None) -> None:
    """The data of a frame are decoded; a comment, an empty frame and the end are none, and no junk either."""
    junk = Junk()
    assert [junk.read_frame(frame) for _ in range(2 * MAX_JUNK)] == [wanted] * (2 * MAX_JUNK)
    assert junk.has_begun is (wanted is not None)


def test_the_raw_lane_counts_by_itself() -> None:
    """A lane that reads frames by itself notes the good and the bad ones, and sends nothing for a bad one."""
    junk = Junk()
    junk.good()
    assert junk.has_begun
    assert junk.bad(BAD) == junk.bad(BAD) == b""
    junk.good()
    assert junk.bad(BAD) == junk.bad(BAD) == b""
    with pytest.raises(Unreadable):
        junk.bad(BAD)


@pytest.mark.parametrize("body", [b'{"a":1}', b' {"a":1}\n', b'[{"a":1}]', b'[{"a":1},{"b":2}]'])
def test_a_whole_reply_is_an_object(body: bytes) -> None:
    """A reply is an object, or the first of a list, as Google's errors come."""
    assert read_object(body) == {"a": 1}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "not the JSON of its dialect"),
        (BAD, "not the JSON of its dialect"),
        (b"[" * 100_000, "not the JSON of its dialect"),
        (b"[]", "not a JSON object"),
        (b"[[{}]]", "not a JSON object"),
        (b"null", "not a JSON object"),
        (b'"text"', "not a JSON object"),
    ],
)
def test_any_other_reply_is_unreadable(body: bytes, words: str) -> None:
    """HTML, damaged JSON and any other value are the provider's fault."""
    with pytest.raises(Unreadable, match=words):
        read_object(body)


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (0, 0),
        (17, 17),
        (17.0, 17),
        (17.9, 17),
        ("17", 17),
        ("", None),
        ("-1", None),
        ("1.5", None),
        ("²", None),
        ("9" * 15, 10**15 - 1),
        ("9" * 16, None),
        (10**15, None),
        (-1, None),
        (float("nan"), None),
        (float("inf"), None),
        (True, None),
        (None, None),
        ([1], None),
    ],
)
def test_counts_of_tokens(value: Any, wanted: int | None) -> None:
    """Numbers and digits are counts; what is negative, absurd or no number is unknown, never zero."""
    found = count(value)
    assert found == wanted and type(found) is type(wanted)


def test_a_large_reply() -> None:
    """A reply of a hundred thousand members is read whole."""
    payload = {f"m{number}": number for number in range(100_000)}
    assert read_object(json.dumps(payload).encode()) == payload


@pytest.mark.parametrize("body", [b'{"a":"x\xff"}', b'{"a":"x\xf0\x9f"}'])
def test_half_a_character_is_replaced(body: bytes) -> None:
    """Bytes that are no UTF-8 stand for one lost character, as JavaScript's SDKs read them: the rest is kept."""
    assert read_object(body) == {"a": "x\ufffd"}
    assert Junk().read(body) == {"a": "x\ufffd"}
