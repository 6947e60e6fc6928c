"""Whole replies and streams that providers bend: empty, odd types, everything beside the point."""

import contextlib
import json
from typing import Any

import pytest

from gateway.errors import Declined, GatewayError, Unreadable
from gateway.faults import Fault
from gateway.wire.neutral import StopReason
from gateway.wire.translated_lane import read_whole, says_nothing
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
    usage_chunk,
    write,
    written,
)
from tests.wire.grammar import read_chat, read_messages
from tests.wire.streams import DONE, STOP, claude, fragment, openai, tools


def test_a_whole_reply_without_content() -> None:
    """A reply of thinking only has `content: ""`; two choices that are one are joined. (EC-157, EC-159)"""
    assert CHAT.upstream is not None and MESSAGES.upstream is not None and CHAT.client is not None
    memo = memo_of("openai_chat")
    thought = {"type": "thinking", "thinking": "hm", "signature": "S"}
    whole = {"content": [thought], "stop_reason": "end_turn", "usage": {"input_tokens": 1, "output_tokens": 1}}
    said = json.loads(CHAT.client.write_reply(MESSAGES.upstream.read_reply(json.dumps(whole).encode(), memo), memo))
    assert said["choices"][0]["message"]["content"] == ""
    assert said["id"].startswith("chatcmpl-")  # EC-162
    two = {
        "choices": [
            {"index": 0, "message": {"content": "a"}, "finish_reason": "stop"},
            {"index": 1, "message": {"tool_calls": [fragment("{}", id="c", name="f")]}, "finish_reason": "tool_calls"},
        ]
    }
    reply = CHAT.upstream.read_reply(json.dumps(two).encode(), memo_of("anthropic_messages"))
    assert len(reply.blocks) == 2 and reply.stop.reason is StopReason.TOOLS


@pytest.mark.parametrize("upstream", [CHAT, MESSAGES])
@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"<html>", Unreadable),
        (b"5", Unreadable),
        (b"{}", Unreadable),
        (b'{"error":{"message":"m","code":429}}', Declined),
    ],
)
def test_bodies_that_are_no_reply(upstream: Any, data: bytes, kind: type[Exception]) -> None:
    """A 200 that is not a reply raises Unreadable, or Declined if it holds an error. (EC-160)"""
    with pytest.raises(kind):
        upstream.upstream.read_reply(data, memo_of("openai_chat"))


def test_emptiness() -> None:
    """A reply without text or counted tokens is empty and worth another target; reasoning is content."""
    assert CHAT.upstream is not None
    memo = memo_of("anthropic_messages")
    empty = {"choices": [{"message": {"content": ""}, "finish_reason": "stop"}], "usage": {"completion_tokens": 0}}
    assert says_nothing(read_whole(CHAT.upstream, json.dumps(empty).encode(), False, memo))
    empty["choices"][0]["message"]["reasoning_content"] = "hm"  # type: ignore[index]
    assert not says_nothing(read_whole(CHAT.upstream, json.dumps(empty).encode(), False, memo))
    lane = crossing("anthropic_messages", "openai_chat")
    for frame in (
        chunk(role="assistant", content=""),
        chunk("stop"),
        usage_chunk(prompt_tokens=1, completion_tokens=0),
    ):
        lane.feed(frame)
    lane.feed(DONE)
    assert lane.is_empty and lane.is_finished


def test_pictures_that_a_model_makes_are_marked() -> None:
    """A picture in a chat stream leaves a sentence in the text."""
    told = claude(chunk(content="a"), chunk(images=[{"type": "image_url"}]), STOP)
    assert told.text == "a(The model sent a picture, which this API cannot carry.)"


def test_all_calls_are_delivered() -> None:
    """Both of two calls are delivered, although the client disabled parallel calls. (EC-128)"""
    said = messages_request(
        stream=True, tools=[{"name": "f"}], tool_choice={"type": "auto", "disable_parallel_tool_use": True}
    )
    _, memo = written("anthropic_messages", said)
    assert (
        len(claude(*(tools(fragment("{}", index=n, id=f"c{n}", name="f")) for n in (0, 1)), STOP, memo=memo).calls) == 2
    )


def test_names_come_back() -> None:
    """Shortened names and members of toolsets come back, streamed and whole. (EC-103, EC-127)"""
    long = "n" * 90
    tool_list: list[dict[str, Any]] = [{"name": long}, {"type": "computer_toolset_20260801"}]
    out, memo = written("anthropic_messages", messages_request(stream=True, tools=tool_list))
    safe = out["tools"][0]["function"]["name"]
    calls = [fragment("{}", index=0, id="a", name=safe), fragment("{}", index=1, id="b", name="computer__left_click")]
    out_stream = cross("anthropic_messages", tools(*calls) + STOP, memo)
    assert [name for _, name, _ in read_messages(out_stream).calls] == [long, "left_click"]
    assert b'"toolset_name":"computer"' in out_stream
    assert CHAT.upstream is not None and MESSAGES.client is not None
    whole = {"choices": [{"message": {"tool_calls": calls}, "finish_reason": "tool_calls"}]}
    _, memo = written("anthropic_messages", messages_request(tools=tool_list))
    said = json.loads(MESSAGES.client.write_reply(CHAT.upstream.read_reply(json.dumps(whole).encode(), memo), memo))
    assert [block["name"] for block in said["content"]] == [long, "left_click"]
    assert said["content"][1]["toolset_name"] == "computer"


def test_sealed_thoughts_and_empty_ones() -> None:
    """Redacted thinking comes out exactly; thinking without text and state is left out. (EC-136, EC-138)"""
    out = cross("openai_chat", message({"type": "redacted_thinking", "data": "D"}, {"type": "text", "text": "a"}))
    assert b'"reasoning_details":[{"index":0,"type":"reasoning.encrypted","data":"D"' in out
    assert read_chat(out).text == "a"
    empty = message({"type": "thinking", "thinking": "", "signature": ""}, {"type": "text", "text": "a"})
    out = cross("openai_chat", empty)
    assert b"reasoning" not in out
    assert claude(chunk(reasoning_content=""), chunk(content="a"), STOP).kinds == ["text"]


def test_a_call_without_a_delta() -> None:
    """A call without any delta has the arguments `{}` in chat. (EC-183)"""
    start = event("message_start", message={"usage": {"input_tokens": 1, "output_tokens": 1}})
    use = event("content_block_start", index=0, content_block={"type": "tool_use", "id": "t", "name": "f", "input": {}})
    end = event("content_block_stop", index=0) + event(
        "message_delta", delta={"stop_reason": "tool_use"}, usage={"output_tokens": 1}
    )
    assert openai(start, use, end + event("message_stop")).calls == [("t", "f", "{}")]


def test_usage_on_every_chunk() -> None:
    """If every chunk has usage, the last one counts. (EC-185)"""
    frames = []
    for number in (1, 2, 3):
        said = {
            "choices": [{"index": 0, "delta": {"content": "a"}}],
            "usage": {"prompt_tokens": 5, "completion_tokens": number},
        }
        frames.append(b"data: " + json.dumps(said).encode() + b"\n\n")
    told = claude(*frames, STOP)
    assert told.usage is not None and told.usage["output_tokens"] == 3


def test_googles_signature_on_a_call() -> None:
    """Google's signature on a call reaches a chat client, and goes back upstream from there. (EC-141)"""
    extra = {"google": {"thought_signature": "G"}}
    memo = memo_of("openai_chat", chat_request(stream=True))
    out = cross(
        "openai_chat", tools(fragment("{}", index=0, id="c", name="f", extra_content=extra)) + STOP, memo, "openai_chat"
    )
    assert b'"extra_content":{"google":{"thought_signature":"G"}}' in out
    echoed = {
        "role": "assistant",
        "tool_calls": [
            {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}, "extra_content": extra}
        ],
    }
    memo = memo_of(
        "openai_chat",
        chat_request(
            messages=[{"role": "user", "content": "x"}, echoed, {"role": "tool", "tool_call_id": "c", "content": "r"}]
        ),
    )
    assert write(memo, upstream="openai_chat")["messages"][1]["tool_calls"][0]["extra_content"] == extra


def test_padding_is_never_copied() -> None:
    """Obfuscation is not copied across dialects, and ids are the client dialect's. (EC-44, EC-162)"""
    padded = b'data: {"id":"x","obfuscation":"zzz","choices":[{"index":0,"delta":{"content":"a"}}]}\n\n'
    out = cross("anthropic_messages", padded + STOP)
    assert b"zzz" not in out and b'"id":"msg_' in out
    assert b'"id":"chatcmpl-' in cross("openai_chat", message({"type": "text", "text": "a"}))


ODD: list[Any] = [None, True, 5, "x", [], {}, [[]], [5], {"a": []}]


@pytest.mark.parametrize("odd", ODD, ids=repr)
def test_odd_types_are_the_providers_fault(odd: Any) -> None:
    """An odd type anywhere in a frame or reply raises at most a GatewayError, so that another target is tried."""
    call = {"index": odd, "id": odd, "type": odd, "function": odd, "extra_content": odd}
    delta = dict.fromkeys(
        ("content", "role", "reasoning", "annotations", "images", "reasoning_details", "refusal"), odd
    )
    said: list[bytes] = [
        chunk(**{name: value}) for name, value in [*delta.items(), ("tool_calls", odd), ("tool_calls", [call])]
    ]
    said += [b"data: " + json.dumps({"choices": odd, "usage": odd, "error": None}).encode() + b"\n\n"]
    block = {"type": "text", "text": odd, "citations": odd}
    frames = [
        event("content_block_start", index=odd, content_block=odd),
        event("content_block_start", index=0, content_block=block),
        event("content_block_delta", index=odd, delta=odd),
        event("content_block_delta", index=0, delta={"type": "text_delta", "text": odd}),
        event("content_block_stop", index=odd),
        event("message_delta", delta=odd, usage=odd),
    ]
    start = event("message_start", message=odd) + message().split(b"\n\n")[0] + b"\n\n"
    for client, prelude, pieces in (("anthropic_messages", b"", said), ("openai_chat", start, frames)):
        for piece in pieces:
            with contextlib.suppress(GatewayError):
                cross(client, prelude + piece)
    assert CHAT.upstream is not None and MESSAGES.upstream is not None
    for body in ({"choices": odd}, {"choices": [odd]}, {"choices": [{"message": delta, "finish_reason": odd}]}, {"content": odd},
                 {"content": [odd]}, {"content": [block], "usage": odd, "stop_reason": odd}):  # fmt: skip
        for side in (CHAT.upstream, MESSAGES.upstream):
            with contextlib.suppress(GatewayError):
                read_whole(side, json.dumps(body).encode(), False, memo_of("openai_chat"))


def test_an_error_beside_choices_is_an_error() -> None:
    """An `error` beside choices of a whole reply raises Declined (docs/wire/errors.md#errors-inside-http-200)."""
    assert CHAT.upstream is not None
    said = {"choices": [{"message": None}], "error": {"message": "m", "code": 429}}
    with pytest.raises(Declined) as raised:
        CHAT.upstream.read_reply(json.dumps(said).encode(), memo_of("openai_chat"))
    assert raised.value.fault is Fault.LIMITED


def test_numbers_of_a_whole_reply_stay_as_they_were() -> None:
    """Numbers in a call's input keep their digits. (EC-121)"""
    assert MESSAGES.upstream is not None and CHAT.client is not None
    use = b'{"type":"tool_use","id":"t","name":"f","input":{"a":1.10,"b":12345678901234567890123,"c":1e400}}'
    data = b'{"content":[' + use + b'],"stop_reason":"tool_use","usage":{"input_tokens":1,"output_tokens":1}}'
    memo = memo_of("openai_chat")
    said = json.loads(CHAT.client.write_reply(MESSAGES.upstream.read_reply(data, memo), memo))
    arguments = said["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"]
    assert arguments == '{"a":1.10,"b":12345678901234567890123,"c":1e400}'


def test_only_the_first_choice_of_several() -> None:
    """Of several choices only the one with index 0 is used, in any order (docs/wire/replies.md#content)."""
    two = {"choices": [{"index": 1, "delta": {"content": "B"}}, {"index": 0, "delta": {"content": "A"}}]}
    assert claude(b"data: " + json.dumps(two).encode() + b"\n\n", STOP).text == "A"
    assert CHAT.upstream is not None
    whole = {"choices": [{"index": n, "message": {"content": t}, "finish_reason": "stop"} for n, t in enumerate("AB")]}
    reply = CHAT.upstream.read_reply(json.dumps(whole).encode(), memo_of("anthropic_messages"))
    assert [getattr(block, "text", "") for block in reply.blocks] == ["A"]


def test_cut_calls_and_nothing_else() -> None:
    """Each of two cut calls is kept, with the members that are whole. (EC-146)"""
    assert CHAT.upstream is not None and MESSAGES.client is not None
    calls = [fragment(f'{{"n":{n},"x":', id=f"c{n}", name="f") for n in (0, 1)]
    whole = {"choices": [{"message": {"tool_calls": calls}, "finish_reason": "length"}]}
    memo = memo_of("anthropic_messages")
    said = json.loads(MESSAGES.client.write_reply(CHAT.upstream.read_reply(json.dumps(whole).encode(), memo), memo))
    assert [block["input"] for block in said["content"]] == [{"n": 0}, {"n": 1}]
