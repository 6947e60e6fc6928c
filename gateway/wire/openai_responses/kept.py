"""The replies of responses that are kept: under an id of the gateway's own, and told only once they are stored."""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from attrs import define, field, frozen

from gateway.errors import GatewayError
from gateway.wire.dialect import Lane
from gateway.wire.neutral import Usage
from gateway.wire.sse import FrameCutter, read_frame, write_event

ENDS = frozenset({"response.completed", "response.incomplete", "response.failed", "response.cancelled"})
_MARK = b'"response":'
_DONE_KIND = "response.output_item.done"
_DONE = b'"' + _DONE_KIND.encode() + b'"'
_encode = msgspec.json.Encoder().encode
_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])


def marked(body: bytes | msgspec.Raw, marks: Mapping[str, bytes]) -> bytes:
    """A response object with members of ours; everything else stays the bytes that it was."""
    return _encode(_MEMBERS.decode(body) | {name: msgspec.Raw(value) for name, value in marks.items()})


@frozen
class Final:
    """The object of a response that has ended, and the number of the event that said so; -1 for none."""

    body: bytes
    number: int = -1


@define
class KeptLane:
    """Around another lane: puts `marks` into every response object, and holds the last one back until `end`.

    It remembers what was said, for a stream that breaks off: `begun` is the response object as it was last.
    """

    lane: Lane
    marks: Mapping[str, bytes]
    begun: bytes = b""
    _held: bytes = field(default=b"", init=False)
    _items: list[msgspec.Raw] = field(factory=list, init=False)

    @property
    def has_content(self) -> bool:
        """Of the lane inside, like most others."""
        return self.lane.has_content

    @property
    def is_finished(self) -> bool:
        return self.lane.is_finished

    @property
    def is_enough(self) -> bool:
        return self.lane.is_enough or bool(self._held)

    @property
    def usage(self) -> Usage | None:
        return self.lane.usage

    @property
    def is_empty(self) -> bool:
        return self.lane.is_empty

    def passes(self, chunk: bytes) -> bool:
        return self.lane.passes(chunk)

    def feed(self, frame: bytes) -> bytes:
        return self._mark(self.lane.feed(frame))

    def end(self) -> bytes:
        out = self._mark(self.lane.end())
        out, self._held = out + self._held, b""
        return out

    def proceed(self) -> bytes | None:
        return self.lane.proceed()

    def fail(self, error: GatewayError, request_id: str) -> bytes:
        """The error as the lane inside says it, in a response that holds what was said before."""
        marks = _raws(self.marks)
        frames = _frames(self.lane.fail(error, request_id))
        return b"".join(one.told({**self._so_far(), **one.response, **marks}) for one in frames)

    def so_far(self, status: str) -> bytes | None:
        """The response object with what was said until now; None when nothing was."""
        if not self.begun:
            return None
        return _encode({**self._so_far(), "status": status})

    def _so_far(self) -> dict[str, Any]:
        begun = _MEMBERS.decode(self.begun) if self.begun else {}
        return begun | {"output": self._items} | _raws(self.marks)

    def _mark(self, out: bytes) -> bytes:
        if _MARK not in out and _DONE not in out:
            return out
        told = []
        for one in _frames(out):
            if one.kind == _DONE_KIND and one.item is not None:
                self._items.append(one.item)
            marked_frame = one.told(one.response | _raws(self.marks))
            if one.is_final:
                self._held += marked_frame
                continue
            if one.response:
                self.begun = _encode(one.response | _raws(self.marks))
            told.append(marked_frame)
        return b"".join(told)


def remark(out: bytes, marks: Mapping[str, bytes]) -> bytes:
    """Put `marks` into every response object of some whole frames."""
    return b"".join(one.told(one.response | _raws(marks)) for one in _frames(out))


def final_in(out: bytes) -> Final | None:
    """The response object that ends some whole frames."""
    return next((Final(_encode(one.response), one.number) for one in _frames(out) if one.is_final), None)


@frozen
class _Frame:
    """A frame, and what of it is ours to look at. `response` is empty where it holds none."""

    raw: bytes
    kind: str = ""
    members: dict[str, msgspec.Raw] = field(factory=dict)
    response: dict[str, Any] = field(factory=dict)
    number: int = -1

    @property
    def is_final(self) -> bool:
        return bool(self.response) and self.kind in ENDS

    @property
    def item(self) -> msgspec.Raw | None:
        return self.members.get("item")

    def told(self, response: Mapping[str, Any]) -> bytes:
        """The frame with this response object in it, where it had one."""
        return write_event(self.kind, _encode(self.members | {"response": response})) if self.response else self.raw


def _frames(out: bytes) -> Iterator[_Frame]:
    cutter = FrameCutter()
    for frame in (*cutter.feed(out), cutter.end()):
        if frame:
            yield _read(frame)


def _read(frame: bytes) -> _Frame:
    data = read_frame(frame).data if _MARK in frame or _DONE in frame else None
    if data is None:
        return _Frame(frame)
    try:
        members = _MEMBERS.decode(data)
        kind = msgspec.json.decode(members["type"], type=str)
        response = _MEMBERS.decode(members["response"]) if "response" in members else {}
        number = msgspec.json.decode(members.get("sequence_number", b"-1"))
    except (msgspec.MsgspecError, UnicodeDecodeError, KeyError, RecursionError):
        return _Frame(frame)
    return _Frame(frame, kind, members, response, number if type(number) is int else -1)


def _raws(marks: Mapping[str, bytes]) -> dict[str, msgspec.Raw]:
    return {name: msgspec.Raw(value) for name, value in marks.items()}


def replay(response: bytes, after: int = -1, last: int = -1) -> Iterator[bytes]:
    """Yield the events of a stored response, as if it were streamed now; those behind number `after`.

    `last` was the number of its last event when it was streamed first, in smaller pieces: whoever comes back with a
    number of then gets all that may be missing, and always the end.
    """
    whole: dict[str, Any] = msgspec.json.decode(response)
    events = _Replay.of(whole)
    shift = max(0, last + 1 - len(events)) if after >= 0 else 0
    for index, (kind, members) in enumerate(events):
        is_end, number = index == len(events) - 1, index + shift
        if number > after or is_end:
            number = max(number, after + 1)
            yield write_event(kind, _encode({"type": kind, "sequence_number": number, **members}))


@define
class _Replay:
    """The events that build a response, in the order of TRANSLATION.md 7.6."""

    events: list[tuple[str, dict[str, Any]]] = field(factory=list, init=False)

    @classmethod
    def of(cls, whole: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
        """(type, members) of each event."""
        told = cls()
        unsaid: dict[str, Any] = dict.fromkeys(("usage", "error", "incomplete_details"))
        begun = whole | unsaid | {"status": "in_progress", "output": []}
        told.tell("response.created", response=begun)
        told.tell("response.in_progress", response=begun)
        for index, item in enumerate(whole.get("output") or []):
            told.tell_item(index, item)
        told.tell(f"response.{whole.get('status') or 'completed'}", response=whole)
        return told.events

    def tell(self, kind: str, **members: Any) -> None:
        self.events.append((kind, members))

    def tell_item(self, index: int, item: dict[str, Any]) -> None:
        kind, at = item.get("type"), {"item_id": item.get("id"), "output_index": index}
        empty: dict[str, Any] = {"content": []} if kind == "message" else {"summary": []} if kind == "reasoning" else {}
        text_of = {"function_call": "arguments", "custom_tool_call": "input"}.get(str(kind))
        if text_of is not None:
            empty = {text_of: ""}
        begun = {**item, **empty} | ({"status": "in_progress"} if "status" in item else {})
        self.tell("response.output_item.added", output_index=index, item=begun)
        if kind == "message":
            for number, part in enumerate(item.get("content") or []):
                self._tell_part({**at, "content_index": number}, part)
        elif kind == "reasoning":
            for number, part in enumerate(item.get("summary") or []):
                self._tell_summary({**at, "summary_index": number}, part)
            for number, part in enumerate(item.get("content") or []):
                self._tell_text("reasoning_text", {**at, "content_index": number}, "text", part.get("text", ""))
        elif kind == "function_call":
            self._tell_text("function_call_arguments", {**at, "name": item.get("name")}, "arguments", item["arguments"])
        elif kind == "custom_tool_call":
            self._tell_text("custom_tool_call_input", at, "input", item["input"])
        self.tell("response.output_item.done", output_index=index, item=item)

    def _tell_part(self, at: dict[str, Any], part: dict[str, Any]) -> None:
        is_refusal = part.get("type") == "refusal"
        name = "refusal" if is_refusal else "text"
        more = {} if is_refusal else {"logprobs": part.get("logprobs") or []}
        empty: dict[str, Any] = {name: ""} if is_refusal else {name: "", "annotations": []}
        self.tell("response.content_part.added", **at, part={**part, **empty})
        kind = "refusal" if is_refusal else "output_text"
        self.tell(f"response.{kind}.delta", **at, delta=part.get(name, ""), **more)
        for number, note in enumerate(part.get("annotations") or []):
            self.tell("response.output_text.annotation.added", **at, annotation_index=number, annotation=note)
        self.tell(f"response.{kind}.done", **at, **{name: part.get(name, "")}, **more)
        self.tell("response.content_part.done", **at, part=part)

    def _tell_summary(self, at: dict[str, Any], part: dict[str, Any]) -> None:
        self.tell("response.reasoning_summary_part.added", **at, part={**part, "text": ""})
        self._tell_text("reasoning_summary_text", at, "text", part.get("text", ""))
        self.tell("response.reasoning_summary_part.done", **at, part=part)

    def _tell_text(self, kind: str, at: dict[str, Any], name: str, text: str) -> None:
        self.tell(f"response.{kind}.delta", **{key: value for key, value in at.items() if key != "name"}, delta=text)
        self.tell(f"response.{kind}.done", **at, **{name: text})
