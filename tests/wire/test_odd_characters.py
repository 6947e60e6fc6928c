"""Halves of surrogate pairs, NaN and Infinity in replies: no text is lost, in any lane."""

import json
from typing import Any

import msgspec
import pytest

from gateway.wire import DIALECTS
from gateway.wire.codec.sse import DONE, write_data
from gateway.wire.dialect import Asked
from gateway.wire.openai_responses.recording_lane import RecordingLane
from gateway.wire.translated_lane import read_whole
from tests.wire.crossings import chunk, cross, event, memo_of
from tests.wire.grammar import frames_of
from tests.wire.odd_streams import NAMES, STREAMS, carried, read, request_of, told, whole

LOST = "\ufffd"
PIECES = [
    ([r'"\ud83d"', r'"\ude00"'], "😀"),
    ([r'"Hi \ud83d"', r'"\ude00 you"', '"!"'], "Hi 😀 you!"),
    (['"a"', r'"\ud83d"', '""', r'"\ude00"', '"b"'], "a😀b"),
    ([r'"\ud83d\ude00\ud83c"', r'"\udf0d"'], "😀🌍"),
    (['"a"', r'"\ud83d"'], "a" + LOST),
    ([r'"a\ud83d"', '"b"'], f"a{LOST}b"),
    ([r'"\ude00"', '"b"'], f"{LOST}b"),
]


@pytest.mark.parametrize("client", NAMES)
@pytest.mark.parametrize("upstream", NAMES)
@pytest.mark.parametrize(("pieces", "text"), PIECES)
def test_halves_arrive_joined(client: str, upstream: str, pieces: list[str], text: str) -> None:
    """A character cut in two deltas reaches the client whole; a half that stays alone is U+FFFD."""
    assert told(client, upstream, STREAMS[upstream](*pieces)).text == text


@pytest.mark.parametrize("dialect", NAMES)
@pytest.mark.parametrize("pieces", [pieces for pieces, _ in PIECES])
def test_raw_streams_keep_their_bytes(dialect: str, pieces: list[str]) -> None:
    """A raw lane passes on halves byte for byte."""
    stream = STREAMS[dialect](*pieces)
    assert carried(dialect, stream) == stream


@pytest.mark.parametrize("dialect", NAMES)
@pytest.mark.parametrize("odd", ["NaN", "-Infinity", "1e999"])
def test_odd_numbers_beside_text(dialect: str, odd: str) -> None:
    """A number that JSON does not know takes no text away: raw bytes pass, and crossed text arrives."""
    stream = STREAMS[dialect]('"a"', '"b"').replace(b'"delta":', b'"odd":[%s],"delta":' % odd.encode())
    assert carried(dialect, stream) == stream
    for client in NAMES:
        assert told(client, dialect, stream).text == "ab"


@pytest.mark.parametrize("odd", ["NaN", "-Infinity"])
def test_odd_numbers_in_usage_and_logprobs(odd: str) -> None:
    """An odd number in usage is no count; in log probabilities it does not matter."""
    usage = b'{"id":"c1","choices":[],"usage":{"prompt_tokens":%s,"completion_tokens":3}}' % odd.encode()
    probs = b'{"content":[{"token":"a","logprob":%s}]}' % odd.encode()
    frame = b'{"id":"c1","choices":[{"index":0,"delta":{"content":"a"},"logprobs":%s}]}' % probs
    stream = write_data(frame) + chunk("stop") + write_data(usage) + DONE
    assert carried("openai_chat", stream) == stream
    found = told("anthropic_messages", "openai_chat", stream)
    assert found.text == "a" and found.usage is not None and found.usage["output_tokens"] == 3


@pytest.mark.parametrize("upstream", NAMES)
@pytest.mark.parametrize(
    ("text", "wanted"),
    [(r'"a\ud83d"', "a" + LOST), (r'"\ud83d\ude00"', "😀"), (r'"\ude00b"', LOST + "b"), ('"a","odd":NaN', "a")],
)
def test_whole_replies(upstream: str, text: str, wanted: str) -> None:
    """A whole reply with a half or with NaN is read in every dialect, and passed on raw."""
    body = whole(upstream, text)
    glance = DIALECTS[upstream].glance(body)
    assert not glance.is_empty and glance.usage is not None and glance.usage.output == 2
    for client in NAMES:
        memo = memo_of(client, request_of(client))
        reads, writes = DIALECTS[upstream].upstream, DIALECTS[client].client
        assert reads is not None and writes is not None
        written = writes.write_reply(read_whole(reads, body, False, memo), memo)
        assert json.dumps(wanted)[1:-1] in json.dumps(json.loads(written))


@pytest.mark.parametrize("client", NAMES)
def test_halves_in_arguments_and_thoughts(client: str) -> None:
    """Arguments and reasoning are joined as text is, each in its own place."""

    def call(piece: str, **more: Any) -> bytes:
        head = {"index": 0, **more}
        said = json.dumps(head)[:-1] + ',"function":{"name":"f","arguments":PIECE}}'.replace("PIECE", piece)
        return write_data(b'{"choices":[{"index":0,"delta":{"tool_calls":[%s]}}]}' % said.encode())

    def think(piece: str) -> bytes:
        return write_data(b'{"choices":[{"index":0,"delta":{"reasoning_content":%s}}]}' % piece.encode())

    stream = think(r'"hm\ud83d"') + think(r'"\ude00"')
    stream += call(r'"{\"a\":\"\ud83d"', id="c") + call(r'"\ude00\"}"') + chunk("tool_calls") + DONE
    found = told(client, "openai_chat", stream)
    assert found.reasoning == "hm😀"
    assert [json.loads(arguments) for _, _, arguments in found.calls] == [{"a": "😀"}]


def test_a_number_beside_arguments_keeps_its_digits() -> None:
    """A half in a text does not cost the arguments beside it their digits."""
    use = r'{"type":"tool_use","id":"t","name":"f","input":{"a":1.10,"b":12345678901234567890123}}'
    text = r'{"type":"text","text":"\ud83d"}'
    body = f'{{"content":[{text},{use}],"stop_reason":"tool_use"}}'
    reads, writes = DIALECTS["anthropic_messages"].upstream, DIALECTS["openai_chat"].client
    memo = memo_of("openai_chat")
    assert reads is not None and writes is not None
    said = json.loads(writes.write_reply(reads.read_reply(body.encode(), memo), memo))["choices"][0]["message"]
    assert said["content"] == LOST
    assert said["tool_calls"][0]["function"]["arguments"] == '{"a":1.10,"b":12345678901234567890123}'


@pytest.mark.parametrize("odd", [r'{"a":"\ud83d"}', '{"a":NaN}'])
def test_odd_arguments_are_arguments(odd: str) -> None:
    """The whole arguments of a call with a half or NaN inside are still an object for a Messages client."""
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": odd}}
    body = {"choices": [{"message": {"tool_calls": [call]}, "finish_reason": "tool_calls"}]}
    reads, writes = DIALECTS["openai_chat"].upstream, DIALECTS["anthropic_messages"].client
    memo = memo_of("anthropic_messages")
    assert reads is not None and writes is not None
    said = json.loads(writes.write_reply(reads.read_reply(json.dumps(body).encode(), memo), memo))
    assert said["content"][0]["input"] in ({"a": LOST}, {"a": None})


@pytest.mark.parametrize("kind", ["openai_embeddings", "openai_images_generations"])
def test_vectors_with_nan_are_carried(kind: str) -> None:
    """A whole reply that is only forwarded may hold NaN; its usage counts all the same."""
    body = b'{"data":[{"embedding":[0.1,NaN]}],"usage":{"prompt_tokens":7,"total_tokens":7}}'
    glance = DIALECTS[kind].glance(body)
    assert glance.usage is not None and glance.usage.input == 7


@pytest.mark.parametrize(("pieces", "text"), PIECES)
def test_tidied_streams_join_them(pieces: list[str], text: str) -> None:
    """A raw lane that writes its chunks anew joins the halves, because it cannot write one."""
    out = carried("openai_chat", STREAMS["openai_chat"](*pieces), is_tidy=True)
    said = [json.loads(data) for _, data in frames_of(out)[:-1]]
    assert "".join(one["choices"][0]["delta"].get("content") or "" for one in said).rstrip(LOST) == text.rstrip(LOST)


@pytest.mark.parametrize(("pieces", "text"), PIECES)
def test_recorded_streams_have_their_end(pieces: list[str], text: str) -> None:
    """A stream that is stored gets our id in every response object, and ends with an object that can be stored."""
    lane = RecordingLane(DIALECTS["openai_responses"].watch(Asked()), {"id": b'"resp_ours"'})
    out = b"".join(lane.feed(frame + b"\n\n") for frame in STREAMS["openai_responses"](*pieces).split(b"\n\n")[:-1])
    out += lane.end()
    assert b"resp_u" not in out and out.count(b'"resp_ours"') == 2
    assert lane.final is not None
    output = json.loads(bytes(lane.final.response["output"]))
    assert output[0]["content"][0]["text"] == text


def test_half_a_stored_text_has_its_characters() -> None:
    """A recorded stream that breaks off keeps the text so far, with its halves joined."""
    lane = RecordingLane(DIALECTS["openai_responses"].watch(Asked()), {"id": b'"resp_ours"'})
    frames = STREAMS["openai_responses"](r'"a\ud83d"', r'"\ude00b"').split(b"\n\n")[:4]
    for frame in frames:
        lane.feed(frame + b"\n\n")
    body = lane.so_far("incomplete")
    assert body is not None
    assert msgspec.json.decode(body)["output"][0]["content"][0]["text"] == "a😀b"


def test_stop_sequences_and_think_tags_meet_whole_characters() -> None:
    """What looks for a stop sequence in the text sees joined characters."""
    memo = memo_of("anthropic_messages")
    memo.stops = ("😀",)
    out = cross("anthropic_messages", STREAMS["openai_chat"](r'"a\ud83d"', r'"\ude00b"'), memo, "openai_chat")
    found = read("anthropic_messages", out)
    assert (found.text, found.stop, found.sequence) == ("a", "stop_sequence", "😀")


@pytest.mark.parametrize("block", ["text", "thinking"])
def test_blocks_of_messages_have_halves_of_their_own(block: str) -> None:
    """A half at the end of one block is not joined with the beginning of the next."""
    kind = {"text": "text_delta", "thinking": "thinking_delta"}[block]

    def said(index: int, piece: str) -> bytes:
        delta = b'{"type":"content_block_delta","index":%d,"delta":{"type":"%s","%s":%s}}'
        frame = b"event: content_block_delta\n" + write_data(
            delta % (index, kind.encode(), block.encode(), piece.encode())
        )
        start = event("content_block_start", index=index, content_block={"type": block, block: ""})
        return start + frame + event("content_block_stop", index=index)

    begin, _, end = STREAMS["anthropic_messages"]().partition(
        event("content_block_start", index=0, content_block={"type": "text", "text": ""})
    )
    end = end.removeprefix(event("content_block_stop", index=0))
    found = told("openai_chat", "anthropic_messages", begin + said(0, r'"a\ud83d"') + said(1, r'"\ude00b"') + end)
    assert (found.text or found.reasoning).replace("\n", "") == f"a{LOST}{LOST}b"
