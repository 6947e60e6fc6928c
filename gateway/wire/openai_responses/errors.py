"""Errors inside a Responses stream: one object in both shapes, then `response.failed` (TRANSLATION.md 7.8)."""

from typing import Any

import msgspec

from gateway.errors import Declined, Fault, GatewayError
from gateway.wire.codec.sse import write_event
from gateway.wire.openai_error import describe

# Codes to which Codex gives a meaning; anything else it tries again.
_CODES = {
    Fault.TOO_LONG: "context_length_exceeded",
    Fault.QUOTA: "insufficient_quota",
    Fault.LIMITED: "rate_limit_exceeded",
}


def error_object(error: GatewayError) -> dict[str, Any]:
    """`code` and `message` of a failed response (SDK type ResponseError)."""
    code = _CODES.get(error.fault) if isinstance(error, Declined) else None
    return {"code": code or "server_error", "message": error.message}


def write_stream_error(error: GatewayError, sequence: int, response: dict[str, Any] | None = None) -> bytes:
    """Write the events that end a broken stream: the specification says flat, the real API nests, SDKs differ."""
    payload = describe(error)
    flat = {"code": payload["code"], "message": payload["message"], "param": payload["param"]}
    event = {"type": "error", "sequence_number": sequence, **flat, "error": payload}
    failed = {**(response or {}), "status": "failed", "error": error_object(error)}
    end = {"type": "response.failed", "sequence_number": sequence + 1, "response": failed}
    return write_event("error", msgspec.json.encode(event)) + write_event("response.failed", msgspec.json.encode(end))
