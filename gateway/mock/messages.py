"""Samples of Anthropic Messages, whole and streamed, written by hand after the public API reference."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

SIGNATURE = "EqQBCgIYAhIkMockSignatureOfAThought=="
USAGE = {"input_tokens": 12, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 4, "output_tokens": 9}
WEATHER = {"name": "get_weather", "input": {"city": "Paris"}}
CLOCK = {"name": "get_time", "input": {"zone": "Europe/Paris"}}
PAGE = {
    "type": "web_search_result_location",
    "url": "https://example.com/paris",
    "title": "Paris",
    "cited_text": "Paris is the capital of France.",
    "encrypted_index": "bW9jaw==",
}


def text_of(request: Mapping[str, Any]) -> str:
    """Return the text of an answer: a greeting that repeats the beginning of the last user text."""
    payload = ""
    for message in request.get("messages") or []:
        if isinstance(message, dict) and message.get("role") == "user":
            content = message.get("content")
            if isinstance(content, list):
                texts = [one.get("text", "") for one in content if isinstance(one, dict) and one.get("type") == "text"]
                content = " ".join(texts)
            payload = content if isinstance(content, str) else ""
    return f"Hello from the mock provider. You said: {payload[:200]}" if payload else "Hello from the mock provider."


def content_of(request: Mapping[str, Any], sample: str, text: str) -> tuple[list[dict[str, Any]], str]:
    """Return (content blocks, stop_reason) of a sample."""
    says = {"type": "text", "text": text or text_of(request)}
    thought = {"type": "thinking", "thinking": "The user greets. I greet back.", "signature": SIGNATURE}
    match sample:
        case "tools":
            return [_use(0, WEATHER)], "tool_use"
        case "parallel_tools":
            return [{"type": "text", "text": "Let me look."}, _use(0, WEATHER), _use(1, CLOCK)], "tool_use"
        case "reasoning":
            return [thought, says], "end_turn"
        case "thinking_tools":
            return [thought, _use(0, WEATHER)], "tool_use"
        case "redacted":
            return [{"type": "redacted_thinking", "data": "bW9jayByZWRhY3RlZA=="}, says], "end_turn"
        case "citations":
            return [{**says, "citations": [PAGE]}], "end_turn"
        case "refusal":
            return [], "refusal"
        case "length":
            return [says], "max_tokens"
        case "empty":
            return [], "end_turn"
        case _:
            return [says], "end_turn"


def whole(request: Mapping[str, Any], sample: str, text: str) -> dict[str, Any]:
    """A whole message."""
    content, stop = content_of(request, sample, text)
    return {
        **_head(request),
        "content": content,
        "stop_reason": stop,
        "stop_sequence": None,
        **({"stop_details": _details()} if stop == "refusal" else {}),
        "usage": {**_usage(sample), "service_tier": "standard"},
    }


def events(request: Mapping[str, Any], sample: str, text: str) -> Iterator[bytes]:
    """The frames of a streamed message."""
    content, stop = content_of(request, sample, text)
    usage = _usage(sample)
    start = {**_head(request), "content": [], "stop_reason": None, "stop_sequence": None}
    yield _frame("message_start", message={**start, "usage": {**usage, "output_tokens": 1}})
    yield _frame("ping")
    for index, block in enumerate(content):
        yield from _block(index, block)
    details = {"stop_details": _details()} if stop == "refusal" else {}
    delta = {"stop_reason": stop, "stop_sequence": None, **details}
    yield _frame("message_delta", delta=delta, usage={"output_tokens": usage["output_tokens"]})
    yield _frame("message_stop")


def error_body(status: int, error: Any) -> Any:
    """Return an error body of Anthropic: with `error` in it, or with one made from the status if that is None."""
    kinds = {400: "invalid_request_error", 401: "authentication_error", 403: "permission_error"}
    kinds |= {404: "not_found_error", 413: "request_too_large", 429: "rate_limit_error", 529: "overloaded_error"}
    payload = (
        error if error is not None else {"type": kinds.get(status, "api_error"), "message": f"Told to say {status}"}
    )
    return payload if isinstance(payload, dict) and "error" in payload else {"type": "error", "error": payload}


def error_event(error: Any) -> bytes:
    """An error inside a stream."""
    body = error_body(529, error)
    return b"event: error\ndata: " + json.dumps(body).encode() + b"\n\n"


def count(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return a count of tokens: one for four characters of the request's JSON."""
    return {"input_tokens": max(1, len(json.dumps(request)) // 4)}


def _usage(sample: str) -> dict[str, int]:
    return USAGE | {"output_tokens": 0} if sample == "empty" else USAGE


def _details() -> dict[str, Any]:
    return {"type": "refusal", "category": "bio", "explanation": "I cannot help with that."}


def _head(request: Mapping[str, Any]) -> dict[str, Any]:
    return {"id": "msg_mock", "type": "message", "role": "assistant", "model": request.get("model")}


def _use(index: int, tool: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "tool_use", "id": f"toolu_mock{index:020d}", **tool}


def _block(index: int, block: Mapping[str, Any]) -> Iterator[bytes]:
    match block["type"]:
        case "text":
            yield _frame("content_block_start", index=index, content_block={"type": "text", "text": ""})
            for piece in _pieces(block["text"]):
                yield _delta(index, type="text_delta", text=piece)
            for cited in block.get("citations", ()):
                yield _delta(index, type="citations_delta", citation=cited)
        case "thinking":
            empty = {"type": "thinking", "thinking": "", "signature": ""}
            yield _frame("content_block_start", index=index, content_block=empty)
            for piece in _pieces(block["thinking"]):
                yield _delta(index, type="thinking_delta", thinking=piece)
            yield _delta(index, type="signature_delta", signature=block["signature"])
        case "tool_use":
            yield _frame("content_block_start", index=index, content_block={**block, "input": {}})
            yield _delta(index, type="input_json_delta", partial_json="")
            for piece in _pieces(json.dumps(block["input"], separators=(",", ":")), 6):
                yield _delta(index, type="input_json_delta", partial_json=piece)
        case _:
            yield _frame("content_block_start", index=index, content_block=block)
    yield _frame("content_block_stop", index=index)


def _delta(index: int, **delta: Any) -> bytes:
    return _frame("content_block_delta", index=index, delta=delta)


def _pieces(text: str, size: int = 12) -> Iterator[str]:
    for start in range(0, len(text), size):
        yield text[start : start + size]


def _frame(kind: str, **members: Any) -> bytes:
    data = json.dumps({"type": kind, **members}, ensure_ascii=False, separators=(",", ":")).encode()
    return b"event: " + kind.encode() + b"\ndata: " + data + b"\n\n"
