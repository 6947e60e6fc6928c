"""Every recorded stream of a real provider goes through: raw as it came, crossed without a loss, however it is cut."""

import json
import random
from collections.abc import AsyncIterator
from typing import Any

import anthropic
import openai
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from attrs import define, field

from gateway.errors import UpstreamFault
from gateway.wire import DIALECTS
from gateway.wire.dialect import Asked
from gateway.wire.profile import Profile
from gateway.wire.sse import FrameCutter
from tests.recordings import Recording, recordings
from tests.wire.crossings import OTHER, cross, memo_of
from tests.wire.grammar import Told, read_chat, read_messages

# Recorded failures: the provider itself says an error inside its stream.
FAILED = (
    "tool_use_failed_error_streaming.yaml",
    "tool_use_failed_error_streaming_with_text.yaml",
    "openrouter_stream_error.yaml",
)
# A stream that says its beginning twice: the second is taken out, or every SDK would stumble.
REPEATED = "duplicate-message-start"
# A server that never says why it stopped: `no_finish` is set for it.
UNFINISHED = ("snowflake",)
EVERY = recordings()
ALL = [one for one in EVERY if one.dialect != "openai_responses"]
RESPONSES = [one for one in EVERY if one.dialect == "openai_responses"]
GOOD = [one for one in ALL if not one.name.endswith(FAILED)]
CUTS = 4096
pytestmark = pytest.mark.skipif(not ALL, reason="set GATEWAY_CORPUS to the folder of recorded streams")


def profile_of(recording: Recording) -> Profile:
    return Profile(no_finish=any(word in recording.name for word in UNFINISHED))


def crossed(recording: Recording, chunks: list[bytes] | None = None) -> bytes:
    client = OTHER[recording.dialect].name
    memo = memo_of(client, profile=profile_of(recording))
    memo.request.wants_usage = True
    return cross(client, chunks or recording.stream, memo)


def told(recording: Recording, stream: bytes) -> Told:
    return read_messages(stream) if recording.dialect == "openai_chat" else read_chat(stream, wants_usage=True)


def frames(chunks: list[bytes]) -> list[bytes]:
    cutter = FrameCutter()
    found = [frame for chunk in chunks for frame in cutter.feed(chunk)]
    return [*found, tail] if (tail := cutter.end()) else found


@pytest.mark.parametrize("recording", GOOD, ids=str)
def test_the_same_dialect_goes_through_byte_for_byte(recording: Recording) -> None:
    """Frame for frame; the only thing added is an end that the provider forgot."""
    if any(word in recording.name for word in UNFINISHED):
        pytest.skip("never finishes")
    if REPEATED in recording.name:
        pytest.skip("is put right")
    lane = DIALECTS[recording.dialect].watch(Asked())
    out = b"".join([*(lane.feed(frame) for frame in frames([recording.stream])), lane.end()])
    assert out.startswith(recording.stream)
    assert out[len(recording.stream) :] in (b"", b"\n", b"\n\n", b"data: [DONE]\n\n")
    assert lane.has_content or b"refusal" in recording.stream


@pytest.mark.parametrize("recording", GOOD, ids=str)
def test_cuts_change_nothing(recording: Recording) -> None:
    """At every place up to 4 KiB, at 200 seeded places, byte by byte: the frames are the same.

    What a lane says depends on its frames alone; the reply is folded again for one way to cut each.
    """
    stream = recording.stream
    whole = frames([stream])
    dice = random.Random(recording.name)
    places = [*range(1, min(CUTS, len(stream))), *(dice.randrange(len(stream)) for _ in range(200))]
    for place in places:
        head = stream[: place + CUTS]  # what is beyond has no part in the cut
        assert frames([head[:place], head[place:]]) == frames([head])
    assert frames([stream[at : at + 1] for at in range(len(stream))]) == whole
    sizes = sorted(dice.randrange(len(stream)) for _ in range(200))
    pieces = [stream[start:stop] for start, stop in zip([0, *sizes], [*sizes, len(stream)], strict=True)]
    assert frames(pieces) == whole
    assert crossed(recording, pieces) == crossed(recording)


@define
class Said:
    """What a recording says, read in the simplest way."""

    text: str = ""
    reasoning: str = ""
    calls: list[tuple[str, str]] = field(factory=list)
    output: int | None = None


def naive(recording: Recording) -> Said:
    said = Said()
    calls: dict[Any, list[str]] = {}
    for line in recording.stream.decode().splitlines():
        if not line.startswith("data:") or line[5:].strip() in ("[DONE]", ""):
            continue
        event = json.loads(line[5:])
        if recording.dialect == "openai_chat":
            _naive_chat(event, said, calls)
        else:
            _naive_messages(event, said, calls)
    said.calls = [(name, arguments) for name, arguments in calls.values()]
    return said


def _naive_chat(event: dict[str, Any], said: Said, calls: dict[Any, list[str]]) -> None:
    for choice in event.get("choices") or ():
        delta = choice.get("delta") or {}
        content = delta.get("content")
        if isinstance(content, list):
            said.text += "".join(part.get("text", "") for part in content if part["type"] == "text")
            thoughts = [part["thinking"] for part in content if part["type"] == "thinking"]
            said.reasoning += "".join(inner["text"] for thought in thoughts for inner in thought)
        else:
            said.text += content or ""
        details = "".join(one.get("text") or one.get("summary") or "" for one in delta.get("reasoning_details") or ())
        said.reasoning += details or delta.get("reasoning_content") or delta.get("reasoning") or ""
        for call in delta.get("tool_calls") or ():
            entry = calls.setdefault(call.get("index"), ["", ""])
            entry[0] = entry[0] or call["function"].get("name") or ""
            entry[1] += call["function"].get("arguments") or ""
    for usage in (event.get("usage"), (event.get("x_groq") or {}).get("usage")):
        if usage:
            said.output = usage["completion_tokens"]


def _naive_messages(event: dict[str, Any], said: Said, calls: dict[Any, list[str]]) -> None:
    for number, block in enumerate((event.get("message") or {}).get("content") or ()):
        _naive_messages({"type": "content_block_start", "index": number, "content_block": block}, said, calls)
    delta, block = event.get("delta") or {}, event.get("content_block") or {}
    said.text += delta.get("text", "") + (block.get("text", "") if block.get("type") == "text" else "")
    said.reasoning += delta.get("thinking", "") + block.get("thinking", "")
    if block.get("type") == "tool_use":
        calls[event["index"]] = [block["name"], json.dumps(block["input"]) if block["input"] else ""]
    if "partial_json" in delta and event["index"] in calls:
        calls[event["index"]][1] += delta["partial_json"]
    if event["type"] == "message_delta":
        usage = event["usage"]
        said.output = sum(one["output_tokens"] for one in usage.get("iterations") or [usage])


@pytest.mark.parametrize("recording", GOOD, ids=str)
def test_a_crossing_loses_nothing(recording: Recording) -> None:
    """Text, reasoning, calls and usage come out in the other dialect, in a stream that passes its grammar."""
    found, wanted = told(recording, crossed(recording)), naive(recording)
    assert found.text.replace("\n\n", "") == wanted.text.replace("\n\n", "")
    assert found.reasoning.replace("\n\n", "") == wanted.reasoning.replace("\n\n", "")
    assert [(name, json.loads(arguments)) for _, name, arguments in found.calls] == [
        (name, json.loads(arguments or "{}")) for name, arguments in wanted.calls
    ]
    assert found.usage is not None
    output = found.usage.get("output_tokens", found.usage.get("completion_tokens"))
    if wanted.output is not None and "xai" not in recording.name:  # its completion does not count the reasoning
        assert output == wanted.output


@pytest.mark.parametrize("recording", [one for one in ALL if one not in GOOD], ids=str)
def test_a_recorded_failure_is_one(recording: Recording) -> None:
    """The provider's own error is raised, never swallowed."""
    with pytest.raises(UpstreamFault):
        crossed(recording)


@pytest.fixture
async def serve() -> AsyncIterator[Any]:
    """A server that gives any request the stream it was told to."""
    answer: dict[str, bytes] = {}

    async def respond(request: web.Request) -> web.Response:
        return web.Response(body=answer["stream"], content_type="text/event-stream")

    app = web.Application()
    app.router.add_post("/{path:.*}", respond)
    server = TestServer(app)
    await server.start_server()

    def tell(stream: bytes) -> str:
        answer["stream"] = stream
        return str(server.make_url(""))

    yield tell
    await server.close()


@pytest.mark.sdk
@pytest.mark.parametrize("recording", GOOD, ids=str)
async def test_the_sdks_put_the_reply_together(recording: Recording, serve: Any) -> None:
    """With the official accumulators: `messages.stream` and `chat.completions.stream`."""
    wanted, url = naive(recording), serve(crossed(recording))
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


@pytest.mark.parametrize("client", ["openai_chat", "anthropic_messages"])
@pytest.mark.parametrize("recording", RESPONSES, ids=str)
def test_responses_are_read_for_both_other_clients(recording: Recording, client: str) -> None:
    """Text, reasoning and calls come out in a stream of the client's grammar; a recorded failure is one."""
    memo = memo_of(client)
    ends = [b'"type":"response.completed"', b'"type": "response.completed"', b"response.incomplete"]
    if not any(end in recording.stream for end in ends):
        with pytest.raises(UpstreamFault):
            cross(client, recording.stream, memo, "openai_responses")
        return
    out = cross(client, recording.stream, memo, "openai_responses")
    found = read_messages(out) if client == "anthropic_messages" else read_chat(out)
    text = reasoning = ""
    for line in recording.stream.decode().splitlines():
        if line.startswith("data:") and line[5:].strip() not in ("[DONE]", ""):
            event = json.loads(line[5:])
            text += event["delta"] if event["type"] == "response.output_text.delta" else ""
            is_thought = event["type"] in ("response.reasoning_summary_text.delta", "response.reasoning_text.delta")
            reasoning += event["delta"] if is_thought else ""
    assert text.replace("\n\n", "") in found.text.replace("\n\n", "")
    assert found.reasoning.replace("\n\n", "") == reasoning.replace("\n\n", "")
    pieces = [recording.stream[at : at + 7] for at in range(0, len(recording.stream), 7)]
    assert cross(client, pieces, memo_of(client), "openai_responses") == out


@pytest.mark.parametrize("recording", RESPONSES, ids=str)
def test_responses_go_through_byte_for_byte(recording: Recording) -> None:
    lane = DIALECTS["openai_responses"].watch(Asked())
    try:
        out = b"".join([*(lane.feed(frame) for frame in frames([recording.stream])), lane.end()])
    except UpstreamFault:
        assert b"error" in recording.stream or b"response.completed" not in recording.stream
        return
    assert recording.stream.startswith(out.rstrip(b"\n")) and lane.is_finished
