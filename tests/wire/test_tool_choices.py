"""Every word for how free the model is to call tools is read by every dialect, and written in the provider's words."""

from typing import Any

import pytest

from gateway.errors import BadRequest
from tests.wire.crossings import chat_request, messages_request, request_of, written
from tests.wire.responses_to_others import responses_request

SCHEMA: dict[str, Any] = {"type": "object", "properties": {}}
CLIENTS: dict[str, Any] = {
    "openai_chat": lambda choice: chat_request(
        tools=[{"type": "function", "function": {"name": "f", "parameters": SCHEMA}}], tool_choice=choice
    ),
    "openai_responses": lambda choice: responses_request(
        tools=[{"type": "function", "name": "f", "parameters": SCHEMA}], tool_choice=choice
    ),
    "anthropic_messages": lambda choice: messages_request(
        tools=[{"name": "f", "input_schema": SCHEMA}], tool_choice=choice
    ),
}
WORDS = {"auto": "auto", "none": "none", "required": "required", "any": "required"}
ANTHROPIC = {"auto": {"type": "auto"}, "none": {"type": "none"}, "required": {"type": "any"}}


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("word", WORDS)
def test_a_word_is_read_in_either_form(client: str, word: str) -> None:
    """`any`, which Mistral and Anthropic write, and `required` mean the same, alone or as the type of an object."""
    for form in (word, {"type": word}):
        choice = request_of(client, CLIENTS[client](form)).choice
        assert choice is not None and (choice.mode, choice.name) == (WORDS[word], None)


@pytest.mark.parametrize("word", WORDS)
def test_a_word_is_written_as_the_provider_knows_it(word: str) -> None:
    """A word that only one family knows never reaches the other."""
    assert written("openai_chat", CLIENTS["openai_chat"](word))[0]["tool_choice"] == ANTHROPIC[WORDS[word]]
    for client, upstream in (("anthropic_messages", "openai_chat"), ("openai_chat", "openai_responses")):
        assert written(client, CLIENTS[client](word), upstream=upstream)[0]["tool_choice"] == WORDS[word]


@pytest.mark.parametrize("client", CLIENTS)
def test_other_words_are_refused(client: str) -> None:
    """A word that nobody knows is a 400 that names the member."""
    with pytest.raises(BadRequest) as caught:
        request_of(client, CLIENTS[client]("some"))
    assert caught.value.param == "tool_choice"


def test_a_tool_is_named_in_either_way() -> None:
    """A Chat client may name its tool in Anthropic's words."""
    for form in ({"type": "tool", "name": "f"}, {"type": "function", "function": {"name": "f"}}):
        choice = request_of("openai_chat", CLIENTS["openai_chat"](form)).choice
        assert choice is not None and (choice.mode, choice.name) == ("named", "f")


def test_a_tool_may_have_the_name_of_a_word() -> None:
    """A function that is called `any` can still be chosen."""
    choice = request_of("openai_chat", CLIENTS["openai_chat"]({"type": "function", "function": {"name": "any"}})).choice
    assert choice is not None and (choice.mode, choice.name) == ("named", "any")
