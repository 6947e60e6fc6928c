"""What models can do, packaged and overridden."""

from typing import Any

import pytest

from gateway.config.fields import ModelSettings
from gateway.config.files import packaged
from gateway.config.provider_schema import Provider
from gateway.policy.capabilities import Capabilities
from gateway.wire.profile import Price


def test_capabilities_are_packaged_then_overridden() -> None:
    """More exact and later entries win, and the configuration file's entries come last."""
    data: dict[str, dict[str, dict[str, Any]]] = {
        "*": {"m*": {"context": 1, "max_output": 5}},
        "openai": {"m-big": {"context": 2, "price": {"input": 1.0}}},
    }
    found = Capabilities(data)
    plain = Provider(base_url="http://x", name="a")
    own = Provider(base_url="http://x", name="b", family="openai", models={"m-*": ModelSettings({"context": 3})})
    assert found.profile(plain, "m-big").context == 1 and found.profile(plain, "other").context is None
    assert found.profile(own, "m-big").context == 3 and found.profile(own, "m-big").max_output == 5
    assert found.profile(own, "m-big").price == Price(input=1.0)
    assert found.profile(own, "m-big") is found.profile(own, "m-big")


def test_the_packaged_models_are_profiles() -> None:
    """Every entry of data/models.yaml loads."""
    packaged_models = packaged("models.yaml")
    for family, models in packaged_models.items():
        for model in models:
            assert Capabilities(packaged_models).profile(Provider("http://x", name="p", family=family), model)


@pytest.mark.parametrize(
    ("model", "factor"),
    [("claude-haiku-4-5", 1.15), ("anthropic/claude-opus-4.8", 1.15), ("us.claude-opus-4-8-v1:0", 1.35), ("gpt-4o", 1)],
)
def test_only_claude_cuts_finer(model: str, factor: float) -> None:
    """Estimates are raised for Claude's models alone, wherever they are served, and more for the newer ones."""
    provider = Provider(base_url="http://x", name="a")
    assert Capabilities(packaged("models.yaml")).profile(provider, model).token_factor == factor
