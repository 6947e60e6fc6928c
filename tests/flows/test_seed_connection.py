"""`/test-connection` asks defaults.probe, else the default provider by its cheapest known model."""

from typing import Any

import pytest

from tests.conftest import Running, Start

PRICES = "models: {dear: {price: {input: 9, output: 9}}, cheap: {price: {input: 1, output: 2}}, unpriced: {context: 9}}"
TESTED = """
store: {url: "memory:"}
providers:
  one: {base_url: MOCK/one/v1, auth: {bearer: {env: ONE}}, speaks: SPEAKS, %s}
  two: {base_url: MOCK/two/v1, auth: {bearer: {env: TWO}}, speaks: SPEAKS}
  openai: {base_url: MOCK/openai/v1, auth: {bearer: {env: TWO}}}
  claude: {preset: anthropic, base_url: MOCK/claude/v1, auth: {x-api-key: {env: TWO}}}
routes: {other: "two:m"}
"""


async def get(running: Running) -> tuple[int, Any]:
    async with running.session.get(f"{running.url}/test-connection") as answer:
        return answer.status, await answer.json()


@pytest.mark.parametrize(
    ("text", "provider", "model"),
    [
        (TESTED % PRICES + "default_provider: one", "one", "cheap"),
        (TESTED % "models: {'x-*': {context: 9}, named: {context: 9}}" + "default_provider: one", "one", "named"),
        (TESTED % PRICES + "default_provider: two", "two", "m"),
        (TESTED % PRICES + "default_provider: one\ndefaults: {probe: other}", "two", "m"),
        (TESTED % PRICES + "default_provider: one\ndefaults: {chat_model: other}", "one", "cheap"),
        (TESTED % PRICES + "defaults: {chat_model: other}", "two", "m"),
        (TESTED % PRICES + "default_provider: openai", "openai", "gpt-4o-mini"),  # known by /top-models
        (TESTED % PRICES + "default_provider: claude", "claude", "claude-haiku-5-5"),
    ],
)
async def test_what_is_asked(start: Start, text: str, provider: str, model: str) -> None:
    """No route need name the default provider: the cheapest of its known models is asked."""
    status, said = await get(await start(text))
    assert status == 200, said
    assert (said["provider"], said["model_used"]) == (provider, model)


@pytest.mark.parametrize(
    ("more", "missing"),
    [
        ("", ["defaults.probe", "default_provider"]),
        ("default_provider: one", ["defaults.probe", "'one'"]),
    ],
)
async def test_what_is_missing_is_said(start: Start, more: str, missing: list[str]) -> None:
    """The message names what is missing, and nothing that is there."""
    status, said = await get(await start(TESTED % "models: {}" + more))
    assert status == 503
    assert all(word in said["message"] for word in missing)
    assert more == "" or "Neither" not in said["message"]
