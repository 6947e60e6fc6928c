"""Sound goes only where the provider's dialect has a content part for it, and an empty `audio` object is none."""

import json
from typing import Any

import pytest

from gateway.errors import CannotSay
from gateway.wire.profile import Profile
from gateway.wire.translated_lane import read_whole
from tests.wire.crossings import CHAT, chat_request, chunk, cross, memo_of, request_of, written
from tests.wire.grammar import read_messages
from tests.wire.responses_to_others import responses_request
from tests.wire.streams import DONE

SOUND: dict[str, Any] = {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}
ASKED = [{"role": "user", "content": [{"type": "text", "text": "What is it?"}, SOUND]}]
CALL: dict[str, Any] = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
RESULT: dict[str, Any] = {"type": "function_call_output", "call_id": "c", "output": [SOUND]}


@pytest.mark.parametrize("upstream", ["openai_responses", "anthropic_messages"])
def test_sound_is_refused_where_no_part_takes_it(upstream: str) -> None:
    """Neither Responses nor Messages has a part for sound: the request is refused, and another target can be asked."""
    with pytest.raises(CannotSay, match="sound"):
        written("openai_chat", chat_request(messages=ASKED), upstream=upstream)


def test_sound_goes_up_where_a_part_takes_it() -> None:
    """A Responses client's sound becomes Chat's part; a server that takes none is not asked."""
    said = responses_request(input=[{"role": "user", "content": [SOUND]}])
    out, memo = written("openai_responses", said, upstream="openai_chat")
    assert out["messages"][0]["content"] == [SOUND] and memo.drops.names == []
    with pytest.raises(CannotSay, match="sound"):
        written("openai_responses", said, Profile(audio=False), upstream="openai_chat")


def test_sound_in_a_tools_result_is_attached() -> None:
    """Chat's tool messages take text only: the sound stands in the user message behind them."""
    said = responses_request(input=[{"role": "user", "content": "Hi"}, CALL, RESULT])
    out, memo = written("openai_responses", said, upstream="openai_chat")
    assert out["messages"][-2]["content"] == "[sound #1 attached below]"
    assert out["messages"][-1] == {"role": "user", "content": [SOUND]} and memo.drops.names == []


EMPTY: list[Any] = [{}, None, {"id": None}, {"id": ""}, {"data": "", "transcript": ""}]


@pytest.mark.parametrize("audio", [*EMPTY, []])
def test_an_empty_audio_object_asks_for_no_sound(audio: Any) -> None:
    """A client that sends an empty `audio` asks for text, and one in the history is nothing."""
    past = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "a", "audio": audio}]
    said = chat_request(messages=past, audio=audio, modalities=["text"])
    assert len(request_of("openai_chat", said).turns) == 2


@pytest.mark.parametrize(
    "more",
    [
        {"audio": {"voice": "alloy", "format": "wav"}},
        {"modalities": ["text", "audio"], "audio": {}},
        {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "audio": {"id": "audio_1"}}]},
    ],
)
def test_sound_that_is_asked_for_is_refused(more: dict[str, Any]) -> None:
    """A request for sound, and sound in the history, cannot be said in another dialect."""
    with pytest.raises(CannotSay):
        request_of("openai_chat", chat_request(**more))


@pytest.mark.parametrize("kind", ["audio", "images"])
@pytest.mark.parametrize("made", [*EMPTY, [], [{}], [None]])
def test_an_empty_audio_object_in_a_reply_is_nothing(made: Any, kind: str) -> None:
    """Servers that send `audio: {}` beside their text have made no sound, whole and streamed."""
    assert CHAT.upstream is not None
    message = {"role": "assistant", "content": "a", kind: made}
    whole = json.dumps({"choices": [{"message": message, "finish_reason": "stop"}]}).encode()
    reply = read_whole(CHAT.upstream, whole, is_stream=False, memo=memo_of("anthropic_messages"))
    assert [getattr(block, "text", None) for block in reply.blocks] == ["a"]
    told = read_messages(
        cross("anthropic_messages", chunk(content="a", **{kind: made}) + chunk("stop", **{kind: made}) + DONE)
    )
    assert (told.kinds, told.text) == (["text"], "a")
