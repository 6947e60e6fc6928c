"""Writes the errors of `/chat`: a flat object with a timestamp (docs/endpoints.md#the-worker-path)."""

import msgspec

from gateway.clock import write_time
from gateway.errors import GatewayError

# The seed's word for each status; any other status is an `internal_error`.
WORDS = {
    400: "invalid_request",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "not_found",
    408: "timeout",
    413: "payload_too_large",
    415: "invalid_request",
    429: "rate_limited",
    502: "upstream_error",
    503: "upstream_error",
    504: "timeout",
}


def write_worker_error(error: GatewayError, request_id: str, now: float) -> tuple[int, bytes]:
    """Write (status, body). A wrong method (405) becomes a 404 here (docs/endpoints.md)."""
    status = 404 if error.status == 405 else error.status
    payload = {
        "error": WORDS.get(status, "internal_error"),
        "details": error.message,
        "timestamp": write_time(now),
    }
    return status, msgspec.json.encode(payload)
