"""Streams of each dialect whose text is written as JSON by the test itself, so that it may be odd."""

import json
from collections.abc import Callable
from typing import Any

from gateway.wire import DIALECTS
from gateway.wire.codec.sse import DONE, FrameCutter, write_data, write_event
from gateway.wire.dialect import Asked
from tests.wire.crossings import chunk, cross, event, memo_of
from tests.wire.grammar import Told, read_chat, read_messages, read_responses

NAMES = ("openai_chat", "anthropic_messages", "openai_responses")
ZERO = {"input_tokens": 1, "output_tokens": 2}
USAGE = {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}
TEXT = chunk(role="assistant", content="Hel") + chunk(content="lo")


def final(finish: str | None = "stop", delta: Any = None, **message: Any) -> bytes:
    """Write the frame that repeats the message."""
    choice: dict[str, Any] = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish}
    choice |= {} if delta is None else {"delta": delta}
    said = {"id": "c1", "object": "chat.completion", "model": "up", "choices": [choice], "usage": USAGE}
    return b"data: " + json.dumps(said).encode() + b"\n\n"


def chat(*texts: str) -> bytes:
    """Write a Chat stream; each text is JSON."""
    frame = '{"id":"c1","choices":[{"index":0,"delta":{"content":%s},"finish_reason":null,"logprobs":null}]}'
    return b"".join([*(write_data((frame % text).encode()) for text in texts), chunk("stop"), DONE])


def messages(*texts: str) -> bytes:
    frame = '{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":%s}}'
    start = {"id": "msg_u", "role": "assistant", "model": "up", "content": [], "usage": ZERO}
    return b"".join(
        [
            event("message_start", message=start),
            event("content_block_start", index=0, content_block={"type": "text", "text": ""}),
            *(write_event("content_block_delta", (frame % text).encode()) for text in texts),
            event("content_block_stop", index=0),
            event("message_delta", delta={"stop_reason": "end_turn", "stop_sequence": None}, usage=ZERO),
            event("message_stop"),
        ]
    )


def responses(*texts: str) -> bytes:
    frame = '{"type":"response.output_text.delta","item_id":"msg_1","output_index":0,"content_index":0,"delta":%s}'
    added = {"id": "msg_1", "type": "message", "role": "assistant", "content": []}
    whole = item('"' + "".join(text[1:-1] for text in texts if text.startswith('"')) + '"')
    done = f'{{"type":"response.output_item.done","output_index":0,"item":{whole}}}'
    end = f'{{"type":"response.completed","response":{response(whole)}}}'
    return b"".join(
        [
            event("response.created", response={"id": "resp_u", "status": "in_progress", "output": []}),
            event("response.output_item.added", output_index=0, item=added),
            *(write_event("response.output_text.delta", (frame % text).encode()) for text in texts),
            write_event("response.output_item.done", done.encode()),
            write_event("response.completed", end.encode()),
        ]
    )


def item(text: str) -> str:
    part = f'{{"type":"output_text","text":{text},"annotations":[]}}'
    return f'{{"id":"msg_1","type":"message","role":"assistant","status":"completed","content":[{part}]}}'


def response(*items: str) -> str:
    output, usage = ",".join(items), json.dumps(ZERO)
    return f'{{"id":"resp_u","object":"response","status":"completed","output":[{output}],"usage":{usage}}}'


def whole(upstream: str, text: str) -> bytes:
    """Write a whole reply of a dialect, whose text is JSON."""
    replies = {
        "openai_chat": '{"id":"c1","choices":[{"index":0,"message":{"role":"assistant","content":%s},'
        '"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":2}}',
        "anthropic_messages": '{"id":"msg_u","type":"message","role":"assistant","content":[{"type":"text","text":%s}],'
        '"stop_reason":"end_turn","usage":{"input_tokens":1,"output_tokens":2}}',
        "openai_responses": response(item("%s")),
    }
    return (replies[upstream] % text).encode()


STREAMS: dict[str, Callable[..., bytes]] = {
    "openai_chat": chat,
    "anthropic_messages": messages,
    "openai_responses": responses,
}


def request_of(client: str) -> dict[str, Any] | None:
    return {"model": "m", "input": "Hi", "stream": True} if client == "openai_responses" else None


def read(client: str, stream: bytes) -> Told:
    """Read a client's stream by the grammar of its dialect."""
    match client:
        case "openai_chat":
            return read_chat(stream)
        case "anthropic_messages":
            return read_messages(stream)
        case _:
            return read_responses(stream)[0]


def told(client: str, upstream: str, stream: bytes) -> Told:
    """Return what a client gets of an upstream's stream, across dialects or within one."""
    return read(client, cross(client, stream, memo_of(client, request_of(client)), upstream))


def carried(dialect: str, stream: bytes, *, is_tidy: bool = False) -> bytes:
    """Return what the raw lane of a dialect makes of a stream."""
    found = DIALECTS[dialect]
    lane = found.normalise(Asked()) if is_tidy else found.watch(Asked())
    cutter = FrameCutter()
    frames = [*cutter.feed(stream), cutter.end()]
    return b"".join([*(frame if lane.passes(frame) else lane.feed(frame) for frame in frames if frame), lane.end()])
