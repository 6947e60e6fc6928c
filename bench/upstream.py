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
# By dialect: whole reply; first, middle and last frames of a stream.
CHAT_REPLY = (ANSWER, FIRST, DELTA, LAST + END)
CLAUDE_REPLY = (CLAUDE_ANSWER, CLAUDE_FIRST, CLAUDE_DELTA, CLAUDE_LAST + b"0\r\n\r\n")


class Provider(asyncio.Protocol):
    """One connection: requests one after the other."""

    def __init__(self) -> None:
        self._buffer = b""
        self._reply = CHAT_REPLY
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass

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
        self._reply = CLAUDE_REPLY if b"/messages" in head[:40] else CHAT_REPLY
        if b'"stream":true' in rest:
            self._transport.write(STREAM_HEAD + self._reply[1])
            # Each stream has a phase of its own: streams in step would be cheaper than streams are.
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
