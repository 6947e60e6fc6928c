"""Writes the end of a failed Responses stream: an `error` event, then `response.failed`.

See docs/wire/streaming.md#errors-inside-a-stream.
"""

from typing import Any

import msgspec

from gateway.errors import Declined, GatewayError
from gateway.faults import Fault
from gateway.wire.codec.sse import write_event
from gateway.wire.openai_error import describe

# The error codes that Codex acts upon; after any other code it sends the request again.
_CODES = {
    Fault.TOO_LONG: "context_length_exceeded",
    Fault.QUOTA: "insufficient_quota",
    Fault.LIMITED: "rate_limit_exceeded",
}


def error_object(error: GatewayError) -> dict[str, Any]:
    """Return the `error` member of a failed response: `code` and `message` (SDK type ResponseError)."""
    code = _CODES.get(error.fault) if isinstance(error, Declined) else None
    return {"code": code or "server_error", "message": error.message}


def write_stream_error(error: GatewayError, sequence: int, response: dict[str, Any] | None = None) -> bytes:
    """Write the two events that end a broken stream, numbered from `sequence`.

    `response` is the response object so far, if there is one. The `error` event carries the error in two shapes: flat
    beside `type`, as the specification has it, and nested under `error`, as the real API sends it. Some SDKs read the
    one, some the other.
    """
    payload = describe(error)
    flat = {"code": payload["code"], "message": payload["message"], "param": payload["param"]}
    event = {"type": "error", "sequence_number": sequence, **flat, "error": payload}
    failed = {**(response or {}), "status": "failed", "error": error_object(error)}
    end = {"type": "response.failed", "sequence_number": sequence + 1, "response": failed}
    return write_event("error", msgspec.json.encode(event)) + write_event("response.failed", msgspec.json.encode(end))
