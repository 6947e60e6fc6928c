"""A request that says nothing, and a turn without content, are a 400 that names the place."""

from typing import Any

import pytest

from gateway.errors import BadRequest
from tests.wire.crossings import chat_request, messages_request, request_of, written
from tests.wire.responses_to_others import responses_request

HI: dict[str, Any] = {"role": "user", "content": "Hi"}
ANSWER: dict[str, Any] = {"role": "assistant", "content": "a"}
MISSING, INVALID = "missing_required_parameter", "invalid_value"


def refused(client: str, said: dict[str, Any]) -> tuple[str | None, str | None]:
    with pytest.raises(BadRequest) as caught:
        request_of(client, said)
    return caught.value.param, caught.value.code


@pytest.mark.parametrize(
    ("client", "said", "param"),
    [
        ("openai_chat", chat_request(messages=[]), "messages"),
        ("anthropic_messages", messages_request(messages=[]), "messages"),
        ("anthropic_messages", messages_request(messages=[], system="Be brief."), "messages"),
        ("openai_responses", responses_request(input=[]), "input"),
        ("openai_responses", responses_request(input=[], instructions="Be brief."), "input"),
    ],
)
def test_nothing_is_refused(client: str, said: dict[str, Any], param: str) -> None:
    """A conversation without items is refused, as every real API does."""
    assert refused(client, said) == (param, INVALID)
    assert refused(client, said | {param: None}) == (param, MISSING)


@pytest.mark.parametrize(("content", "code"), [({}, MISSING), ({"content": None}, MISSING), ({"content": []}, INVALID)])
@pytest.mark.parametrize("role", ["user", "system", "developer", "assistant"])
@pytest.mark.parametrize("client", ["openai_chat", "anthropic_messages", "openai_responses"])
def test_a_turn_without_content_is_refused(client: str, role: str, content: dict[str, Any], code: str) -> None:
    """A turn without `content`, with null or with no part is refused at its place, wherever it stands."""
    if client == "anthropic_messages" and role == "developer":
        return
    if client != "openai_chat" and role == "assistant" and code == INVALID:
        return  # Anthropic takes an assistant turn without blocks at the end, and replies of OpenAI's can have none
    turns = [HI, ANSWER, {"role": role, **content}]
    makers = {
        "openai_chat": chat_request,
        "anthropic_messages": messages_request,
        "openai_responses": responses_request,
    }
    name = "input" if client == "openai_responses" else "messages"
    assert refused(client, makers[client](**{name: turns})) == (f"{name}[2].content", code)


@pytest.mark.parametrize(
    "turn",
    [
        {"role": "assistant", "content": ""},
        {"role": "assistant", "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f"}}]},
        {"role": "assistant", "content": [], "function_call": {"name": "f", "arguments": "{}"}},
        {"role": "assistant", "content": None, "refusal": "no"},
        {"role": "assistant", "reasoning_content": "hm"},
        {"role": "tool", "tool_call_id": "c", "content": None},
        {"role": "user", "content": ""},
    ],
)
def test_what_stands_in_place_of_content(turn: dict[str, Any]) -> None:
    """Calls, a refusal and reasoning are content; an empty text is one, and the result of a tool may be nothing."""
    assert len(request_of("openai_chat", chat_request(messages=[HI, turn])).turns) == 2


def test_a_system_text_alone_is_a_question() -> None:
    """A Chat client that sends its question as a system message is understood."""
    out, _ = written("openai_chat", chat_request(messages=[{"role": "system", "content": "Say hi."}]))
    assert out["messages"] == [{"role": "user", "content": [{"type": "text", "text": "Say hi."}]}]


def test_a_cache_may_be_warmed_with_nothing() -> None:
    """A request with `generate: false` asks for no reply, so that its input may be empty."""
    assert request_of("openai_responses", responses_request(input=[], generate=False)).is_warm_up
