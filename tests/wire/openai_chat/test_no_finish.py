"""Chat replies without a finish reason: complete ones have ended, the others are cut short.

See docs/wire/streaming.md#ending-a-stream.
"""

import json
from typing import Any

import pytest
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletionChunk

from gateway.errors import Broke, GatewayError
from gateway.wire import DIALECTS
from gateway.wire.codec.sse import FrameCutter
from gateway.wire.dialect import Asked
from gateway.wire.profile import Profile
from gateway.wire.translated_lane import read_whole
from tests.wire.crossings import CHAT, cross, memo_of
from tests.wire.grammar import frames_of, read_chat, read_messages, read_responses

DONE = b"data: [DONE]\n\n"
CALL = {"index": 0, "id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
ABSENT: list[dict[str, Any]] = [{}, {"finish_reason": None}, {"finish_reason": ""}, {"finish_reason": "null"}]
CLIENTS = ["openai_chat", "anthropic_messages", "openai_responses"]
# Client -> how it reads (an end, a call).
ENDS = {
    "openai_chat": ("stop", "tool_calls"),
    "anthropic_messages": ("end_turn", "tool_use"),
    "openai_responses": ("completed", "completed"),
}


def frame(*choices: dict[str, Any], **more: Any) -> bytes:
    head = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "up"}
    return b"data: " + json.dumps({**head, "choices": list(choices), **more}).encode() + b"\n\n"


def said(finish: dict[str, Any] | None = None, index: int = 0, **delta: Any) -> bytes:
    return frame({"index": index, "delta": delta, **(finish or {})})


USAGE = frame(usage={"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5})


def request(client: str) -> dict[str, Any]:
    tool: dict[str, Any] = {"type": "function", "name": "f"}
    if client == "openai_responses":
        return {"model": "m", "input": "Hi", "stream": True, "tools": [tool]}
    if client == "anthropic_messages":
        tool = {"name": "f", "input_schema": {"type": "object"}}
    else:
        tool = {"type": "function", "function": {"name": "f"}}
    return {
        "model": "m",
        "max_tokens": 9,
        "stream": True,
        "tools": [tool],
        "messages": [{"role": "user", "content": "Hi"}],
    }


def stop_of(client: str, out: bytes) -> str | None:
    if client == "openai_chat":
        return read_chat(out).stop
    return read_messages(out).stop if client == "anthropic_messages" else read_responses(out)[0].stop


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("finish", ABSENT, ids=repr)
@pytest.mark.parametrize("is_call", [False, True])
def test_content_usage_and_done_are_an_end(client: str, finish: dict[str, Any], is_call: bool) -> None:
    """A crossed stream with content, usage and [DONE] ends as it looks: with calls as tools, else as an end."""
    body = said(finish, tool_calls=[CALL]) if is_call else said(finish, content="a")
    out = cross(client, body + USAGE + DONE, memo_of(client, request(client)), "openai_chat")
    assert stop_of(client, out) == ENDS[client][is_call]


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("finish", ABSENT, ids=repr)
@pytest.mark.parametrize("usage", [{}, {"usage": {"prompt_tokens": 3, "completion_tokens": 2}}])
@pytest.mark.parametrize("is_call", [False, True])
def test_a_whole_reply_is_an_end(client: str, finish: dict[str, Any], usage: dict[str, Any], is_call: bool) -> None:
    """A whole reply that says something is complete, because its JSON is."""
    side = DIALECTS[client].client
    assert side is not None and CHAT.upstream is not None
    spoken: dict[str, Any] = {"content": None, "tool_calls": [CALL]} if is_call else {"content": "a"}
    payload = {"choices": [{"index": 0, "message": {"role": "assistant", **spoken}, **finish}], **usage}
    memo = memo_of(client, request(client))
    out = json.loads(side.write_reply(read_whole(CHAT.upstream, json.dumps(payload).encode(), False, memo), memo))
    found = out["choices"][0]["finish_reason"] if "choices" in out else out.get("stop_reason") or out["status"]
    assert found == ENDS[client][is_call]
    assert CHAT.glance(json.dumps(payload).encode()).is_empty is False


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize(
    "stream",
    [
        said(content="a") + USAGE,
        said(content="a") + DONE,
        said(content="a"),
        said(role="assistant", content="") + USAGE + DONE,
        USAGE + DONE,
        DONE,
    ],
)
def test_a_stream_cut_short_stays_broken(client: str, stream: bytes) -> None:
    """Without [DONE], without usage or without content a stream that has no finish was cut."""
    with pytest.raises(Broke):
        cross(client, stream, memo_of(client, request(client)), "openai_chat")
    with pytest.raises(Broke):
        raw(stream)
    with pytest.raises(Broke):
        raw(stream, normalize=True)


def test_a_whole_reply_without_content_stays_broken() -> None:
    """A whole reply that says nothing and has no finish is no reply: another target may be tried."""
    assert CHAT.upstream is not None
    payload = {"choices": [{"index": 0, "message": {"role": "assistant", "content": ""}}]}
    with pytest.raises(GatewayError):
        read_whole(CHAT.upstream, json.dumps(payload).encode(), False, memo_of("anthropic_messages"))


def raw(stream: bytes, wants_usage: bool = True, normalize: bool = False, no_finish: bool = False) -> bytes:
    """Return what a Chat client gets of a Chat stream."""
    asked = Asked(wants_usage, no_finish)
    lane = CHAT.normalise(asked) if normalize else CHAT.watch(asked)
    frames = FrameCutter().feed(stream)
    return b"".join([*(one if lane.passes(one) else lane.feed(one) for one in frames), lane.end()])


def completion(out: bytes) -> Any:
    """Return what the SDK's accumulator makes of a stream."""
    state = ChatCompletionStreamState()
    for _, data in frames_of(out)[:-1]:
        state.handle_chunk(ChatCompletionChunk.construct(**json.loads(data)))
    return state.get_final_completion()


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("finish", ABSENT, ids=repr)
@pytest.mark.parametrize("is_call", [False, True])
@pytest.mark.parametrize("is_late", [False, True])
def test_a_chat_client_gets_a_finish(normalize: bool, finish: dict[str, Any], is_call: bool, is_late: bool) -> None:
    """On the raw lane the SDK reads content, usage and a finish reason; the finish stands before the usage."""
    call: dict[str, Any] = {"tool_calls": [CALL]}
    spoken = (said(finish, content="b") if is_late else b"") + said(finish, **(call if is_call else {"content": "a"}))
    whole = completion(raw(said(role="assistant", content="") + spoken + USAGE + DONE, normalize=normalize))
    assert whole.choices[0].finish_reason == ("tool_calls" if is_call else "stop")
    assert whole.usage.total_tokens == 5
    assert bool(whole.choices[0].message.tool_calls) is is_call


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("tail", [DONE, USAGE + DONE, b""])
def test_no_finish_works_for_chat_clients_too(normalize: bool, tail: bytes) -> None:
    """The profile's `no_finish` holds on the raw lane as it does in crossings."""
    out = raw(said(content="a") + tail, normalize=normalize, no_finish=True)
    assert completion(out).choices[0].finish_reason == "stop"
    memo = memo_of("anthropic_messages", profile=Profile(no_finish=True))
    assert read_messages(cross("anthropic_messages", said(content="a") + tail, memo)).stop == "end_turn"


def test_a_client_that_wants_no_usage_gets_the_finish_alone() -> None:
    """The usage chunk is hidden as ever, and the finish is the last chunk."""
    head = said(role="assistant", content="a") + said(content="b")
    out = raw(head + USAGE + DONE, wants_usage=False)
    assert out.startswith(head) and out.endswith(DONE) and b"usage" not in out
    last = json.loads(frames_of(out)[-2][1])
    assert last == {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "up"} | {
        "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]
    }


def test_each_choice_gets_the_finish_that_it_lacks() -> None:
    """Of two choices the one that has finished keeps its reason; a usage chunk in the middle keeps its place."""
    head = said() + said(index=1) + said(content="a") + USAGE + said({"finish_reason": "length"}, content="b")
    head += said(index=1, content="c")
    out = raw(head + USAGE + DONE)
    assert out.startswith(head) and out.endswith(USAGE + DONE)
    (added,) = frames_of(out.removeprefix(head).removesuffix(USAGE + DONE))
    assert json.loads(added[1])["choices"] == [{"index": 1, "delta": {}, "finish_reason": "stop"}]


def test_a_finished_stream_passes_byte_for_byte() -> None:
    """A stream with a finish is not touched, wherever its usage stands."""
    for frames in (
        [said(content="a"), USAGE, said({"finish_reason": "stop"})],
        [said({"finish_reason": "stop"}), USAGE],
    ):
        stream = b"".join(frames) + DONE
        assert raw(said(content="x") + stream) == said(content="x") + stream


@pytest.mark.parametrize(
    ("arguments", "reason"), [('{"a":1}', "tool_calls"), ('{"a"', "length"), ("", "tool_calls"), ("{}", "tool_calls")]
)
def test_a_call_that_stops_in_the_middle_was_cut(arguments: str, reason: str) -> None:
    """On the raw lane, too, a complete stream whose call is not whole ends by its length, as crossed ones do."""
    lane = DIALECTS["openai_chat"].watch(Asked())
    pieces = [arguments[:3], arguments[3:]]
    call = {**CALL, "function": {"name": "f", "arguments": pieces[0]}}
    frames = [said(tool_calls=[call]), said(tool_calls=[{"index": 0, "function": {"arguments": pieces[1]}}]), USAGE]
    out = b"".join(b"" if lane.passes(one) else lane.feed(one) for one in (*frames, DONE))
    assert json.loads(frames_of(out)[-3][1])["choices"][0]["finish_reason"] == reason
