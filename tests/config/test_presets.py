"""What the packaged presets know: credentials, dialects, and where else at a provider's host they are spoken."""

from collections.abc import Mapping
from typing import Any

import pytest

from gateway.config.files import packaged
from gateway.config.load import load
from gateway.config.problems import ConfigError
from gateway.config.provider_schema import Provider
from gateway.config.schema import Config
from gateway.wire import DIALECTS

PRESETS = packaged("presets.yaml")
LOCAL = {"ollama", "vllm", "lmstudio", "llamacpp", "mock"}
AZURE = "azure: {base_url: 'https://r.openai.azure.com'}"


def read(providers: str, environ: Mapping[str, str] | None = None) -> Config:
    found = environ or {}
    return load(f"providers:\n  {providers}\n", "p.yaml", lambda _, name: found.get(name), PRESETS)


def provider(text: str) -> Provider:
    return next(iter(read(text).providers.values()))


@pytest.mark.parametrize(
    ("text", "variable", "header", "value"),
    [
        ("openai:", "OPENAI_API_KEY", "authorization", "Bearer "),
        ("anthropic:", "ANTHROPIC_API_KEY", "x-api-key", ""),
        ("deepseek: {}", "DEEPSEEK_API_KEY", "authorization", "Bearer "),
        ("mine: {preset: groq}", "GROQ_API_KEY", "authorization", "Bearer "),
        ("dashscope-intl:", "DASHSCOPE_API_KEY", "authorization", "Bearer "),
        ("kimi:", "MOONSHOT_API_KEY", "authorization", "Bearer "),
        (AZURE, "AZURE_OPENAI_API_KEY", "api-key", ""),
        ("openai: {base_url: 'https://api.openai.com/v1/'}", "OPENAI_API_KEY", "authorization", "Bearer "),
    ],
)
def test_a_preset_knows_its_usual_variable_and_header(text: str, variable: str, header: str, value: str) -> None:
    """A provider without `auth` shows the credential of its preset's variable, in its header."""
    found = next(iter(read(text, {variable: "secret"}).providers.values()))
    assert found.is_live and (found.auth.header, found.auth.scheme) == (header, value)
    assert [(one.origin, one.value) for one in found.auth.secrets] == [(f"env {variable}", "secret")]


def test_a_missing_variable_disables_the_provider() -> None:
    """Without the variable a provider that says nothing is off, with a warning, as with an `auth` of its own."""
    config = read("openai:")
    assert not config.providers["openai"].is_live
    warning = next(one for one in config.warnings if one.path == "providers.openai")
    assert (warning.path, warning.message) == (
        "providers.openai",
        "disabled, its credential is missing (env OPENAI_API_KEY)",
    )


def test_the_files_auth_replaces_the_usual_one() -> None:
    """`auth` in the file is the whole of it."""
    found = provider("openai: {auth: {x-api-key: {env: MINE}}}")
    assert found.auth.header == "x-api-key" and [one.origin for one in found.auth.secrets] == ["env MINE"]
    assert provider("openai: {auth: passthrough}").auth.is_passthrough


@pytest.mark.parametrize(
    "base", ["https://other.example/v1", "https://api.openai.com.evil.example/v1", "http://x:1/v1"]
)
def test_another_host_never_gets_the_usual_credential(base: str) -> None:
    """A base URL at another host needs an `auth` of its own."""
    with pytest.raises(ConfigError) as caught:
        read(f"mine: {{preset: openai, base_url: '{base}'}}", {"OPENAI_API_KEY": "secret"})
    assert "providers.mine: missing key 'auth'" in caught.value.lines()[0]


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_every_hosted_preset_has_a_credential(name: str) -> None:
    """Each preset of a company has its variable; servers of one's own need none."""
    assert ("auth" in PRESETS[name]) == (name not in LOCAL)


@pytest.mark.parametrize(
    ("name", "responses", "messages"),
    [
        ("deepseek", "/responses", "/anthropic/v1/messages"),
        ("dashscope", "/responses", "{origin}/apps/anthropic/v1/messages"),
        ("groq", "/responses", None),
        ("openrouter", "/responses", "/messages"),
        ("together", "/responses", None),
        ("fireworks", "/responses", "/messages"),
        ("xai", "/responses", None),
        ("moonshot", "/responses", "{origin}/anthropic/v1/messages"),
        ("zai", "{origin}/api/v1/responses", "{origin}/api/anthropic/v1/messages"),
        ("ollama", "/responses", "/messages"),
        ("vllm", "/responses", "/messages"),
        ("lmstudio", "/responses", "/messages"),
        ("llamacpp", "/responses", "/messages"),
        ("mistral", None, None),
    ],
)
def test_dialects_of_november_2026(name: str, responses: str | None, messages: str | None) -> None:
    """A preset speaks Responses and Messages where its provider does, and Chat besides."""
    speaks = provider(f"{name}:").speaks
    assert (speaks.get("openai_responses"), speaks.get("anthropic_messages")) == (responses, messages)
    assert next(iter(speaks)) == "openai_chat"


def test_azure_speaks_responses_below_its_versioned_path() -> None:
    """Azure's Responses have a version of their own; the dated one is for deployments."""
    assert provider(AZURE).speaks["openai_responses"] == "/openai/v1/responses?api-version=v1"


@pytest.mark.parametrize(
    ("base", "is_kept"),
    [("https://api.moonshot.cn/v1", True), ("https://proxy.example/kimi/v1", False), ("https://proxy.example", False)],
)
def test_other_places_of_a_host_are_left_out_behind_another_path(base: str, is_kept: bool) -> None:
    """A region of the provider has the same paths; behind a proxy only those below the base URL are known."""
    speaks = provider(f"moonshot: {{base_url: '{base}', auth: {{bearer: {{env: K}}}}}}").speaks
    assert ("anthropic_messages" in speaks) is is_kept and "openai_responses" in speaks


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_every_dialect_of_a_preset_exists(name: str) -> None:
    """A preset names only dialects that there are, and paths that begin at the base URL or its host."""
    given: Any = PRESETS[name]["speaks"]
    paths = given.values() if isinstance(given, dict) else ()
    assert set(given) <= set(DIALECTS) and all(path.startswith(("/", "{origin}/")) for path in paths)
