"""A reply that is translated says no more than any model can, and a long piece of it is worked on in pieces."""

import json

import pytest

from gateway.errors import Unreadable
from gateway.wire import DIALECTS
from gateway.wire.translated_lane import MAX_PIECE, MAX_SAID, read_whole
from tests.wire.crossings import chat_request, chunk, crossing, memo_of

CLIENTS = ["anthropic_messages", "openai_responses"]


@pytest.mark.parametrize("client", CLIENTS)
def test_a_stream_without_end_is_cut(client: str) -> None:
    """What is told of a text five times must have a bound before it fills the memory."""
    lane, frame = crossing(client, "openai_chat", memo_of("openai_chat")), chunk(content="x" * (MAX_SAID // 8))
    for _ in range(8):
        lane.feed(frame)
    with pytest.raises(Unreadable, match="characters"):
        lane.feed(chunk(content="x"))


def test_a_whole_reply_without_end_is_refused() -> None:
    """So that another target may be asked."""
    upstream, memo = DIALECTS["openai_chat"].upstream, memo_of("anthropic_messages")
    message = {"role": "assistant", "content": "x" * (MAX_SAID + 1)}
    reply = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    assert upstream is not None
    with pytest.raises(Unreadable, match="characters"):
        read_whole(upstream, json.dumps(reply).encode(), False, memo)


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("stop", ["END", ""])
def test_a_long_delta_loses_nothing(client: str, stop: str) -> None:
    """Neither its characters nor a stop sequence that lies where it is cut into pieces."""
    text = "a" * (MAX_PIECE - 2) + "END" + "b" * MAX_PIECE + "😀"
    said = chat_request(stream=True) | ({"stop": stop} if stop else {})
    memo = memo_of("openai_chat", said)
    memo.stops = (stop,) if stop else ()
    lane = crossing(client, "openai_chat", memo)
    out = lane.feed(chunk(content=text)) + lane.feed(chunk(finish="stop")) + lane.end()
    deltas = [json.loads(line[6:]) for line in out.splitlines() if line.startswith(b"data: {")]
    pieces = [
        one["delta"]["text"] if client == "anthropic_messages" else one["delta"]
        for one in deltas
        if one["type"] in ("content_block_delta", "response.output_text.delta")
    ]
    assert len(pieces) > 1 or stop
    assert "".join(pieces) == (text.partition(stop)[0] if stop else text)
