"""Log lines say which key was shown, by the first digits of its SHA-256."""

import hashlib
from typing import Any

import pytest

from tests.conftest import Running, Start, chat_body

KEYS = """
store: {url: "memory:"}
keys: {laptop: {secret: [{env: KEY}, {env: OTHER}]}}
providers:
  one: {base_url: MOCK/one/v1, auth: {bearer: {env: ONE}}, speaks: SPEAKS}
  byok: {base_url: MOCK/byok/v1, auth: passthrough, speaks: SPEAKS}
routes: {both: "one:m", own: "byok:m", mixed: ["byok:m", "one:m"]}
"""
OPEN = KEYS.replace("keys: {laptop: {secret: [{env: KEY}, {env: OTHER}]}}", "")
BYOK = {"Authorization": "Bearer gwk_client-key", "x-provider-key": "sk-mine"}


def key_id(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()[:8]


async def line(running: Running, model: str, headers: dict[str, str], path: str = "/v1/chat/completions") -> Any:
    async with running.post(path, chat_body(model) | {"max_tokens": 9}, headers=headers) as answer:
        await answer.read()
    return running.exchanges[-1]


@pytest.mark.parametrize(
    ("headers", "shown"),
    [
        ({"Authorization": "Bearer gwk_client-key"}, "gwk_client-key"),
        ({"Authorization": "bearer  gwk_other-key"}, "gwk_other-key"),  # while rotating: which of the two
        ({"x-api-key": "gwk_client-key"}, "gwk_client-key"),
        ({"x-api-key": "wrong", "api-key": "gwk_client-key"}, "gwk_client-key"),  # the one that opened
        ({"Authorization": "Bearer wrong"}, "wrong"),  # a 401 can be traced, too
    ],
)
async def test_the_line_has_the_key_that_was_shown(start: Start, headers: dict[str, str], shown: str) -> None:
    """`key_id` is the first 8 hex digits of the SHA-256 of the key without its scheme; the key itself is nowhere."""
    running = await start(KEYS)
    found = await line(running, "both", headers)
    assert found["key_id"] == key_id(shown)
    assert found.get("key") == (None if shown == "wrong" else "laptop")
    assert "gwk_" not in str(running.log)


async def test_passthrough_has_the_providers_key(start: Start) -> None:
    """With passthrough it is the provider's key, which may differ from call to call."""
    running = await start(KEYS)
    assert (await line(running, "own", BYOK))["key_id"] == key_id("sk-mine")
    assert (await line(running, "own", BYOK, "/v1/messages"))["key_id"] == key_id("sk-mine")
    assert (await line(running, "both", BYOK))["key_id"] == key_id("gwk_client-key")
    assert (await line(running, "own", {"x-api-key": "gwk_client-key"}))["key_id"] == key_id("gwk_client-key")


@pytest.mark.parametrize(
    ("model", "headers", "shown"),
    [
        ("both", {"Authorization": "Bearer dummy"}, "dummy"),
        ("own", {"Authorization": "Bearer sk-mine"}, "sk-mine"),
        ("own", {"x-provider-key": "sk-mine", "Authorization": "Bearer dummy"}, "sk-mine"),
    ],
)
async def test_an_open_gateway_has_it_too(start: Start, model: str, headers: dict[str, str], shown: str) -> None:
    """Programs that share a gateway without keys are told apart by what they show."""
    assert (await line(await start(OPEN), model, headers))["key_id"] == key_id(shown)


@pytest.mark.parametrize("headers", [{}, {"Authorization": ""}, {"x-api-key": "  "}])
async def test_no_key_has_no_id(start: Start, headers: dict[str, str]) -> None:
    """Where no key was shown the line has no key_id."""
    assert "key_id" not in await line(await start(OPEN), "both", headers)
    assert "key_id" not in await line(await start(KEYS), "both", headers)
