"""The raw lane of Chat Completions: reads what passes, and changes as little of it as possible.

A stream loses the usage chunk if only the gateway requested it, the `id:` lines, which break openai-python, and
junk between good frames. It gets a `[DONE]` if the provider sent none. Calls that SDKs would merge get numbers of
their own, and repeated arguments are left out. Everything else is passed on byte for byte.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
from attrs import define, evolve, field

from gateway.errors import Broke, GatewayError, Unreadable
from gateway.wire.codec.json_body import Body, JsonBody, to_json
from gateway.wire.codec.lenient import Junk, service_tier
from gateway.wire.codec.odd_json import REFUSED, decode
from gateway.wire.codec.sse import DONE, read_frame, write_data
from gateway.wire.dialect import Asked, Glance
from gateway.wire.lane import Watch
from gateway.wire.neutral import StopReason, Usage
from gateway.wire.openai_chat.raw_calls import RawCalls, mend
from gateway.wire.openai_chat.usage import ChatUsage, tidy_usage, usage_of
from gateway.wire.openai_error import write_stream_error
from gateway.wire.profile import Profile
from gateway.wire.provider_error import read_inner
from gateway.wire.translation.finish import Failed, is_failure, is_filter, meaning_of
from gateway.wire.translation.memo import Drops

_CONSTANT = ("id", "object", "created", "model")  # members that are the same in every chunk of a reply
# The gateway adds these members to the replies that it translates. A client sends them back in its history, and
# OpenAI refuses them.
_CARRIED = ("reasoning_content", "reasoning_details")


class Delta(msgspec.Struct):
    """The members that most deltas and messages have; `says_anything` looks at the others."""

    content: Any = None
    tool_calls: Any = None


class Choice(msgspec.Struct):
    """One choice of a reply or a chunk."""

    index: Any = None
    delta: Delta | None = None
    message: Delta | None = None
    text: Any = None
    finish_reason: Any = None
    usage: ChatUsage | None = None  # Moonshot's old models


class _Groq(msgspec.Struct):
    usage: ChatUsage | None = None


class Chunk(msgspec.Struct):
    """The members of a chunk or a whole reply that the raw lane reads."""

    choices: list[Choice] | None = None
    usage: ChatUsage | None = None
    error: Any = None
    x_groq: _Groq | None = None
    service_tier: Any = None


CHUNK = "chat.completion.chunk"  # `object` of a chunk
_CHUNK = msgspec.json.Decoder(Chunk)


def read_chunk(data: bytes) -> Chunk:
    """Read a chunk or a whole reply, even if members have the wrong type. Raises Unreadable if it is not an object."""
    try:
        try:
            return _CHUNK.decode(data)
        except REFUSED:
            return _read_oddly(decode(data))
    except REFUSED:
        raise Unreadable("The provider's reply is not the JSON of its dialect") from None


def _read_oddly(payload: Any) -> Chunk:
    """Read the odd types of compatible servers: counts as text, a delta that is not an object."""
    if not isinstance(payload, dict):
        raise Unreadable("The provider's reply is not a JSON object")
    given = payload.get("choices")
    choices = [_choice_oddly(one) for one in given if isinstance(one, dict)] if isinstance(given, list) else None
    groq = payload.get("x_groq")
    return Chunk(
        choices=choices,
        usage=tidy_usage(payload.get("usage")),
        error=payload.get("error"),
        x_groq=_Groq(tidy_usage(groq.get("usage"))) if isinstance(groq, dict) else None,
        service_tier=payload.get("service_tier"),
    )


def _choice_oddly(payload: dict[str, Any]) -> Choice:
    return Choice(
        index=payload.get("index"),
        delta=_delta_oddly(payload.get("delta")),
        message=_delta_oddly(payload.get("message")),
        text=payload.get("text"),
        finish_reason=payload.get("finish_reason"),
        usage=tidy_usage(payload.get("usage")),
    )


def _delta_oddly(payload: Any) -> Delta | None:
    if not isinstance(payload, dict):
        return None
    calls = payload.get("tool_calls")
    return Delta(payload.get("content"), calls if isinstance(calls, list) else None)


def add_members(body: JsonBody, profile: Profile, drops: Drops) -> Mapping[str, bytes]:
    """Return the members of a raw request that the gateway replaces.

    A stream has to send its usage, because the gateway counts tokens (docs/wire/requests.md#streaming-flags).
    Reasoning members are taken out of the history if the upstream forbids them: the gateway added them to earlier
    replies.
    """
    members: dict[str, bytes] = {}
    if profile.stream_options and body.flag("stream"):
        options = body.get("stream_options", dict[str, msgspec.Raw], "an object") or {}
        members["stream_options"] = to_json(options | {"include_usage": msgspec.Raw(b"true")})
    given = body.members.get("messages")
    if profile.reasoning_replay == "forbidden" and given is not None and b'"reasoning_' in bytes(given):
        messages = body.get("messages", list[dict[str, msgspec.Raw]], "an array of objects") or []
        if any(name in one for one in messages for name in _CARRIED):
            drops.add("reasoning")
        members["messages"] = to_json(
            [{name: value for name, value in one.items() if name not in _CARRIED} for one in messages]
        )
    return members


def prefix(body: JsonBody, text: str, put: Mapping[str, bytes]) -> Mapping[str, bytes]:
    """Return `messages` with a system message in front; nothing if it is there already.

    `put` holds the members that were replaced so far: its `messages` stand for the body's.
    """
    messages = msgspec.json.decode(put.get("messages") or body.members.get("messages") or b"[]")
    if not isinstance(messages, list):
        return {}
    first = messages[0] if messages and isinstance(messages[0], dict) else {}
    content = first.get("content")
    if first.get("role") in ("system", "developer") and isinstance(content, str) and content.startswith(text):
        return {}
    return {"messages": to_json([{"role": "system", "content": text}, *messages])}


def ask(body: Body) -> Asked:
    """Read whether the client itself requested the usage chunk (`stream_options.include_usage`)."""
    if not isinstance(body, JsonBody):
        return Asked()
    options = body.get("stream_options", dict[str, Any], "an object") or {}
    return Asked(wants_usage=options.get("include_usage") is True)


def glance(body: bytes) -> Glance:
    """Read the usage of a whole reply, and whether it is empty. Raises UpstreamFault if it is not a chat completion."""
    reply = read_chunk(body)
    choices = reply.choices or []
    if reply.error is not None and not choices:
        raise read_inner("openai_chat", reply.error)
    if reply.choices is None:
        raise Unreadable("The provider's reply has no choices")
    words = [choice.finish_reason for choice in choices]
    meanings = [meaning_of(word) if isinstance(word, str) else None for word in words]
    if Failed.FAILED in meanings:
        raise Broke("The provider ended the reply with an error")
    usage = usage_in(reply)
    is_empty = (
        words.count("stop") == len(choices) > 0
        and not any(map(_says_text, choices))
        and not (usage and usage.output)
        and not says_anything(body)
    )
    is_refusal = meanings.count(StopReason.FILTERED) == len(choices) > 0
    return Glance(usage, is_empty, is_refusal and not says_anything(body))


def usage_in(chunk: Chunk) -> Usage | None:
    """The usage of a chunk, wherever its server puts it."""
    usage = usage_of(chunk.usage)
    if usage is None and chunk.x_groq is not None:
        usage = usage_of(chunk.x_groq.usage)
    if usage is None and chunk.choices:
        usage = usage_of(chunk.choices[0].usage)
    if usage is not None and (tier := service_tier(chunk.service_tier)) is not None:
        usage = evolve(usage, tier=tier)
    return usage


def says_anything(data: bytes) -> bool:
    """Whether any choice carries more than a role: text, reasoning, a call, sound, whatever its name."""
    for choice in decode(data)["choices"]:
        payload = choice.get("delta") or choice.get("message") if isinstance(choice, dict) else choice
        if isinstance(payload, dict):
            payload = any(value for name, value in payload.items() if name != "role")
        if payload or (isinstance(choice, dict) and choice.get("text")):
            return True
    return False


def _says_text(choice: Choice) -> bool:
    payload = choice.delta or choice.message
    return bool(choice.text or (payload is not None and payload.content))


def _adds_text(choice: Choice) -> bool:
    return choice.delta is not None and bool(choice.delta.content)


def _repeats(choice: Choice) -> bool:
    return choice.message is not None and not _adds_text(choice)


@define
class ChatWatch(Watch):
    """Watches a chat stream: first content, errors, the finish of every choice, usage."""

    wants_usage: bool
    no_finish: bool = False
    _open: set[int] = field(factory=set, init=False)
    _finished: set[int] = field(factory=set, init=False)
    _calling: set[int] = field(factory=set, init=False)  # the choices that have called a tool
    _goes_on: bool = field(default=False, init=False)  # text came behind a finish reason: some servers always send one
    _has_text: bool = field(default=False, init=False)  # a delta with text has come
    _last_finish: str = field(default="", init=False)
    _head: bytes = field(default=b"", init=False)  # data of the first chunk with choices, for a finish of our own
    _held: bytes = field(default=b"", init=False)  # a usage chunk before the finish: the last one if none comes
    _is_done: bool = field(default=False, init=False)
    _calls: dict[int, RawCalls] = field(factory=dict, init=False)  # by choice
    _junk: Junk = field(factory=Junk, init=False)

    @property
    def is_empty(self) -> bool:
        """Whether the finished reply says nothing at all (docs/wire/errors.md#errors-inside-http-200)."""
        return not self.has_content and self._last_finish == "stop" and not (self.usage and self.usage.output)

    def passes(self, chunk: bytes) -> bool:
        # Nearly every chunk is one more delta in one line. Anything else fails to decode, or has members for `feed`.
        if self.is_finished or not (self.has_content and chunk.startswith(b"data: {") and chunk.endswith(b"}\n\n")):
            return False
        try:
            payload = _CHUNK.decode(chunk[6:-2])
        except msgspec.MsgspecError:
            return False
        choices = payload.choices
        if not choices or len(choices) > 1 or choices[0].finish_reason is not None or self._held:
            return False
        choice = choices[0]
        index = choice.index if isinstance(choice.index, int) else 0
        if payload.usage is not None or payload.error is not None or payload.x_groq is not None:
            return False
        if index not in self._open:
            return False
        if choice.delta is not None and choice.delta.tool_calls:
            calls = self._calls.get(index)
            return calls is not None and calls.goes_on(choice.delta.tool_calls)
        if not self._has_text and _adds_text(choice):
            self._has_text = True
        return True

    def feed(self, frame: bytes) -> bytes:
        if self._is_done:
            return b""
        read = read_frame(frame)  # refuses a frame of millions of lines, which `_without_id` would make objects of
        if b"id:" in frame:
            frame = _without_id(frame)
        event, data = read.event, read.data
        if data is None:
            return frame  # a comment
        if data.strip() == b"[DONE]":
            out = self._finish(is_complete=self.usage is not None)
            self._is_done = True
            return out + frame
        try:
            chunk = read_chunk(data)
        except Unreadable:
            return self._junk.bad(data)
        self._junk.good()
        if chunk.error is not None or event == "error":
            raise read_inner("openai_chat", chunk.error if chunk.error is not None else decode(data))
        if (usage := usage_in(chunk)) is not None:
            self.usage = usage
        if not chunk.choices:
            return self._pass_usage(frame) if chunk.usage is not None else frame
        for choice in chunk.choices:
            self._note(choice)
        self._head = self._head or data
        if self._has_text and any(map(_repeats, chunk.choices)):
            frame = _without_message(data)
        held, self._held = self._held, b""
        if not self.has_content and (any(map(_says_text, chunk.choices)) or says_anything(data)):
            self.has_content = True
        if any(choice.delta is not None and choice.delta.tool_calls for choice in chunk.choices):
            mended = mend(self._calls, data)
            return held + frame if mended is None else held + write_data(mended)
        return held + frame

    def _note(self, choice: Choice) -> None:
        index = choice.index if isinstance(choice.index, int) else 0
        self._open.add(index)
        said = choice.delta or choice.message
        if said is not None and said.tool_calls:
            self._calling.add(index)
        if _adds_text(choice):
            self._has_text = True
            self._goes_on |= index in self._finished
        if choice.finish_reason and choice.finish_reason != "null":
            self._last_finish = str(choice.finish_reason)
            if is_failure(choice.finish_reason):
                raise Broke("The provider ended the stream with an error")
            self._finished.add(index)
            self.is_refusal = is_filter(self._last_finish)  # and no content came, or the relay has spoken
        self.is_finished = self._has_ended and not self._goes_on

    @property
    def _has_ended(self) -> bool:
        return bool(self._finished) and self._finished >= self._open

    def _pass_usage(self, frame: bytes) -> bytes:
        """Pass the usage chunk on; one that comes before the finish waits, because SDKs want it last."""
        if not self.wants_usage:
            return b""
        if self._has_ended:
            return frame
        out, self._held = self._held, frame
        return out

    def _finish(self, *, is_complete: bool) -> bytes:
        """Return what is held, with a finish of each choice that has none. Raises Broke if the reply was cut short.

        See docs/wire/streaming.md#ending-a-stream.
        """
        held, self._held = self._held, b""
        if self._has_ended:
            return held
        if not (self.has_content and (is_complete or self.no_finish)):
            raise Broke("The provider's stream ended before the model had finished")
        self.is_finished = True
        return self._finishes() + held

    def _finishes(self) -> bytes:
        choices: list[dict[str, Any]] = [
            {"index": index, "delta": {}, "finish_reason": self._reason_of(index)}
            for index in sorted(self._open - self._finished)
        ]
        head = {name: value for name, value in decode(self._head).items() if name in _CONSTANT}
        return write_data(msgspec.json.encode(head | {"choices": choices}))

    def _reason_of(self, index: int) -> str:
        """Return how a choice without a finish reason looks: a call that stops in the middle was cut."""
        if (calls := self._calls.get(index)) is not None and calls.is_half:
            return "length"
        return "tool_calls" if index in self._calling else "stop"

    def end(self) -> bytes:
        if self._is_done:
            return b""
        return self._finish(is_complete=False) + DONE

    def fail(self, error: GatewayError, request_id: str) -> bytes:
        return write_stream_error(error)


def _without_id(frame: bytes) -> bytes:
    """Take the `id:` lines out of a frame: with one, openai-python breaks at the next comment.

    See docs/wire/streaming.md#what-the-official-sdk-helpers-require.
    """
    lines = frame.splitlines(keepends=True)
    if not any(line.startswith(b"id:") for line in lines):
        return frame
    return b"".join(line for line in lines if not line.startswith(b"id:"))


def _without_message(data: bytes) -> bytes:
    """Write a frame without the message that repeats the whole text: SDKs want a `delta` there."""
    payload = decode(data)
    for choice in payload["choices"]:
        choice.pop("message", None)
        if not isinstance(choice.get("delta"), dict):
            choice["delta"] = {}
    return write_data(to_json(payload | {"object": CHUNK}))


def watch(asked: Asked) -> ChatWatch:
    """Make the lane of one raw chat stream."""
    return ChatWatch(asked.wants_usage, asked.no_finish)
