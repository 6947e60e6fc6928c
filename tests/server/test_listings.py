"""One model in the shapes of its readers."""

from typing import Any

import pytest
from anthropic.types import ModelInfo

from gateway.config.provider_schema import Provider
from gateway.server.listings import Listing, capabilities_of, limits_in, write_manifest
from gateway.wire.profile import Profile

KNOWN = Profile(
    context=400_000,
    max_output=128_000,
    capabilities=("chat", "reasoning", "vision", "tools"),
    efforts=("none", "low", "medium", "high", "max"),
    hosted_tools=("web_search",),
)
CLAUDE = Profile(
    capabilities=("chat", "reasoning", "vision"), thinking="always", can_disable_thinking=False, efforts=("low", "xhigh"),
    hosted_tools=("web_search", "code_execution"),
)  # fmt: skip
# Every member that the entry of a Codex manifest needs: tried against npm @openai/codex 0.171.0, one by one.
REQUIRED = {
    "slug", "display_name", "supported_reasoning_levels", "shell_type", "visibility", "supported_in_api", "priority",
    "base_instructions", "support_verbosity", "truncation_policy", "experimental_supported_tools",
}  # fmt: skip


def listing(name: str = "smart", profile: Profile = KNOWN, said: dict[str, Any] | None = None, *speaks: str) -> Listing:
    provider = Provider("http://x", dict.fromkeys(speaks or ("openai_chat",), "/"), name="p")
    return Listing(name, provider, "m-1", 5, profile, profile.context, profile.max_output, "Smart", said or {})


@pytest.mark.parametrize(
    ("entry", "context", "output"),
    [
        ({}, None, None),
        ({"context_length": 5, "top_provider": {"max_completion_tokens": 3}}, 5, 3),
        ({"context_window": 131072, "max_completion_tokens": 65536}, 131072, 65536),
        ({"max_model_len": 4096}, 4096, None),
        ({"max_context_length": 32768}, 32768, None),
        ({"max_input_tokens": 1_000_000, "max_tokens": 128_000}, 1_000_000, 128_000),
        ({"context_length": "5", "max_tokens": True, "top_provider": [1]}, None, None),
        ({"context_length": 0, "context_window": None}, None, None),
    ],
)
def test_limits_in_a_providers_list(entry: dict[str, Any], context: int | None, output: int | None) -> None:
    """The limits are read under each provider's own names; what is no number above 0 is not said."""
    assert limits_in(entry) == (context, output)


def test_openais_shape_has_context_and_output() -> None:
    """OpenAI's shape has the limits under the names that clients look for."""
    shown = listing().openai()
    assert (shown["context_length"], shown["context_window"]) == (400_000, 400_000)
    assert (shown["max_output_tokens"], shown["max_completion_tokens"]) == (128_000, 128_000)


def test_anthropics_shape_is_a_model_info() -> None:
    """The SDK reads every member, with the limits and what a Messages client may ask for."""
    shown = ModelInfo.model_validate(listing().anthropic(), strict=False)
    assert (shown.id, shown.lifecycle, shown.max_input_tokens, shown.max_tokens) == (
        "smart",
        "active",
        400_000,
        128_000,
    )
    can = shown.capabilities
    assert can is not None and can.image_input.supported and can.server_tools.web_search.supported
    assert not can.server_tools.code_execution.supported and not can.batch.supported
    assert can.effort.max.supported and can.effort.xhigh is not None and not can.effort.xhigh.supported
    assert can.thinking.types.adaptive.supported and can.thinking.types.disabled.supported


@pytest.mark.parametrize(
    ("profile", "is_native", "adaptive", "enabled", "disabled"),
    [
        (CLAUDE, True, True, False, False),
        (Profile(capabilities=("chat",), thinking="budget"), True, False, True, True),
        (Profile(capabilities=("chat",), thinking="both"), True, True, True, True),
        (Profile(capabilities=("chat",)), True, False, False, True),
        (Profile(capabilities=("chat",)), False, False, False, True),
        (Profile(capabilities=("chat", "reasoning")), False, True, True, False),
    ],
)
def test_ways_of_thinking(profile: Profile, is_native: bool, adaptive: bool, enabled: bool, disabled: bool) -> None:
    """Claude takes what its profile says; elsewhere both ways become efforts, and off needs the effort none."""
    found = capabilities_of(profile, is_native)
    assert found is not None
    types = {name: one["supported"] for name, one in found["thinking"]["types"].items()}
    assert types == {"adaptive": adaptive, "enabled": enabled, "disabled": disabled, "between_tools": False}
    assert found["thinking"]["supported"] == (adaptive or enabled)


def test_unknown_models_claim_nothing() -> None:
    """Of a model that nobody knows the limits and capabilities are null, and the SDK reads it."""
    shown = ModelInfo.model_validate(listing(profile=Profile()).anthropic())
    assert shown.capabilities is None and shown.max_input_tokens is None and shown.max_tokens is None


def test_what_anthropic_says_of_its_model_is_handed_on() -> None:
    """An entry of Anthropic's own list keeps its lifecycle, line and capabilities, under the alias."""
    said = {"id": "claude-x", "capabilities": {"batch": {"supported": True}}, "lifecycle": "deprecated", "line": "opus"}
    shown = listing(said=said).anthropic()
    assert (shown["id"], shown["lifecycle"], shown["line"]) == ("smart", "deprecated", "opus")
    assert shown["capabilities"] == said["capabilities"] and shown["max_tokens"] == 128_000


def test_codexs_entry_has_every_required_member() -> None:
    """Codex drops a whole manifest if one member is missing, and sends no system prompt if the entry's is empty."""
    (entry,) = write_manifest([listing()], "0.171.0")["models"]
    assert set(entry) >= REQUIRED and entry["base_instructions"].strip()
    assert (entry["slug"], entry["context_window"], entry["input_modalities"]) == ("smart", 400_000, ["text", "image"])
    assert [level["effort"] for level in entry["supported_reasoning_levels"]] == ["low", "medium", "high", "max"]
    assert entry["default_reasoning_level"] == "medium"


@pytest.mark.parametrize(
    ("version", "knows"),
    [("0.171.0", True), ("0.142.0-alpha.1", True), ("0.141.9", False), ("", False), ("x.y", False)],
)
def test_an_old_codex_is_not_told_of_new_efforts(version: str, knows: bool) -> None:
    """An effort that an old Codex does not know would cost it the whole manifest."""
    (entry,) = write_manifest([listing()], version)["models"]
    assert ("max" in [level["effort"] for level in entry["supported_reasoning_levels"]]) is knows


@pytest.mark.parametrize(
    ("name", "profile", "is_listed"),
    [
        ("smart", KNOWN, True),
        ("own", Profile(), True),
        ("claude", CLAUDE, True),
        ("gpt-5.6-sol", KNOWN, False),
        ("o3", KNOWN, False),
        ("openai-fast", KNOWN, True),
        ("embed", Profile(capabilities=("embeddings",)), False),
    ],
)
def test_what_codex_is_shown(name: str, profile: Profile, is_listed: bool) -> None:
    """The manifest has what chats, except the names that Codex has entries of its own for."""
    assert bool(write_manifest([listing(name, profile)], "0.171.0")["models"]) is is_listed
