"""A refusal that says that the context is full is known in every server's words, and told in every client's."""

from typing import Any

import msgspec
import pytest

from gateway.errors import Declined
from gateway.faults import Fault
from gateway.policy.health import CONSEQUENCES
from gateway.wire import DIALECTS
from gateway.wire.context_full import CODES, SENTENCES, Sentence
from gateway.wire.provider_error import read_declined, read_inner

NOW = 1_700_000_000.0
OPENAI = ("openai_chat", "openai_responses")
# How the servers wrap their sentences.
SHAPES: dict[str, Any] = {
    "openai": lambda said: {
        "error": {"message": said, "type": "invalid_request_error", "param": None, "code": "invalid_request_error"}
    },
    "openai without a code": lambda said: {"error": {"message": said, "type": "invalid_request_error"}},
    "empty members": lambda said: {"error": {"message": said, "param": "", "code": "", "type": ""}},
    "a number as code": lambda said: {"error": {"code": 400, "message": said, "type": "server_error"}},
    "vllm": lambda said: {"object": "error", "message": said, "type": "BadRequestError", "param": None, "code": 400},
    "google": lambda said: [{"error": {"code": 400, "message": said, "status": "INVALID_ARGUMENT"}}],
    "anthropic": lambda said: {"type": "error", "error": {"type": "invalid_request_error", "message": said}},
    "a text": lambda said: {"error": said},
    "fastapi": lambda said: {"detail": said},
    "only a message": lambda said: {"message": said},
}
# Sentences of the same words that say something else.
OTHERS = [
    (400, {"message": "max_tokens is too large: 32000. This model supports at most 16384 completion tokens"}),
    (400, {"message": "max_tokens: 32000 > 8192, which is the maximum allowed number of output tokens for m"}),
    (400, {"message": "temperature: range: 0..1"}),
    (400, {"message": "`tool_use` ids must be unique", "type": "invalid_request_error"}),
    (400, {"message": "Range of max_tokens should be [1, 8192]"}),
    (400, {"message": "This request exceeds the limit of 128 tools"}),
    (500, {"message": "CUDA out of memory"}),
    (429, {"message": "Too many tokens, please wait before trying again."}),
    (429, {"message": "Request too large for m on tokens per min (TPM): Limit 30000, Requested 342389."}),
]


def declined(status: int, body: Any, dialect: str = "openai_chat", **headers: str) -> Declined:
    raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
    return read_declined(dialect, status, headers, raw, NOW)


def told(client: str, error: Declined) -> tuple[int, dict[str, Any]]:
    status, body = DIALECTS[client].write_error(error, "req_1", NOW)
    found: dict[str, Any] = msgspec.json.decode(body)["error"]
    return status, found


@pytest.mark.parametrize("sentence", SENTENCES, ids=lambda one: f"{one.server}: {one.pattern}")
def test_every_server_is_understood(sentence: Sentence) -> None:
    """Each server's own sentence, with its own status, in any shape and case, means that the context is full."""
    for shape in SHAPES.values():
        for said in (sentence.sample, sentence.sample.upper(), f"Error from provider: {sentence.sample}\n"):
            error = declined(sentence.status, shape(said))
            assert error.fault is Fault.TOO_LONG, said
            assert error.certain is Fault.TOO_LONG, "a 500 must not count against the target"


@pytest.mark.parametrize("sentence", SENTENCES, ids=lambda one: f"{one.server}: {one.pattern}")
def test_every_client_is_told(sentence: Sentence) -> None:
    """Messages clients read the words on which they compact; Chat and Responses clients the code."""
    for shape in SHAPES.values():
        for upstream in (*OPENAI, "anthropic_messages"):
            error = declined(sentence.status, shape(sentence.sample), upstream)
            status, said = told("anthropic_messages", error)
            assert (status, said["type"]) == (400, "invalid_request_error")
            assert "prompt is too long" in said["message"] or "exceed context limit" in said["message"]
            assert sentence.sample in said["message"]
            for client in OPENAI:
                status, said = told(client, error)
                assert (status, said["code"]) == (400, "context_length_exceeded")
                assert said["message"] == sentence.sample and said["type"]


@pytest.mark.parametrize("place", ["code", "type"])
@pytest.mark.parametrize("code", sorted(CODES))
def test_a_code_alone_says_it(code: str, place: str) -> None:
    """A code or a type that is known says it without any words, and is told as the one that clients know."""
    error = declined(400, {"error": {"message": "no", "type": "invalid_request_error", place: code}})
    assert error.fault is error.certain is Fault.TOO_LONG
    assert told("openai_chat", error)[1]["code"] == "context_length_exceeded"
    assert told("anthropic_messages", error)[1]["message"].startswith("prompt is too long")


@pytest.mark.parametrize("sentence", SENTENCES, ids=lambda one: f"{one.server}: {one.pattern}")
def test_inside_a_200(sentence: Sentence) -> None:
    """The same sentence as an error inside a reply or a stream is the same refusal, with a status or without one."""
    for error in (
        {"message": sentence.sample},
        {"message": sentence.sample, "code": sentence.status},
        {"message": sentence.sample, "http_code": str(sentence.status)},
        sentence.sample,
    ):
        found = read_inner("openai_chat", error)
        assert (found.fault, found.status, found.code) == (Fault.TOO_LONG, 400, "context_length_exceeded")


@pytest.mark.parametrize(("status", "error"), OTHERS)
def test_other_refusals_are_not_taken_for_it(status: int, error: dict[str, Any]) -> None:
    """A limit of the output, of the tools or of a minute is not a conversation that is too long."""
    assert declined(status, {"error": error}).fault is not Fault.TOO_LONG


def test_the_providers_own_bytes_stay_if_they_say_it() -> None:
    """A refusal that already has the words or the code of its client is sent byte for byte."""
    body = b'{"error": {"message":"m","type":"t","param":null,"code":"context_length_exceeded","x":1}}'
    assert DIALECTS["openai_chat"].write_error(declined(400, body), "r", NOW) == (400, body)
    for words in ("prompt is too long: 2 tokens > 1 maximum", "input length and `max_tokens` exceed context limit"):
        body = msgspec.json.encode(SHAPES["anthropic"](words))
        error = declined(400, body, "anthropic_messages")
        assert DIALECTS["anthropic_messages"].write_error(error, "r", NOW) == (400, body)


def test_members_of_the_provider_stay_beside_the_code() -> None:
    """What a provider tells beside its message, such as counts, is kept when the code is put in."""
    body = {"error": {"message": "Context size has been exceeded.", "type": "server_error", "code": 500, "n_ctx": 256}}
    assert told("openai_chat", declined(500, body))[1]["n_ctx"] == 256


PAGES = [
    b"",
    b"<html>413 Request Entity Too Large</html>",
    b"prompt is too long",
    b"maximum context length",
    b"\xff\x00",
]


@pytest.mark.parametrize("body", PAGES)
@pytest.mark.parametrize("status", [400, 413])
def test_a_page_is_the_servers_own_limit(status: int, body: bytes) -> None:
    """A page that is no JSON comes from the server in front of the model: others may take the request."""
    error = declined(status, body)
    assert error.fault is error.certain is Fault.TOO_LARGE
    assert CONSEQUENCES[error.fault].may_move and not CONSEQUENCES[error.fault].counts
    assert told("openai_chat", error)[0] == told("anthropic_messages", error)[0] == status


@pytest.mark.parametrize(
    "error",
    [
        {"type": "request_too_large", "message": "Request exceeds the maximum size"},
        {"message": "Maximum request body size 1048576 exceeded", "code": 413},
        {"message": "prompt is too long"},
        {"message": "x"},
    ],
)
def test_a_413_is_the_servers_own_limit(error: dict[str, Any]) -> None:
    """A 413 is a limit of that server's size: the next target is asked, and the client reads a 413 if there is none."""
    found = declined(413, {"error": error})
    assert found.fault is Fault.TOO_LARGE
    assert told("openai_chat", found)[0] == 413
    assert told("anthropic_messages", found)[1]["type"] == "request_too_large"


@pytest.mark.parametrize(
    ("error", "certain"),
    [
        (
            {"message": "Request too large for model `m`", "type": "tokens", "code": "rate_limit_exceeded"},
            Fault.LIMITED,
        ),
        ({"message": "Request too large for model `m` on tokens per minute (TPM): Limit 6000"}, Fault.TOO_LARGE),
    ],
)
def test_groqs_413_is_a_limit_of_a_minute(error: dict[str, Any], certain: Fault) -> None:
    """Groq sends a 413 for tokens a minute: a limit, which rests something only if a code says so."""
    found = declined(413, {"error": error})
    assert (found.fault, found.certain, found.status) == (Fault.LIMITED, certain, 429)


@pytest.mark.parametrize(
    ("param", "fault"),
    [
        ("input", Fault.TOO_LONG),
        ("input[0].content[1].text", Fault.TOO_LONG),
        ("input[3].output", Fault.TOO_LONG),
        ("messages[1].content", Fault.TOO_LONG),
        ("instructions", Fault.CALLER),
        ("prompt", Fault.TOO_LONG),
        ("messages[2].tool_calls[0].id", Fault.CALLER),
        ("messages[2].tool_calls[0].function.name", Fault.CALLER),
        ("input[2].call_id", Fault.CALLER),
        ("tools[0].function.description", Fault.CALLER),
        ("metadata.text", Fault.CALLER),
        ("user", Fault.CALLER),
        ("prompt_cache_key", Fault.CALLER),
        ("safety_identifier", Fault.CALLER),
    ],
)
def test_only_the_input_itself_is_a_conversation(param: str, fault: Fault) -> None:
    """A text beyond its bound is a full context only if it is the input, not a name or an id; also by the message."""
    message = f"Invalid '{param}': string too long. Expected a string with maximum length 64."
    for said in (param, None):
        error = {"message": message, "type": "invalid_request_error", "param": said, "code": "string_above_max_length"}
        found = declined(400, {"error": error})
        assert found.fault is fault
        assert ("prompt is too long" in told("anthropic_messages", found)[1]["message"]) is (fault is Fault.TOO_LONG)
