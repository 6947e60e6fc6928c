"""Calls whose arguments stop in the middle: streamed and whole replies agree, and the client can tell."""

import json
from typing import Any

import jiter
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import Broke
from gateway.wire import DIALECTS
from gateway.wire.codec.json_prefix import is_half, mended, whole_values
from gateway.wire.profile import Profile
from gateway.wire.translated_lane import read_whole, spread
from gateway.wire.translation.memo import Memo
from tests.wire.crossings import chunk, cross, event, memo_of
from tests.wire.grammar import Told, read_chat, read_messages, read_responses
from tests.wire.streams import DONE, fragment, tools

WHOLE = '{"city":"Par\\u00eds \\"x\\"","n":[1,-2.5e3,{"a":true}],"z":null}'
HALVES = [WHOLE[:place] for place in range(1, len(WHOLE))]
SOME = ['{"city":"Par', '{"n":1', "{", '{"a":[{"b":"c"},']
CLIENTS = ["anthropic_messages", "openai_chat", "openai_responses"]
UPSTREAMS = ["openai_chat", "anthropic_messages", "openai_responses"]
CUT = {"anthropic_messages": "max_tokens", "openai_chat": "length", "openai_responses": "incomplete"}


def memo(client: str) -> Memo:
    said = {"model": "m", "input": "Hi", "stream": True} if client == "openai_responses" else None
    return memo_of(client, said)


def stream_of(upstream: str, text: str, finish: str = "cut") -> bytes:
    """Write a provider's stream of one call with these arguments; `finish` is "cut" or its word for a call."""
    if upstream == "openai_chat":
        begun = tools(fragment("", index=0, id="c1", name="f")) + tools(fragment(text, index=0))
        return begun + chunk("length" if finish == "cut" else finish) + DONE
    if upstream == "anthropic_messages":
        usage = {"input_tokens": 5, "output_tokens": 3}
        block = {"type": "tool_use", "id": "c1", "name": "f", "input": {}}
        reason = {"stop_reason": "max_tokens" if finish == "cut" else finish, "stop_sequence": None}
        return b"".join(
            [
                event("message_start", message={"id": "m", "model": "up", "content": [], "usage": usage}),
                event("content_block_start", index=0, content_block=block),
                event("content_block_delta", index=0, delta={"type": "input_json_delta", "partial_json": text}),
                event("content_block_stop", index=0),
                event("message_delta", delta=reason, usage=usage),
                event("message_stop"),
            ]
        )
    item = {"id": "fc_1", "type": "function_call", "call_id": "c1", "name": "f", "arguments": ""}
    kind = "incomplete" if finish == "cut" else "completed"
    return b"".join(
        [
            event("response.output_item.added", output_index=0, item=item),
            event("response.function_call_arguments.delta", output_index=0, item_id="fc_1", delta=text),
            event("response.output_item.done", output_index=0, item=item | {"arguments": text}),
            event(f"response.{kind}", response=response_of(text, finish)),
        ]
    )


def response_of(text: str, finish: str = "cut") -> dict[str, Any]:
    item = {"id": "fc_1", "type": "function_call", "call_id": "c1", "name": "f", "arguments": text}
    status = "incomplete" if finish == "cut" else "completed"
    details = {"reason": "max_output_tokens"} if finish == "cut" else None
    return {"id": "resp_1", "status": status, "incomplete_details": details, "output": [item]}


def whole_of(upstream: str, text: str, finish: str = "cut") -> bytes | None:
    """Write the whole reply; None for Messages, whose `input` is an object."""
    if upstream == "anthropic_messages":
        return None
    if upstream == "openai_responses":
        return json.dumps(response_of(text, finish)).encode()
    message = {"role": "assistant", "content": None, "tool_calls": [fragment(text, id="c1", name="f")]}
    choice = {"index": 0, "message": message, "finish_reason": "length" if finish == "cut" else finish}
    return json.dumps({"id": "c", "choices": [choice]}).encode()


def read(client: str, stream: bytes) -> Told:
    if client == "openai_responses":
        return read_responses(stream)[0]
    return read_messages(stream) if client == "anthropic_messages" else read_chat(stream)


def streamed(client: str, stream: bytes, upstream: str) -> Told:
    return read(client, cross(client, stream, memo(client), upstream))


def told_whole(client: str, body: bytes, is_stream: bool, upstream: str) -> tuple[Any, Any]:
    """Return (arguments or input, stop) of the whole reply that a client gets."""
    reads, writes = DIALECTS[upstream].upstream, DIALECTS[client].client
    assert reads is not None and writes is not None
    known = memo(client)
    said = json.loads(writes.write_reply(read_whole(reads, body, is_stream, known), known))
    if client == "anthropic_messages":
        return said["content"][0]["input"], said["stop_reason"]
    if client == "openai_chat":
        choice = said["choices"][0]
        return choice["message"]["tool_calls"][0]["function"]["arguments"], choice["finish_reason"]
    assert said["output"][0]["status"] == ("incomplete" if is_half(said["output"][0]["arguments"]) else "completed")
    return said["output"][0]["arguments"], said["status"]


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("upstream", UPSTREAMS)
def test_whole_and_streamed_replies_agree(upstream: str, client: str) -> None:
    """However far the arguments came, all replies tell the same, and end as cut off."""
    if client == upstream:
        pytest.skip("not translated")
    for text in SOME:
        stream = stream_of(upstream, text)
        told = streamed(client, stream, upstream)
        is_claude = client == "anthropic_messages"
        assert told.stop == CUT[client]
        assert (told.halves if is_claude else [arguments for _, _, arguments in told.calls]) == [text]
        body = whole_of(upstream, text)
        for found in (told_whole(client, stream, True, upstream), body and told_whole(client, body, False, upstream)):
            wanted = jiter.from_json(text.encode(), partial_mode=True) if is_claude else text
            assert found in (None, (wanted, CUT[client]))


@pytest.mark.parametrize("text", HALVES)
def test_every_place_of_the_cut(text: str) -> None:
    """Wherever a Chat provider's arguments stop, the input of a whole message is what the SDK reads of a stream."""
    told = streamed("anthropic_messages", stream_of("openai_chat", text), "openai_chat")
    body = whole_of("openai_chat", text)
    assert body is not None
    given, stop = told_whole("anthropic_messages", body, False, "openai_chat")
    assert (told.halves, told.stop, stop) == ([text], "max_tokens", "max_tokens")
    assert json.loads(told.calls[0][2]) == given == jiter.from_json(text.encode(), partial_mode=True)


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize(
    ("upstream", "finish"),
    [("openai_chat", "tool_calls"), ("openai_chat", "stop"), ("openai_responses", "done"),
     ("anthropic_messages", "tool_use"), ("anthropic_messages", "end_turn")],
)  # fmt: skip
def test_a_finish_that_says_nothing_of_the_cut(upstream: str, finish: str, client: str) -> None:
    """A provider that calls half a call finished has cut it off all the same."""
    if client == upstream:
        pytest.skip("not translated")
    stream = stream_of(upstream, SOME[0], finish)
    assert streamed(client, stream, upstream).stop == CUT[client]
    assert told_whole(client, stream, True, upstream)[1] == CUT[client]
    body = whole_of(upstream, SOME[0], finish)
    assert body is None or told_whole(client, body, False, upstream)[1] == CUT[client]


@pytest.mark.parametrize("finish", ["tool_calls", "stop"])
@pytest.mark.parametrize("text", [WHOLE, "{}", "", WHOLE + "\n", "[1]", "nonsense", '{"a" 1}', WHOLE + "x"])
def test_calls_that_are_not_half_end_as_before(text: str, finish: str) -> None:
    """Whole arguments, none, and such as were never an object do not make a reply a cut one."""
    told = streamed("anthropic_messages", stream_of("openai_chat", text, finish), "openai_chat")
    body = whole_of("openai_chat", text, finish)
    assert body is not None
    given, stop = told_whole("anthropic_messages", body, False, "openai_chat")
    assert (told.stop, stop, told.halves) == ("tool_use", "tool_use", [])
    assert json.loads(told.calls[0][2]) == given


def test_a_cut_call_beside_others() -> None:
    """Of interleaved calls of which one is half, both come, and the reply is a cut one."""
    frames = [
        tools(fragment('{"a":', index=0, id="c0", name="f")),
        tools(fragment('{"b":1}', index=1, id="c1", name="g")),
        chunk("tool_calls") + DONE,
    ]
    told = streamed("anthropic_messages", b"".join(frames), "openai_chat")
    assert [(name, arguments) for _, name, arguments in told.calls] == [("f", "{}"), ("g", '{"b": 1}')]
    assert (told.halves, told.stop) == (['{"a":'], "max_tokens")


@pytest.mark.parametrize("finish", ["length", "tool_calls"])
def test_half_a_freeform_call(finish: str) -> None:
    """The raw text that has come is told as it is, in a response that is incomplete."""
    known = memo("openai_responses")
    known.freeform.add("f")
    stream = stream_of("openai_chat", '{"input":"*** Begin Pa', finish)
    told, final = read_responses(cross("openai_responses", stream, known, "openai_chat"))
    assert [arguments for _, _, arguments in told.calls] == ["*** Begin Pa"]
    assert final["status"] == "incomplete"


@pytest.mark.parametrize("client", ["anthropic_messages", "openai_responses"])
def test_a_connection_that_breaks_is_an_error(client: str) -> None:
    """Without a finish the reply is broken; of a provider that never sends one, half a call is a cut one."""
    begun = stream_of("openai_chat", SOME[0]).split(
        b'data: {"id": "c1", "model": "up", "choices": [{"index": 0, "delta": {}'
    )[0]
    with pytest.raises(Broke):
        streamed(client, begun, "openai_chat")
    known = memo(client)
    known.profile = Profile(no_finish=True)
    assert read(client, cross(client, begun + DONE, known, "openai_chat")).stop == CUT[client]


@pytest.mark.parametrize("client", CLIENTS)
def test_a_whole_reply_for_a_client_that_wants_a_stream(client: str) -> None:
    """A whole reply that is streamed to the client tells the same."""
    reads, writes = DIALECTS["openai_chat"].upstream, DIALECTS[client].client
    body = whole_of("openai_chat", SOME[0], "stop")
    assert reads is not None and writes is not None and body is not None
    known = memo(client)
    told = read(client, spread(writes, read_whole(reads, body, False, known), known))
    assert told.stop == CUT[client]
    assert (told.halves or [arguments for _, _, arguments in told.calls]) == [SOME[0]]


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**6), 10**6) | st.floats(-1e6, 1e6) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=4), _VALUES, max_size=4), st.integers(0, 200), st.booleans())
def test_half_an_object_is_read_as_the_sdk_reads_it(given: dict[str, Any], place: int, is_ascii: bool) -> None:
    """Whatever the object and the place, we and Anthropic's SDK read the same."""
    whole = json.dumps(given, ensure_ascii=is_ascii)
    text = whole[: place % len(whole)]
    assert is_half(text) is bool(text) and not is_half(whole)
    if text:
        wanted = jiter.from_json(text.encode(), partial_mode=True)
        assert json.loads(whole_values(text)) == wanted == json.loads(mended(text))
