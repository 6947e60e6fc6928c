"""Reads replies of Messages upstreams, whole and streamed (docs/wire/streaming.md#reading-a-messages-stream)."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
from attrs import define, field

from gateway.errors import Broke, Unreadable
from gateway.wire.anthropic_messages.read_messages import NAME
from gateway.wire.anthropic_messages.usage import read_usage
from gateway.wire.codec.lenient import Junk
from gateway.wire.codec.odd_json import REFUSED, decode, decode_as
from gateway.wire.events import (
    BlockDelta,
    BlockEnded,
    BlockStarted,
    CitationAdded,
    Event,
    Finished,
    Started,
    StateSeen,
    UsageSeen,
    fold,
)
from gateway.wire.neutral import Block, Citation, Opaque, Reasoning, Reply, Stop, StopReason, Text, ToolCall
from gateway.wire.provider_error import read_inner
from gateway.wire.translation.arguments import FreeformDecoder
from gateway.wire.translation.finish import Failed, meaning_of
from gateway.wire.translation.memo import Memo

# How an object goes on behind its `{`, which is all that is ever sent as a prefill.
_GOES_ON = '"}'
_Said = Mapping[str, Any]
_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
MAX_DIGITS = 10  # of a block's number
# The block that a delta without a beginning belongs to. A call without its beginning has no name.
_UNBEGUN: dict[Any, dict[str, Any]] = {"text_delta": {"type": "text"}, "thinking_delta": {"type": "thinking"}}
_TAKES = {"text": "text_delta", "thinking": "thinking_delta", "tool_use": "input_json_delta"}


@define
class _Open:
    """A block that is coming in."""

    block: Block
    index: int
    signature: str = ""
    prefilled: str = ""  # arguments that came whole with the start, used if no deltas follow
    has_arguments: bool = False
    start: dict[str, Any] = field(factory=dict)  # of an Opaque block, as it came
    partial: list[str] = field(factory=list)  # the `input` of an Opaque block, in pieces
    decoder: FreeformDecoder | None = None  # of a freeform call: its text comes wrapped in JSON
    takes: str = ""  # the type of the deltas that are this block's own
    stray: dict[str, int] = field(factory=dict)  # type of other deltas -> the block that was made for them


@define
class MessagesReader:
    """Reads one reply into events, and keeps the state between its frames.

    Some upstreams begin twice: a second `message_start` follows before any content. So the events of the beginning
    are held until the first content or a stop reason. A second `message_start` before that discards them and
    begins anew; after that it raises Broke.
    """

    memo: Memo
    is_over: bool = field(default=False, init=False)
    is_finished: bool = field(default=False, init=False)
    _has_content: bool = field(default=False, init=False)
    _held: list[Event] = field(factory=list, init=False)
    _open: dict[int, _Open] = field(factory=dict, init=False)
    _next: int = field(default=0, init=False)
    _calls: int = field(default=0, init=False)
    _stop: Stop | None = field(default=None, init=False)
    _prefill: str = field(init=False)
    _blanks: list[str] = field(factory=list, init=False)  # white space behind the prefill
    _junk: Junk = field(factory=Junk, init=False)

    def __attrs_post_init__(self) -> None:
        self._prefill = self.memo.prefill
        self._next = self.memo.first_index

    def feed(self, frame: bytes) -> Sequence[Event]:
        if self.is_over:
            return ()
        if (payload := self._junk.read_frame(frame)) is None:
            return ()
        return self._release(list(self._read(payload)))

    def end(self) -> Sequence[Event]:
        return () if self.is_over else list(self._end())

    def _release(self, events: list[Event]) -> Sequence[Event]:
        if self._has_content or self.is_finished:
            events, self._held = [*self._held, *events], []
            return events
        self._held += events
        return ()

    def _read(self, payload: _Said) -> Iterator[Event]:
        match payload.get("type"):
            case "content_block_delta":
                yield from self._delta(payload.get("index"), payload.get("delta"))
            case "content_block_start":
                yield from self._start(payload.get("index"), payload.get("content_block"))
            case "content_block_stop":
                yield from self._end_block(payload.get("index"))
            case "message_start":
                yield from self._begin(payload.get("message"))
            case "message_delta":
                yield from self._note_stop(payload)
            case "message_stop":
                yield from self._end()
            case "error":
                raise read_inner(NAME, payload.get("error"))
            case None if payload.get("error") is not None:
                raise read_inner(NAME, payload["error"])

    def _begin(self, message: Any) -> Iterator[Event]:
        if self._has_content or self.is_finished:
            raise Broke("The provider began its reply again in the middle")
        self._held.clear()
        self._open.clear()
        self._next = self.memo.first_index
        message = message if isinstance(message, dict) else {}
        yield Started(str(message.get("id") or ""), str(message.get("model") or ""), _tier(message))
        if (usage := read_usage(message.get("usage"))) is not None:
            yield UsageSeen(usage)
        yield from self._read_content(message)
        if isinstance(message.get("stop_reason"), str):  # calls made by a program come whole, in `message_start`
            self._stop, self.is_finished = self._stop_of(message), True

    def _read_content(self, message: _Said) -> Iterator[Event]:
        content = message.get("content")
        for number, block in enumerate(content if isinstance(content, list) else ()):
            yield from self._start(number, block)
            yield from self._end_block(number)

    def _number(self, given: Any) -> int | None:
        """Return the number of a block, which may be a text; without one that of the newest open block."""
        if isinstance(given, str) and given.isdecimal() and len(given) < MAX_DIGITS:
            return int(given)
        return given if isinstance(given, int) else next(reversed(self._open), None)

    def _start(self, given: Any, block: Any) -> Iterator[Event]:
        if not isinstance(block, dict):
            return
        number = self._number(given)
        if number is None or not isinstance(given, int | str):
            number = max(self._open, default=-1) + 1
        yield from self._end_block(number)  # a server that numbers all blocks 0 may leave out their ends
        opened = self._open[number] = _Open(
            self._block(block), self._next, takes=_TAKES.get(str(block.get("type")), "")
        )
        self._next += 1
        match opened.block:
            case Text(text=text):
                yield BlockStarted(opened.index, Text(""))
                yield from self._say(opened, self._continued(text))
                citations = block.get("citations")
                for citation in citations if isinstance(citations, list) else ():
                    yield from self._cite(opened, citation)
            case Reasoning(parts=parts, sealed=sealed):
                opened.signature = str(block.get("signature") or "")
                yield BlockStarted(opened.index, Reasoning(origin=NAME))
                yield from self._say(opened, "".join(parts))
                if sealed:
                    self._has_content = True
                    yield StateSeen(opened.index, sealed=sealed)
            case ToolCall() as call if call.name == self.memo.forced_output:
                opened.block, opened.prefilled = Text(""), _given(block)
                yield BlockStarted(opened.index, Text(""))
            case ToolCall() as call:
                self._has_content, opened.prefilled = True, _given(block)
                opened.decoder = FreeformDecoder() if call.kind == "custom" else None
                yield BlockStarted(opened.index, opened.block)
            case _:
                self._has_content, opened.start = True, block
                yield BlockStarted(opened.index, opened.block)

    def _block(self, payload: dict[str, Any]) -> Block:
        kind = payload.get("type")
        match kind:
            case "text":
                return Text(str(payload.get("text") or ""))
            case "thinking":
                thought = payload.get("thinking")
                return Reasoning((thought,) if thought and isinstance(thought, str) else (), origin=NAME)
            case "redacted_thinking":
                return Reasoning(sealed=str(payload.get("data") or ""), origin=NAME)
            case "tool_use":
                wire = str(payload.get("name") or "")
                known = self.memo.names.original(wire)
                self._calls += 1
                call_id = self.memo.call_id(str(payload.get("id") or ""), self._calls - 1)
                kind = "custom" if wire in self.memo.freeform else known.kind
                return ToolCall(call_id, known.name, "", kind, known.namespace or payload.get("toolset_name"))
            case _:
                return Opaque(NAME, str(kind), msgspec.Raw(msgspec.json.encode(payload)))

    def _delta(self, number: Any, delta: Any) -> Iterator[Event]:
        if not isinstance(delta, dict):
            return
        kind, place = delta.get("type"), self._number(number)
        if place not in self._open:
            if kind not in _UNBEGUN:
                return
            place = 0 if place is None else place
            yield from self._start(place, _UNBEGUN[kind])  # some servers send no beginning
        opened = self._open[place]
        match kind:
            case "text_delta":
                yield from self._say_in(opened, "text_delta", self._continued(delta.get("text")))
            case "thinking_delta":
                yield from self._say_in(opened, "thinking_delta", delta.get("thinking"))
            case "input_json_delta":
                if opened.takes == "input_json_delta" or opened.start:
                    yield from self._argue(opened, delta.get("partial_json"))
                elif (call := self._newest_call()) is not None:
                    yield from self._argue(call, delta.get("partial_json"))
            case "signature_delta":
                opened.signature = str(delta.get("signature") or "")
                self._has_content = True
            case "citations_delta":
                yield from self._cite(opened, delta.get("citation"))

    def _say_in(self, opened: _Open, kind: str, text: Any) -> Iterator[Event]:
        """Yield a text. If its kind is not that of the open block, it goes into a block of its own beside it."""
        if opened.takes == kind:
            yield from self._say(opened, text)
        elif isinstance(text, str) and text:
            if kind not in opened.stray:
                opened.stray[kind] = self._next
                self._next += 1
                yield BlockStarted(opened.stray[kind], Text("") if kind == "text_delta" else Reasoning(origin=NAME))
            self._has_content = True
            yield BlockDelta(opened.stray[kind], text)

    def _newest_call(self) -> _Open | None:
        """Return the call that arguments under the number of another block belong to."""
        return next((one for one in reversed(self._open.values()) if one.takes == "input_json_delta"), None)

    def _argue(self, opened: _Open, text: Any) -> Iterator[Event]:
        if opened.start:
            opened.partial.append(str(text or ""))
            return
        opened.has_arguments |= bool(text)
        if opened.decoder is not None and isinstance(text, str):
            text = opened.decoder.feed(text)
        yield from self._say(opened, text)

    def _say(self, opened: _Open, text: Any) -> Iterator[Event]:
        if isinstance(text, str) and text:
            self._has_content = True
            yield BlockDelta(opened.index, text)

    def _continued(self, text: Any) -> Any:
        """Put the prefill before the text that goes on behind it. Some models repeat it, some begin otherwise."""
        if not self._prefill or not isinstance(text, str):
            return text
        self._blanks.append(text)
        if not (begun := text.lstrip()):
            return ""
        blanks, self._blanks = "".join(self._blanks), []
        prefill, self._prefill = self._prefill, ""
        return prefill + blanks if begun[0] in _GOES_ON else blanks

    def _cite(self, opened: _Open, cited: Any) -> Iterator[Event]:
        if isinstance(cited, dict) and isinstance(opened.block, Text):
            url, title = cited.get("url"), cited.get("title")
            yield CitationAdded(
                opened.index,
                Citation(NAME, cited, url if isinstance(url, str) else None, title if isinstance(title, str) else None),
            )

    def _end_block(self, number: Any) -> Iterator[Event]:
        place = self._number(number)
        opened = self._open.pop(place, None) if place is not None else None
        if opened is None:
            return
        yield from map(BlockEnded, opened.stray.values())
        if opened.start:
            yield BlockEnded(opened.index, _completed(opened))
            return
        yield from self._argue(opened, self._junk.halves.rest(number))
        if opened.prefilled and not opened.has_arguments:
            yield from self._argue(opened, opened.prefilled)
        if opened.decoder is not None:
            yield from self._say(opened, opened.decoder.end())
        if isinstance(opened.block, Reasoning) and opened.signature:
            yield StateSeen(opened.index, opened.signature)
        yield BlockEnded(opened.index)

    def _note_stop(self, payload: _Said) -> Iterator[Event]:
        if (usage := read_usage(payload.get("usage"))) is not None:
            yield UsageSeen(usage)
        delta = payload.get("delta")
        if isinstance(delta, dict) and isinstance(delta.get("stop_reason"), str):
            self._stop, self.is_finished = self._stop_of(delta), True

    def _stop_of(self, payload: _Said) -> Stop:
        word = str(payload.get("stop_reason"))
        meaning = meaning_of(word)
        if isinstance(meaning, Failed):
            raise Broke("The provider ended the reply with an error")
        if meaning is None:
            self.memo.odd_finish = word
            known = self._stop.reason if self._stop is not None else None
            meaning = known or (StopReason.TOOLS if self._calls else StopReason.END)
        reason = meaning
        if reason is StopReason.TOOLS and (self.memo.forced_output is not None or not self._calls):
            reason = StopReason.END
        details, sequence = payload.get("stop_details"), payload.get("stop_sequence")
        explanation = details.get("explanation") if isinstance(details, dict) else None
        return Stop(reason, sequence if isinstance(sequence, str) else None, explanation)

    def _end(self) -> Iterator[Event]:
        if self._stop is None:
            raise Broke("The provider's stream ended before the model had finished")
        self.is_over = True
        yield from self._held
        self._held = []
        for number in list(self._open):
            yield from self._end_block(number)
        yield Finished(self._stop)

    def read_whole(self, payload: _Said) -> Iterator[Event]:
        """Read a whole message into the events of a stream."""
        yield from self._begin(payload)
        yield from self._end()


def _given(block: _Said) -> str:
    """Return the arguments that came whole with the start of a call, digit for digit if they are raw; "" if none."""
    given = block.get("input")
    if isinstance(given, msgspec.Raw):
        return "" if bytes(given) in (b"{}", b"null") else bytes(given).decode()
    return msgspec.json.encode(given).decode() if given else ""


def _completed(opened: _Open) -> Opaque:
    """Build an Opaque block from its start and the `input` that came in deltas."""
    block = dict(opened.start)
    if opened.partial:
        try:
            block["input"] = msgspec.json.decode("".join(opened.partial))
        except msgspec.MsgspecError:
            block["input"] = {}
    return Opaque(NAME, str(block.get("type")), msgspec.Raw(msgspec.json.encode(block)))


def _tier(message: _Said) -> str | None:
    usage = message.get("usage")
    tier = usage.get("service_tier") if isinstance(usage, dict) else None
    return tier if isinstance(tier, str) else None


def read_reply(body: bytes, memo: Memo) -> Reply:
    """Read a whole reply. Raises UpstreamFault if it is an error or not a message."""
    try:
        members = decode_as(_MEMBERS, body)
        payload = {name: decode(bytes(raw)) for name, raw in members.items() if name != "content"}
        payload["content"] = _read_content(members.get("content"))
    except msgspec.ValidationError:
        raise Unreadable("The provider's reply is not a JSON object of its dialect") from None
    except REFUSED:
        raise Unreadable("The provider's reply is not the JSON of its dialect") from None
    if payload.get("type") == "error" or (payload.get("error") is not None and payload["content"] is None):
        raise read_inner(NAME, payload.get("error") or payload)
    if payload["content"] is None:
        raise Unreadable("The provider's reply has no content")
    return fold(MessagesReader(memo).read_whole(payload))


def _read_content(raw: msgspec.Raw | None) -> list[dict[str, Any]] | None:
    """Decode the blocks of a whole reply; None if there is no content. Raises msgspec's errors.

    `input` stays raw, so that the arguments of a call keep every digit of their numbers.
    """
    if raw is None:
        return None
    blocks = msgspec.json.decode(raw, type=list[dict[str, msgspec.Raw]])
    return [
        {name: value if name == "input" else decode(bytes(value)) for name, value in block.items()} for block in blocks
    ]
