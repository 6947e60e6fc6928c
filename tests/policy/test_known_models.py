"""What /v1/models says of the models that the packaged data knows."""

import pytest

from gateway.config.files import packaged
from gateway.config.schema import Provider
from gateway.policy.capabilities import Capabilities
from gateway.wire.profile import Profile

DATA = packaged("models.yaml")
WORDS = {"chat", "embeddings", "reasoning", "vision", "tools"}


def profile(model: str, family: str = "") -> Profile:
    return Capabilities(DATA).profile(Provider("http://x", name="p", family=family), model)


@pytest.mark.parametrize(
    ("model", "family", "context", "capabilities"),
    [
        ("gpt-4", "openai", 8192, {"chat", "tools"}),
        ("gpt-4-0613", "openai", 8192, {"chat", "tools"}),
        ("gpt-4-turbo", "openai", 128000, {"chat", "vision", "tools"}),
        ("gpt-4o-mini", "openai", 128000, {"chat", "vision", "tools"}),
        ("gpt-5.6", "azure", 400000, {"chat", "reasoning", "vision", "tools"}),
        ("o3-mini", "openai", 200000, {"chat", "reasoning", "tools"}),
        ("claude-3-opus-20240229", "anthropic", 200000, {"chat", "reasoning", "vision", "tools"}),
        ("claude-3-5-sonnet-20241022", "anthropic", 200000, {"chat", "vision", "tools"}),
        ("claude-3-7-sonnet-20250219", "anthropic", 200000, {"chat", "reasoning", "vision", "tools"}),
        ("claude-opus-4-20250514", "anthropic", 200000, {"chat", "reasoning", "vision", "tools"}),
        ("anthropic/claude-sonnet-4-5", "openrouter", 200000, {"chat", "reasoning", "vision", "tools"}),
        ("deepseek-chat", "deepseek", 131072, {"chat", "tools"}),
        ("deepseek-reasoner", "deepseek", 131072, {"chat", "reasoning", "tools"}),
        ("gemini-2.5-pro", "gemini", 1048576, {"chat", "reasoning", "vision", "tools"}),
        ("text-embedding-3-small", "openai", 8192, {"embeddings"}),
        ("text-embedding-ada-002", "openai", 8192, {"embeddings"}),
    ],
)
def test_known_models_say_what_they_can(model: str, family: str, context: int, capabilities: set[str]) -> None:
    """Known models have their context length and capabilities, whoever serves them."""
    found = profile(model, family)
    assert (found.context, set(found.capabilities)) == (context, capabilities)


@pytest.mark.parametrize("listed", packaged("top_models.yaml")["models"], ids=lambda one: one["name"])
def test_every_recommended_model_is_known(listed: dict[str, str]) -> None:
    """A model of /top-models has a context length and capabilities."""
    found = profile(listed["name"], listed["provider"])
    assert found.context and set(found.capabilities) <= WORDS and found.capabilities


def test_unknown_models_say_nothing() -> None:
    """Of a model that nobody knows nothing is claimed."""
    found = profile("somebodys-own-model")
    assert found.context is None and found.capabilities == ()
