"""Reads replies of Responses upstreams, whole and streamed (docs/wire/streaming.md#reading-a-responses-stream)."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
from attrs import define, field

from gateway.errors import Broke, Unreadable
from gateway.wire.codec.lenient import Junk, read_object
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
    fold,
)
from gateway.wire.neutral import (
    Citation,
    Image,
    Opaque,
    Reasoning,
    Refusal,
    Reply,
    Source,
    Stop,
    StopReason,
    Text,
    ToolCall,
)
from gateway.wire.openai_responses.output_items import CALLS, Item, Items, arguments_of, texts_of
from gateway.wire.openai_responses.usage import read_response_usage
from gateway.wire.openai_responses.write_items import NAME
from gateway.wire.provider_error import read_inner
from gateway.wire.translation.finish import Failed, meaning_of
from gateway.wire.translation.logprobs import Logprobs
from gateway.wire.translation.memo import Memo

_THOUGHTS = ("summary", "content")
_MESSAGE, _REASONING = frozenset({"message"}), frozenset({"reasoning"})
_PROVIDERS_OWN = "provider_call"  # the kind of a call that the provider has run itself: read as an Opaque block
_STATUSES = {
    "response.failed": "failed",
    "response.incomplete": "incomplete",
    "response.cancelled": "cancelled",
}
_Said = Mapping[str, Any]


@define
class ResponsesReader:
    """Reads one reply: takes the events of a Responses stream, returns neutral events.

    Each text or refusal part of a message becomes a block, and so does each call, each reasoning item and each item of
    another kind. OpenAI sends every text several times: in deltas, in a `done` event, in the finished item and in the
    finished response. Servers that imitate OpenAI leave some of these out: one sends the arguments of a call only with
    `done`, another sends an item only with `response.output_item.done` or only in `response.completed`. The reader
    therefore remembers what it has emitted of each item. From every later event it emits the rest, so that nothing is
    lost and nothing comes twice. `Items` knows which item an event belongs to.
    """

    memo: Memo
    is_over: bool = field(default=False, init=False)
    is_finished: bool = field(default=False, init=False)
    _has_started: bool = field(default=False, init=False)
    _items: Items = field(factory=Items, init=False)
    _next: int = field(default=0, init=False)  # the index of the next block
    _calls: int = field(default=0, init=False)
    _junk: Junk = field(factory=Junk, init=False)
    _logprobs: Logprobs = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._logprobs = Logprobs(bool(self.memo.request.sampling.logprobs))

    def feed(self, frame: bytes) -> Sequence[Event]:
        if self.is_over:
            return ()
        payload = self._junk.read_frame(frame)
        events = [] if payload is None else list(self._read(payload))
        if events and not self._has_started:  # some servers send no beginning
            events = [*self._start(None), *events]
        return events

    def end(self) -> Sequence[Event]:
        if not self.is_over:
            raise Broke("The provider's stream ended before the model had finished")
        return ()

    def _read(self, payload: _Said) -> Iterator[Event]:
        kind = payload.get("type")
        match kind:
            case "response.output_text.delta" | "response.refusal.delta" | "response.reasoning_text.delta":
                yield from self._say(payload, kind.split(".")[1])
            case "response.output_text.done" | "response.refusal.done":
                yield from self._say_rest(payload, kind.split(".")[1])
            case "response.reasoning_summary_text.delta":
                yield from self._think(payload, is_summary=True)
            case "response.reasoning_summary_part.added":
                yield from self._begin_summary(payload)
            case "response.function_call_arguments.delta" | "response.custom_tool_call_input.delta":
                yield from self._argue(self._call_at(payload), payload.get("delta"))
            case "response.function_call_arguments.done" | "response.custom_tool_call_input.done":
                yield from self._complete(self._call_at(payload), payload)
            case "response.output_text.annotation.added":
                yield from self._cite(payload)
            case "response.output_item.added":
                yield from self._open(payload, payload.get("item"))
            case "response.output_item.done":
                yield from self._close_done(payload, payload.get("item"))
            case "response.created" | "response.in_progress" | "response.queued":
                yield from self._start(payload.get("response"))
            case "response.completed" | "response.incomplete" | "response.failed" | "response.cancelled":
                response = payload.get("response")
                payload = response if isinstance(response, dict) else {}
                yield from self._finish(payload, _STATUSES.get(str(kind)) or str(payload.get("status") or "completed"))
            case "error":
                raise read_inner(NAME, payload.get("error") or payload)
            case None if payload.get("error") is not None:
                raise read_inner(NAME, payload["error"])

    def _start(self, response: Any) -> Iterator[Event]:
        if not self._has_started:
            self._has_started = True
            payload = response if isinstance(response, dict) else {}
            tier = payload.get("service_tier")
            yield Started(
                str(payload.get("id") or ""), str(payload.get("model") or ""), tier if isinstance(tier, str) else None
            )

    def _open(self, event: _Said, payload: Any) -> Iterator[Event]:
        if not isinstance(payload, dict):
            return
        kind = self._kind(payload)
        known = self._items.of_payload(kind, payload)
        is_same = known is not None and known.id in (None, _text(payload.get("id")))
        if known is not None and is_same and (known.call is not None or not known.is_closed):
            return  # told twice
        item = self._items.begin(event, kind, payload)
        if item.kind in CALLS and payload.get("name"):
            yield from self._begin_call(item, payload)

    def _kind(self, payload: _Said) -> str:
        return str(payload.get("type")) if self._is_the_clients(payload) else _PROVIDERS_OWN

    def _is_the_clients(self, payload: _Said) -> bool:
        """Return False for a call of a custom tool that the request does not offer: xAI reports its own searches so."""
        name = self.memo.names.original(str(payload.get("name") or "")).name
        return payload.get("type") != "custom_tool_call" or any(
            tool.kind == "custom" and tool.name == name for tool in self.memo.request.tools
        )

    def _begin_call(self, item: Item, payload: _Said) -> Iterator[Event]:
        item.block = self._take_index()
        yield BlockStarted(item.block, self._call(payload, item.kind))
        yield from self._complete(item, payload)

    def _call(self, payload: _Said, kind: str) -> ToolCall:
        known = self.memo.names.original(str(payload.get("name") or ""))
        call_id = self.memo.call_id(str(payload.get("call_id") or payload.get("id") or ""), self._calls)
        self._calls += 1
        form = "custom" if kind == "custom_tool_call" else known.kind
        return ToolCall(call_id, known.name, "", form, known.namespace or _text(payload.get("namespace")))

    def _say(self, payload: _Said, kind: str) -> Iterator[Event]:
        text = payload.get("delta")
        tokens = payload.get("logprobs") if self._logprobs.is_asked and kind == "output_text" else None
        if not isinstance(text, str) or not (text or tokens):
            return
        if kind == "reasoning_text":
            yield from self._think(payload, is_summary=False)
            return
        item = self._items.of_event(payload, _MESSAGE) or self._items.begin(payload, "message")
        number = _number(payload)
        if number not in item.parts:
            yield from self._begin_part(item, number, is_refusal=kind == "refusal")
        if tokens:
            yield from self._probe(item, number, tokens)
        item.note(text, number)
        if text:
            yield BlockDelta(item.parts[number], text)

    def _probe(self, item: Item, number: int, given: Any, *, is_whole: bool = False) -> Iterator[Event]:
        """Emit the logprobs of a delta's text, or what was not emitted yet of a whole part's."""
        told = item.logprobs.get(number, 0)
        if tokens := self._logprobs.read(given, told if is_whole else 0):
            item.logprobs[number] = len(given) + (0 if is_whole else told)
            yield LogprobsSeen(item.parts[number], tokens)

    def _say_rest(self, payload: _Said, kind: str) -> Iterator[Event]:
        """Emit the rest of a part from its whole text: some servers send it only when it is done."""
        text, logprobs = payload.get("text") or payload.get("refusal"), payload.get("logprobs")
        item, number = self._items.of_event(payload, _MESSAGE), _number(payload)
        if item is not None and isinstance(text, str):
            text = item.rest(text, number)
            logprobs = logprobs[item.logprobs.get(number, 0) :] if isinstance(logprobs, list) else None
        yield from self._say({**payload, "delta": text, "logprobs": logprobs}, kind)

    def _begin_part(self, item: Item, number: int, *, is_refusal: bool) -> Iterator[Event]:
        item.parts[number] = self._take_index()
        yield BlockStarted(item.parts[number], Refusal("") if is_refusal else Text("", phase=item.phase))

    def _think(self, payload: _Said, *, is_summary: bool) -> Iterator[Event]:
        if isinstance(text := payload.get("delta"), str) and text:
            item = self._items.of_event(payload, _REASONING) or self._items.begin(payload, "reasoning")
            yield from self._think_on(item, text, is_summary)

    def _think_on(self, item: Item, text: str, is_summary: bool) -> Iterator[Event]:
        yield from self._begin_thought(item, is_summary)
        assert item.block is not None
        item.note(text)
        yield BlockDelta(item.block, text)

    def _begin_thought(self, item: Item, is_summary: bool) -> Iterator[Event]:
        if item.block is None:
            item.block = self._take_index()
            yield BlockStarted(item.block, Reasoning(is_summary=is_summary, origin=NAME, id=item.id))

    def _begin_summary(self, payload: _Said) -> Iterator[Event]:
        item, part = self._items.of_event(payload, _REASONING), payload.get("summary_index")
        if item is not None and isinstance(part, int) and part > 0 and item.block is not None:
            yield PartStarted(item.block)

    def _call_at(self, payload: _Said) -> Item | None:
        """Return the call that arguments belong to; without a number or an `id` that is known, the newest open one."""
        if (found := self._items.of_event(payload, CALLS)) is not None:
            return found
        newest = self._items.all[-1] if self._items.all else None
        return newest if newest is not None and newest.kind in CALLS and not newest.is_closed else None

    def _argue(self, item: Item | None, text: Any) -> Iterator[Event]:
        if item is not None and item.block is not None and isinstance(text, str) and text:
            item.note(text)
            yield BlockDelta(item.block, text)

    def _complete(self, item: Item | None, payload: _Said) -> Iterator[Event]:
        """Emit the rest of a call's arguments from their whole text: some servers send them only when they are done."""
        if item is not None:
            yield from self._argue(item, item.rest(arguments_of(payload)))

    def _cite(self, payload: _Said) -> Iterator[Event]:
        item, cited = self._items.of_event(payload, _MESSAGE), payload.get("annotation")
        block = item.parts.get(_number(payload)) if item is not None else None
        if block is not None and isinstance(cited, dict):
            yield _citation(block, cited)

    def _close_done(self, event: _Said, payload: Any) -> Iterator[Event]:
        if isinstance(payload, dict):
            yield from self._close(event, payload, self._items.of_done(event, self._kind(payload), payload))

    def _close(self, event: _Said, payload: _Said, item: Item | None) -> Iterator[Event]:
        """Take a finished item: emit what was not told of it yet, then end its blocks."""
        if item is None:
            item = self._items.begin(event, self._kind(payload), payload)
        match item.kind:
            case "message":
                yield from self._close_message(item, payload)
            case _ if item.is_closed:
                return
            case "reasoning":
                yield from self._close_thought(item, payload)
            case kind if kind in CALLS:
                if item.block is None:
                    yield from self._begin_call(item, payload)
                yield from self._complete(item, payload)
                assert item.block is not None
                yield BlockEnded(item.block)
            case _:
                block = self._take_index()
                yield BlockStarted(block, _hosted(payload))
                yield BlockEnded(block)
        item.is_closed = True

    def _close_message(self, item: Item, payload: _Said) -> Iterator[Event]:
        """Emit the rest of every part. A part that has ended cannot go on: its rest becomes a block of its own."""
        content = payload.get("content")
        ending = [] if item.is_closed else list(item.parts.values())
        content = content if isinstance(content, list) else []
        for place, part in enumerate(content):
            text = part.get("text") or part.get("refusal") if isinstance(part, dict) else None
            if not isinstance(text, str):
                continue
            number = item.part_of(text, place, len(content))
            rest, is_refusal, is_new = item.rest(text, number), part.get("type") == "refusal", number not in item.parts
            if rest and (is_new or item.is_closed):
                yield from self._begin_part(item, number, is_refusal=is_refusal)
                ending.append(item.parts[number])
            if not is_refusal and number in item.parts and (rest or not item.is_closed):
                yield from self._probe(item, number, part.get("logprobs"), is_whole=True)
            if not rest:
                continue
            item.note(rest, number)
            yield BlockDelta(item.parts[number], rest)
            cited = part.get("annotations") if is_new and not is_refusal else None
            for one in cited if isinstance(cited, list) else ():
                if isinstance(one, dict):
                    yield _citation(item.parts[number], one)
        yield from map(BlockEnded, ending)

    def _close_thought(self, item: Item, payload: _Said) -> Iterator[Event]:
        """Take the encrypted content from the finished item: in `output_item.added` it may be partial."""
        item.id = _text(payload.get("id")) or item.id
        if item.block is None:
            yield from self._read_thought(item, payload)
        elif rest := next(filter(None, (item.rest("".join(texts_of(payload, name))) for name in _THOUGHTS)), ""):
            yield from self._think_on(item, rest, is_summary=True)
        sealed = _text(payload.get("encrypted_content"))
        if sealed is not None:
            yield from self._begin_thought(item, is_summary=True)
            assert item.block is not None
            yield StateSeen(item.block, sealed=sealed, id=item.id)
        if item.block is not None:
            yield BlockEnded(item.block)

    def _read_thought(self, item: Item, payload: _Said) -> Iterator[Event]:
        for name, is_summary in (("summary", True), ("content", False)):
            for text in texts_of(payload, name):
                if item.block is not None:
                    yield PartStarted(item.block)
                yield from self._think_on(item, text, is_summary)

    def _finish(self, response: _Said, status: str) -> Iterator[Event]:
        yield from self._start(response)
        output = response.get("output")
        for given, item in list(self._items.repeated(output if isinstance(output, list) else (), self._kind)):
            yield from self._close({}, given, item)
        if status == "failed" or response.get("error") is not None:
            raise read_inner(NAME, response.get("error") or {"message": "The response failed", "code": "server_error"})
        if status == "cancelled":
            raise Broke("The provider cancelled the response")
        if (usage := read_response_usage(response)) is not None:
            yield UsageSeen(usage)
        for item in self._items.all:  # blocks of items that the stream never closed
            if not item.is_closed:
                yield from map(BlockEnded, [*item.parts.values(), *([item.block] if item.block is not None else [])])
        self.is_over = self.is_finished = True
        yield Finished(Stop(self._reason(response, status)))

    def _reason(self, response: _Said, status: str) -> StopReason:
        details = response.get("incomplete_details")
        why = details.get("reason") if isinstance(details, dict) else None
        meaning = meaning_of(why) if isinstance(why, str) else None
        if isinstance(meaning, Failed):
            raise Broke("The provider ended the response with an error")
        if meaning is None and isinstance(why, str):
            self.memo.odd_finish = why
        if meaning in (StopReason.LENGTH, StopReason.FILTERED):
            return meaning
        if status == "incomplete" and meaning is None:
            return StopReason.LENGTH  # whatever the reason is: the response is not whole
        return StopReason.TOOLS if self._calls else StopReason.END

    def _take_index(self) -> int:
        self._next += 1
        return self._next - 1

    def read_whole(self, payload: _Said) -> Iterator[Event]:
        """Yield the events of a whole response object, as if it had been streamed."""
        yield from self._finish(payload, str(payload.get("status") or "completed"))


def _hosted(payload: _Said) -> Image | Opaque:
    """Read the item of a tool that the provider ran: a picture, or an item that only this dialect knows."""
    kind, made = str(payload.get("type")), payload.get("result")
    if kind == "image_generation_call" and isinstance(made, str) and made:
        form = payload.get("output_format")
        return Image(Source(f"image/{form if isinstance(form, str) else 'png'}", data=made))
    return Opaque(NAME, kind, msgspec.Raw(msgspec.json.encode(payload)))


def _citation(block: int, cited: dict[str, Any]) -> CitationAdded:
    return CitationAdded(block, Citation(NAME, cited, _text(cited.get("url")), _text(cited.get("title"))))


def _number(payload: _Said) -> int:
    """Return which part of its item an event belongs to."""
    return part if isinstance(part := payload.get("content_index"), int) else 0


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def read_reply(body: bytes, memo: Memo) -> Reply:
    """Read a whole reply. Raises UpstreamFault when it is an error, or no response at all."""
    payload = read_object(body)
    if payload.get("error") is not None:
        raise read_inner(NAME, payload["error"])
    if not isinstance(payload.get("output"), list):
        raise Unreadable("The provider's reply has no output")
    return fold(ResponsesReader(memo).read_whole(payload))
