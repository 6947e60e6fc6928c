"""Every recorded stream of a real provider passes raw unchanged and is translated without a loss, however it is cut."""

import json

import anthropic
import openai
import pytest

from gateway.errors import UpstreamFault
from gateway.wire import DIALECTS
from gateway.wire.dialect import Asked
from tests.conftest import Serve
from tests.wire.crossings import OTHER, cross, memo_of
from tests.wire.grammar import Told, read_chat, read_messages
from tests.wire.recordings import FAILED, REPEATED, UNFINISHED, Recording, cuts, frames, naive, profile_of, recordings

ALL = [one for one in recordings() if one.dialect != "openai_responses"]
GOOD = [one for one in ALL if not one.name.endswith(FAILED)]
pytestmark = [
    pytest.mark.exhaustive,
    pytest.mark.skipif(not ALL, reason="set GATEWAY_CORPUS to the folder of recorded streams"),
]


def crossed(recording: Recording, chunks: list[bytes] | None = None) -> bytes:
    client = OTHER[recording.dialect].name
    memo = memo_of(client, profile=profile_of(recording))
    memo.request.wants_usage = True
    return cross(client, chunks or recording.stream, memo)


def told(recording: Recording, stream: bytes) -> Told:
    return read_messages(stream) if recording.dialect == "openai_chat" else read_chat(stream, wants_usage=True)


# Servers that number their calls from 1, or not at all: SDKs could not put them together.
ODDLY_NUMBERED = ("mistral-tool-call", "anthropic-fallback-tool-call")


@pytest.mark.parametrize("recording", GOOD, ids=str)
def test_the_same_dialect_goes_through_byte_for_byte(recording: Recording) -> None:
    """The raw lane keeps every byte of a recording; it adds only an end that the provider left out."""
    if any(word in recording.name for word in UNFINISHED):
        pytest.skip("never finishes")
    if REPEATED in recording.name or any(word in recording.name for word in ODDLY_NUMBERED):
        pytest.skip("is put right")
    lane = DIALECTS[recording.dialect].watch(Asked())
    out = b"".join([*(lane.feed(frame) for frame in frames([recording.stream])), lane.end()])
    assert out.startswith(recording.stream)
    assert out[len(recording.stream) :] in (b"", b"\n", b"\n\n", b"data: [DONE]\n\n")
    assert lane.has_content or b"refusal" in recording.stream


@pytest.mark.parametrize("recording", GOOD, ids=str)
def test_cuts_change_nothing(recording: Recording) -> None:
    """Cuts at any place leave the frames and the translated reply the same.

    The places are all up to 4 KiB, 200 seeded ones, and byte by byte; the reply is folded again for one way of cutting,
    because a lane's output depends on its frames alone.
    """
    pieces = cuts(recording)
    assert crossed(recording, pieces) == crossed(recording)


@pytest.mark.parametrize("recording", GOOD, ids=str)
def test_a_crossing_loses_nothing(recording: Recording) -> None:
    """Text, reasoning, calls and usage reach the other dialect, in a stream that passes its grammar."""
    found, wanted = told(recording, crossed(recording)), naive(recording)
    assert found.text.replace("\n\n", "") == wanted.text.replace("\n\n", "")
    assert found.reasoning.replace("\n\n", "") == wanted.reasoning.replace("\n\n", "")
    assert [(name, json.loads(arguments)) for _, name, arguments in found.calls] == [
        (name, json.loads(arguments or "{}")) for name, arguments in wanted.calls
    ]
    assert found.usage is not None
    output = found.usage.get("output_tokens", found.usage.get("completion_tokens"))
    if wanted.output is not None and "xai" not in recording.name:  # xAI's completion_tokens leave the reasoning out
        assert output == wanted.output


@pytest.mark.parametrize("recording", [one for one in ALL if one not in GOOD], ids=str)
def test_a_recorded_failure_is_one(recording: Recording) -> None:
    """A recorded failure raises the provider's own error."""
    with pytest.raises(UpstreamFault):
        crossed(recording)


@pytest.mark.sdk
@pytest.mark.parametrize("recording", GOOD, ids=str)
async def test_the_sdks_put_the_reply_together(recording: Recording, serve_stream: Serve) -> None:
    """The SDKs' accumulators build the recorded reply from the translated stream."""
    wanted, url = naive(recording), serve_stream(crossed(recording))
    if recording.dialect == "openai_chat":
        async with (
            anthropic.AsyncAnthropic(base_url=url, api_key="k") as client,
            client.messages.stream(model="m", max_tokens=9, messages=[{"role": "user", "content": "Hi"}]) as stream,
        ):
            final = await stream.get_final_message()
        text = "".join(block.text for block in final.content if block.type == "text")
        calls = [(block.name, block.input) for block in final.content if block.type == "tool_use"]
        output = final.usage.output_tokens
    else:
        async with (
            openai.AsyncOpenAI(base_url=url, api_key="k") as asker,
            asker.chat.completions.stream(
                model="m", messages=[{"role": "user", "content": "Hi"}], stream_options={"include_usage": True}
            ) as events,
        ):
            try:
                completion = await events.get_final_completion()
            except openai.ContentFilterFinishReasonError:
                assert b"refusal" in recording.stream
                return
        said = completion.choices[0].message
        text = said.content or ""
        calls = [(call.function.name, json.loads(call.function.arguments)) for call in said.tool_calls or ()]
        assert completion.usage is not None
        output = completion.usage.completion_tokens
    assert text.replace("\n\n", "") == wanted.text.replace("\n\n", "")
    assert calls == [(name, json.loads(arguments or "{}")) for name, arguments in wanted.calls]
    if wanted.output is not None and "xai" not in recording.name:
        assert output == wanted.output
