"""Server-sent events: cuts bytes into whole frames, reads a frame and writes one.

A frame is the bytes of one event with the empty line that ends it, so that a frame is forwarded byte for byte. Rules:
the HTML standard's event stream format, and docs/wire/streaming.md#reading-sse-from-upstreams for how providers
deviate from it.
"""

import re

from attrs import frozen

from gateway.errors import Unreadable

# `response.completed` repeats the whole response, and images come inline as base64.
MAX_FRAME_BYTES = 16 * 1024 * 1024
MAX_LINES = 10_000  # of one frame: a provider that indents its JSON has some hundred
DONE = b"data: [DONE]\n\n"
_BOM = b"\xef\xbb\xbf"
# How a stream begins: a comment, or a field that the standard or a server knows.
_FIELDS = (b":", b"data:", b"event:", b"id:", b"retry:")
_HEAD = 4096  # bytes in which a body must show what it is
# The end of a frame: two line ends in a row. A "\r" that is the last byte so far does not count as a line end,
# because the next chunk may begin with the "\n" of a "\r\n".
_GAP = re.compile(rb"(?:\r\n|\n|\r(?!\n|\Z))(?:\r\n|\n|\r(?!\Z))")
_LINE_END = re.compile(rb"\r\n|\n|\r")


def looks_like(begin: bytes) -> bool | None:
    """Whether a body that begins so is a stream of events; None if too little has come to tell.

    Servers label streams as JSON or plain text, and JSON as a stream: only the bytes say what a body is.
    """
    head = begin[:_HEAD].removeprefix(_BOM).lstrip()
    if any(head.startswith(field) for field in _FIELDS):
        return True
    is_short = len(begin) < _HEAD and any(field.startswith(head) for field in _FIELDS)
    return None if is_short or _BOM.startswith(begin) else False


def is_whole(begin: bytes) -> bool:
    """Whether a body that begins so is JSON."""
    return begin[:_HEAD].removeprefix(_BOM).lstrip()[:1] in (b"{", b"[")


def without_bom(body: bytes) -> bytes:
    """Return a body without a byte order mark."""
    return body.removeprefix(_BOM)


class FrameCutter:
    """Cuts the chunks of a socket into whole frames.

    The frames joined are the bytes fed, but for a byte order mark at the start and the line ends at the very end.
    """

    def __init__(self, most: int = MAX_FRAME_BYTES) -> None:
        self._most = most
        self._tail = bytearray()
        self._started = False

    @property
    def is_between(self) -> bool:
        """Whether no part of a frame is held, so that the next chunk begins with a new frame."""
        return self._started and not self._tail

    def feed(self, chunk: bytes) -> list[bytes]:
        """Take a chunk, return the frames that it completes. Raises Unreadable if a frame is larger than the limit."""
        if not self._started:
            chunk = self._strip_bom(chunk)
        tail = self._tail
        if not tail and chunk.endswith(b"\n\n") and not chunk.endswith(b"\n\n\n") and b"\r" not in chunk:
            # By far the most common chunk: whole frames with plain line ends.
            if chunk.count(b"\n\n") == 1:
                return [chunk]
            return [piece + b"\n\n" for piece in chunk.split(b"\n\n")[:-1]]
        # A gap has at most 4 bytes, so one that this chunk completes begins at most 3 bytes before the chunk.
        start = max(0, len(tail) - 3)
        tail += chunk
        frames = []
        begin = 0
        while (gap := _GAP.search(tail, start)) is not None:
            frames.append(bytes(tail[begin : gap.end()]))
            begin = start = gap.end()
        del tail[:begin]
        if len(tail) > self._most:
            raise Unreadable(f"An event of the stream is larger than {self._most} bytes")
        return frames

    def end(self) -> bytes:
        """Return the bytes left at the end of the stream as a last frame, or b"".

        Some providers leave out the last empty line. `end` adds it, so that this frame is whole too.
        """
        rest = bytes(self._tail).strip(b"\r\n")
        self._tail.clear()
        return rest + b"\n\n" if rest else b""

    def _strip_bom(self, chunk: bytes) -> bytes:
        self._tail += chunk
        head = bytes(self._tail)
        if len(head) < len(_BOM) and _BOM.startswith(head):
            return b""  # wait: this may become a byte order mark
        self._started = True
        self._tail.clear()
        return head.removeprefix(_BOM)


@frozen
class Frame:
    """The fields of one frame. `data` is its data lines, joined by line ends; None if it has none."""

    event: str
    data: bytes | None


def read_frame(frame: bytes) -> Frame:
    """Read a frame's fields. Unknown fields, comments, `id` and `retry` are ignored.

    Raises Unreadable for more lines than an event can have.
    """
    if frame.startswith(b"data: ") and frame.find(b"\n") == len(frame) - 2 and b"\r" not in frame:
        return Frame("", frame[6:-2])
    if frame.count(b"\n") + frame.count(b"\r") > MAX_LINES:
        raise Unreadable(f"An event of the stream has more than {MAX_LINES} lines")
    event = ""
    data: list[bytes] = []
    for line in _LINE_END.split(frame):
        name, _, value = line.partition(b":")
        if value.startswith(b" "):
            value = value[1:]
        if name == b"data":
            data.append(value)
        elif name == b"event":
            event = value.decode("utf-8", "replace")
    return Frame(event, b"\n".join(data) if data else None)


def write_data(data: bytes) -> bytes:
    """Write a frame of one data line. `data` must not contain a line end; compact JSON never does."""
    return b"data: " + data + b"\n\n"


def write_event(event: str, data: bytes) -> bytes:
    """Write a frame with its event name."""
    if b"\n" in data:  # it came in several lines
        data = data.replace(b"\n", b"\ndata: ")
    return b"event: " + event.encode() + b"\ndata: " + data + b"\n\n"
