"""Samples of Chat Completions, whole and streamed, written by hand after the public API reference."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

CREATED = 1_750_000_000
MAX_CHOICES = 128  # OpenAI's own limit on n
USAGE = {
    "prompt_tokens": 12,
    "completion_tokens": 9,
    "total_tokens": 21,
    "prompt_tokens_details": {"cached_tokens": 4},
    "completion_tokens_details": {"reasoning_tokens": 0},
}
WEATHER = {"name": "get_weather", "arguments": '{"city":"Paris"}'}
CLOCK = {"name": "get_time", "arguments": '{"zone":"Europe/Paris"}'}


def text_of(request: Mapping[str, Any]) -> str:
    """Return the text of an answer: a greeting that repeats the beginning of the last user text."""
    payload = ""
    for message in request.get("messages") or []:
        if isinstance(message, dict) and message.get("role") == "user":
            content = message.get("content")
            payload = content if isinstance(content, str) else ""
    return f"Hello from the mock provider. You said: {payload[:200]}" if payload else "Hello from the mock provider."


def message_of(request: Mapping[str, Any], sample: str, text: str) -> tuple[dict[str, Any], str]:
    """Return (assistant message, finish_reason) of a sample."""
    text = text or text_of(request)
    message: dict[str, Any] = {"role": "assistant", "content": text, "refusal": None}
    match sample:
        case "tools":
            return {**message, "content": None, "tool_calls": [_call(0, WEATHER)]}, "tool_calls"
        case "parallel_tools":
            calls = [_call(0, WEATHER), _call(1, CLOCK)]
            return {**message, "content": "Let me look.", "tool_calls": calls}, "tool_calls"
        case "reasoning":
            return {**message, "reasoning_content": "The user greets. I greet back."}, "stop"
        case "refusal":
            return {**message, "content": None, "refusal": "I cannot help with that."}, "stop"
        case "length":
            return message, "length"
        case "content_filter":
            return {**message, "content": ""}, "content_filter"
        case "empty":
            return {**message, "content": ""}, "stop"
        case _:
            return message, "stop"


def whole(request: Mapping[str, Any], sample: str, text: str) -> dict[str, Any]:
    """A whole reply."""
    wanted = request.get("n")
    choices = []
    for index in range(max(1, min(wanted, MAX_CHOICES)) if isinstance(wanted, int) else 1):
        message, finish = message_of(request, sample, text)
        choices.append({"index": index, "message": message, "logprobs": None, "finish_reason": finish})
    usage = {**USAGE, "completion_tokens": 0, "total_tokens": 12} if sample == "empty" else USAGE
    return {
        "id": "chatcmpl-mock",
        "object": "chat.completion",
        "created": CREATED,
        "model": request.get("model"),
        "choices": choices,
        "usage": usage,
        "system_fingerprint": "fp_mock",
    }


def events(request: Mapping[str, Any], sample: str, text: str) -> Iterator[bytes]:
    """The frames of a streamed reply."""
    message, finish = message_of(request, sample, text)
    wants_usage = (request.get("stream_options") or {}).get("include_usage")
    head = {
        "id": "chatcmpl-mock",
        "object": "chat.completion.chunk",
        "created": CREATED,
        "model": request.get("model"),
        "system_fingerprint": "fp_mock",
    }

    def chunk(delta: Mapping[str, Any], finish_reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return _frame({**head, "choices": [choice], **({"usage": None} if wants_usage else {})})

    yield chunk({"role": "assistant", "content": "" if message.get("content") else None, "refusal": None})
    for piece in _pieces(message.get("reasoning_content")):
        yield chunk({"reasoning_content": piece})
    for piece in _pieces(message.get("content")):
        yield chunk({"content": piece})
    for piece in _pieces(message.get("refusal")):
        yield chunk({"refusal": piece})
    for index, call in enumerate(message.get("tool_calls", ())):
        function = {"name": call["function"]["name"], "arguments": ""}
        yield chunk({"tool_calls": [{"index": index, "id": call["id"], "type": "function", "function": function}]})
        for piece in _pieces(call["function"]["arguments"], 6):
            yield chunk({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
    yield chunk({}, finish)
    if wants_usage:
        usage = {**USAGE, "completion_tokens": 0, "total_tokens": 12} if sample == "empty" else USAGE
        yield _frame({**head, "choices": [], "usage": usage})
    yield b"data: [DONE]\n\n"


def legacy_whole(request: Mapping[str, Any], sample: str, text: str) -> dict[str, Any]:
    """A whole reply of /v1/completions."""
    payload = text or "Hello from the mock provider."
    choice = {"index": 0, "text": payload, "logprobs": None, "finish_reason": "stop"}
    return {
        "id": "cmpl-mock",
        "object": "text_completion",
        "created": CREATED,
        "model": request.get("model"),
        "choices": [choice],
        "usage": USAGE,
    }


def legacy_events(request: Mapping[str, Any], sample: str, text: str) -> Iterator[bytes]:
    """The frames of a streamed /v1/completions."""
    head = {"id": "cmpl-mock", "object": "text_completion", "created": CREATED, "model": request.get("model")}
    for piece in _pieces(text or "Hello from the mock provider."):
        yield _frame({**head, "choices": [{"index": 0, "text": piece, "logprobs": None, "finish_reason": None}]})
    yield _frame({**head, "choices": [{"index": 0, "text": "", "logprobs": None, "finish_reason": "stop"}]})
    yield b"data: [DONE]\n\n"


def error_body(status: int, error: Any) -> Any:
    """Return an error body of OpenAI: with `error` in it, or with one made from the status if that is None."""
    if error is not None:
        return error if isinstance(error, dict) and "error" in error else {"error": error}
    kinds = {400: "invalid_request_error", 401: "invalid_request_error", 429: "requests"}
    codes = {401: "invalid_api_key", 404: "model_not_found", 429: "rate_limit_exceeded"}
    return {
        "error": {
            "message": f"The mock was told to answer {status}",
            "type": kinds.get(status, "server_error"),
            "param": None,
            "code": codes.get(status),
        }
    }


def error_event(error: Any) -> bytes:
    """An error inside a stream."""
    return _frame(error_body(500, error))


def _call(index: int, function: Mapping[str, str]) -> dict[str, Any]:
    return {"id": f"call_mock{index:020d}", "type": "function", "function": dict(function)}


def _pieces(text: str | None, size: int = 12) -> Iterator[str]:
    text = text or ""
    for start in range(0, len(text), size):
        yield text[start : start + size]


def _frame(data: Any) -> bytes:
    return b"data: " + json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"
