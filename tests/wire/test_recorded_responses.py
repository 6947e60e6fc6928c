"""Every recorded Responses stream passes raw, recorded and translated; other streams reach a Responses client."""

import json
from typing import Any

import anthropic
import msgspec
import openai
import pytest

from gateway.errors import UpstreamFault
from gateway.wire import DIALECTS
from gateway.wire.codec.sse import read_frame
from gateway.wire.dialect import Asked
from gateway.wire.openai_responses.recording_lane import RecordingLane, final_in
from gateway.wire.translation.memo import Memo
from tests.conftest import Serve
from tests.wire.crossings import SEALER, body, chat_request, cross, memo_of
from tests.wire.grammar import read_chat, read_messages, read_responses
from tests.wire.recordings import FAILED, Recording, cuts, frames, naive, profile_of, recordings

EVERY = recordings()
THEIRS = [one for one in EVERY if one.dialect == "openai_responses"]
OTHERS = [one for one in EVERY if one.dialect != "openai_responses" and not one.name.endswith(FAILED)]
MARKS = {"id": b'"resp_ours"', "store": b"true", "previous_response_id": b"null", "background": b"false"}
TOOL = {"type": "custom", "name": "write_sql"}
CLIENTS = pytest.mark.parametrize("client", ["openai_chat", "anthropic_messages"])
RESPONSES = DIALECTS["openai_responses"]
pytestmark = [
    pytest.mark.exhaustive,
    pytest.mark.skipif(not EVERY, reason="set GATEWAY_CORPUS to the folder of recorded streams"),
]


def is_whole(recording: Recording) -> bool:
    return any(
        json.loads(data)["type"] in ("response.completed", "response.incomplete")
        for frame in frames([recording.stream])
        if (data := read_frame(frame).data) not in (None, b"[DONE]")
    )


# The deltas of this recording were shortened by hand, but the items that they make were not.
EDITED = "shell-container"
WHOLE = [one for one in THEIRS if is_whole(one)]
BROKEN = [one for one in THEIRS if one not in WHOLE]


def memo_for(client: str) -> Memo:
    """Return the memo of a request with the tools that the recorded ones had, as far as the dialect can."""
    custom = {"type": "custom", "custom": {"name": "write_sql"}}
    return memo_of(client, chat_request(stream=True, tools=[custom]) if client == "openai_chat" else None)


def raw(recording: Recording) -> bytes:
    lane = RESPONSES.watch(Asked())
    out = b"".join([*(lane.feed(frame) for frame in frames([recording.stream])), lane.end()])
    assert lane.is_finished and lane.usage is not None
    return out


@pytest.mark.parametrize("recording", WHOLE, ids=str)
def test_byte_for_byte(recording: Recording) -> None:
    """The raw lane keeps every byte up to the event that ends the stream."""
    assert recording.stream.startswith(raw(recording).rstrip(b"\n"))


@pytest.mark.parametrize("recording", BROKEN, ids=str)
@CLIENTS
def test_a_recorded_failure_is_one(recording: Recording, client: str) -> None:
    """A recorded failure raises the provider's own error, raw and translated."""
    with pytest.raises(UpstreamFault):
        raw(recording)
    with pytest.raises(UpstreamFault):
        cross(client, recording.stream, memo_for(client), "openai_responses")


@pytest.mark.parametrize("recording", WHOLE, ids=str)
def test_what_is_kept_is_told_frame_for_frame(recording: Recording) -> None:
    """The recording lane keeps every frame but the response's own members, such as its id.

    It holds back the last event, whose response is the one to be stored.
    """
    lane = RecordingLane(RESPONSES.watch(Asked()), MARKS)
    told = [lane.feed(frame) for frame in frames([recording.stream])]
    end = lane.end()
    assert not b"".join(told).count(b"response.completed") and final_in(b"".join(told)) is None
    plain = frames([raw(recording)])
    ours = frames([b"".join(told), end])
    assert len(ours) == len(plain)
    for mine, theirs in zip(ours, plain, strict=True):
        if b'"response":' not in theirs:
            assert mine == theirs
            continue
        said, given = (json.loads(read_frame(one).data or b"") for one in (mine, theirs))
        assert said["response"] == given["response"] | {name: json.loads(value) for name, value in MARKS.items()}
        assert said | {"response": 0} == given | {"response": 0}
    final = final_in(end)
    assert final is not None and msgspec.json.decode(final.response["id"]) == "resp_ours"


@pytest.mark.parametrize("recording", WHOLE, ids=str)
@CLIENTS
def test_a_crossing_loses_nothing(recording: Recording, client: str) -> None:
    """Text, reasoning, calls and usage reach the client in its grammar, however the stream is cut."""
    out = cross(client, recording.stream, memo_for(client), "openai_responses")
    found, wanted = (read_messages if client == "anthropic_messages" else read_chat)(out), naive(recording)
    placed = found.text.replace("(The model sent a picture, which this API cannot carry.)", "")
    assert EDITED in recording.name or placed.replace("\n\n", "") == wanted.text.replace("\n\n", "")
    assert found.reasoning.replace("\n\n", "") == wanted.reasoning.replace("\n\n", "")
    offered = ("write_sql",) if client == "openai_chat" else ()
    calls = [(name, arguments) for name, arguments in wanted.calls if name in offered or arguments.startswith("{")]
    if "x-search" in recording.name:  # its own searches, sent as calls of custom tools that the request does not offer
        calls = []
    assert [(name, _plain(arguments)) for _, name, arguments in found.calls] == [
        (name, _plain(arguments)) for name, arguments in calls
    ]
    if client == "anthropic_messages":
        assert found.usage is not None and found.usage["output_tokens"] == wanted.output
    assert cross(client, cuts(recording), memo_for(client), "openai_responses") == out


def _plain(arguments: str) -> Any:
    return json.loads(arguments) if arguments.startswith("{") else arguments


@pytest.mark.sdk
@pytest.mark.parametrize("recording", WHOLE, ids=str)
async def test_the_sdks_put_the_reply_together(recording: Recording, serve_stream: Serve) -> None:
    """The accumulators of all three dialects' SDKs build the recorded reply."""
    if EDITED in recording.name:
        pytest.skip("its deltas and its items differ")
    wanted = naive(recording)
    url = serve_stream(cross("anthropic_messages", recording.stream, memo_of("anthropic_messages"), "openai_responses"))
    async with (
        anthropic.AsyncAnthropic(base_url=url, api_key="k") as claude,
        claude.messages.stream(model="m", max_tokens=9, messages=[{"role": "user", "content": "Hi"}]) as events,
    ):
        message = await events.get_final_message()
    text = "".join(block.text for block in message.content if block.type == "text")
    assert wanted.text.replace("\n\n", "") in text.replace("\n\n", "")
    url = serve_stream(cross("openai_chat", recording.stream, memo_for("openai_chat"), "openai_responses"))
    async with openai.AsyncOpenAI(base_url=url, api_key="k") as asker:
        if "custom-tool" in recording.name:
            pytest.skip("the SDK's own accumulator of chunks cannot fold a custom call")
        hi: Any = [{"role": "user", "content": "Hi"}]
        async with asker.chat.completions.stream(model="m", messages=hi) as chunks:
            completion = await chunks.get_final_completion()
        assert wanted.text.replace("\n\n", "") in (completion.choices[0].message.content or "").replace("\n\n", "")
        serve_stream(raw(recording))
        kinds = [event.type async for event in await asker.responses.create(model="m", input="Hi", stream=True)]
    assert kinds[0] in ("response.created", "response.queued", "response.in_progress") and kinds[-1] in (
        "response.completed",
        "response.incomplete",
    )


def for_responses(recording: Recording, chunks: list[bytes] | None = None) -> bytes:
    assert RESPONSES.client is not None
    request = RESPONSES.client.read_request(body({"model": "m", "input": "Hi", "stream": True, "tools": [TOOL]}))
    memo = Memo(request, "req_1", 1_700_000_000, SEALER, profile_of(recording))
    return cross("openai_responses", chunks or recording.stream, memo, recording.dialect)


@pytest.mark.parametrize("recording", OTHERS, ids=str)
def test_a_responses_client_gets_every_other_stream(recording: Recording) -> None:
    """Every Chat and Messages recording reaches a Responses client without a loss, however it is cut."""
    out = for_responses(recording)
    (found, final), wanted = read_responses(out), naive(recording)
    assert found.text.replace("\n\n", "") == wanted.text.replace("\n\n", "")
    assert found.reasoning.replace("\n\n", "") == wanted.reasoning.replace("\n\n", "")
    assert [(name, json.loads(arguments)) for _, name, arguments in found.calls] == [
        (name, json.loads(arguments or "{}")) for name, arguments in wanted.calls
    ]
    if wanted.output is not None and "xai" not in recording.name:
        assert final["usage"]["output_tokens"] == wanted.output
    assert for_responses(recording, cuts(recording)) == out


@pytest.mark.sdk
@pytest.mark.parametrize("recording", OTHERS, ids=str)
async def test_the_sdk_folds_what_a_responses_client_gets(recording: Recording, serve_stream: Serve) -> None:
    """`responses.stream` builds the recorded text; an incomplete response raises as the SDK does."""
    wanted, url = naive(recording), serve_stream(for_responses(recording))
    async with openai.AsyncOpenAI(base_url=url, api_key="k") as client:
        more: Any = {"model": "m", "input": "Hi"}
        async with client.responses.stream(**more) as events:
            async for _ in events:
                pass
            try:
                final = await events.get_final_response()
            except RuntimeError:  # the SDK needs `completed`; a reply cut by a limit or a filter is `incomplete`
                assert b"response.incomplete" in for_responses(recording)
                return
    assert final.output_text.replace("\n\n", "") == wanted.text.replace("\n\n", "")
