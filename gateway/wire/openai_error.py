"""Writes OpenAI's error body and its form inside a stream. Shared by every dialect of OpenAI's family."""

from typing import Any

import msgspec

from gateway.errors import Declined, GatewayError, TimedOut
from gateway.faults import Fault
from gateway.wire.codec.sse import DONE, write_data


class _Said(msgspec.Struct):
    message: str
    type: str
    param: str | None = None
    code: str | None = None


class _Envelope(msgspec.Struct):
    error: _Said
    type: str | None = None  # Anthropic's envelope has one


_ENVELOPE = msgspec.json.Decoder(_Envelope)


def write_error(error: GatewayError, request_id: str, now: float) -> tuple[int, bytes]:
    """Write (status, body). A provider's error that already has OpenAI's form is sent byte for byte.

    Any other error of a provider is rewritten; its `error` object keeps the members that OpenAI's form has not. So is
    one that says in words only that the context is full: agents compact by the code.
    """
    if isinstance(error, Declined) and error.is_verbatim:
        if _conforms(error.body) and (error.fault is not Fault.TOO_LONG or error.upstream_code == error.code):
            return error.status, error.body
        return error.status, msgspec.json.encode({"error": _more_in(error.body) | describe(error)})
    return error.status, msgspec.json.encode({"error": describe(error)})


def _more_in(body: bytes) -> dict[str, Any]:
    """Return all members of a provider's `error` object, such as Azure's `innererror`; {} if it has none."""
    payload = msgspec.json.decode(body)
    inner = payload.get("error") if isinstance(payload, dict) else None
    return inner if isinstance(inner, dict) else {}


def _conforms(body: bytes) -> bool:
    """Return whether a provider's error has OpenAI's form.

    Other forms have a number as code, no `type`, or a second `type` beside `error` as Anthropic's has.
    """
    try:
        return _ENVELOPE.decode(body).type != "error"
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False


def describe(error: GatewayError) -> dict[str, Any]:
    """Return the members of the `error` object (docs/wire/errors.md#shapes, docs/endpoints.md)."""
    payload: dict[str, Any] = {
        "message": error.message,
        "type": error.type,
        "param": error.param,
        "code": error.code,
    }
    if error.param is not None:
        payload["details"] = {"field": error.param, "issue": error.message}
    if error.details:
        payload["details"] = payload.get("details", {}) | error.details
    if error.suggestion is not None:
        payload["suggestion"] = error.suggestion
    return payload


def write_stream_error(error: GatewayError) -> bytes:
    """Write the error frame of a broken chat stream, and `[DONE]` after it.

    See docs/wire/streaming.md#errors-inside-a-stream.
    """
    payload = describe(error)
    if isinstance(error, TimedOut):
        payload |= {"type": "upstream_timeout", "code": "read_timeout"}
    return write_data(msgspec.json.encode({"error": payload})) + DONE
