"""Chat streams whose last frame says the whole message once more."""

import json
from typing import Any

import pytest

from gateway.wire.codec.sse import DONE
from tests.wire.crossings import chunk, usage_chunk
from tests.wire.grammar import Told
from tests.wire.odd_streams import NAMES, TEXT, USAGE, carried, final, told
from tests.wire.streams import fragment, tools

CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
OTHER = {"id": "c2", "type": "function", "function": {"name": "g", "arguments": "{}"}}


def content_of(found: Told) -> tuple[str, str, list[tuple[str, Any]]]:
    return found.text, found.reasoning, [(name, json.loads(arguments)) for _, name, arguments in found.calls]


THOUGHT = chunk(reasoning_content="hm")
CALLED = tools(fragment('{"a":', index=0, id="c1", name="f")) + tools(fragment("1}", index=0))
F: tuple[str, Any] = ("f", {"a": 1})
G: tuple[str, Any] = ("g", {})
STREAMS: list[tuple[bytes, tuple[str, str, list[tuple[str, Any]]]]] = [
    (TEXT + final(content="Hello"), ("Hello", "", [])),
    (TEXT + chunk("stop") + final(content="Hello"), ("Hello", "", [])),
    (TEXT + final(None, content="Hello") + chunk("stop"), ("Hello", "", [])),
    (TEXT + final(delta={}, content="Hello"), ("Hello", "", [])),
    (TEXT + final(delta={"role": "assistant", "content": ""}, content="Hello"), ("Hello", "", [])),
    (THOUGHT + TEXT + final(content="Hello", reasoning_content="hm"), ("Hello", "hm", [])),
    (TEXT + final(content="Hello", reasoning_content="said as text"), ("Hello", "", [])),
    (CALLED + final("tool_calls", content="", tool_calls=[CALL]), ("", "", [F])),
    (TEXT + CALLED + final("tool_calls", content="Hello", tool_calls=[CALL]), ("Hello", "", [F])),
    (CALLED + final("tool_calls", tool_calls=[CALL, OTHER]), ("", "", [F, G])),
    (TEXT + final("tool_calls", content="Hello", tool_calls=[CALL]), ("Hello", "", [F])),
    (THOUGHT + final(content="Hello", reasoning_content="hm"), ("Hello", "hm", [])),
    (chunk(role="assistant", content="") + final(content="Hello"), ("Hello", "", [])),
    (final(content="Hello", tool_calls=[CALL]), ("Hello", "", [F])),
]


@pytest.mark.parametrize("client", NAMES)
@pytest.mark.parametrize(("stream", "wanted"), STREAMS)
def test_nothing_is_told_twice(client: str, stream: bytes, wanted: Any) -> None:
    """Of a frame that repeats the message only the finish, the usage and what no delta has told are taken."""
    found = told(client, "openai_chat", stream + DONE)
    assert content_of(found) == wanted
    if found.usage is not None:
        assert found.usage["output_tokens"] == 7


@pytest.mark.parametrize(("stream", "wanted"), STREAMS)
def test_tidied_streams_do_not_repeat(stream: bytes, wanted: Any) -> None:
    """A tidied raw stream tells everything once, as deltas."""
    text = reasoning = ""
    calls: list[list[str]] = []
    for frame in carried("openai_chat", stream + DONE, is_tidy=True).split(b"\n\n")[:-2]:
        said = json.loads(frame[6:])
        assert said.get("object") in (None, "chat.completion.chunk")
        for choice in said["choices"]:
            assert "message" not in choice
            text += choice["delta"].get("content") or ""
            reasoning += choice["delta"].get("reasoning_content") or ""
            for call in choice["delta"].get("tool_calls", ()):
                if call["index"] == len(calls):
                    calls.append([call["function"]["name"], ""])
                calls[call["index"]][1] += call["function"].get("arguments") or ""
    assert (text, reasoning, [(name, json.loads(arguments)) for name, arguments in calls]) == wanted


def test_pieces_under_message_are_pieces() -> None:
    """A server that writes `message` for `delta` in every chunk repeats nothing."""
    stream = b"".join(final(None, content=piece) for piece in ("Hel", "lo", "lo")) + chunk("stop") + DONE
    assert told("anthropic_messages", "openai_chat", stream).text == "Hellolo"
    assert carried("openai_chat", stream) == stream


@pytest.mark.parametrize("thought", [b"", THOUGHT + chunk(reasoning_content="m")])
def test_a_raw_stream_has_a_delta_in_its_place(thought: bytes) -> None:
    """SDKs want a `delta` in every choice: a raw stream gets an empty one in the place of the repeated message."""
    out = carried("openai_chat", thought + TEXT + final(content="Hello") + DONE)
    head, _, rest = out.partition(b'data: {"id":"c1","object"')
    assert head == thought + TEXT
    said = json.loads(b'{"id":"c1","object"' + rest.split(b"\n\n")[0])
    assert said["object"] == "chat.completion.chunk" and said["usage"] == USAGE
    assert said["choices"] == [{"index": 0, "finish_reason": "stop", "delta": {}}]


def test_a_raw_stream_without_repeats_keeps_its_bytes() -> None:
    """A raw stream in which the message is told only once is not touched."""
    for stream in (TEXT + chunk("stop") + usage_chunk(**USAGE), final(content="Hello")):
        assert carried("openai_chat", stream + DONE) == stream + DONE
