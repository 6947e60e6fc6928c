"""A provider's error in any shape: its message, its fault, and how long to wait."""

from email.utils import formatdate
from typing import Any

import msgspec
import pytest

from gateway.faults import Fault
from gateway.wire.provider_error import read_declined, read_inner, read_wait, said_in

NOW = 1_700_000_000.0

SHAPES: dict[str, tuple[Any, str]] = {
    "openai": ({"error": {"message": "m", "type": "t", "param": "p", "code": "c"}}, "m"),
    "anthropic": ({"type": "error", "error": {"type": "t", "message": "m"}, "request_id": "r"}, "m"),
    "azure apim": ({"statusCode": 401, "message": "Access denied"}, "Access denied"),
    "google": ({"error": {"code": 400, "message": "m", "status": "INVALID_ARGUMENT"}}, "m"),
    "google in a list": ([{"error": {"code": 400, "message": "m"}}], "m"),
    "vllm": ({"object": "error", "message": "m", "type": "BadRequestError", "param": None, "code": 400}, "m"),
    "fastapi text": ({"detail": "m"}, "m"),
    "fastapi list": ({"detail": [{"loc": ["body", "x"], "msg": "m"}]}, "body.x: m"),
    "ollama": ({"error": "m"}, "m"),
    "openrouter": ({"error": {"code": 502, "metadata": {"raw": "m"}}}, "m"),
    "a string": ("m", "m"),
    "nothing": ({}, "The provider answered with status 500"),
    "a number": (5, "The provider answered with status 500"),
}


@pytest.mark.parametrize("name", SHAPES)
def test_the_message_is_found_in_every_shape(name: str) -> None:
    """The message is found in every known shape of an error (docs/wire/errors.md#shapes). (EC-243, EC-244)"""
    body, message = SHAPES[name]
    assert said_in(msgspec.json.encode(body), 500).message == message


@pytest.mark.parametrize("body", [b"", b"<html><h1>secret stack</h1>", b"\xff\xfe\x00\x01"])
def test_pages_and_binary_are_never_quoted(body: bytes) -> None:
    """HTML and binary bodies are not quoted: the message names the status only. (EC-245)"""
    assert said_in(body, 502).message == "The provider answered with status 502"


def test_a_plain_text_is_quoted_up_to_a_bound() -> None:
    """A plain text is quoted, but no more than 500 characters of it."""
    assert said_in(b"upstream connect error", 503).message == "upstream connect error"
    assert len(said_in(b"x" * 10_000, 503).message) == 500


@pytest.mark.parametrize(
    ("status", "error", "fault"),
    [
        (400, {"message": "bad value"}, Fault.CALLER),
        (422, {"message": "bad value"}, Fault.CALLER),
        (400, {"message": "x", "code": "context_length_exceeded"}, Fault.TOO_LONG),
        (400, {"message": "prompt is too long: 210000 tokens > 200000 maximum"}, Fault.TOO_LONG),
        (400, {"message": "This model's maximum context length is 8192 tokens"}, Fault.TOO_LONG),
        (413, {"message": "x"}, Fault.TOO_LARGE),
        (400, {"message": "x", "code": "content_filter"}, Fault.FILTERED),
        (400, {"message": "Your credit balance is too low"}, Fault.QUOTA),
        (402, {"message": "x"}, Fault.QUOTA),
        (429, {"message": "x", "code": "insufficient_quota"}, Fault.QUOTA),
        (429, {"message": "x"}, Fault.LIMITED),
        (401, {"message": "x"}, Fault.CREDENTIALS),
        (403, {"message": "Invalid API key"}, Fault.CREDENTIALS),
        (403, {"message": "model not enabled"}, Fault.REFUSED),
        (404, {"message": "x"}, Fault.MISSING),
        (409, {"message": "lock timeout"}, Fault.TRANSIENT),
        (409, {"message": "already exists"}, Fault.CALLER),
        (408, {"message": "x"}, Fault.TRANSIENT),
        (425, {"message": "x"}, Fault.TRANSIENT),
        (500, {"message": "x"}, Fault.TRANSIENT),
        (520, {"message": "x"}, Fault.TRANSIENT),
        (503, {"message": "x"}, Fault.OVERLOADED),
        (529, {"message": "x"}, Fault.OVERLOADED),
        (400, {"message": "x", "code": "tool_use_failed"}, Fault.BAD_CALL),
        (500, {"message": "x", "code": "content_filter"}, Fault.TRANSIENT),
    ],
)
def test_status_and_words_decide_the_fault(status: int, error: dict[str, Any], fault: Fault) -> None:
    """The status, code and words of an error decide its fault (docs/wire/retries.md#by-failure, first column)."""
    body = msgspec.json.encode({"error": error})
    assert read_declined("openai_chat", status, {}, body, NOW).fault is fault


@pytest.mark.parametrize(
    ("error", "status"),
    [
        ({"message": "x", "code": 429}, 429),
        ({"message": "x", "code": "503"}, 503),
        ({"message": "x", "type": "overloaded_error"}, 503),
        ({"message": "x", "type": "invalid_request_error"}, 400),
        ({"message": "x"}, 502),
        ("text", 502),
    ],
)
def test_an_error_inside_a_200_has_the_status_that_it_names(error: Any, status: int) -> None:
    """An error in a 200 has the status that its code or type stands for.

    See docs/wire/errors.md#errors-inside-http-200.
    """
    assert read_inner("openai_chat", error).status == status


@pytest.mark.parametrize(
    ("headers", "message", "seconds"),
    [
        ({"retry-after": "7"}, "", 7.0),
        ({"retry-after": "1.5"}, "", 1.5),
        ({"retry-after-ms": "350", "retry-after": "9"}, "", 0.35),
        ({"x-ms-retry-after-ms": "20"}, "", 0.02),
        ({"retry-after": formatdate(NOW + 30, usegmt=True)}, "", 30.0),
        ({}, "Please try again in 1.2s.", 1.2),
        ({}, "Please try again in 20ms.", 0.02),
        ({"retry-after": "-1"}, "", None),
        ({"retry-after": "nan"}, "", None),
        ({"retry-after": "7200"}, "", 7200.0),
        ({"retry-after": "soon"}, "", None),
        ({"retry-after": "Wed, 99 Foo 2026"}, "", None),
        ({}, "no", None),
    ],
)
def test_the_wait_comes_from_the_first_source_that_is_sane(
    headers: dict[str, str], message: str, seconds: float | None
) -> None:
    """The wait is the first valid source; negative, endless and odd ones are skipped. (EC-234, EC-235, EC-236)"""
    assert read_wait(headers, message, NOW) == (pytest.approx(seconds) if seconds is not None else None)


def test_should_retry_is_read() -> None:
    """x-should-retry is read as true, false or absent; both SDK families obey it first. (EC-237)"""
    assert read_declined("openai_chat", 503, {"x-should-retry": "false"}, b"", NOW).should_retry is False
    assert read_declined("openai_chat", 400, {"x-should-retry": "true"}, b"", NOW).should_retry is True
    assert read_declined("openai_chat", 503, {}, b"", NOW).should_retry is None
