"""What a model writes around its answer: reasoning with half its tags, the beginning that it was given."""

import json
from typing import Any

import pytest

from gateway.wire.profile import Profile
from gateway.wire.translated_lane import read_whole, says_nothing
from gateway.wire.translation.memo import Memo
from tests.wire.crossings import (
    CHAT,
    MESSAGES,
    chat_request,
    chunk,
    cross,
    crossing,
    event,
    memo_of,
    message,
    messages_request,
    write,
)
from tests.wire.grammar import read_chat, read_messages
from tests.wire.streams import STOP


@pytest.mark.parametrize("size", [1, 3, 100])
@pytest.mark.parametrize("written", ["hm</think>\na", "\nhm</think>a", " <think>hm</think>\n\na"])
def test_a_closing_tag_without_an_opening_one(written: str, size: int) -> None:
    """A server that puts <think> into its prompt sends the closing tag only: what stands before is reasoning."""
    for client in ("anthropic_messages", "openai_chat"):
        memo = memo_of(client, profile=Profile(think_tags=True))
        chunks = [chunk(content=written[at : at + size]) for at in range(0, len(written), size)]
        out = cross(client, b"".join([*chunks, STOP]), memo, "openai_chat")
        told = read_messages(out) if client == "anthropic_messages" else read_chat(out)
        assert (told.reasoning.strip(), told.text) == ("hm", "a")


def test_no_closing_tag_is_awaited_of_a_model_that_does_not_think() -> None:
    """Text passes at once if thinking is off, and if the server tells its reasoning apart itself."""
    off = messages_request(stream=True, thinking={"type": "disabled"})
    for said, first in ((off, b""), (messages_request(stream=True), chunk(reasoning_content="hm"))):
        memo = memo_of("anthropic_messages", said, Profile(think_tags=True))
        lane = crossing("anthropic_messages", "openai_chat", memo)
        if first:
            lane.feed(first)
        assert b'"a"' in lane.feed(chunk(content="a"))


def test_whole_replies_with_half_the_tags() -> None:
    """A whole reply is split as its stream is."""
    side = CHAT.upstream
    assert side is not None
    said = {"choices": [{"message": {"content": "hm</think>\n\na"}, "finish_reason": "stop"}]}
    memo = memo_of("anthropic_messages", profile=Profile(think_tags=True))
    reply = read_whole(side, json.dumps(said).encode(), is_stream=False, memo=memo)
    assert [getattr(block, "text", "") for block in reply.blocks] == ["hm", "a"]


def prefilled() -> Memo:
    """Return the memo of a request whose reply was begun with `{`."""
    memo = memo_of("openai_chat", chat_request(stream=True, response_format={"type": "json_object"}))
    write(memo)
    assert memo.prefill == "{"
    return memo


CONTINUED = [
    (['"a":1}'], '{"a":1}'),
    (["\n  ", '"a": 1\n}'], '{\n  "a": 1\n}'),
    (["}"], "{}"),
    (['{"a":1}'], '{"a":1}'),
    ([" ", "\n", "{", '"a":1}'], ' \n{"a":1}'),
    (["``", '`json\n{"a":1}\n```'], '```json\n{"a":1}\n```'),
    (["I cannot", " say."], "I cannot say."),
    ([], ""),
]


@pytest.mark.parametrize(("deltas", "wanted"), CONTINUED)
def test_the_beginning_that_was_given_stands_once(deltas: list[str], wanted: str) -> None:
    """A reply that goes on behind `{` gets it back; one that repeats it, or begins otherwise, stays as it is."""
    told = [event("content_block_delta", index=0, delta={"type": "text_delta", "text": one}) for one in deltas]
    frames = message({"type": "text", "text": "HERE"})
    here = event("content_block_delta", index=0, delta={"type": "text_delta", "text": "HERE"})
    assert here in frames
    out = cross("openai_chat", frames.replace(here, b"".join(told)), prefilled())
    assert read_chat(out).text == wanted
    assert MESSAGES.upstream is not None
    said: dict[str, Any] = {"type": "message", "stop_reason": "end_turn"}
    whole = json.dumps(said | {"content": [{"type": "text", "text": "".join(deltas)}]}).encode()
    reply = read_whole(MESSAGES.upstream, whole, is_stream=False, memo=prefilled())
    assert "".join(getattr(block, "text", "") for block in reply.blocks) == wanted


def test_a_beginning_alone_is_no_answer() -> None:
    """A model that adds nothing to `{` has said nothing, so that another target may be asked."""
    assert MESSAGES.upstream is not None
    whole = json.dumps({"type": "message", "stop_reason": "end_turn", "content": []}).encode()
    reply = read_whole(MESSAGES.upstream, whole, is_stream=False, memo=prefilled())
    assert not reply.blocks and says_nothing(reply)


def test_the_beginning_stands_before_the_first_text_only() -> None:
    """Two text blocks of one reply get the beginning once; also text that comes with the start of its block."""
    blocks = ({"type": "text", "text": '"a":'}, {"type": "text", "text": '"{"}'})
    assert read_chat(cross("openai_chat", message(*blocks), prefilled())).text == '{"a":"{"}'
    begun = event("content_block_start", index=0, content_block={"type": "text", "text": '{"a":1}'})
    start = message().split(b"event: message_delta")
    frames = start[0] + begun + event("content_block_stop", index=0) + b"event: message_delta" + start[1]
    assert read_chat(cross("openai_chat", frames, prefilled())).text == '{"a":1}'
