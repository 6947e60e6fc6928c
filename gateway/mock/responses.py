"""Samples of OpenAI Responses, whole and streamed, written by hand after the public API reference."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

CREATED = 1_750_000_000
USAGE = {
    "input_tokens": 12,
    "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 0},
    "output_tokens": 9,
    "output_tokens_details": {"reasoning_tokens": 0},
    "total_tokens": 21,
}
WEATHER, CLOCK = ("get_weather", '{"city":"Paris"}'), ("get_time", '{"zone":"Europe/Paris"}')
SEALED = "gAAAAABmock-encrypted-reasoning=="
# Samples that do not end as completed: name -> (status, incomplete_details, error).
ENDS: dict[str, tuple[str, Any, Any]] = {
    "length": ("incomplete", {"reason": "max_output_tokens"}, None),
    "content_filter": ("incomplete", {"reason": "content_filter"}, None),
    "failed": ("failed", None, {"code": "server_error", "message": "The mock failed as it was told"}),
}


def text_of(request: Mapping[str, Any]) -> str:
    """Return the text of an answer: a greeting that repeats the beginning of the last user text."""
    payload, given = "", request.get("input")
    for item in [{"role": "user", "content": given}] if isinstance(given, str) else given or []:
        if isinstance(item, dict) and item.get("role") == "user":
            content = item.get("content")
            if isinstance(content, list):
                content = " ".join(part.get("text", "") for part in content if isinstance(part, dict))
            payload = content if isinstance(content, str) else ""
    return f"Hello from the mock provider. You said: {payload[:200]}" if payload else "Hello from the mock provider."


def items_of(request: Mapping[str, Any], sample: str, text: str) -> list[dict[str, Any]]:
    """The output items of a sample."""
    says = _message(text or text_of(request))
    thought = {
        "id": "rs_mock",
        "type": "reasoning",
        "summary": [{"type": "summary_text", "text": "The user greets."}, {"type": "summary_text", "text": "I greet."}],
        "encrypted_content": SEALED,
    }
    match sample:
        case "tools":
            return [_call(0, *WEATHER)]
        case "parallel_tools":
            return [_message("Let me look."), _call(0, *WEATHER), _call(1, *CLOCK)]
        case "reasoning":
            return [thought, says]
        case "thinking_tools":
            return [thought, _call(0, *WEATHER)]
        case "custom":
            custom = {"id": "ctc_mock", "type": "custom_tool_call", "call_id": "call_mock", "name": "write_sql"}
            return [{**custom, "input": "SELECT 1", "status": "completed"}]
        case "refusal":
            refused = {"type": "refusal", "refusal": "I cannot help with that."}
            return [{**says, "content": [refused]}]
        case "empty" | "failed":
            return []
        case _:
            return [says]


def whole(request: Mapping[str, Any], sample: str, text: str) -> dict[str, Any]:
    """A whole response."""
    status, details, error = ENDS.get(sample, ("completed", None, None))
    usage = USAGE | {"output_tokens": 0} if sample == "empty" else USAGE
    payload = _head(request) | {"status": status, "incomplete_details": details, "error": error}
    return payload | {"output": items_of(request, sample, text), "usage": usage}


def compacted(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return a compacted conversation: the user's messages, and one encrypted item for all the rest."""
    given = request.get("input")
    items = [{"role": "user", "content": given}] if isinstance(given, str) else given or []
    users = [item for item in items if isinstance(item, dict) and item.get("role") == "user"]
    sealed = {"id": "cmp_mock", "type": "compaction", "encrypted_content": SEALED}
    head = {"id": "resp_mock", "object": "response.compaction", "created_at": CREATED}
    return head | {"output": [*users, sealed], "usage": USAGE}


def events(request: Mapping[str, Any], sample: str, text: str) -> Iterator[bytes]:
    """The frames of a streamed response."""
    number = -1

    def frame(kind: str, **members: Any) -> bytes:
        nonlocal number
        number += 1
        data = json.dumps({"type": kind, "sequence_number": number, **members}, ensure_ascii=False)
        return b"event: " + kind.encode() + b"\ndata: " + data.encode() + b"\n\n"

    final = whole(request, sample, text)
    begun = final | {"status": "in_progress", "output": [], "usage": None, "incomplete_details": None, "error": None}
    yield frame("response.created", response=begun)
    yield frame("response.in_progress", response=begun)
    for index, item in enumerate(final["output"]):
        for kind, members in _item(item):
            yield frame(kind, output_index=index, **members)
    ends = {"completed": "response.completed", "incomplete": "response.incomplete", "failed": "response.failed"}
    yield frame(ends[final["status"]], response=final)


def error_event(error: Any) -> bytes:
    """An error inside a stream, nested as the real API does it."""
    payload = error or {
        "type": "server_error",
        "code": "server_error",
        "message": "The mock was told to fail",
        "param": None,
    }
    data = json.dumps({"type": "error", "sequence_number": 99, "error": payload})
    return b"event: error\ndata: " + data.encode() + b"\n\n"


def _head(request: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": "resp_mock",
        "object": "response",
        "created_at": CREATED,
        "model": request.get("model"),
        "instructions": request.get("instructions"),
        "parallel_tool_calls": True,
        "previous_response_id": request.get("previous_response_id"),
        "store": request.get("store", True),
        "tool_choice": "auto",
        "tools": request.get("tools") or [],
        "text": {"format": {"type": "text"}},
        "metadata": {},
    }


def _message(text: str) -> dict[str, Any]:
    part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    return {"id": "msg_mock", "type": "message", "role": "assistant", "status": "completed", "content": [part]}


def _call(index: int, name: str, arguments: str) -> dict[str, Any]:
    ids = {"id": f"fc_mock{index}", "call_id": f"call_mock{index:020d}"}
    return {**ids, "type": "function_call", "name": name, "arguments": arguments, "status": "completed"}


def _item(item: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    place = {"item_id": item["id"]}
    match item["type"]:
        case "message":
            yield "response.output_item.added", {"item": {**item, "status": "in_progress", "content": []}}
            (part,) = item["content"]
            name = "text" if part["type"] == "output_text" else "refusal"
            place["content_index"] = 0
            yield "response.content_part.added", {**place, "part": {**part, name: ""}}
            for piece in _pieces(part[name]):
                yield f"response.{part['type']}.delta", {**place, "delta": piece, "logprobs": []}
            yield f"response.{part['type']}.done", {**place, name: part[name], "logprobs": []}
            yield "response.content_part.done", {**place, "part": part}
        case "reasoning":
            yield "response.output_item.added", {"item": {**item, "summary": [], "encrypted_content": "partial"}}
            for number, part in enumerate(item["summary"]):
                place["summary_index"] = number
                yield "response.reasoning_summary_part.added", {**place, "part": {**part, "text": ""}}
                for piece in _pieces(part["text"]):
                    yield "response.reasoning_summary_text.delta", {**place, "delta": piece}
                yield "response.reasoning_summary_text.done", {**place, "text": part["text"]}
                yield "response.reasoning_summary_part.done", {**place, "part": part}
        case "function_call":
            yield "response.output_item.added", {"item": {**item, "status": "in_progress", "arguments": ""}}
            for piece in _pieces(item["arguments"], 6):
                yield "response.function_call_arguments.delta", {**place, "delta": piece}
            yield (
                "response.function_call_arguments.done",
                {**place, "arguments": item["arguments"], "name": item["name"]},
            )
        case _:
            yield "response.output_item.added", {"item": {**item, "status": "in_progress", "input": ""}}
            for piece in _pieces(item["input"]):
                yield "response.custom_tool_call_input.delta", {**place, "delta": piece}
            yield "response.custom_tool_call_input.done", {**place, "input": item["input"]}
    yield "response.output_item.done", {"item": item}


def _pieces(text: str, size: int = 12) -> Iterator[str]:
    for start in range(0, len(text), size):
        yield text[start : start + size]
