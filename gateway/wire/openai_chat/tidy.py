"""Repairs a raw Chat stream for strict Chat clients, and keeps everything else in it.

For servers whose presets say so (`normalize`): OpenRouter, Azure, Mistral and others repeat roles and ids, send their
usage early, number calls from one, or write lists where SDKs want text
(docs/wire/streaming.md#what-the-official-sdk-helpers-require, docs/wire/directions.md).
"""

from collections.abc import Iterator
from typing import Any

import msgspec
from attrs import define, field

from gateway.wire.codec.odd_json import REFUSED
from gateway.wire.codec.sse import read_frame, write_data
from gateway.wire.dialect import Asked
from gateway.wire.openai_chat.raw import CHUNK, ChatWatch
from gateway.wire.openai_chat.read_calls import Slots, arguments_in, name_in
from gateway.wire.openai_chat.repeats import Repeats

# Members that are the same in every chunk of a reply; some servers leave them empty in the first chunk.
_CONSTANT = ("id", "created", "model")


@define
class _Choice:
    """What is known of one choice so far."""

    has_role: bool = False
    calls: Slots = field(factory=Slots)
    repeats: Repeats = field(factory=Repeats)
    finish: dict[str, Any] | None = None  # the choice with its finish reason, held for the end of the stream


@define
class TidyWatch(ChatWatch):
    """A raw Chat stream whose chunks are rewritten for strict SDKs. Unknown members are kept.

    The role of a choice is sent once, in its first delta. Calls are numbered from zero, and the id, type and name of
    a call are sent once, because openai-python joins repeated strings. `id`, `created` and `model` are
    those of the first chunk that has them. A list in `content` becomes a string. Members of a chunk without choices
    move into the next chunk.

    Finish reasons and usage are held until the stream ends, and `_flush` writes them there: openai-python loses the
    usage if another chunk follows it.
    """

    _choices: dict[int, _Choice] = field(factory=dict, init=False)
    _carried: dict[str, Any] = field(factory=dict, init=False)  # members of chunks without choices, for the next one
    _last: dict[str, Any] = field(factory=dict, init=False)
    _usage_said: Any = field(default=None, init=False)

    def passes(self, chunk: bytes) -> bool:
        return False

    def feed(self, frame: bytes) -> bytes:
        data = read_frame(frame).data
        if data is None or self._is_done:
            return ChatWatch.feed(self, frame)
        if data.strip() == b"[DONE]":
            return self._flush(is_complete=self._usage_said is not None) + ChatWatch.feed(self, frame)
        try:
            payload = self._junk.halves.decode(data)
        except REFUSED:
            payload = None
        if not isinstance(payload, dict) or payload.get("error") is not None or "choices" not in payload:
            return ChatWatch.feed(self, frame)  # handles junk and errors
        out = b"".join(ChatWatch.feed(self, _frame(one)) for one in self._tidy(payload))
        self.is_finished = not self._goes_on and any(known.finish is not None for known in self._choices.values())
        return out

    def end(self) -> bytes:
        return self._flush(is_complete=False) + ChatWatch.end(self)

    def _tidy(self, payload: dict[str, Any]) -> Iterator[dict[str, Any]]:
        if payload.get("usage"):
            self._usage_said = payload["usage"]
        payload.pop("usage", None)
        choices = [one for one in payload.get("choices") or () if isinstance(one, dict)]
        if not choices:
            self._carried |= {name: value for name, value in payload.items() if name not in (*_CONSTANT, "choices")}
            return
        for name in _CONSTANT:
            if name in self._last:
                payload[name] = self._last[name]
        if payload.get("object") == "chat.completion":
            payload["object"] = CHUNK
        self._last = {name: payload[name] for name in (*_CONSTANT, "object") if payload.get(name)}
        tidied = [one for one in map(self._tidy_choice, choices) if one is not None]
        if tidied:
            yield {**self._carried, **payload, "choices": tidied}
            self._carried = {}

    def _tidy_choice(self, choice: dict[str, Any]) -> dict[str, Any] | None:
        given = choice.get("index")
        index = given if isinstance(given, int) else 0
        known = self._choices.setdefault(index, _Choice())
        delta = known.repeats.unsaid(choice, len(known.calls.all))
        choice.pop("message", None)
        delta = _tidy_delta(delta, known)
        finish = choice.get("finish_reason")
        finish = None if finish in ("", "null") else finish
        tidied = {**choice, "index": index, "delta": delta, "finish_reason": None}
        self._goes_on |= known.finish is not None and bool(delta)
        if finish is not None:
            known.finish = {**tidied, "delta": {}, "finish_reason": finish}
        return tidied if delta or finish is None else None

    def _flush(self, *, is_complete: bool) -> bytes:
        """Write the finish of every choice, then the usage. No other chunk may follow."""
        out = b""
        finishes = [known.finish for known in self._choices.values() if known.finish is not None]
        if finishes:
            out += ChatWatch.feed(self, _frame({**self._last, "choices": finishes}))
        elif self._choices:
            out += self._finish(is_complete=is_complete)
        self._choices = {}
        if self._usage_said is not None:
            out += ChatWatch.feed(self, _frame({**self._last, "choices": [], "usage": self._usage_said}))
            self._usage_said = None
        return out


def _frame(payload: dict[str, Any]) -> bytes:
    return write_data(msgspec.json.encode(payload))


def _tidy_delta(delta: dict[str, Any], known: _Choice) -> dict[str, Any]:
    tidied = dict(delta)
    if "role" in tidied:
        if known.has_role or not tidied["role"]:
            del tidied["role"]
        known.has_role = True
    elif not known.has_role:
        tidied, known.has_role = {"role": "assistant", **tidied}, True
    if isinstance(tidied.get("content"), list):
        tidied["content"], thought = _split(tidied["content"])
        if thought:
            tidied["reasoning_content"] = thought
    if (
        isinstance(reasoning := tidied.pop("reasoning", None), str)
        and reasoning
        and not tidied.get("reasoning_content")
    ):
        tidied["reasoning_content"] = reasoning
    if isinstance(details := tidied.get("reasoning_details"), list):
        for number, entry in enumerate(details):
            if isinstance(entry, dict) and not isinstance(entry.get("index"), int):
                entry["index"] = number
    if isinstance(calls := tidied.pop("tool_calls", None), list) and calls:
        known.calls.next_delta()
        tidied["tool_calls"] = [_tidy_call(call, known) for call in calls if isinstance(call, dict)]
    return tidied


def _split(parts: list[Any]) -> tuple[str, str]:
    """Mistral's list of texts and thoughts as (content, reasoning)."""
    texts, thoughts = [], []
    for part in parts:
        if isinstance(part, dict) and part.get("type") == "thinking":
            inner = part.get("thinking")
            thoughts += [str(one.get("text") or "") for one in inner or () if isinstance(one, dict)]
        elif isinstance(part, dict):
            texts.append(str(part.get("text") or ""))
    return "".join(texts), "".join(thoughts)


def _tidy_call(call: dict[str, Any], known: _Choice) -> dict[str, Any]:
    """Number calls from zero; keep id, type and name only in the first fragment of a call."""
    slot = known.calls.find(call)
    is_new = slot is None
    slot = slot or known.calls.add()
    had_name, had_id = bool(slot.name), bool(slot.id)
    known.calls.note(slot, call)
    slot.name = slot.name or name_in(call)
    if text := arguments_in(call):
        slot.arguments.feed(text)
        slot.is_told = True
    if is_new:
        return {**call, "index": slot.number}
    left_out = {"type", *(("id",) if had_id else ())}
    tidied = {name: value for name, value in call.items() if name not in left_out}
    if had_name and isinstance(function := tidied.get("function"), dict):
        tidied["function"] = {name: value for name, value in function.items() if name != "name"}
    return {**tidied, "index": slot.number}


def tidy(asked: Asked) -> TidyWatch:
    """Make the lane of one raw stream that has to be repaired."""
    return TidyWatch(asked.wants_usage, asked.no_finish)
