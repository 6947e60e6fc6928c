"""A refusal of the request has a code of ours or none: a provider that has no codes did not fail by that."""

from typing import Any

import msgspec
import pytest

from gateway.faults import Fault
from gateway.wire import DIALECTS
from gateway.wire.openai_responses.errors import write_stream_error
from gateway.wire.provider_error import read_declined, read_inner

# (status, Anthropic's type, message) -> the code that OpenAI's clients read.
REFUSALS: list[tuple[int, str, str, str | None]] = [
    (400, "invalid_request_error", "max_tokens: Field required", None),
    (400, "invalid_request_error", "thinking.budget_tokens: Extra inputs are not permitted", None),
    (400, "invalid_request_error", "prompt is too long: 2 tokens > 1 maximum", "context_length_exceeded"),
    (403, "permission_error", "Your organisation may not use this model", None),
    (404, "not_found_error", "model: claude-none", "model_not_found"),
    (409, "conflict_error", "already exists", None),
    (413, "request_too_large", "Request exceeds the maximum size", "request_too_large"),
    (422, "invalid_request_error", "messages: wrong", None),
    (429, "rate_limit_error", "slow down", "rate_limit_exceeded"),
    (500, "api_error", "Internal server error", "upstream_error"),
    (529, "overloaded_error", "Overloaded", "service_unavailable"),
]


def body_of(kind: str, message: str) -> bytes:
    return msgspec.json.encode({"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"})


@pytest.mark.parametrize(("status", "kind", "message", "code"), REFUSALS)
@pytest.mark.parametrize("client", ["openai_chat", "openai_responses"])
def test_an_anthropic_providers_refusal(client: str, status: int, kind: str, message: str, code: str | None) -> None:
    """Only what really is the provider's failure has the code `upstream_error`."""
    error = read_declined("anthropic_messages", status, {}, body_of(kind, message), 0.0)
    _, written = DIALECTS[client].write_error(error, "req_1", 0.0)
    said: dict[str, Any] = msgspec.json.decode(written)["error"]
    assert said["code"] == code and said["message"] == message
    if 400 <= status < 500 and status not in (403, 429):
        assert said["type"] == "invalid_request_error"


@pytest.mark.parametrize("kind", ["invalid_request_error", "invalid_prompt", "BadRequestError"])
def test_a_refusal_inside_a_stream(kind: str) -> None:
    """The same inside a 200: a refusal without a code has none, in the frames as well."""
    error = read_inner("anthropic_messages", {"type": kind, "message": "no"})
    assert (error.fault, error.status, error.code) == (Fault.CALLER, 400, None)
    assert b"upstream_error" not in write_stream_error(error, 0)


def test_a_providers_own_code_stays() -> None:
    """A code that a provider gives to its refusal is the client's to read."""
    body = b'{"error":{"message":"m","type":"invalid_request_error","param":"p","code":"unsupported_value"}}'
    assert read_declined("openai_chat", 400, {}, body, 0.0).code == "unsupported_value"
