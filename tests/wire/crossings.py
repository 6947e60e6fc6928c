"""Shared by tests of the crossings: a translated lane between two dialects, fed with bytes."""

import json
from collections.abc import Iterable
from typing import Any

import msgspec

from gateway.wire import DIALECTS
from gateway.wire.codec.json_body import JsonBody
from gateway.wire.codec.sse import FrameCutter
from gateway.wire.neutral import Request
from gateway.wire.profile import Profile
from gateway.wire.translated_lane import Crossing
from gateway.wire.translation.envelope import Sealer
from gateway.wire.translation.memo import Memo, Setting

CHAT, MESSAGES = DIALECTS["openai_chat"], DIALECTS["anthropic_messages"]
OTHER = {"openai_chat": MESSAGES, "anthropic_messages": CHAT}
SEALER = Sealer(b"secret of the tests", "owner")
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


def body(said: dict[str, Any]) -> JsonBody:
    return JsonBody.read(json.dumps(said).encode())


def chat_request(**more: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": "Hi"}]} | more


def messages_request(**more: Any) -> dict[str, Any]:
    return {"model": "m", "max_tokens": 1000, "messages": [{"role": "user", "content": "Hi"}]} | more


def memo_of(client: str, said: dict[str, Any] | None = None, profile: Profile | None = None) -> Memo:
    """Return the memo of a request as its client's dialect reads it."""
    side = DIALECTS[client].client
    assert side is not None
    default = chat_request(stream=True) if client == "openai_chat" else messages_request(stream=True)
    request = side.read_request(body(said or default))
    return Memo(request, "req_1", 1_700_000_000, SEALER, profile or Profile(), side.call_prefix)


def written(
    client: str, said: dict[str, Any], profile: Profile | None = None, version: str = "2023-06-01", upstream: str = ""
) -> tuple[dict[str, Any], Memo]:
    """Return (what goes upstream for a client's request, decoded; the memo)."""
    memo = memo_of(client, said, profile)
    return write(memo, version, upstream or OTHER[client].name), memo


def write(memo: Memo, version: str = "2023-06-01", upstream: str = "anthropic_messages") -> dict[str, Any]:
    side = DIALECTS[upstream].upstream
    assert side is not None
    out = side.write_request(memo.request, Setting("up", memo.profile, version), memo)
    found: dict[str, Any] = json.loads(msgspec.json.encode(out.members))
    return found


def crossing(client: str, upstream: str, memo: Memo | None = None) -> Crossing:
    """Make a lane from an upstream's dialect into a client's."""
    memo = memo or memo_of(client)
    reads, writes = DIALECTS[upstream].upstream, DIALECTS[client].client
    assert reads is not None
    assert writes is not None
    remembered: list[Any] = []
    return Crossing(
        reads.stream_reader,
        writes.stream_writer(memo),
        memo,
        lambda calls, thoughts: remembered.append((calls, thoughts)),
        writes.is_sequential,
    )


def cross(client: str, stream: bytes | Iterable[bytes], memo: Memo | None = None, upstream: str = "") -> bytes:
    """Return what a client gets of an upstream's stream."""
    lane = crossing(client, upstream or OTHER[client].name, memo)
    cutter = FrameCutter()
    chunks = [stream] if isinstance(stream, bytes) else stream
    out = [lane.feed(frame) for chunk in chunks for frame in cutter.feed(chunk)]
    if tail := cutter.end():
        out.append(lane.feed(tail))
    return b"".join([*out, lane.end()])


def chunk(finish: str | None = None, **delta: Any) -> bytes:
    """Write one frame of a chat stream."""
    said = {"id": "c1", "model": "up", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}
    return b"data: " + json.dumps(said).encode() + b"\n\n"


def usage_chunk(**usage: Any) -> bytes:
    return b"data: " + json.dumps({"id": "c1", "choices": [], "usage": usage}).encode() + b"\n\n"


def event(kind: str, **members: Any) -> bytes:
    """Write one frame of a Messages stream."""
    return b"event: " + kind.encode() + b"\ndata: " + json.dumps({"type": kind, **members}).encode() + b"\n\n"


def message(*blocks: dict[str, Any], stop: str = "end_turn", usage: dict[str, int] | None = None, **more: Any) -> bytes:
    """Write a Messages stream of whole blocks, each in one delta."""
    usage = usage or {"input_tokens": 5, "output_tokens": 3}
    start = {"id": "msg_up", "role": "assistant", "model": "up", "content": [], "usage": usage}
    out = [event("message_start", message=start)]
    for index, block in enumerate(blocks):
        out += _told(index, block)
    out.append(event("message_delta", delta={"stop_reason": stop, "stop_sequence": None, **more}, usage=usage))
    return b"".join([*out, event("message_stop")])


def _told(index: int, block: dict[str, Any]) -> list[bytes]:
    texts = {"text": ("text", "text_delta"), "thinking": ("thinking", "thinking_delta")}
    empty, deltas = dict(block), []
    if block["type"] in texts:
        name, kind = texts[block["type"]]
        deltas.append({"type": kind, name: block[name]})
        empty[name] = ""
        if "signature" in block:
            deltas.append({"type": "signature_delta", "signature": block["signature"]})
            empty["signature"] = ""
    elif block["type"] == "tool_use":
        deltas.append({"type": "input_json_delta", "partial_json": json.dumps(block["input"])})
        empty["input"] = {}
    started = event("content_block_start", index=index, content_block=empty)
    told = [event("content_block_delta", index=index, delta=delta) for delta in deltas]
    return [started, *told, event("content_block_stop", index=index)]


def request_of(client: str, said: dict[str, Any]) -> Request:
    side = DIALECTS[client].client
    assert side is not None
    return side.read_request(body(said))
