"""Writes a stored response as the stream of events that builds it.

See docs/wire/streaming.md#responses-writer-event-order.
"""

from collections.abc import Iterator
from typing import Any

import msgspec
from attrs import define, field

from gateway.wire.codec.sse import write_event

_encode = msgspec.json.Encoder().encode


def replay(response: bytes, after: int = -1, last: int = -1) -> Iterator[bytes]:
    """Yield the events of a stored response whose numbers are above `after`, and always the last event.

    `last` is the number that the last event had in the first stream, -1 if that is unknown. The first stream had more
    events than this one, because its texts came in many deltas; here each text is one delta. So the events are numbered
    to end at `last` again. A client that resumes with a number from the first stream may get some events twice, but
    misses none.
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
    """The events that build a response, in the order of docs/wire/streaming.md#responses-writer-event-order."""

    events: list[tuple[str, dict[str, Any]]] = field(factory=list, init=False)

    @classmethod
    def of(cls, whole: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
        """Return (type, members) of each event, in order."""
        writer = cls()
        unsaid: dict[str, Any] = dict.fromkeys(("usage", "error", "incomplete_details"))
        begun = whole | unsaid | {"status": "in_progress", "output": []}
        writer.emit("response.created", response=begun)
        writer.emit("response.in_progress", response=begun)
        for index, item in enumerate(whole.get("output") or []):
            writer.emit_item(index, item)
        writer.emit(f"response.{whole.get('status') or 'completed'}", response=whole)
        return writer.events

    def emit(self, kind: str, **members: Any) -> None:
        self.events.append((kind, members))

    def emit_item(self, index: int, item: Any) -> None:
        if not isinstance(item, dict):
            return
        kind, at = item.get("type"), {"item_id": item.get("id"), "output_index": index}
        empty: dict[str, Any] = {"content": []} if kind == "message" else {"summary": []} if kind == "reasoning" else {}
        text_of = {"function_call": "arguments", "custom_tool_call": "input"}.get(str(kind))
        if text_of is not None:
            empty = {text_of: ""}
        begun = {**item, **empty} | ({"status": "in_progress"} if "status" in item else {})
        self.emit("response.output_item.added", output_index=index, item=begun)
        if kind == "message":
            for number, part in enumerate(_objects(item.get("content"))):
                self._emit_part({**at, "content_index": number}, part)
        elif kind == "reasoning":
            for number, part in enumerate(_objects(item.get("summary"))):
                self._emit_summary({**at, "summary_index": number}, part)
            for number, part in enumerate(_objects(item.get("content"))):
                self._emit_text("reasoning_text", {**at, "content_index": number}, "text", part.get("text"))
        elif kind == "function_call":
            self._emit_text(
                "function_call_arguments", {**at, "name": item.get("name")}, "arguments", item.get("arguments")
            )
        elif kind == "custom_tool_call":
            self._emit_text("custom_tool_call_input", at, "input", item.get("input"))
        self.emit("response.output_item.done", output_index=index, item=item)

    def _emit_part(self, at: dict[str, Any], part: dict[str, Any]) -> None:
        is_refusal = part.get("type") == "refusal"
        name = "refusal" if is_refusal else "text"
        more = {} if is_refusal else {"logprobs": part.get("logprobs") or []}
        empty: dict[str, Any] = {name: ""} if is_refusal else {name: "", "annotations": [], "logprobs": []}
        self.emit("response.content_part.added", **at, part={**part, **empty})
        kind = "refusal" if is_refusal else "output_text"
        self.emit(f"response.{kind}.delta", **at, delta=part.get(name, ""), **more)
        for number, note in enumerate(_objects(part.get("annotations"))):
            self.emit("response.output_text.annotation.added", **at, annotation_index=number, annotation=note)
        self.emit(f"response.{kind}.done", **at, **{name: part.get(name, "")}, **more)
        self.emit("response.content_part.done", **at, part=part)

    def _emit_summary(self, at: dict[str, Any], part: dict[str, Any]) -> None:
        self.emit("response.reasoning_summary_part.added", **at, part={**part, "text": ""})
        self._emit_text("reasoning_summary_text", at, "text", part.get("text"))
        self.emit("response.reasoning_summary_part.done", **at, part=part)

    def _emit_text(self, kind: str, at: dict[str, Any], name: str, payload: Any) -> None:
        text = payload if isinstance(payload, str) else ""
        self.emit(f"response.{kind}.delta", **{key: value for key, value in at.items() if key != "name"}, delta=text)
        self.emit(f"response.{kind}.done", **at, **{name: text})


def _objects(given: Any) -> list[dict[str, Any]]:
    return [one for one in given if isinstance(one, dict)] if isinstance(given, list) else []
