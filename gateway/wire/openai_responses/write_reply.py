"""Writes replies for Responses clients: the events of a stream, and the whole object they build.

See docs/wire/streaming.md#responses-writer-event-order.
"""

from typing import Any

import msgspec
from attrs import define, evolve, field

from gateway.errors import GatewayError
from gateway.wire.codec.json_prefix import is_object
from gateway.wire.codec.sse import write_event
from gateway.wire.events import (
    BlockDelta,
    BlockEnded,
    BlockStarted,
    CitationAdded,
    Event,
    Finished,
    LogprobsSeen,
    PartStarted,
    Started,
    StateSeen,
    UsageSeen,
    merge,
    unfold,
)
from gateway.wire.neutral import (
    Block,
    Citation,
    Image,
    Logprob,
    Opaque,
    Reasoning,
    Refusal,
    Reply,
    Stop,
    StopReason,
    Text,
    ToolCall,
    Usage,
)
from gateway.wire.openai_responses.delta_head import delta_head, with_logprobs
from gateway.wire.openai_responses.errors import write_stream_error
from gateway.wire.openai_responses.objects import builtin_item, hosted_item, make_id, means_builtin, new_response
from gateway.wire.openai_responses.usage import write_usage
from gateway.wire.openai_responses.write_items import NAME
from gateway.wire.translation.media import describe_picture
from gateway.wire.translation.memo import Memo
from gateway.wire.translation.options import openai_tier
from gateway.wire.translation.sequence import BlockSequencer

_json = msgspec.json.Encoder().encode
_INCOMPLETE = {StopReason.LENGTH: "max_output_tokens", StopReason.FILTERED: "content_filter"}


def write_reply(reply: Reply, memo: Memo) -> bytes:
    """Write a whole response: run its events through a writer, and return the object that they build."""
    writer, sequencer = ResponsesWriter(memo), BlockSequencer()
    for event in unfold(reply):
        for ordered in sequencer.feed(event):
            writer.feed(ordered)
    return _json(writer.response)


@define
class ResponsesWriter:
    """Writes neutral events as OpenAI's stream events (SDK type ResponseStreamEvent).

    A neutral block is not always one item: consecutive texts and refusals are parts of one message, which stays open
    until a block of another kind begins or the reply ends. Every call and every reasoning block is an item of its own.
    One item is open at a time, so that blocks must come in sequence (see `BlockSequencer`); ids never change.

    `response` grows with the events. A finished item is appended to its output, and the last event carries the whole
    object. A whole reply is the same object.
    """

    memo: Memo
    response: dict[str, Any] = field(init=False)
    _number: int = field(default=0, init=False)
    _block: Block | None = field(default=None, init=False)
    _item: dict[str, Any] | None = field(default=None, init=False)  # the open item
    _texts: list[str] = field(factory=list, init=False)  # pieces of the open part, or of the open call's arguments
    _state: StateSeen | None = field(default=None, init=False)
    _citations: list[dict[str, Any]] = field(factory=list, init=False)
    _length: int = field(default=0, init=False)  # of the open part in code points, where a citation ends
    _tokens: list[Logprob] = field(factory=list, init=False)  # of the open part
    _unsent: list[Logprob] = field(factory=list, init=False)  # those of its next delta
    _usage: Usage | None = field(default=None, init=False)
    _head: bytes = field(default=b"", init=False)  # how each delta of the open part begins, made by `_set_head`
    _pending_head: bytes = field(default=b"", init=False)  # the event of the deltas of the item that opens next

    def __attrs_post_init__(self) -> None:
        self.response = new_response(self.memo)

    def feed(self, event: Event) -> bytes:
        match event:
            case BlockDelta():
                return self._delta(event.text)
            case BlockStarted():
                return self._start(event.block)
            case BlockEnded():
                return self._end_block()
            case PartStarted():
                return self._end_part()
            case StateSeen():
                self._state = event
            case CitationAdded():
                return self._cite(event.citation)
            case LogprobsSeen() if isinstance(self._block, Text):
                self._tokens += event.tokens
                self._unsent += event.tokens
            case UsageSeen():
                self._usage = merge(self._usage, event.usage)
            case Started():
                if event.tier is not None:
                    self.response["service_tier"] = openai_tier(event.tier) or "default"
                return self._event("response.created", response=self.response) + self._event(
                    "response.in_progress", response=self.response
                )
            case Finished():
                return self._finish(event.stop)
        return b""

    def end(self) -> bytes:
        return b""

    def fail(self, error: GatewayError, request_id: str) -> bytes:
        output = list(self.response["output"])
        if self._item is not None and self._item["type"] == "message":
            part = self._part("".join(self._texts))
            output.append({**self._item, "status": "incomplete", "content": [*self._item["content"], part]})
        return write_stream_error(error, self._number, self.response | {"output": output})

    def _start(self, block: Block) -> bytes:
        self._block, self._texts, self._state, self._citations, self._length = block, [], None, [], 0
        self._tokens, self._unsent = [], []
        match block:
            case Text() | Refusal():
                return self._start_part(block) + (self._delta(block.text) if block.text else b"")
            case Reasoning():
                out = self._close_message() + self._open({"id": self._id("rs_"), "type": "reasoning", "summary": []})
                if block.has_state:
                    self._state = StateSeen(0, block.signature, block.sealed, block.id)
                for number, part in enumerate(block.parts):
                    out += (self._end_part() if number else b"") + self._delta(part)
                return out
            case ToolCall() if self._is_builtin(block):
                self._head = b""  # written by `_end_block`: only the whole arguments show whether they are valid
                return self._close_message()
            case ToolCall():
                out = self._close_message() + self._open(self._new_call(block))
                return out + (self._delta(block.arguments) if block.arguments else b"")
            case _:
                self._head = b""
                return self._close_message()

    def _start_part(self, block: Text | Refusal) -> bytes:
        """Begin a content part; consecutive texts are parts of one message."""
        out = b""
        if self._item is None:
            message: dict[str, Any] = {
                "id": self._id("msg_"), "type": "message", "role": "assistant", "status": "in_progress", "content": [],
            }  # fmt: skip
            if isinstance(block, Text) and block.phase:
                message["phase"] = block.phase
            out = self._open(message)
        assert self._item is not None
        index = len(self._item["content"])
        out += self._item_event("response.content_part.added", content_index=index, part=self._part(""))
        kind = b"refusal" if isinstance(block, Refusal) else b"output_text"
        self._set_head(b"response." + kind + b".delta", b'"content_index":%d,' % index)
        return out

    def _part(self, text: str) -> dict[str, Any]:
        if isinstance(self._block, Refusal):
            return {"type": "refusal", "refusal": text}
        logprobs = [token.raw for token in self._tokens]
        return {"type": "output_text", "text": text, "annotations": list(self._citations), "logprobs": logprobs}

    def _new_call(self, call: ToolCall) -> dict[str, Any]:
        named: dict[str, Any] = {"call_id": call.id, "name": call.name, "status": "in_progress"}
        named |= {"namespace": call.namespace} if call.namespace else {}
        if call.kind == "custom":
            self._kind_head(b"response.custom_tool_call_input.delta")
            return {"id": make_id("ctc_", call.id), "type": "custom_tool_call", **named, "input": ""}
        self._kind_head(b"response.function_call_arguments.delta")
        return {"id": make_id("fc_", call.id), "type": "function_call", **named, "arguments": ""}

    def _is_builtin(self, call: ToolCall) -> bool:
        return means_builtin(call, self.memo.request.tools)

    def _delta(self, text: str) -> bytes:
        if isinstance(self._block, Opaque | Image):
            return b""
        out = b""
        if isinstance(self._block, Reasoning) and not self._texts:
            out = self._begin_part()
        self._texts.append(text)
        self._length += len(text)
        if not self._head:
            return out
        head = self._head % self._number
        if self._unsent:
            head, self._unsent = with_logprobs(head, self._unsent), []
        self._number += 1
        return out + head + _json(text) + b"}\n\n"

    def _kind_head(self, event: bytes) -> None:
        self._pending_head = event

    def _set_head(self, event: bytes, more: bytes = b"") -> None:
        """Set how each delta of the open part begins; `event` is empty for a part without deltas."""
        assert self._item is not None
        self._head = delta_head(event, self._item["id"], len(self.response["output"]), more) if event else b""

    def _begin_part(self) -> bytes:
        """Begin a part of a reasoning item: of its summary, or of the raw reasoning of an open model."""
        assert self._item is not None
        if self._is_raw_thought():
            index = len(self._item.setdefault("content", []))
            self._set_head(b"response.reasoning_text.delta", b'"content_index":%d,' % index)
            part = {"type": "reasoning_text", "text": ""}
            return self._item_event("response.content_part.added", content_index=index, part=part)
        index = len(self._item["summary"])
        self._set_head(b"response.reasoning_summary_text.delta", b'"summary_index":%d,' % index)
        part = {"type": "summary_text", "text": ""}
        return self._item_event("response.reasoning_summary_part.added", summary_index=index, part=part)

    def _is_raw_thought(self) -> bool:
        block = self._block
        return isinstance(block, Reasoning) and not block.is_summary and block.origin == "openai_chat"

    def _end_part(self) -> bytes:
        assert self._item is not None
        text = "".join(self._texts)
        self._texts = []
        if not text:
            return b""
        if self._is_raw_thought():
            part = {"type": "reasoning_text", "text": text}
            index = len(self._item["content"])
            self._item["content"].append(part)
            return self._item_event("response.reasoning_text.done", content_index=index, text=text) + self._item_event(
                "response.content_part.done", content_index=index, part=part
            )
        part, index = {"type": "summary_text", "text": text}, len(self._item["summary"])
        self._item["summary"].append(part)
        return self._item_event(
            "response.reasoning_summary_text.done", summary_index=index, text=text
        ) + self._item_event("response.reasoning_summary_part.done", summary_index=index, part=part)

    def _cite(self, citation: Citation) -> bytes:
        if citation.url is None or self._item is None or not isinstance(self._block, Text):
            return b""
        cited: dict[str, Any] = {"type": "url_citation", "url": citation.url, "title": citation.title or ""}
        cited |= {"start_index": 0, "end_index": self._length}
        self._citations.append(cited)
        return self._item_event(
            "response.output_text.annotation.added",
            content_index=len(self._item["content"]),
            annotation_index=len(self._citations) - 1,
            annotation=cited,
        )

    def _end_block(self) -> bytes:
        if isinstance(self._block, ToolCall) and self._is_builtin(self._block) and self._item is None:
            return self._write_builtin(self._block)
        if isinstance(self._block, Image | Opaque):
            return self._write_hosted(self._block)
        if self._item is None:
            return b""
        match self._block:
            case Text() | Refusal():
                return self._end_text()
            case Reasoning() as block:
                return self._end_thought(block)
            case ToolCall() as call:
                return self._end_call(call)
        return b""

    def _end_text(self) -> bytes:
        """End the part; the message stays open for the next text."""
        assert self._item is not None
        text, index = "".join(self._texts), len(self._item["content"])
        part = self._part(text)
        if isinstance(self._block, Refusal):
            out = self._item_event("response.refusal.done", content_index=index, refusal=text)
        else:
            done = {"text": text, "logprobs": part["logprobs"]}
            out = self._item_event("response.output_text.done", content_index=index, **done)
        out += self._item_event("response.content_part.done", content_index=index, part=part)
        self._item["content"].append(part)
        return out

    def _end_thought(self, begun: Reasoning) -> bytes:
        assert self._item is not None
        out = self._end_part()
        parts = tuple(part["text"] for part in (*self._item["summary"], *self._item.get("content", ())))
        block = evolve(begun, parts=parts)
        if self._state is not None:
            state = self._state
            block = evolve(block, signature=state.signature, sealed=state.sealed, id=state.id or begun.id)
        if block.origin == NAME and block.sealed:
            self._item["encrypted_content"] = block.sealed
        elif block.has_state or block.parts:
            self._item["encrypted_content"] = self.memo.sealer.seal(block)
        return out + self._close()

    def _end_call(self, call: ToolCall) -> bytes:
        assert self._item is not None
        text = "".join(self._texts)
        is_cut = self._item["type"] == "function_call" and not is_object(text or "{}")
        self._item["status"] = "incomplete" if is_cut else "completed"
        if self._item["type"] == "custom_tool_call":
            self._item["input"] = text
            out = self._item_event("response.custom_tool_call_input.done", input=text)
        else:
            self._item["arguments"] = text or "{}"
            out = self._item_event("response.function_call_arguments.done", name=call.name, arguments=text or "{}")
        return out + self._close()

    def _write_builtin(self, call: ToolCall) -> bytes:
        """Write a built-in tool's call, or a plain function call if its arguments are not valid for that tool."""
        item = builtin_item(call, "".join(self._texts))
        if item is None:
            texts, out = self._texts, self._open(self._new_call(call))
            self._texts = []
            return out + b"".join(map(self._delta, texts)) + self._end_call(call)
        out = self._open(item)
        assert self._item is not None
        self._item["status"] = "completed"
        return out + self._close()

    def _write_hosted(self, block: Image | Opaque) -> bytes:
        """Write what a hosted tool has made: added, an event for each step, done."""
        item, steps = hosted_item(block, self.memo.seed, len(self.response["output"]))
        if item is None:
            return self._write_text(describe_picture(block.source)) if isinstance(block, Image) else b""
        out = self._open(item if not steps else {**item, "status": "in_progress"})
        out += b"".join(self._item_event(f"response.{item['type']}.{step}") for step in steps)
        self._item = item
        return out + self._close()

    def _write_text(self, text: str) -> bytes:
        if self.memo.request.format.kind != "text":
            return b""
        self._block, self._texts, self._citations, self._tokens, self._length = Text(""), [], [], [], 0
        return self._start_part(self._block) + self._delta(text) + self._end_text()

    def _open(self, item: dict[str, Any]) -> bytes:
        self._item = item
        out = self._event("response.output_item.added", output_index=len(self.response["output"]), item=item)
        self._set_head(self._pending_head)
        self._pending_head = b""
        return out

    def _close(self) -> bytes:
        item, index = self._item, len(self.response["output"])
        self._item, self._head = None, b""
        out = self._event("response.output_item.done", output_index=index, item=item)
        self.response["output"].append(item)
        return out

    def _close_message(self, status: str = "completed") -> bytes:
        if self._item is None:
            return b""
        self._item["status"] = status
        return self._close()

    def _finish(self, stop: Stop) -> bytes:
        out = b""
        has_said = self._item is not None or bool(self.response["output"])
        if stop.reason is StopReason.FILTERED and stop.explanation and not has_said:
            out += self._start(Refusal("")) + self._delta(stop.explanation) + self._end_block()
        why = _INCOMPLETE.get(stop.reason)
        out += self._close_message("incomplete" if why == "max_output_tokens" else "completed")
        self.response["status"] = "incomplete" if why else "completed"
        self.response["incomplete_details"] = {"reason": why} if why else None
        self.response["usage"] = write_usage(self._usage or Usage())
        if not why:
            self.response["completed_at"] = int(self.memo.time()) if self.memo.time is not None else self.memo.now
        return out + self._event(f"response.{self.response['status']}", response=self.response)

    def _id(self, prefix: str) -> str:
        return make_id(prefix, self.memo.seed, len(self.response["output"]))

    def _item_event(self, kind: str, **members: Any) -> bytes:
        """An event of the open item."""
        assert self._item is not None
        return self._event(kind, item_id=self._item["id"], output_index=len(self.response["output"]), **members)

    def _event(self, kind: str, **members: Any) -> bytes:
        data = _json({"type": kind, "sequence_number": self._number, **members})
        self._number += 1
        return write_event(kind, data)
