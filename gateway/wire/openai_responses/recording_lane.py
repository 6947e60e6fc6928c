"""The stream of a response that the gateway stores: edited, remembered, and its last event held back.

A stored response has an id of the gateway's own, whichever provider writes it. So every response object in the stream
gets members of ours, the marks: `id`, `store`, `previous_response_id` and `background`. All other values keep
the bytes that the inner lane wrote.

A client that has read `response.completed` may refer to the response in its next request. So the client must not get
that event before the store has the response: `RecordingLane` holds the event back until `end`, and its caller stores
the finished response before sending the event. If storing fails, the caller sets `store` to false in it with `remark`.
Nothing here writes to the store.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from attrs import define, field, frozen

from gateway.errors import GatewayError
from gateway.wire.codec.json_body import is_null
from gateway.wire.codec.odd_json import decode_as
from gateway.wire.codec.sse import FrameCutter, read_frame, write_event
from gateway.wire.openai_responses.streamed_item import build_item
from gateway.wire.wrapped_lane import WrappedLane

ENDS = frozenset({"response.completed", "response.incomplete", "response.failed", "response.cancelled"})
_MARK = b'"response":'
_ITEM = b'"response.output_item.'
_encode = msgspec.json.Encoder().encode
_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
MAX_NUMBER = 2**53  # not every larger whole number is exact in JavaScript


class _Head(msgspec.Struct):
    id: Any = None


_HEAD = msgspec.json.Decoder(_Head)


def marked(body: bytes | msgspec.Raw, marks: Mapping[str, bytes]) -> bytes:
    """Return the JSON of a response object with `marks` in it; all other values keep their bytes.

    Raises MsgspecError if `body` is not a JSON object.
    """
    return _encode(decode_as(_MEMBERS, body) | {name: msgspec.Raw(value) for name, value in marks.items()})


def members_of(body: bytes, marks: Mapping[str, bytes] | None = None) -> dict[str, msgspec.Raw]:
    """Return the members of a response object, with `marks` among them. Raises MsgspecError if it is not an object."""
    return decode_as(_MEMBERS, body) | _raws(marks or {})


@frozen
class Final:
    """The members of a finished response, and the `sequence_number` of its last event (-1 if it has none)."""

    response: Mapping[str, msgspec.Raw]
    number: int = -1


@define
class RecordingLane(WrappedLane):
    """Wraps another lane: writes `marks` into every response object, and holds the last event back until `end`.

    It remembers the output, so that a stream that breaks off can be stored as far as it came. `begun` is the newest
    response object of the stream (JSON), `_items` are the finished items, `_payload` are the frames since the open item
    began; together they have at most `limit` bytes.
    """

    marks: Mapping[str, bytes]
    begun: bytes = b""
    limit: int = 64 * 1024 * 1024
    is_too_large: bool = field(default=False, init=False)  # more than `limit` bytes: nothing is remembered any more
    _size: int = field(default=0, init=False)  # of `_items` and `_payload`
    final: Final | None = field(default=None, init=False)  # once the end has come
    _held: bytes = field(default=b"", init=False)  # the event that ends the response
    _items: list[msgspec.Raw] = field(factory=list, init=False)
    _unended: dict[str, int] = field(factory=dict, init=False)  # the places of those that were not done, by their id
    _open: msgspec.Raw | None = field(default=None, init=False)  # the item as it was added
    _payload: list[bytes] = field(factory=list, init=False)  # decoded only if the stream breaks off

    @property
    def is_enough(self) -> bool:
        return self.lane.is_enough or bool(self._held)

    def passes(self, chunk: bytes) -> bool:
        if not self.lane.passes(chunk):
            return False
        self._keep(chunk)
        return True

    def feed(self, frame: bytes) -> bytes:
        return self._mark(self.lane.feed(frame))

    def end(self) -> bytes:
        out = self._mark(self.lane.end())
        out, self._held = out + self._held, b""
        return out

    def fail(self, error: GatewayError, request_id: str) -> bytes:
        """Write the error as the inner lane does, with the output so far and the marks in its response object."""
        marks = _raws(self.marks)
        out = []
        for one in _frames(self.lane.fail(error, request_id)):
            response = {**self._so_far(), **one.response, **marks}
            out.append(one.written(response))
            if one.is_final:
                self.final = Final(_MEMBERS.decode(_encode(response)), one.number)
        return b"".join(out)

    def so_far(self, status: str) -> bytes | None:
        """Return the response object (JSON) with the output so far and this `status`; None if none has begun."""
        if not self.begun:
            return None
        return _encode({**self._so_far(), "status": status})

    def _so_far(self) -> dict[str, Any]:
        begun = _MEMBERS.decode(self.begun) if self.begun else {}
        return begun | {"output": self._output("incomplete")} | _raws(self.marks)

    def _output(self, status: str) -> list[Any]:
        """Return what was streamed, with the item that has no end as far as it came."""
        last = build_item(self._open, b"".join(self._payload), status)
        return [*self._items, *([last] if last is not None else [])]

    def _filled(self, one: "_Frame") -> dict[str, Any]:
        """Return a final response object; one without output gets what was streamed."""
        status = one.kind.removeprefix("response.")
        response = one.response or {**_MEMBERS.decode(self.begun or b"{}"), "status": msgspec.Raw(_encode(status))}
        output = response.get("output")
        if output is not None and not is_null(output) and not _is_empty(output):
            return response
        streamed = self._output("completed" if status == "completed" else "incomplete")
        return response | {"output": msgspec.Raw(_encode(streamed))} if streamed else response

    def _keep(self, data: bytes) -> None:
        if self._has_room(len(data)):
            self._payload.append(data)

    def _has_room(self, size: int) -> bool:
        """Count what is to be remembered; beyond the limit let go of everything. Return whether there is room."""
        self._size += size
        if self._size > self.limit and not self.is_too_large:
            self.is_too_large = True
            self._payload.clear()
            self._items.clear()
            self._unended.clear()
        return not self.is_too_large

    def _end_item(self) -> None:
        """Keep an item that another follows although it was never done."""
        item = build_item(self._open, b"".join(self._payload), "completed")
        if item is not None and self._has_room(len(raw := _encode(item))):
            self._unended[str(item.get("id"))] = len(self._items)
            self._items.append(msgspec.Raw(raw))

    def _add_item(self, item: msgspec.Raw) -> None:
        """Keep a finished item, once if it is told twice, in its place if another began before it was done."""
        last = self._items[-1] if self._items else b""
        if (len(last) == len(item) and bytes(last) == bytes(item)) or not self._has_room(len(item)):
            return
        head = _HEAD.decode(item) if self._unended else _Head()
        if (at := self._unended.pop(head.id, None)) is not None:
            self._items[at] = item
        else:
            self._items.append(item)

    def _forget_payload(self) -> None:
        self._size -= sum(map(len, self._payload))
        self._payload.clear()

    def _mark(self, out: bytes) -> bytes:
        if _MARK not in out and _ITEM not in out:
            self._keep(out)
            return out
        written = []
        for one in _frames(out):
            if one.kind == "response.output_item.added":
                self._end_item()
                self._open = one.item
                self._forget_payload()
            elif one.kind == "response.output_item.done" and one.item is not None:
                self._open = None
                self._forget_payload()
                self._add_item(one.item)
            response = (self._filled(one) if one.is_final else one.response) | _raws(self.marks)
            marked_frame = one.written(response)
            if one.is_final:
                self._held += marked_frame
                self.final = Final(response, one.number)
                continue
            if one.response:
                self.begun = _encode(response)
            elif one.item is None:
                self._keep(one.raw)
            written.append(marked_frame)
        return b"".join(written)


def remark(out: bytes, marks: Mapping[str, bytes]) -> bytes:
    """Write `marks` into every response object in `out`, which is whole frames."""
    return b"".join(one.written(one.response | _raws(marks)) for one in _frames(out))


def final_in(out: bytes) -> Final | None:
    """Return the finished response that is in `out`, which is whole frames; None if there is none."""
    return next((Final(one.response, one.number) for one in _frames(out) if one.is_final), None)


@frozen
class _Frame:
    """A frame, decoded if it holds an item or a response object; `response` is empty if it holds none."""

    raw: bytes
    kind: str = ""
    members: dict[str, msgspec.Raw] = field(factory=dict)
    response: dict[str, Any] = field(factory=dict)
    number: int = -1

    @property
    def is_final(self) -> bool:
        return self.kind in ENDS and "response" in self.members

    @property
    def item(self) -> msgspec.Raw | None:
        return self.members.get("item")

    def written(self, response: Mapping[str, Any]) -> bytes:
        """Write the frame with `response` as its response object; as it came if it has no response object."""
        if "response" not in self.members:
            return self.raw
        return write_event(self.kind, _encode(self.members | {"response": response}))


def _frames(out: bytes) -> Iterator[_Frame]:
    cutter = FrameCutter()
    for frame in (*cutter.feed(out), cutter.end()):
        if frame:
            yield _read(frame)


def _read(frame: bytes) -> _Frame:
    data = read_frame(frame).data if _MARK in frame or _ITEM in frame else None
    if data is None:
        return _Frame(frame)
    try:
        members = decode_as(_MEMBERS, data)
        kind = msgspec.json.decode(members["type"], type=str)
        response = _MEMBERS.decode(members["response"]) if "response" in members else {}
        number = msgspec.json.decode(members.get("sequence_number", b"-1"))
    except (msgspec.MsgspecError, UnicodeDecodeError, KeyError, RecursionError):
        return _Frame(frame)
    return _Frame(frame, kind, members, response, number if type(number) is int and 0 <= number < MAX_NUMBER else -1)


def _is_empty(array: msgspec.Raw) -> bool:
    return len(array) < 100 and not bytes(array).strip(b"[] \t\r\n")


def _raws(marks: Mapping[str, bytes]) -> dict[str, msgspec.Raw]:
    return {name: msgspec.Raw(value) for name, value in marks.items()}
