"""The stop sequence that ended a reply is told to Messages clients, whoever has found it."""

import json
from typing import Any

import pytest

from gateway.wire.neutral import StopReason
from gateway.wire.profile import Profile
from gateway.wire.translated_lane import read_whole
from tests.wire.crossings import CHAT, chat_request, chunk, cross, memo_of, message, messages_request, write
from tests.wire.grammar import read_chat
from tests.wire.streams import DONE

STOPS = ["X", "Y"]


@pytest.mark.parametrize("pieces", [["abX c"], ["ab", "X", " c"], ["a", "bX"]])
def test_a_sequence_that_the_gateway_enforced(pieces: list[str]) -> None:
    """A sequence that the server does not take ends the reply before it, and is named, whole and streamed."""
    memo = memo_of("anthropic_messages", messages_request(stream=True, stop_sequences=STOPS), Profile(stops=0))
    assert "stop" not in write(memo, upstream="openai_chat")
    out = cross("anthropic_messages", b"".join([*(chunk(content=one) for one in pieces), chunk("stop"), DONE]), memo)
    assert b'"stop_reason":"stop_sequence","stop_sequence":"X"' in out
    assert CHAT.upstream is not None
    said = {"choices": [{"message": {"content": "".join(pieces)}, "finish_reason": "stop"}]}
    reply = read_whole(CHAT.upstream, json.dumps(said).encode(), is_stream=False, memo=memo)
    assert (reply.stop.reason, reply.stop.sequence) == (StopReason.STOP_SEQUENCE, "X")


@pytest.mark.parametrize(
    ("more", "sequence"),
    [({"stop_reason": "X"}, "X"), ({"matched_stop": "Y"}, "Y"), ({"matched_stop": 128009}, None), ({}, None)],
)
def test_a_sequence_that_the_server_names(more: dict[str, Any], sequence: str | None) -> None:
    """vLLM and SGLang say what they have stopped at; a number is the end of the model's own turn."""
    assert CHAT.upstream is not None
    said = {"choices": [{"message": {"content": "a"}, "finish_reason": "stop", **more}]}
    memo = memo_of("anthropic_messages", messages_request(stop_sequences=STOPS))
    assert read_whole(CHAT.upstream, json.dumps(said).encode(), is_stream=False, memo=memo).stop.sequence == sequence


def test_a_sequence_of_white_space_is_enforced_for_claude() -> None:
    """Anthropic refuses it, so the gateway ends the reply there itself."""
    memo = memo_of("openai_chat", chat_request(stop=["\n\n", "END"]))
    assert write(memo, upstream="anthropic_messages")["stop_sequences"] == ["END"]
    assert memo.stops == ("\n\n",) and memo.drops.names == []
    out = cross("openai_chat", message({"type": "text", "text": "a\n\nb"}), memo)
    assert read_chat(out).text == "a"
