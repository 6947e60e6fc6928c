"""Writes replies for Messages clients: whole, and as the events of a stream.

See docs/wire/replies.md, docs/wire/streaming.md#messages-writer-event-order.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
from attrs import define, evolve, field

from gateway.errors import GatewayError
from gateway.wire.anthropic_messages.errors import write_stream_error
from gateway.wire.anthropic_messages.hosted import location, picture_text, search_blocks
from gateway.wire.anthropic_messages.read_messages import COMPACTION, NAME
from gateway.wire.anthropic_messages.usage import write_delta_usage, write_usage
from gateway.wire.codec.json_prefix import Mender, mended
from gateway.wire.codec.sse import write_event
from gateway.wire.events import (
    BlockDelta,
    BlockEnded,
    BlockStarted,
    CitationAdded,
    Event,
    Finished,
    PartStarted,
    Started,
    StateSeen,
    UsageSeen,
    merge,
)
from gateway.wire.neutral import (
    Block,
    Citation,
    Image,
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
from gateway.wire.translation.arguments import wrap_freeform
from gateway.wire.translation.memo import Memo
from gateway.wire.translation.names import mint

_WORDS = {
    StopReason.END: "end_turn",
    StopReason.STOP_SEQUENCE: "stop_sequence",
    StopReason.TOOLS: "tool_use",
    StopReason.LENGTH: "max_tokens",
    StopReason.FILTERED: "refusal",
    StopReason.COMPACTED: "compaction",
    StopReason.PAUSED: "pause_turn",
}
PING = write_event("ping", b'{"type": "ping"}')
_json = msgspec.json.Encoder().encode


def reply_id(memo: Memo) -> str:
    """Make the id of the reply. The upstream's id is not sent to the client."""
    return mint("msg_", memo.seed)


def write_reply(reply: Reply, memo: Memo) -> bytes:
    """Write a whole message (SDK type Message)."""
    has_refused = any(isinstance(block, Refusal) for block in reply.blocks)
    content = [written for block in reply.blocks for written in _block(block, memo)]
    return _json(
        {
            "id": reply_id(memo),
            "type": "message",
            "role": "assistant",
            "model": memo.request.model,
            "content": content,
            **_stop(reply.stop, has_refused),
            "usage": write_usage(reply.usage or Usage()),
        }
    )


def resume(members: Mapping[str, Any], blocks: Sequence[Block], memo: Memo) -> dict[str, Any]:
    """Add the blocks of a paused turn to its request: the model continues it (SDK type StopReason, pause_turn)."""
    sent = [_as_sent(block, memo) for block in blocks]
    content = [written for block in sent for written in _block(block, memo)]
    return {**members, "messages": [*members["messages"], {"role": "assistant", "content": content}]}


def _as_sent(block: Block, memo: Memo) -> Block:
    """Give a call the name and the form of arguments that the upstream knows."""
    if not isinstance(block, ToolCall):
        return block
    name = memo.names.safe(block.name, block.namespace)
    arguments = bytes(wrap_freeform(block.arguments)).decode() if name in memo.freeform else block.arguments
    return evolve(block, name=name, arguments=arguments, namespace=None)


def _block(block: Block, memo: Memo) -> Iterator[dict[str, Any]]:
    match block:
        case Text(text=text) | Refusal(text=text) if text:
            places = [_cited(one) for one in block.citations] if isinstance(block, Text) else []
            cited = [place for place in places if place is not None]
            yield {"type": "text", "text": text, **({"citations": cited} if cited else {})}
        case Reasoning():
            yield from _thought(block, memo)
        case ToolCall():
            given = msgspec.Raw(mended(block.arguments).encode())
            yield {"type": "tool_use", "id": block.id, "name": block.name, "input": given, **_toolset(block)}
        case Opaque() if block.origin == NAME:
            yield msgspec.json.decode(block.raw)
        case Opaque():
            yield from search_blocks(block, memo)
        case Image() if text := picture_text(block, memo):
            yield {"type": "text", "text": text}


def _cited(citation: Citation) -> dict[str, Any] | None:
    return citation.raw if citation.origin == NAME else location(citation)


def _toolset(call: ToolCall) -> dict[str, Any]:
    return {"toolset_name": call.namespace} if call.namespace else {}


def _thought(block: Reasoning, memo: Memo) -> Iterator[dict[str, Any]]:
    if block.text:
        yield {"type": "thinking", "thinking": block.text, "signature": _signature(block, memo)}
    elif block.origin == NAME and block.signature:
        yield {"type": "thinking", "thinking": "", "signature": block.signature}
    elif block.has_state:
        yield {"type": "redacted_thinking", "data": _sealed(block, memo)}


def _signature(block: Reasoning, memo: Memo) -> str:
    """Return Anthropic's own signature, or an envelope with the state that another provider wants back."""
    return block.signature if block.origin == NAME and block.signature else memo.sealer.seal(block)


def _sealed(block: Reasoning, memo: Memo) -> str:
    return block.sealed if block.origin == NAME and block.sealed else memo.sealer.seal(block)


def _stop(stop: Stop, has_refused: bool) -> dict[str, Any]:
    reason = "refusal" if has_refused and stop.reason is StopReason.END else _WORDS[stop.reason]
    payload: dict[str, Any] = {"stop_reason": reason, "stop_sequence": stop.sequence}
    if reason == "refusal":
        payload["stop_details"] = {"type": "refusal", "category": None, "explanation": stop.explanation}
    return payload


@define
class MessagesWriter:
    """Writes events as those of Anthropic (SDK type RawMessageStreamEvent). Blocks may not overlap.

    Messages sends one block after the other; `translation.sequence` has put the events into this order. A text or
    a call opens at its start. A thought opens with its first text, because a thought that never gets one may
    become `redacted_thinking`, which has no deltas. Arguments go through a Mender: the SDKs raise if the deltas of
    a call are not the beginning of a JSON object.
    """

    memo: Memo
    _index: int = field(default=-1, init=False)  # of the last block that was opened
    _block: Block | None = field(default=None, init=False)
    _is_open: bool = field(default=False, init=False)
    _parts: list[list[str]] = field(factory=list, init=False)  # the texts of the open thought, by part
    _state: StateSeen | None = field(default=None, init=False)
    _mender: Mender = field(factory=Mender, init=False)
    _head: bytes = field(default=b"", init=False)  # a delta event of the open block, up to its text
    _usage: Usage | None = field(default=None, init=False)
    _has_refused: bool = field(default=False, init=False)

    def feed(self, event: Event) -> bytes:
        match event:
            case BlockDelta():
                return self._delta(event.text)
            case BlockStarted():
                return self._start(event.block)
            case BlockEnded():
                return self._end_block(event)
            case PartStarted():
                self._parts.append([])
                return self._text("\n\n")
            case StateSeen():
                self._state = event
            case CitationAdded():
                if self._is_open and (cited := _cited(event.citation)) is not None:
                    return self._write_delta({"type": "citations_delta", "citation": cited})
            case UsageSeen():
                self._usage = merge(self._usage, event.usage)
            case Started():
                return self._begin()
            case Finished():
                return self._finish(event.stop)
        return b""

    def end(self) -> bytes:
        return _event({"type": "message_stop"})

    def fail(self, error: GatewayError, request_id: str) -> bytes:
        return write_stream_error(error, request_id)

    def _begin(self) -> bytes:
        message: dict[str, Any] = {
            "id": reply_id(self.memo),
            "type": "message",
            "role": "assistant",
            "model": self.memo.request.model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": write_usage(Usage(self.memo.prompt_estimate, output=0)),
        }
        return _event({"type": "message_start", "message": message}) + PING

    def _start(self, block: Block) -> bytes:
        self._block, self._state, self._parts, self._mender = block, None, [[]], Mender()
        match block:
            case Text():
                return self._open({"type": "text", "text": ""}, b'"text_delta","text":') + self._text(block.text)
            case Refusal():
                self._has_refused = True
                return self._open({"type": "text", "text": ""}, b'"text_delta","text":') + self._text(block.text)
            case ToolCall():
                use = {"type": "tool_use", "id": block.id, "name": block.name, "input": {}, **_toolset(block)}
                return self._open(use, b'"input_json_delta","partial_json":') + self._delta(block.arguments)
            case Reasoning():
                if block.has_state:
                    self._state = StateSeen(0, block.signature, block.sealed, block.id)
                return b"".join(self._delta(part) for part in block.parts)  # opened with its first text
            case _:
                return b""

    def _open(self, block: dict[str, Any], delta: bytes) -> bytes:
        self._index += 1
        self._is_open = True
        self._head = (
            b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,"delta":{"type":' % self._index
        ) + delta
        return _event({"type": "content_block_start", "index": self._index, "content_block": block})

    def _delta(self, text: str) -> bytes:
        match self._block:
            case ToolCall():
                return self._text(self._mender.feed(text))
            case Reasoning():
                opening = b"" if self._is_open else self._open_thought()
                self._parts[-1].append(text)
                return opening + self._text(text)
            case _:
                return self._text(text)

    def _open_thought(self) -> bytes:
        return self._open({"type": "thinking", "thinking": "", "signature": ""}, b'"thinking_delta","thinking":')

    def _text(self, text: str) -> bytes:
        return self._head + _json(text) + b"}}\n\n" if text and self._is_open else b""

    def _write_delta(self, delta: dict[str, Any]) -> bytes:
        return _event({"type": "content_block_delta", "index": self._index, "delta": delta})

    def _end_block(self, ended: BlockEnded) -> bytes:
        block = ended.block or self._block
        out = b""
        match block:
            case Reasoning():
                out = self._end_thought(block)
            case ToolCall():
                out = self._text(self._mender.end())
            case Opaque():
                out = self._write_opaque(block)
            case Image() if text := picture_text(block, self.memo):
                out = self._open({"type": "text", "text": ""}, b'"text_delta","text":') + self._text(text)
        self._block = None
        if not self._is_open:
            return out
        return out + self._stop()

    def _stop(self) -> bytes:
        self._is_open = False
        return _event({"type": "content_block_stop", "index": self._index})

    def _end_thought(self, begun: Reasoning) -> bytes:
        """End a thought with exactly one signature, behind its text.

        A thought without text is written as `redacted_thinking`, unless Anthropic has signed it.
        """
        parts = tuple("".join(part) for part in self._parts if part)
        block = evolve(begun, parts=parts)
        if self._state is not None:
            state = self._state
            block = evolve(block, signature=state.signature, sealed=state.sealed, id=state.id or begun.id)
        if not self._is_open and not (block.origin == NAME and block.signature):
            if not block.has_state:
                return b""
            return self._open({"type": "redacted_thinking", "data": _sealed(block, self.memo)}, b"")
        opening = b"" if self._is_open else self._open_thought()
        return opening + self._write_delta({"type": "signature_delta", "signature": _signature(block, self.memo)})

    def _write_opaque(self, block: Opaque) -> bytes:
        if block.origin == NAME:
            payload = msgspec.json.decode(block.raw)
            return self._write_compaction(payload) if block.kind == COMPACTION else self._open(payload, b"")
        out = b""
        for written in search_blocks(block, self.memo):
            if out:
                out += self._stop()
            if (given := written.get("input")) is None:
                out += self._open(written, b"")
            else:
                out += self._open(written | {"input": {}}, b'"input_json_delta","partial_json":')
                out += self._text(_json(given).decode())
        return out

    def _write_compaction(self, payload: dict[str, Any]) -> bytes:
        """Write a summary as one delta, as Anthropic does (SDK type BetaCompactionContentBlockDelta)."""
        told = {name: payload.get(name) for name in ("content", "encrypted_content")}
        opening = self._open(payload | dict.fromkeys(told), b"")
        return opening + self._write_delta({"type": "compaction_delta", **told})

    def _finish(self, stop: Stop) -> bytes:
        usage = write_delta_usage(self._usage or Usage())
        return _event({"type": "message_delta", "delta": _stop(stop, self._has_refused), "usage": usage})


def _event(payload: dict[str, Any]) -> bytes:
    return write_event(payload["type"], _json(payload))
