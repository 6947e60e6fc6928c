"""A freeform tool's stand-in may be answered in any form: the client gets the text inside, whole and streamed."""

import json
from typing import Any

import pytest

from gateway.wire import DIALECTS
from gateway.wire.translated_lane import read_whole
from gateway.wire.translation.memo import Memo
from tests.wire.crossings import SEALER, body, chunk, cross, event, message, write
from tests.wire.grammar import read_responses
from tests.wire.streams import DONE, tools

PATCH = '*** Begin Patch\n+"é😀\\n"\n*** End Patch\n'
FORMS = [
    json.dumps({"input": PATCH}),
    json.dumps({"patch": PATCH}),
    json.dumps({"input": {"patch": PATCH}}, ensure_ascii=False),
    json.dumps(PATCH),
    json.dumps(json.dumps({"input": PATCH})),
    PATCH,
]
CODEX: dict[str, Any] = {
    "model": "m",
    "input": "Hi",
    "stream": True,
    "tools": [{"type": "custom", "name": "apply_patch", "format": {"type": "text"}}],
}
CHAT_CLIENT: dict[str, Any] = {
    "model": "m",
    "messages": [{"role": "user", "content": "Hi"}],
    "tools": [{"type": "custom", "custom": {"name": "apply_patch"}}],
}


def asked(client: str, said: dict[str, Any], upstream: str) -> Memo:
    """Return the memo of a request that has been written for its upstream, so that the stand-in is known."""
    side = DIALECTS[client].client
    assert side is not None
    memo = Memo(side.read_request(body(said)), "req_1", 1_700_000_000, SEALER)
    write(memo, upstream=upstream)
    return memo


def chat_stream(arguments: str, size: int) -> bytes:
    pieces = [arguments[at : at + size] for at in range(0, len(arguments), size)]
    begun = tools({"index": 0, "id": "c1", "type": "function", "function": {"name": "apply_patch", "arguments": ""}})
    deltas = [tools({"index": 0, "function": {"arguments": piece}}) for piece in pieces]
    return b"".join([begun, *deltas, chunk("tool_calls"), DONE])


def messages_stream(arguments: str, size: int) -> bytes:
    whole = message({"type": "tool_use", "id": "c1", "name": "apply_patch", "input": 0}, stop="tool_use")
    pieces = [arguments[at : at + size] for at in range(0, len(arguments), size)]
    deltas = [
        event("content_block_delta", index=0, delta={"type": "input_json_delta", "partial_json": one}) for one in pieces
    ]
    told = event("content_block_delta", index=0, delta={"type": "input_json_delta", "partial_json": "0"})
    assert told in whole
    return whole.replace(told, b"".join(deltas))


STREAMS = {"openai_chat": chat_stream, "anthropic_messages": messages_stream}


@pytest.mark.parametrize("size", [1, 7, 10_000])
@pytest.mark.parametrize("arguments", FORMS)
@pytest.mark.parametrize("upstream", STREAMS)
def test_codex_reads_the_text_inside_of_a_stream(upstream: str, arguments: str, size: int) -> None:
    """Whatever form the arguments have and however they are cut, Codex gets the patch itself, in deltas and at last."""
    out = cross(
        "openai_responses", STREAMS[upstream](arguments, size), asked("openai_responses", CODEX, upstream), upstream
    )
    read_responses(out)
    events = [json.loads(line[6:]) for line in out.decode().splitlines() if line.startswith("data: ")]
    deltas = [one["delta"] for one in events if one["type"] == "response.custom_tool_call_input.delta"]
    calls = [one for one in events[-1]["response"]["output"] if one["type"] == "custom_tool_call"]
    assert "".join(deltas) == PATCH and [one["input"] for one in calls] == [PATCH]


def whole_chat(arguments: Any) -> bytes:
    call = {"id": "c1", "type": "function", "function": {"name": "apply_patch", "arguments": arguments}}
    choice = {"index": 0, "message": {"role": "assistant", "tool_calls": [call]}, "finish_reason": "tool_calls"}
    return json.dumps({"id": "x", "object": "chat.completion", "choices": [choice]}).encode()


def whole_messages(given: Any) -> bytes:
    use = {"type": "tool_use", "id": "c1", "name": "apply_patch", "input": given}
    return json.dumps({"id": "x", "type": "message", "content": [use], "stop_reason": "tool_use"}).encode()


@pytest.mark.parametrize("arguments", FORMS)
@pytest.mark.parametrize(("client", "said"), [("openai_responses", CODEX)])
def test_the_text_inside_of_a_whole_chat_reply(client: str, said: dict[str, Any], arguments: str) -> None:
    """A whole Chat reply is read as its stream is."""
    upstream = DIALECTS["openai_chat"].upstream
    assert upstream is not None
    reply = read_whole(upstream, whole_chat(arguments), is_stream=False, memo=asked(client, said, "openai_chat"))
    assert [(one.arguments, one.kind) for one in reply.blocks] == [(PATCH, "custom")]  # type: ignore[union-attr]


@pytest.mark.parametrize("given", [{"input": PATCH}, {"patch": PATCH}, {"input": {"diff": PATCH}}, PATCH])
@pytest.mark.parametrize(("client", "said"), [("openai_responses", CODEX), ("openai_chat", CHAT_CLIENT)])
def test_the_text_inside_of_a_whole_message(client: str, said: dict[str, Any], given: Any) -> None:
    """A whole Messages reply, whose arguments are no text but JSON, gives the text inside, too."""
    upstream = DIALECTS["anthropic_messages"].upstream
    assert upstream is not None
    memo = asked(client, said, "anthropic_messages")
    reply = read_whole(upstream, whole_messages(given), is_stream=False, memo=memo)
    assert [(one.arguments, one.kind) for one in reply.blocks] == [(PATCH, "custom")]  # type: ignore[union-attr]
