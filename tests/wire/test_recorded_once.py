"""Every recorded stream, in all nine lanes: nothing is told twice, ids are stable, whole and streamed replies agree."""

import json
from collections import Counter
from typing import Any

import pytest

from gateway.wire import DIALECTS
from gateway.wire.dialect import Asked
from gateway.wire.translated_lane import read_whole
from gateway.wire.translation.memo import Memo
from tests.wire.bent.lanes import STRICT
from tests.wire.bent.plain import payloads, read_body, read_stream
from tests.wire.crossings import chat_request, cross, memo_of, messages_request
from tests.wire.recordings import FAILED, UNFINISHED, Recording, frames, profile_of, recordings

TOOL = {"type": "custom", "name": "write_sql"}  # of a recorded request
REQUESTS: dict[str, dict[str, Any]] = {
    "openai_chat": chat_request(stream=True, tools=[{"type": "custom", "custom": {"name": "write_sql"}}]),
    "anthropic_messages": messages_request(stream=True),
    "openai_responses": {"model": "m", "input": "Hi", "stream": True, "tools": [TOOL]},
}
# Recorded failures, by a part of their names; and servers whose items have another id in each event.
BROKEN = (*FAILED, "error", "failed")
CALLS = ("tool_use", "function_call", "custom_tool_call")
UNSTABLE = ("github-copilot-id-rotation", "raw_cot_stream_openrouter")
GOOD = [one for one in recordings() if not any(word in one.name for word in BROKEN)]
NINE = [(one, client) for one in GOOD for client in REQUESTS]
pytestmark = pytest.mark.skipif(not GOOD, reason="set GATEWAY_CORPUS to the folder of recorded streams")


def memo(recording: Recording, client: str) -> Memo:
    made = memo_of(client, REQUESTS[client], profile_of(recording))
    made.request.wants_usage = False
    return made


def starts(stream: bytes) -> Counter[str]:
    """Count how often each call begins in a raw stream."""
    found: Counter[str] = Counter()
    open_calls: set[tuple[int, str]] = set()
    for said in payloads(stream):
        for choice in said.get("choices") or ():
            for call in (choice.get("delta") or {}).get("tool_calls") or ():
                if call.get("id") and (place := (call.get("index"), call["id"])) not in open_calls:
                    open_calls.add(place)
                    found[call["id"]] += 1
        item = said.get("item") if said.get("type") == "response.output_item.added" else None
        block = said.get("content_block") or item or {}
        if block.get("type") in CALLS and (name := block.get("call_id") or block["id"]):
            found[name] += 1
    return found


@pytest.mark.parametrize(
    "recording", [one for one in GOOD if not any(word in one.name for word in UNFINISHED)], ids=str
)
def test_raw_lanes_begin_each_call_once(recording: Recording) -> None:
    """A raw stream begins each call once, and a Responses item keeps its id up to the final object."""
    lane = DIALECTS[recording.dialect].watch(Asked())
    out = b"".join([*(lane.feed(frame) for frame in frames([recording.stream]))])
    assert all(count == 1 for count in starts(out).values())
    items: dict[int, set[str]] = {}
    for said in payloads(out):
        if said.get("type") in ("response.output_item.added", "response.output_item.done"):
            items.setdefault(said["output_index"], set()).add(said["item"].get("id", ""))
        if said.get("type") == "response.completed":
            for index, item in enumerate(said["response"]["output"]):
                items.setdefault(index, set()).add(item.get("id", ""))
    assert all(len(ids) == 1 for ids in items.values()) or any(word in recording.name for word in UNSTABLE)


@pytest.mark.parametrize(("recording", "client"), NINE, ids=str)
def test_crossed_lanes_tell_once_and_alike(recording: Recording, client: str) -> None:
    """A crossed stream passes its grammar, and says what the whole reply says that is gathered from the same stream."""
    if client == recording.dialect:
        pytest.skip("raw")
    out = cross(client, recording.stream, memo(recording, client), recording.dialect)
    STRICT[client](out)
    reads, writes = DIALECTS[recording.dialect].upstream, DIALECTS[client].client
    assert reads is not None
    assert writes is not None
    made = memo(recording, client)
    whole = writes.write_reply(read_whole(reads, recording.stream, True, made), made)
    streamed, gathered = read_stream(client, out), read_body(client, whole)
    assert streamed.content == gathered.content
    assert (streamed.end, streamed.error) == (gathered.end, "")
    assert json.loads(whole)
