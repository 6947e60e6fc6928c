"""Validators of client streams: every rule that an official SDK's accumulator was seen to need.

The `read_` functions read a stream strictly, and return its content as plain values.
"""

import json
from typing import Any

import jiter
from attrs import define, field


@define
class Told:
    """The content of a stream, as its client sees it."""

    text: str = ""
    reasoning: str = ""
    refusal: str = ""
    calls: list[tuple[str, str, str]] = field(factory=list)  # id, name, arguments
    halves: list[str] = field(factory=list)  # arguments of a Messages client that stop in the middle
    kinds: list[str] = field(factory=list)  # of the blocks, in order
    texts: list[str] = field(factory=list)  # the text of each block of text, reasoning or refusal
    signatures: list[str] = field(factory=list)
    citations: list[Any] = field(factory=list)
    stop: str | None = None
    sequence: str | None = None
    usage: dict[str, Any] | None = None
    error: dict[str, Any] | None = None


LONG = 20  # letters: what is shorter may well be said twice


def check_once(told: Told) -> None:
    """Assert that nothing is told twice: no call under one id or whole under two, no text in two blocks or in one."""
    ids = [call_id for call_id, _, _ in told.calls]
    assert len(set(ids)) == len(ids), f"a call id twice: {ids}"
    long = [text for text in told.texts if len(text) >= LONG]
    assert len(set(long)) == len(long), f"a text twice: {long!r:.300}"
    for text in (told.text, told.reasoning, told.refusal, *long):
        half = text[: len(text) // 2]
        assert len(set(half)) < LONG // 2 or text != half * 2, "a text twice in one block"


def frames_of(stream: bytes) -> list[tuple[str, str]]:
    """Return (event, data) of each frame; comments are left out."""
    assert stream == b"" or stream.endswith(b"\n\n")
    out = []
    for frame in stream.decode().split("\n\n")[:-1]:
        event, data = "", []
        for line in frame.split("\n"):
            assert not line.startswith("id:")
            if line.startswith("event: "):
                event = line[7:]
            elif line.startswith("data: "):
                data.append(line[6:])
            else:
                assert line.startswith(":"), line
        if data or event:
            assert len(data) == 1, frame
            out.append((event, data[0]))
    return out


def read_chat(stream: bytes, wants_usage: bool = False) -> Told:
    """Read a chat stream; assert the rules of docs/wire/streaming.md#chat-writer-event-order."""
    told, frames = Told(), frames_of(stream)
    assert frames and frames[-1] == ("", "[DONE]")
    arguments: list[list[str]] = []
    constant: set[tuple[Any, ...]] = set()
    has_role = False
    for number, (event, data) in enumerate(frames[:-1]):
        assert event == ""
        chunk = json.loads(data)
        if "error" in chunk:
            assert number == len(frames) - 2
            assert set(chunk["error"]) >= {"message", "type", "param", "code"}
            told.error = chunk["error"]
            return told
        assert chunk["object"] == "chat.completion.chunk"
        constant.add((chunk["id"], chunk["created"], chunk["model"], chunk["system_fingerprint"]))
        assert ("usage" in chunk) is wants_usage
        if not chunk["choices"]:
            assert wants_usage and number == len(frames) - 2 and told.stop
            told.usage = chunk["usage"]
            continue
        assert chunk.get("usage") is None
        (choice,) = chunk["choices"]
        assert choice["index"] == 0
        assert told.stop is None, "nothing behind the finish"
        delta = choice["delta"]
        assert ("role" in delta) is (not has_role)
        has_role = True
        _read_delta(delta, told, arguments)
        if choice["finish_reason"] is not None:
            told.stop, told.sequence = choice["finish_reason"], choice.get("stop_reason")
    assert len(constant) == 1 and told.stop
    assert told.usage is not None or not wants_usage
    told.calls = [
        (call_id, name, "".join(parts)) for (call_id, name, _), parts in zip(told.calls, arguments, strict=True)
    ]
    check_once(told)
    return told


def _read_delta(delta: dict[str, Any], told: Told, arguments: list[list[str]]) -> None:
    told.text += delta.get("content") or ""
    told.reasoning += delta.get("reasoning_content") or ""
    told.refusal += delta.get("refusal") or ""
    for entry in [*delta.get("reasoning_details", ()), *delta.get("annotations", ())]:
        assert isinstance(entry["index"], int)
    told.signatures += [one["signature"] for one in delta.get("reasoning_details", ()) if "signature" in one]
    told.citations += delta.get("annotations", ())
    for call in delta.get("tool_calls", ()):
        inner = call.get("function") or call.get("custom")
        if call["index"] == len(arguments):
            assert call["id"] and inner["name"] and call["type"] in ("function", "custom")
            told.calls.append((call["id"], inner["name"], ""))
            arguments.append([])
        else:
            assert set(call) == {"index", "function"} or set(call) == {"index", "custom"}
            assert "name" not in inner
        arguments[call["index"]].append(inner.get("arguments") or inner.get("input") or "")


_DELTAS = {"text": {"text_delta", "citations_delta"}, "thinking": {"thinking_delta", "signature_delta"}}
_DELTAS |= {
    "tool_use": {"input_json_delta"},
    "server_tool_use": {"input_json_delta"},
    "compaction": {"compaction_delta"},
}


def read_messages(stream: bytes) -> Told:
    """Read a Messages stream; assert the rules of docs/wire/streaming.md#messages-writer-event-order."""
    told, frames = Told(), frames_of(stream)
    events = []
    for event, data in frames:
        said = json.loads(data)
        assert event == said["type"], "every event is named"
        events.append(said)
    assert [one["type"] for one in events].count("message_start") == 1
    assert events[0]["type"] == "message_start"
    message = events[0]["message"]
    assert message["id"].startswith("msg_") and message["content"] == [] and message["stop_reason"] is None
    assert {"input_tokens", "output_tokens"} <= set(message["usage"])
    if events[-1]["type"] == "error":
        assert set(events[-1]["error"]) >= {"type", "message"}
        told.error = events[-1]["error"]
    else:
        kinds = [one["type"] for one in events if one["type"] != "ping"]
        assert kinds[-2:] == ["message_delta", "message_stop"]
    opened: dict[str, Any] | None = None
    for said in events[1:]:
        match said["type"]:
            case "content_block_start":
                assert opened is None and said["index"] == len(told.kinds)
                opened = {
                    "kind": said["content_block"]["type"],
                    "block": said["content_block"],
                    "json": "",
                    "signed": 0,
                    "said": "",
                }
                told.kinds.append(opened["kind"])
            case "content_block_delta":
                assert opened is not None and said["index"] == len(told.kinds) - 1
                _read_block_delta(said["delta"], opened, told)
            case "content_block_stop":
                assert opened is not None and said["index"] == len(told.kinds) - 1
                _end_block(opened, told)
                opened = None
            case "message_delta":
                assert opened is None and "output_tokens" in said["usage"]
                told.stop, told.sequence = said["delta"]["stop_reason"], said["delta"]["stop_sequence"]
                told.usage = said["usage"]
            case kind:
                assert kind in ("ping", "message_stop", "error")
    check_once(told)
    assert not told.halves or told.error or told.stop in ("max_tokens", "refusal", "pause_turn", "compaction")
    return told


def _read_block_delta(delta: dict[str, Any], opened: dict[str, Any], told: Told) -> None:
    assert delta["type"] in _DELTAS[opened["kind"]]
    match delta["type"]:
        case "text_delta":
            told.text += delta["text"]
            opened["said"] += delta["text"]
        case "thinking_delta":
            assert not opened["signed"], "the signature comes last"
            told.reasoning += delta["thinking"]
            opened["said"] += delta["thinking"]
        case "input_json_delta":
            opened["json"] += delta["partial_json"]
        case "signature_delta":
            assert delta["signature"]
            opened["signed"] += 1
            told.signatures.append(delta["signature"])
        case "compaction_delta":
            assert set(delta) == {"type", "content", "encrypted_content"}
        case _:
            told.citations.append(delta["citation"])


def _end_block(opened: dict[str, Any], told: Told) -> None:
    told.texts.append(opened["said"])
    if opened["kind"] == "thinking":
        assert opened["signed"] == 1
    if opened["kind"] == "tool_use":
        assert opened["block"]["input"] == {}
        try:
            given = json.loads(opened["json"] or "{}")
        except ValueError:  # as Anthropic's SDK reads it
            given = jiter.from_json(opened["json"].encode(), partial_mode=True)
            told.halves.append(opened["json"])
        assert isinstance(given, dict)
        told.calls.append((opened["block"]["id"], opened["block"]["name"], json.dumps(given)))


def read_responses(stream: bytes) -> tuple[Told, dict[str, Any]]:
    """Read a Responses stream; return (its content, the final object). Assert
    docs/wire/streaming.md#responses-writer-event-order.

    `response.created` comes first and all events have one response id (EC-216); a part is added before its text
    (EC-217); an item keeps its call_id (EC-219); output indices are dense and the final output is the items that were
    done (EC-220); usage has all its details, as whole numbers (EC-156, EC-227).
    """
    told, events = Told(), []
    for event, data in frames_of(stream):
        said = json.loads(data)
        assert event == said["type"]
        events.append(said)
    assert [one["sequence_number"] for one in events] == list(range(len(events)))
    assert [one["type"] for one in events[:2]] == ["response.created", "response.in_progress"]
    ids = {one["response"]["id"] for one in events if "response" in one}
    assert len(ids) == 1 and ids.pop().startswith("resp_")
    done: list[dict[str, Any]] = []
    opened: dict[str, Any] | None = None
    deltas: dict[tuple[str, int], str] = {}
    parts: set[tuple[str, int]] = set()
    for said in events[2:]:
        kind = said["type"].removeprefix("response.")
        if "output_index" in said:
            assert said["output_index"] == len(done)
        if kind == "output_item.added":
            assert opened is None
            opened = said["item"]
        elif kind == "output_item.done":
            assert opened is not None
            assert _identity(said["item"]) == _identity(opened)
            done.append(said["item"])
            opened = None
        elif "item_id" in said:
            assert opened is not None and said["item_id"] == opened["id"]
            if kind == "content_part.added":
                parts.add((said["item_id"], said["content_index"]))
            elif kind in ("output_text.delta", "refusal.delta"):
                assert (said["item_id"], said["content_index"]) in parts
            place = (kind.split(".")[0], said.get("content_index", said.get("summary_index", 0)))
            if kind.endswith(".delta"):
                deltas[place] = deltas.get(place, "") + said["delta"]
            elif kind.endswith(".done") and kind.split(".")[0] + ".delta" and place in deltas:
                whole = next(said[name] for name in ("text", "refusal", "arguments", "input") if name in said)
                assert deltas.pop(place) == whole
    assert opened is None or events[-1]["type"] == "response.failed"
    final = events[-1]["response"]
    _told_items(final["output"], told)
    check_once(told)
    assert [_identity(item) for item in final["output"]][: len(done)] == [_identity(item) for item in done]
    item_ids = [item["id"] for item in final["output"]]
    assert len(set(item_ids)) == len(item_ids), f"an item id twice: {item_ids}"
    if events[-1]["type"] == "response.failed":
        told.error = final["error"]
        assert events[-2]["type"] == "error" and events[-2]["error"]["message"] == events[-2]["message"]
        return told, final
    assert events[-1]["type"] == f"response.{final['status']}" and final["output"] == done
    assert set(final["usage"]) == {
        "input_tokens", "input_tokens_details", "output_tokens", "output_tokens_details", "total_tokens",
    }  # fmt: skip
    details = [final["usage"]["input_tokens_details"], final["usage"]["output_tokens_details"]]
    numbers = [value for part in (final["usage"], *details) for value in part.values() if not isinstance(value, dict)]
    assert all(isinstance(number, int) for number in numbers)
    assert "cached_tokens" in details[0] and "reasoning_tokens" in details[1]
    told.stop, told.usage = final["status"], final["usage"]
    return told, final


def _identity(item: dict[str, Any]) -> tuple[Any, ...]:
    """Return what of an item stays the same from its beginning to the final object."""
    return item["id"], item["type"], item.get("call_id"), item.get("name")


def _told_items(items: list[dict[str, Any]], told: Told) -> None:
    for item in items:
        told.kinds.append(item["type"])
        match item["type"]:
            case "message":
                told.texts += [part.get("text", "") for part in item["content"]]
                told.text += "".join(part.get("text", "") for part in item["content"])
                told.refusal += "".join(part.get("refusal", "") for part in item["content"])
                told.citations += [one for part in item["content"] for one in part.get("annotations", ())]
            case "reasoning":
                told.texts += [part["text"] for part in (*item["summary"], *item.get("content", ()))]
                told.reasoning += "".join(part["text"] for part in (*item["summary"], *item.get("content", ())))
                told.signatures += [item["encrypted_content"]] if "encrypted_content" in item else []
            case "function_call" | "custom_tool_call":
                told.calls.append((item["call_id"], item["name"], item.get("arguments", item.get("input", ""))))
