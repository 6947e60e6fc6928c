"""Writes errors in the format of Messages: the type follows from the status, overload is 529 (docs/wire/errors.md)."""

from typing import Any

import msgspec

from gateway.errors import WRONG_KEY, Declined, GatewayError, Unauthorized
from gateway.faults import Fault
from gateway.wire.codec.sse import write_event

_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}
OVERLOADED = 529
BAD_KEY = "Invalid API key. Please provide a valid Anthropic API key."
# Claude Code compacts its conversation if an error message begins like the first; on the second, which Anthropic alone
# says, it asks for less output.
_TOO_LONG = "prompt is too long"
_KNOWN_TOO_LONG = (_TOO_LONG, "exceed context limit")
# Codes that Anthropic's clients look for. They are sent as `details.error_code`; other codes are left out.
_TOLD_CODES = frozenset({"thread_unsupported_request", "thread_not_found", "budget_exceeded"})


class _Said(msgspec.Struct):
    type: str
    message: str


class _Envelope(msgspec.Struct):
    type: str
    error: _Said


_ENVELOPE = msgspec.json.Decoder(_Envelope)


def write_error(error: GatewayError, request_id: str, now: float) -> tuple[int, bytes]:
    """Write (status, body). If a provider's error is in Messages' format already, its body is sent unchanged."""
    status = OVERLOADED if error.status == 503 else error.status
    if isinstance(error, Declined) and error.is_verbatim and _conforms(error.body) and not _needs_words(error):
        return status, error.body
    return status, msgspec.json.encode(_describe(error, request_id))


def write_stream_error(error: GatewayError, request_id: str) -> bytes:
    """Write the event that ends a broken stream; nothing follows it."""
    return write_event("error", msgspec.json.encode(_describe(error, request_id)))


def type_of(status: int) -> str:
    """Return the error type of Messages for an HTTP status."""
    found = _TYPES.get(OVERLOADED if status == 503 else status)
    return found or ("invalid_request_error" if 400 <= status < 500 else "api_error")


def _describe(error: GatewayError, request_id: str) -> dict[str, Any]:
    message = error.message
    if isinstance(error, Declined) and _needs_words(error):
        message = f"{_TOO_LONG}: {message}"
    if isinstance(error, Unauthorized) and message.startswith(WRONG_KEY):
        message = BAD_KEY + message.removeprefix(WRONG_KEY)
    payload: dict[str, Any] = {"type": type_of(error.status), "message": message}
    details: dict[str, Any] = {}
    if error.code in _TOLD_CODES:
        details["error_code"] = error.code
    if error.param is not None:
        details |= {"field": error.param, "issue": error.message}
    details |= error.details
    if details:
        payload["details"] = details
    if error.suggestion is not None:
        payload["suggestion"] = error.suggestion
    return {"type": "error", "error": payload, "request_id": request_id}


def _needs_words(error: Declined) -> bool:
    """Whether a refusal says that the context is full in words that Claude Code does not know."""
    said = error.message.lower()
    return error.fault is Fault.TOO_LONG and not any(words in said for words in _KNOWN_TOO_LONG)


def _conforms(body: bytes) -> bool:
    try:
        return _ENVELOPE.decode(body).type == "error"
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
