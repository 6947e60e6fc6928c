"""The provider that benchmarks talk to: answers at once, or streams at a steady pace, as cheaply as Python can.

It reads just enough HTTP to find the end of a request. Run as `python bench/upstream.py PORT`.
"""

import asyncio
import json
import random
import sys
from typing import cast

import uvloop

TEXT = "The quick brown fox jumps over the lazy dog. " * 14
CHUNKS_PER_STREAM = 400
CHUNK_EVERY_S = 0.01


def _whole(body: dict[str, object]) -> bytes:
    data = json.dumps(body).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
    return head.encode() + data


def _frame(delta: dict[str, str], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    chunk = {
        "id": "chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT",
        "object": "chat.completion.chunk",
        "created": 1750000000,
        "model": "bench",
        "system_fingerprint": "fp_44709d6fcb",
        "choices": [choice],
    }
    data = b"data: " + json.dumps(chunk).encode() + b"\n\n"
    return _http_chunk(data)


def _http_chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


USAGE = {"prompt_tokens": 40, "completion_tokens": 120, "total_tokens": 160}
MESSAGE = {"role": "assistant", "content": TEXT, "refusal": None}
ANSWER = _whole(
    {
        "id": "chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT",
        "object": "chat.completion",
        "created": 1750000000,
        "model": "bench",
        "choices": [{"index": 0, "message": MESSAGE, "logprobs": None, "finish_reason": "stop"}],
        "usage": USAGE,
    }
)
STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
FIRST, DELTA, LAST = _frame({"role": "assistant", "content": ""}), _frame({"content": " fox"}), _frame({}, "stop")
END = _http_chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"


def _event(kind: str, **members: object) -> bytes:
    data = json.dumps({"type": kind, **members}, separators=(",", ":")).encode()
    return _http_chunk(b"event: " + kind.encode() + b"\ndata: " + data + b"\n\n")


CLAUDE = {"id": "msg_01XFDUDYJgAACzvnptvVoYEL", "type": "message", "role": "assistant", "model": "bench"}
CLAUDE_USAGE = {"input_tokens": 40, "output_tokens": 120}
CLAUDE_ANSWER = _whole(
    {
        **CLAUDE,
        "content": [{"type": "text", "text": TEXT}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": CLAUDE_USAGE,
    }
)
CLAUDE_FIRST = _event("message_start", message={**CLAUDE, "content": [], "usage": CLAUDE_USAGE}) + _event(
    "content_block_start", index=0, content_block={"type": "text", "text": ""}
)
CLAUDE_DELTA = _event("content_block_delta", index=0, delta={"type": "text_delta", "text": " fox"})
CLAUDE_LAST = (
    _event("content_block_stop", index=0)
    + _event("message_delta", delta={"stop_reason": "end_turn", "stop_sequence": None}, usage={"output_tokens": 120})
    + _event("message_stop")
)
RESPONSE_USAGE = {
    "input_tokens": 40,
    "input_tokens_details": {"cached_tokens": 0},
    "output_tokens": 120,
    "output_tokens_details": {"reasoning_tokens": 0},
    "total_tokens": 160,
}
ITEM = "msg_67ccd3acc8d48190a77525dc6de64b4104becb25c45c1d42"


def _response(text: str, status: str) -> dict[str, object]:
    content = [{"type": "output_text", "text": text, "annotations": []}]
    item = {"type": "message", "id": ITEM, "status": "completed", "role": "assistant", "content": content}
    return {
        "id": "resp_67ccd2bed1ec8190b14f964abc0542670bb6a6b452d3795b",
        "object": "response",
        "created_at": 1750000000,
        "status": status,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "max_output_tokens": None,
        "model": "bench",
        "output": [item] if text else [],
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "reasoning": {"effort": None, "summary": None},
        "store": False,
        "temperature": 1.0,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": RESPONSE_USAGE if text else None,
        "user": None,
        "metadata": {},
    }


def _part(kind: str, **members: object) -> bytes:
    return _event(f"response.{kind}", sequence_number=7, item_id=ITEM, output_index=0, content_index=0, **members)


RESPONSE_FIRST = (
    _event("response.created", sequence_number=0, response=_response("", "in_progress"))
    + _event(
        "response.output_item.added",
        sequence_number=1,
        output_index=0,
        item={"id": ITEM, "type": "message", "status": "in_progress", "role": "assistant", "content": []},
    )
    + _part("content_part.added", part={"type": "output_text", "text": "", "annotations": []})
)
RESPONSE_LAST = (
    _part("output_text.done", text=TEXT)
    + _part("content_part.done", part={"type": "output_text", "text": TEXT, "annotations": []})
    + _event(
        "response.output_item.done",
        sequence_number=8,
        output_index=0,
        item={
            "id": ITEM,
            "type": "message",
            "status": "completed",
            "role": "assistant",
            "content": [{"type": "output_text", "text": TEXT, "annotations": []}],
        },
    )
    + _event("response.completed", sequence_number=9, response=_response(TEXT, "completed"))
)
# By dialect: whole reply; first, middle and last frames of a stream.
CHAT_REPLY = (ANSWER, FIRST, DELTA, LAST + END)
RESPONSES_REPLY = (
    _whole(_response(TEXT, "completed")),
    RESPONSE_FIRST,
    _part("output_text.delta", delta=" fox"),
    RESPONSE_LAST + b"0\r\n\r\n",
)
CLAUDE_REPLY = (CLAUDE_ANSWER, CLAUDE_FIRST, CLAUDE_DELTA, CLAUDE_LAST + b"0\r\n\r\n")
REPLIES = {b"/messages": CLAUDE_REPLY, b"/responses": RESPONSES_REPLY}


class Provider(asyncio.Protocol):
    """One connection, on which requests are answered one after the other."""

    def __init__(self) -> None:
        self._buffer = b""
        self._reply = CHAT_REPLY
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's transport is not a subclass

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, gap, rest = self._buffer.partition(b"\r\n\r\n")
        if not gap:
            return
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
        if len(rest) < length:
            return
        self._buffer = rest[length:]
        assert self._transport is not None
        self._reply = next((reply for path, reply in REPLIES.items() if path in head[:40]), CHAT_REPLY)
        if b'"stream":true' in rest:
            self._transport.write(STREAM_HEAD + self._reply[1])
            # Each stream starts at a random moment. If all streams sent at the same moments, the proxy would handle
            # many chunks each time that it wakes up, and a chunk would look cheaper than it is.
            loop = asyncio.get_running_loop()
            started = loop.time() + random.random() * CHUNK_EVERY_S
            loop.call_at(started, self._tick, 0, started)
        else:
            self._transport.write(self._reply[0])

    def _tick(self, number: int, started: float) -> None:
        if self._transport is None:
            return
        if number == CHUNKS_PER_STREAM:
            self._transport.write(self._reply[3])
            return
        self._transport.write(self._reply[2])
        due = started + (number + 1) * CHUNK_EVERY_S
        asyncio.get_running_loop().call_at(due, self._tick, number + 1, started)


async def main(port: int) -> None:
    """Serve on loopback until killed."""
    server = await asyncio.get_running_loop().create_server(Provider, "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
