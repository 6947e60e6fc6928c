"""What the documents that the gateway started from promise of `/`, `/health` and `/test-connection`, to the letter."""

import re
from typing import Any

import pytest
import yaml

from tests.conftest import Running, Start

STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
MIXED = """
store: {url: "memory:"}
providers:
  open: {base_url: MOCK/one/v1, auth: {bearer: {env: ONE}}, speaks: [openai_chat, openai_embeddings]}
  claude: {base_url: MOCK/two/v1, auth: {x-api-key: {env: TWO}}, speaks: [anthropic_messages, anthropic_count_tokens]}
  both: {base_url: MOCK/two/v1, speaks: {openai_chat: /chat/completions, anthropic_messages: /anthropic/v1/messages}}
  answers: {base_url: MOCK/two/v1, speaks: [openai_responses]}
routes: {a: "open:m", b: "claude:claude-sonnet-4-5"}
default_provider: open
"""


async def get(running: Running, path: str) -> Any:
    async with running.session.get(running.url + path) as answer:
        return yaml.safe_load(await answer.text())


@pytest.mark.parametrize("path", ["/health", "/health?format=json"])
async def test_health_says_each_providers_format_in_one_word(start: Start, path: str) -> None:
    """`api_format` is `openai` or `anthropic`; the list of dialects stands beside it."""
    providers = (await get(await start(MIXED), path))["providers"]
    assert {name: one["api_format"] for name, one in providers.items()} == {
        "open": "openai",
        "claude": "anthropic",
        "both": "openai",
        "answers": "openai",
    }
    assert providers["open"]["dialects"] == ["openai_chat", "openai_embeddings"]
    assert providers["claude"]["dialects"] == ["anthropic_messages", "anthropic_count_tokens"]


async def test_the_root_has_the_seeds_configuration(start: Start) -> None:
    """`config` has base_url, max_tokens_limit and api_key_configured; `endpoints` has count_tokens."""
    running = await start(MIXED)
    said = await get(running, "/")
    assert said["config"]["base_url"] == running.url
    assert said["config"]["max_tokens_limit"] == 64000  # the largest that is known of a route's models
    assert said["config"]["api_key_configured"] is True
    assert said["config"]["client_api_key_validation"] is False
    assert said["endpoints"]["count_tokens"] == "/v1/messages/count_tokens"
    assert said["endpoints"]["messages"] == "/v1/messages"


async def test_the_root_says_that_no_key_is_configured(start: Start) -> None:
    """Without any credential `api_key_configured` is false; without a known cap the limit is what is sent by default."""
    running = await start(
        "store: {url: 'memory:'}\nproviders: {one: {base_url: MOCK/one/v1, auth: {bearer: {env: NONE}}, speaks: SPEAKS}}\nroutes: {a: 'one:m'}"
    )
    config = (await get(running, "/"))["config"]
    assert config["api_key_configured"] is False and config["max_tokens_limit"] == 32000


@pytest.mark.parametrize("path", ["/", "/health", "/health?format=json", "/test-connection"])
async def test_timestamps_have_milliseconds(start: Start, path: str) -> None:
    """Timestamps are like 2025-01-01T12:00:00.000Z, also in the worker's errors."""
    running = await start(MIXED)
    assert STAMP.fullmatch((await get(running, path))["timestamp"])
    async with running.session.get(f"{running.url}/chat") as answer:
        assert STAMP.fullmatch((await answer.json())["timestamp"])


async def test_models_say_what_they_can(start: Start) -> None:
    """Items of /v1/models have context_length and capabilities, aliases those of their first target."""
    running = await start(MIXED)
    async with running.session.get(f"{running.url}/v1/models") as answer:
        items = {item["id"]: item for item in (await answer.json())["data"]}
    assert items["b"]["context_length"] == 200000
    assert items["b"]["capabilities"] == ["chat", "reasoning", "vision", "tools"]
    assert items["a"]["context_length"] is None and items["a"]["capabilities"] == []
