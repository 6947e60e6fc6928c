"""A Messages upstream whose deltas come under the number of a block of another kind."""

import json
from typing import Any

import pytest

from gateway.wire import DIALECTS
from gateway.wire.neutral import Reasoning, Text, ToolCall
from gateway.wire.translated_lane import read_whole
from tests.wire.crossings import cross, event, memo_of, messages_request
from tests.wire.grammar import Told, read_chat, read_responses

USE: dict[str, Any] = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}}
TEXT: dict[str, Any] = {"type": "text", "text": ""}
THINKING: dict[str, Any] = {"type": "thinking", "thinking": "", "signature": ""}
SERVER: dict[str, Any] = {"type": "server_tool_use", "id": "srv_1", "name": "web_search", "input": {}}


def start(index: int, block: dict[str, Any]) -> bytes:
    return event("content_block_start", index=index, content_block=block)


def stop(index: int) -> bytes:
    return event("content_block_stop", index=index)


def said(index: int, text: str) -> bytes:
    return event("content_block_delta", index=index, delta={"type": "text_delta", "text": text})


def thought(index: int, text: str) -> bytes:
    return event("content_block_delta", index=index, delta={"type": "thinking_delta", "thinking": text})


def argued(index: int, text: str) -> bytes:
    return event("content_block_delta", index=index, delta={"type": "input_json_delta", "partial_json": text})


def stream(*frames: bytes, reason: str = "tool_use") -> bytes:
    usage = {"input_tokens": 5, "output_tokens": 3}
    begun = event("message_start", message={"id": "msg_up", "model": "up", "content": [], "usage": usage})
    ended = event("message_delta", delta={"stop_reason": reason, "stop_sequence": None}, usage=usage)
    return b"".join([begun, *frames, ended, event("message_stop")])


def both(data: bytes) -> tuple[Told, Told]:
    """Return what a Chat client and a Responses client get."""
    openai = read_chat(cross("openai_chat", data))
    memo = memo_of("openai_responses", {"model": "m", "input": "Hi", "stream": True})
    codex, _ = read_responses(cross("openai_responses", data, memo, "anthropic_messages"))
    return openai, codex


def check(*frames: bytes, text: str = "", reasoning: str = "", calls: Any = ({"a": 1},)) -> None:
    for told in both(stream(*frames)):
        assert (told.text, told.reasoning) == (text, reasoning)
        assert [json.loads(arguments) for _, _, arguments in told.calls] == list(calls)
    reads = DIALECTS["anthropic_messages"].upstream
    assert reads is not None
    reply = read_whole(reads, stream(*frames), True, memo_of("openai_chat"))
    kinds = (Text, Reasoning)
    assert ["".join(one.text for one in reply.blocks if isinstance(one, kind)) for kind in kinds] == [text, reasoning]
    assert [json.loads(one.arguments) for one in reply.blocks if isinstance(one, ToolCall)] == list(calls)


@pytest.mark.parametrize("place", [0, 1, 2, 3])
def test_text_on_an_open_call(place: int) -> None:
    """Text that comes on a `tool_use` block is text, wherever it stands between the arguments."""
    frames = [argued(0, '{"a"'), argued(0, ":1"), argued(0, "}")]
    check(start(0, USE), *frames[:place], said(0, "Loo"), said(0, "k."), *frames[place:], stop(0), text="Look.")
    spread = [frame for piece, letter in zip(frames, "abc", strict=True) for frame in (piece, said(0, letter))]
    check(start(0, USE), *spread, stop(0), text="abc")


def test_text_on_a_call_between_texts() -> None:
    """Stray text keeps its place among the texts of the reply."""
    one = [start(0, TEXT), said(0, "A"), stop(0)]
    two = [start(1, USE), argued(1, '{"a":1}'), said(1, "B"), stop(1)]
    check(*one, *two, start(2, TEXT), said(2, "C"), stop(2), text="ABC")


def test_arguments_on_a_text_block() -> None:
    """Arguments that come on a text block are those of the open call, not text."""
    for order in ((0, 1), (1, 0)):
        opened = {0: start(0, TEXT), 1: start(1, USE)}
        frames = [opened[number] for number in order]
        check(*frames, said(0, "Hi"), argued(0, '{"a"'), argued(0, ":1}"), stop(0), stop(1), text="Hi")
        check(*frames, argued(1, '{"a"'), said(0, "Hi"), argued(0, ":1}"), stop(1), stop(0), text="Hi")


def test_arguments_without_any_call() -> None:
    """Arguments that belong to no call are left out, as the SDK leaves them out; the text stays whole."""
    check(start(0, TEXT), said(0, "Hi"), argued(0, '{"a":1}'), said(0, "!"), stop(0), text="Hi!", calls=())


def test_thoughts_and_texts_on_each_others_blocks() -> None:
    """A thought on a text block is reasoning, text on a thought is text, and both on a call are what they are."""
    check(start(0, TEXT), said(0, "a"), thought(0, "hm"), stop(0), text="a", reasoning="hm", calls=())
    check(start(0, THINKING), thought(0, "hm"), said(0, "a"), stop(0), text="a", reasoning="hm", calls=())
    on_call = [start(0, USE), thought(0, "hm"), said(0, "a"), argued(0, '{"a":1}'), stop(0)]
    check(*on_call, text="a", reasoning="hm")
    check(start(0, SERVER), argued(0, '{"query":"x"}'), said(0, "a"), stop(0), text="a", calls=())


def test_the_block_of_a_stray_delta_never_ended() -> None:
    """Stray text is whole even if its block is never stopped."""
    check(start(0, USE), argued(0, '{"a":1}'), said(0, "a"), text="a")


def test_text_on_a_freeform_call() -> None:
    """The raw text of a freeform call has nothing of the text that came on its block."""
    tool = {"type": "custom", "name": "patch"}
    memo = memo_of("openai_responses", {"model": "m", "input": "Hi", "stream": True, "tools": [tool]})
    memo.freeform.add("patch")
    frames = [start(0, USE | {"name": "patch"}), argued(0, '{"input":"a'), said(0, "Look."), argued(0, 'b"}'), stop(0)]
    told, _ = read_responses(cross("openai_responses", stream(*frames), memo, "anthropic_messages"))
    assert told.text == "Look." and [arguments for _, _, arguments in told.calls] == ["ab"]


def test_text_beside_structured_output() -> None:
    """Text on the call that stands for structured output does not come into its JSON."""
    memo = memo_of("anthropic_messages", messages_request(stream=True))
    memo.forced_output = "f"
    reads = DIALECTS["anthropic_messages"].upstream
    assert reads is not None
    frames = [start(0, USE), argued(0, '{"a"'), said(0, "Look."), argued(0, ":1}"), stop(0)]
    reply = read_whole(reads, stream(*frames), True, memo)
    assert [one.text for one in reply.blocks if isinstance(one, Text)] == ['{"a":1}', "Look."]
