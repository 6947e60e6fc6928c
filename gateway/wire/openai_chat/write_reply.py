"""Writes replies for Chat clients: whole, and as the chunks of a stream.

See docs/wire/replies.md, docs/wire/streaming.md#chat-writer-event-order.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
from attrs import define, field

from gateway.errors import GatewayError
from gateway.wire.codec.sse import DONE
from gateway.wire.events import (
    BlockDelta,
    BlockEnded,
    BlockStarted,
    CitationAdded,
    Event,
    Finished,
    LogprobsSeen,
    PartStarted,
    StateSeen,
    UsageSeen,
    merge,
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
from gateway.wire.openai_chat.usage import write_usage
from gateway.wire.openai_chat.write_messages import details, format_of
from gateway.wire.openai_error import write_stream_error
from gateway.wire.translation import media
from gateway.wire.translation.memo import Memo
from gateway.wire.translation.names import mint
from gateway.wire.translation.options import openai_tier

_FINISH = {
    StopReason.END: "stop",
    StopReason.STOP_SEQUENCE: "stop",
    StopReason.TOOLS: "tool_calls",
    StopReason.LENGTH: "length",
    StopReason.FILTERED: "content_filter",
    StopReason.COMPACTED: "stop",
    StopReason.PAUSED: "stop",
}
_json = msgspec.json.Encoder().encode
# Put between two texts if a tool that the provider ran stands between them
# (docs/wire/streaming.md#reading-a-messages-stream).
_GAP = "\n\n"


def reply_id(memo: Memo) -> str:
    """Make the id of the reply. The upstream's id is not sent to the client."""
    return mint("chatcmpl-", memo.seed)


def write_reply(reply: Reply, memo: Memo) -> bytes:
    """Write a whole chat completion (SDK type ChatCompletion)."""
    message = _message(reply, memo)
    tokens = [token for block in reply.blocks if isinstance(block, Text) for token in block.logprobs]
    choice: dict[str, Any] = {"index": 0, "message": message, "logprobs": _logprobs(tokens)}
    choice |= _finish(reply.stop, memo)
    payload: dict[str, Any] = {
        "id": reply_id(memo),
        "object": "chat.completion",
        "created": memo.now,
        "model": memo.request.model,
        "choices": [choice],
        "usage": write_usage(reply.usage or Usage()),
        "system_fingerprint": None,
    }
    if reply.tier is not None and (tier := openai_tier(reply.tier)) is not None:
        payload["service_tier"] = tier
    return _json(payload)


def _message(reply: Reply, memo: Memo) -> dict[str, Any]:
    content, annotations = _join(reply.blocks)
    refusal = "".join(block.text for block in reply.blocks if isinstance(block, Refusal)) or None
    thoughts = [block for block in reply.blocks if isinstance(block, Reasoning)]
    calls = [block for block in reply.blocks if isinstance(block, ToolCall)]
    if refusal is None and not content and reply.stop.reason is StopReason.FILTERED:
        refusal = reply.stop.explanation
    message: dict[str, Any] = {
        "role": "assistant",
        "content": content if content or not (calls or refusal) else None,
        "refusal": refusal,
        "annotations": annotations,
    }
    shown = [block for block in reply.blocks if isinstance(block, Image) and media.write_url(block.source)]
    if images := [_picture(block, number) for number, block in enumerate(shown)]:
        message["images"] = images
    if text := "\n\n".join(block.text for block in thoughts if block.text):
        message["reasoning_content"] = text
    if thoughts:
        message["reasoning_details"] = [entry for k, block in enumerate(thoughts) for entry in details(block, k)]
    if calls and memo.request.is_legacy:
        message["function_call"] = {"name": calls[0].name, "arguments": calls[0].arguments or "{}"}
    elif calls:
        message["tool_calls"] = [_call(call) for call in calls]
    return message


def _join(blocks: tuple[Block, ...]) -> tuple[str, list[dict[str, Any]]]:
    """Join all texts; return (content, annotations). Ranges of annotations are in code points.

    See docs/wire/replies.md#citations.
    """
    joined, annotations, is_behind_tool = "", [], False
    for block in blocks:
        if isinstance(block, Opaque):
            is_behind_tool = True
        if isinstance(block, Text):
            if is_behind_tool and joined:
                joined += _GAP
            is_behind_tool = False
            start = len(joined)
            joined += block.text
            annotations += [
                cited for one in block.citations if (cited := _annotation(one, start, len(joined))) is not None
            ]
    return joined, annotations


def _annotation(citation: Citation, start: int, end: int) -> dict[str, Any] | None:
    if citation.url is None:
        return None  # Chat can cite URLs only, no places in documents
    cited = {"url": citation.url, "title": citation.title or "", "start_index": start, "end_index": end}
    return {"type": "url_citation", "url_citation": cited}


def _picture(image: Image, number: int) -> dict[str, Any]:
    """Write a picture as OpenRouter and others return it, as OpenAI's Chat has none."""
    return {"type": "image_url", "image_url": {"url": media.write_url(image.source)}, "index": number}


def _call(call: ToolCall) -> dict[str, Any]:
    extra = {"extra_content": call.extra} if call.extra else {}
    if call.kind == "custom":
        return {"id": call.id, "type": "custom", "custom": {"name": call.name, "input": call.arguments}}
    function = {"name": call.name, "arguments": call.arguments or "{}"}
    return {"id": call.id, "type": "function", "function": function, **extra}


def _logprobs(tokens: Sequence[Logprob]) -> dict[str, Any] | None:
    return {"content": [token.raw for token in tokens], "refusal": None} if tokens else None


def _finish(stop: Stop, memo: Memo) -> dict[str, Any]:
    reason = "function_call" if stop.reason is StopReason.TOOLS and memo.request.is_legacy else _FINISH[stop.reason]
    return {"finish_reason": reason} | ({"stop_reason": stop.sequence} if stop.sequence is not None else {})


@define
class ChatWriter:
    """Writes events as chunks (SDK type ChatCompletionChunk). Blocks may overlap.

    Chat has no blocks. All texts are joined in `content` and all thoughts in `reasoning_content`; only calls and
    entries of `reasoning_details` have an index. So the writer keeps the number that a call or a thought has among
    those of its kind, and the place where each text begins in the joined content, because annotations give ranges
    of the joined content. The first chunk carries the role, and the finish reason has a chunk of its own at the end.
    """

    memo: Memo
    _head: bytes = field(init=False)
    _tail: bytes = field(init=False)
    _has_role: bool = field(default=False, init=False)
    _blocks: dict[int, Block] = field(factory=dict, init=False)
    _numbers: dict[int, int] = field(factory=dict, init=False)  # of a call or thought, among its kind
    _calls: int = field(default=0, init=False)
    _called: set[int] = field(factory=set, init=False)  # calls whose arguments have begun
    _thoughts: int = field(default=0, init=False)
    _unformatted: set[int] = field(factory=set, init=False)  # thoughts whose `format` was not sent yet
    _starts: dict[int, int] = field(factory=dict, init=False)  # where a text begins in the joined content
    _length: int = field(default=0, init=False)
    _cited: dict[int, list[Citation]] = field(factory=dict, init=False)
    _annotations: int = field(default=0, init=False)
    _is_behind_tool: bool = field(default=False, init=False)
    _has_refused: bool = field(default=False, init=False)
    _images: int = field(default=0, init=False)
    _usage: Usage | None = field(default=None, init=False)
    _tokens: list[Logprob] = field(factory=list, init=False)  # of the next delta of a text

    def __attrs_post_init__(self) -> None:
        memo = self.memo
        payload = {
            "id": reply_id(memo),
            "object": "chat.completion.chunk",
            "created": memo.now,
            "model": memo.request.model,
            "system_fingerprint": None,
        }
        self._head = b"data: " + _json(payload)[:-1] + b',"choices":'
        self._tail = b',"usage":null}\n\n' if memo.request.wants_usage else b"}\n\n"

    def feed(self, event: Event) -> bytes:
        match event:
            case BlockDelta():
                return self._delta(event.index, event.text)
            case BlockStarted():
                return self._start(event.index, event.block)
            case PartStarted():
                return self._delta(event.index, _GAP)
            case StateSeen():
                return self._state(event)
            case CitationAdded():
                self._cited.setdefault(event.index, []).append(event.citation)
            case LogprobsSeen():
                self._tokens.extend(event.tokens)
            case BlockEnded():
                return self._end_block(event.index)
            case UsageSeen():
                self._usage = merge(self._usage, event.usage)
            case Finished():
                return self._finished(event.stop)
        return b""

    def end(self) -> bytes:
        if not self.memo.request.wants_usage:
            return DONE
        usage = _json(write_usage(self._usage or Usage()))
        return self._head + b'[],"usage":' + usage + b"}\n\n" + DONE

    def fail(self, error: GatewayError, request_id: str) -> bytes:
        return write_stream_error(error)

    def _start(self, index: int, block: Block) -> bytes:
        self._blocks[index] = block
        match block:
            case Text():
                return self._start_text(index, block)
            case Reasoning():
                self._numbers[index] = self._thoughts
                self._thoughts += 1
                self._unformatted.add(index)
                out = b"".join(self._delta(index, part) for part in block.parts)
                if block.has_state:
                    out += self._state(StateSeen(index, block.signature, block.sealed, block.id))
                return out
            case ToolCall():
                return self._start_call(index, block)
            case Refusal():
                return self._delta(index, block.text) if block.text else b""
            case Image() if media.write_url(block.source):
                self._images += 1
                return self._chunk({"images": [_picture(block, self._images - 1)]})
            case _:
                self._is_behind_tool = True
                return b""

    def _start_text(self, index: int, block: Text) -> bytes:
        gap = _GAP if self._is_behind_tool and self._length else ""
        self._is_behind_tool = False
        out = self._chunk({"content": gap}) if gap else b""
        self._length += len(gap)
        self._starts[index] = self._length
        self._cited[index] = list(block.citations)
        return out + (self._delta(index, block.text) if block.text else b"")

    def _start_call(self, index: int, call: ToolCall) -> bytes:
        number = self._numbers[index] = self._calls
        self._calls += 1
        if call.arguments:
            self._called.add(index)
        if self.memo.request.is_legacy:
            return (
                self._chunk({"function_call": {"name": call.name, "arguments": call.arguments}}) if not number else b""
            )
        if call.kind == "custom":
            entry = {"type": "custom", "custom": {"name": call.name, "input": call.arguments}}
        else:
            entry = {"type": "function", "function": {"name": call.name, "arguments": call.arguments}}
        extra = {"extra_content": call.extra} if call.extra else {}
        return self._chunk({"tool_calls": [{"index": number, "id": call.id, **entry, **extra}]})

    def _delta(self, index: int, text: str) -> bytes:
        match self._blocks[index]:
            case Text():
                self._length += len(text)
                return self._chunk({"content": text}) if self._tokens else self._text(text)
            case Reasoning() as block:
                entry = {"index": self._numbers[index], "type": "reasoning.text", "text": text}
                if index in self._unformatted:
                    self._unformatted.discard(index)
                    entry["format"] = format_of(block.origin)
                return self._chunk({"reasoning_content": text, "reasoning_details": [entry]})
            case ToolCall() as call:
                return self._arguments(index, call, text)
            case Refusal():
                self._has_refused = True
                return self._chunk({"refusal": text})
            case _:
                return b""

    def _text(self, text: str) -> bytes:
        """The hot path: one delta of text, written without building its object."""
        role = b"" if self._has_role else self._role("")
        delta = b'[{"index":0,"delta":{"content":' + _json(text) + b'},"logprobs":null,"finish_reason":null}]'
        return role + self._head + delta + self._tail

    def _arguments(self, index: int, call: ToolCall, text: str) -> bytes:
        self._called.add(index)
        number = self._numbers[index]
        if self.memo.request.is_legacy:
            return self._chunk({"function_call": {"arguments": text}}) if not number else b""
        inner = {"custom": {"input": text}} if call.kind == "custom" else {"function": {"arguments": text}}
        return self._chunk({"tool_calls": [{"index": number, **inner}]})

    def _state(self, event: StateSeen) -> bytes:
        """Write the state that the provider wants back with a thought, in an entry of the thought's index.

        Each of its strings is sent once, because clients join the strings of entries that have the same index.
        """
        block = self._blocks[event.index]
        assert isinstance(block, Reasoning)
        entry: dict[str, Any] = {"index": self._numbers[event.index]}
        entry["type"] = "reasoning.encrypted" if event.sealed else "reasoning.text"
        if event.signature:
            entry["signature"] = event.signature
        if event.sealed:
            entry["data"] = event.sealed
        if found := event.id or block.id:
            entry["id"] = found
        if event.index in self._unformatted:
            self._unformatted.discard(event.index)
            entry["format"] = format_of(block.origin)
        return self._chunk({"reasoning_details": [entry]})

    def _end_block(self, index: int) -> bytes:
        block = self._blocks[index]
        if isinstance(block, ToolCall) and block.kind != "custom" and index not in self._called:
            return self._arguments(index, block, "{}")
        out, entries = self._chunk({}) if self._tokens else b"", []
        for citation in self._cited.pop(index, ()):
            if (entry := _annotation(citation, self._starts.get(index, 0), self._length)) is not None:
                entries.append({"index": self._annotations, **entry})
                self._annotations += 1
        return out + (self._chunk({"annotations": entries}) if entries else b"")

    def _finished(self, stop: Stop) -> bytes:
        out = b""
        if stop.reason is StopReason.FILTERED and stop.explanation and not self._length and not self._has_refused:
            out += self._chunk({"refusal": stop.explanation})
        if not self._has_role:
            out += self._role("")
        choice = {"index": 0, "delta": {}, "logprobs": None, **_finish(stop, self.memo)}
        return out + self._head + _json([choice]) + self._tail

    def _chunk(self, delta: dict[str, Any]) -> bytes:
        role = b"" if self._has_role else self._role(None if "content" not in delta else "")
        choice = {"index": 0, "delta": delta, "logprobs": _logprobs(self._tokens), "finish_reason": None}
        self._tokens = []
        return role + self._head + _json([choice]) + self._tail

    def _role(self, content: str | None) -> bytes:
        self._has_role = True
        choice = {
            "index": 0,
            "delta": {"role": "assistant", "content": content},
            "logprobs": None,
            "finish_reason": None,
        }
        return self._head + _json([choice]) + self._tail
