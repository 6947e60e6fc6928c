"""Dialects that are only passed through."""

import pytest

from gateway.errors import Declined, InternalError, Unreadable
from gateway.wire import DIALECTS
from gateway.wire.dialect import Asked
from gateway.wire.neutral import Usage
from gateway.wire.passthrough import BytesLane, Uncut

EMBEDDINGS = DIALECTS["openai_embeddings"]


def test_usage_is_read_in_both_vocabularies() -> None:
    """Usage is read in chat's names and in those of images and audio."""
    assert EMBEDDINGS.glance(b'{"usage":{"prompt_tokens":3}}').usage == Usage(input=3)
    assert EMBEDDINGS.glance(b'{"usage":{"input_tokens":3,"output_tokens":4}}').usage == Usage(input=3, output=4)
    assert EMBEDDINGS.glance(b"{}").usage is None


def test_an_error_in_a_200_is_a_fault() -> None:
    """An `error` in a 200 raises Declined, and a body that is not JSON raises Unreadable."""
    with pytest.raises(Declined):
        EMBEDDINGS.glance(b'{"error":{"message":"m"}}')
    with pytest.raises(Unreadable):
        EMBEDDINGS.glance(b"nonsense")


def test_events_are_carried_and_errors_found() -> None:
    """Events pass through unchanged, their usage is read, and an error among them raises Declined."""
    lane = EMBEDDINGS.watch(Asked())
    assert not lane.passes(b"data: x\n\n")
    assert lane.feed(b": c\n\n") == b": c\n\n"
    assert not getattr(lane, "has_content")  # noqa: B009 - mypy would take it for settled
    frame = b'data: {"type":"image.done","usage":{"input_tokens":1,"output_tokens":2}}\n\n'
    assert lane.feed(frame) == frame and lane.has_content
    assert lane.feed(b"data: no json\n\n") == b"data: no json\n\n"
    assert lane.usage == Usage(input=1, output=2)
    assert lane.end() == b"" and not lane.is_empty
    assert b"internal_error" in lane.fail(InternalError("x"), "r")
    with pytest.raises(Declined):
        lane.feed(b'data: {"error":{"message":"m"}}\n\n')


def test_bytes_have_no_words_for_an_error() -> None:
    """A byte stream has no error event: `fail` writes nothing, and the connection is cut."""
    lane = BytesLane()
    assert lane.feed(b"RIFF") == b"RIFF" and lane.passes(b"x")
    assert lane.end() == b"" and lane.fail(InternalError("x"), "r") == b""
    assert Uncut().feed(b"x") == [b"x"] and Uncut().end() == b""
