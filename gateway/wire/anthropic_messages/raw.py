"""The raw lane of Messages: reads what passes, and repairs only what would break every client.

A missing `event:` line is added, and a missing `message_stop` at the end; junk between good frames is taken out, and
so is a first beginning if a second one follows; a delta in a block of another kind goes into one of its own
(`own_blocks`). Everything else is passed on byte for byte.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from attrs import define, field

from gateway.errors import Broke, GatewayError, Unreadable
from gateway.wire.anthropic_messages.errors import write_stream_error
from gateway.wire.anthropic_messages.hosted import MARKS, SEALED, is_ours
from gateway.wire.anthropic_messages.own_blocks import OwnBlocks
from gateway.wire.anthropic_messages.read_messages import NAME
from gateway.wire.anthropic_messages.usage import read_usage
from gateway.wire.codec.json_body import JsonBody, to_json
from gateway.wire.codec.lenient import Junk, read_object
from gateway.wire.codec.odd_json import REFUSED, decode, decode_as
from gateway.wire.codec.sse import Frame, read_frame, write_event
from gateway.wire.dialect import Asked, Glance
from gateway.wire.events import merge
from gateway.wire.lane import Watch
from gateway.wire.profile import Profile
from gateway.wire.provider_error import read_inner
from gateway.wire.translation.envelope import QUOTED, is_envelope
from gateway.wire.translation.memo import Drops
from gateway.wire.translation.turn_order import ATTRIBUTION

# The most bytes that are held before the first content. A stream with more than this and no content is unreadable.
MAX_HELD = 1024 * 1024
_DELTA = b"event: content_block_delta\ndata: {"
_STOP = write_event("message_stop", b'{"type":"message_stop"}')
_THOUGHTS = ("thinking", "redacted_thinking")
REFUSAL = "refusal"
_TEXTS = ("text", "thinking", "partial_json", "signature", "data")


class _Message(msgspec.Struct):
    id: Any = None
    usage: Any = None
    content: Any = None
    stop_reason: Any = None


class _Said(msgspec.Struct):
    type: str = ""
    message: _Message | None = None
    content_block: dict[str, Any] | None = None
    delta: dict[str, Any] | None = None
    usage: Any = None
    error: Any = None


_SAID = msgspec.json.Decoder(_Said)


@define
class MessagesWatch(Watch):
    """Watches a Messages stream, and holds its beginning: some upstreams begin twice.

    See docs/wire/streaming.md#reading-a-messages-stream.

    Such an upstream sends `message_start`, and then a second one with the reply. Anthropic's Node SDK raises at the
    second. So `feed` returns nothing until the first content or a stop reason has come: it keeps the frames. A second
    `message_start` within this time discards the kept frames, and the beginning is held anew. The first content
    or stop reason releases all kept frames, and from then on each frame is passed on at once. After content a second
    `message_start` raises Broke.
    """

    _held: list[bytes] = field(factory=list, init=False)
    _held_bytes: int = field(default=0, init=False)
    _has_begun: bool = field(default=False, init=False)
    _is_done: bool = field(default=False, init=False)
    _stop: str = field(default="", init=False)
    _junk: Junk = field(factory=Junk, init=False)
    _blocks: OwnBlocks = field(factory=OwnBlocks, init=False)
    _expected: bytes | None = field(default=b"", init=False)  # stands in every delta that may pass unread

    @property
    def is_empty(self) -> bool:
        """Whether the finished reply has no content. A refusal without blocks does not count as empty."""
        return not self.has_content and self._stop == "end_turn" and not (self.usage and self.usage.output)

    def passes(self, chunk: bytes) -> bool:
        # Nearly every chunk is one delta with its event line: three line ends, and an object before the last two.
        is_delta = chunk.startswith(_DELTA) and chunk.endswith(b"}\n\n") and chunk.count(b"\n") == 3
        return self.has_content and is_delta and self._expected is not None and self._expected in chunk

    def feed(self, frame: bytes) -> bytes:
        if self._is_done:
            return b""
        read = read_frame(frame)
        if read.data is None:
            return self._pass(frame)  # a comment
        try:
            payload = decode_as(_SAID, read.data)
        except REFUSED:
            return self._junk.bad(read.data)
        self._junk.good()
        if payload.type == "error" or read.event == "error" or (payload.error is not None and not payload.type):
            raise read_inner(NAME, payload.error if payload.error is not None else decode(read.data))
        self._note(payload)
        return self._pass(self._placed(_named(frame, read, payload), read.data, payload.type))

    def _placed(self, frame: bytes, data: bytes, kind: str) -> bytes:
        """Return the frame with its delta in a block of its own kind."""
        if not kind.startswith("content_block_"):
            return frame
        placed = self._blocks.place(kind, decode(data))
        self._expected = self._blocks.expected
        return frame if placed is None else placed

    def _note(self, payload: _Said) -> None:
        match payload.type:
            case "message_start":
                self._begin(payload.message)
            case "content_block_start" | "content_block_delta":
                self.has_content = self.has_content or _says_anything(payload)
            case "message_delta":
                self._add(payload.usage)
                reason = (payload.delta or {}).get("stop_reason")
                if isinstance(reason, str):
                    self._stop, self.is_finished = reason, True
                    self.is_refusal = reason == REFUSAL and not self.has_content
            case "message_stop":
                self._check_finished()
                self._is_done = True

    def _begin(self, message: _Message | None) -> None:
        if self._has_begun:
            if self.has_content:
                raise Broke("The provider began its reply again in the middle")
            self._held, self._held_bytes = [], 0
        self._has_begun = True
        if message is None:
            return
        self._add(message.usage)
        self.reply_id = message.id if isinstance(message.id, str) else ""
        self.has_content = bool(message.content)  # calls made by a program come whole, with a stop reason
        if isinstance(message.stop_reason, str):
            self._stop, self.is_finished = message.stop_reason, True
            self.is_refusal = message.stop_reason == REFUSAL and not self.has_content

    def _add(self, payload: Any) -> None:
        if (usage := read_usage(payload)) is not None:
            self.usage = merge(self.usage, usage)

    def _pass(self, frame: bytes) -> bytes:
        if self.has_content or self.is_finished:
            if not self._held:
                return frame
            held, self._held = b"".join(self._held), []
            return held + frame
        self._held.append(frame)
        self._held_bytes += len(frame)
        if self._held_bytes > MAX_HELD:
            raise Unreadable("The provider's stream says nothing")
        return b""

    def _check_finished(self) -> None:
        if not self.is_finished:
            raise Broke("The provider's stream ended before the model had finished")

    def end(self) -> bytes:
        if self._is_done:
            return b""
        self._check_finished()
        return _STOP

    def fail(self, error: GatewayError, request_id: str) -> bytes:
        return write_stream_error(error, request_id)


def _named(frame: bytes, read: Frame, payload: _Said) -> bytes:
    """Return the frame with an `event:` line, which some servers leave out: the SDKs skip an event without it."""
    return frame if read.event or not payload.type else write_event(payload.type, read.data or b"")


def _says_anything(payload: _Said) -> bool:
    block = payload.content_block
    if block is not None and block.get("type") not in ("text", "thinking"):
        return True
    return any((block or payload.delta or {}).get(name) for name in _TEXTS)


def watch(asked: Asked) -> MessagesWatch:
    """Make the lane of one raw Messages stream."""
    return MessagesWatch()


def glance(body: bytes) -> Glance:
    """Read the usage of a whole reply, and whether it is empty. Raises UpstreamFault if it is not a message."""
    payload = read_object(body)
    if payload.get("type") == "error" or (payload.get("error") is not None and "content" not in payload):
        raise read_inner(NAME, payload.get("error") or payload)
    if not isinstance(payload.get("content"), list):
        raise Unreadable("The provider's reply has no content")
    usage = read_usage(payload.get("usage"))
    has_content, stop, name = _has_content(payload["content"]), payload.get("stop_reason"), payload.get("id")
    is_empty = not payload["content"] and stop == "end_turn" and not (usage and usage.output)
    is_refusal = stop == REFUSAL and not has_content
    return Glance(usage, is_empty, is_refusal, reply_id=name if isinstance(name, str) else "")


def _has_content(blocks: list[Any]) -> bool:
    """Whether any block is more than an empty text."""
    return any(not isinstance(block, dict) or block.get("type") != "text" or block.get("text") for block in blocks)


def add_members(body: JsonBody, profile: Profile, drops: Drops) -> Mapping[str, bytes]:
    """Return `messages` without the blocks that this upstream refuses; nothing if there are none.

    It refuses the gateway's envelopes, which carry another provider's reasoning in the place of a signature, and
    the types of blocks that the profile lists.
    """
    given = body.members.get("messages")
    if given is None:
        return {}
    text = bytes(given)
    # `rfind`, because searching from the end is three times as fast in CPython.
    words = [*QUOTED, *MARKS, *(b'"%s"' % kind.encode() for kind in profile.refused_blocks)]
    if all(text.rfind(word) < 0 for word in words):
        return {}
    messages = body.get("messages", list[dict[str, Any]], "an array of objects") or []
    return {"messages": to_json(list(_cleaned(messages, profile, drops)))}


def _cleaned(messages: list[dict[str, Any]], profile: Profile, drops: Drops) -> Iterator[dict[str, Any]]:
    for message in messages:
        content = message.get("content")
        if isinstance(content, list):
            kept = []
            for block in content:
                if _is_refused(block, profile):
                    drops.add("reasoning" if block["type"] in _THOUGHTS else block["type"])
                else:
                    kept.append(_uncited(block))
            if kept or not content:
                yield {**message, "content": kept}
        else:
            yield message


def _uncited(block: Any) -> Any:
    """Return a block without the citations that we have made of another provider's."""
    cited = block.get("citations") if isinstance(block, dict) else None
    if not isinstance(cited, list):
        return block
    kept = [one for one in cited if not (isinstance(one, dict) and one.get("encrypted_index") == SEALED)]
    return block if len(kept) == len(cited) else block | {"citations": kept or None}


def _is_refused(block: Any, profile: Profile) -> bool:
    if not isinstance(block, dict):
        return False
    carried = block.get("signature") or block.get("data")
    if block.get("type") in _THOUGHTS and isinstance(carried, str) and is_envelope(carried):
        return True
    return is_ours(block) or block.get("type") in profile.refused_blocks


def prefix(body: JsonBody, text: str, put: Mapping[str, bytes]) -> Mapping[str, bytes]:
    """Return `system` with a text block before the client's system prompt; nothing if it is there already.

    Claude Code's attribution line stays first.
    """
    given: Any = body.get("system", object, "a string or an array")
    block = {"type": "text", "text": text}
    if isinstance(given, str):
        if given.startswith(text):
            return {}
        return {"system": to_json([block, {"type": "text", "text": given}] if given else [block])}
    blocks: list[Any] = given if isinstance(given, list) else []
    first = 1 if blocks and _text(blocks[0]).startswith(ATTRIBUTION) else 0
    if len(blocks) > first and _text(blocks[first]).startswith(text):
        return {}
    return {"system": to_json([*blocks[:first], block, *blocks[first:]])}


def _text(block: Any) -> str:
    found = block.get("text") if isinstance(block, dict) else None
    return found if isinstance(found, str) else ""
