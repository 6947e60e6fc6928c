"""What /v1/models says of the models that the packaged data knows."""

import pytest

from gateway.config.files import packaged
from gateway.config.provider_schema import Provider
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
        ("gpt-5.6", "azure", 1050000, {"chat", "reasoning", "vision", "tools"}),
        ("o3-mini", "openai", 200000, {"chat", "reasoning", "tools"}),
        ("claude-3-opus-20240229", "anthropic", 200000, {"chat", "reasoning", "vision", "tools"}),
        ("claude-3-5-sonnet-20241022", "anthropic", 200000, {"chat", "vision", "tools"}),
        ("claude-3-7-sonnet-20250219", "anthropic", 200000, {"chat", "reasoning", "vision", "tools"}),
        ("claude-opus-4-20250514", "anthropic", 200000, {"chat", "reasoning", "vision", "tools"}),
        ("anthropic/claude-sonnet-4-5", "openrouter", 200000, {"chat", "reasoning", "vision", "tools"}),
        ("deepseek-chat", "deepseek", 131072, {"chat", "tools"}),
        ("deepseek-reasoner", "deepseek", 131072, {"chat", "reasoning", "tools"}),
        ("deepseek-v4-pro", "deepseek", 1048576, {"chat", "reasoning", "tools"}),
        ("deepseek-flash", "deepseek", 1048576, {"chat", "reasoning", "vision", "tools"}),
        ("claude-opus-5-5", "anthropic", 1000000, {"chat", "reasoning", "vision", "tools"}),
        ("claude-sonnet-4-6", "anthropic", 1000000, {"chat", "reasoning", "vision", "tools"}),
        ("anthropic/claude-opus-4.8", "openrouter", 1000000, {"chat", "reasoning", "vision", "tools"}),
        ("claude-haiku-4-5", "anthropic", 200000, {"chat", "reasoning", "vision", "tools"}),
        ("gpt-5", "openai", 400000, {"chat", "reasoning", "vision", "tools"}),
        ("gpt-5.4-mini", "openai", 400000, {"chat", "reasoning", "vision", "tools"}),
        ("gpt-6.2-sol", "openai", 1050000, {"chat", "reasoning", "vision", "tools"}),
        ("kimi-k3", "moonshot", 1048576, {"chat", "reasoning", "vision", "tools"}),
        ("glm-5.3", "zai", 1048576, {"chat", "reasoning", "tools"}),
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


@pytest.mark.parametrize(
    ("model", "family", "efforts", "searches"),
    [
        ("gpt-6.2-sol", "openai", ("low", "medium", "high", "xhigh", "max"), True),
        ("gpt-5.6-sol", "openai", ("none", "low", "medium", "high", "xhigh", "max"), True),
        ("gpt-4.1", "openai", (), True),
        ("gpt-4-turbo", "openai", (), False),
        ("gpt-3.5-turbo", "openai", (), False),
        ("o3", "openai", ("low", "medium", "high"), True),
        ("o3-mini", "openai", ("low", "medium", "high"), False),
        ("grok-4.5", "xai", ("low", "medium", "high"), True),
        ("deepseek-v4-pro", "deepseek", ("low", "high", "max"), True),
        ("llama-3.3-70b-versatile", "groq", ("none", "low", "medium", "high"), False),
    ],
)
def test_efforts_and_searches(model: str, family: str, efforts: tuple[str, ...], searches: bool) -> None:
    """What a model takes as effort, and whether its provider searches the web for it."""
    found = profile(model, family)
    assert (found.efforts, "web_search" in found.hosted_tools) == (efforts, searches)


def test_unknown_models_say_nothing() -> None:
    """Of a model that nobody knows nothing is claimed."""
    found = profile("somebodys-own-model")
    assert found.context is None and found.capabilities == ()
