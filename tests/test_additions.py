"""docs/design.md#where-to-add-what is true: a dialect, an endpoint, a provider and a store are added as it says."""

import sys
import types
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from gateway.store.memory import MemoryResponses
from gateway.store.schemes import SCHEMES, Scheme
from gateway.wire import DIALECTS
from gateway.wire.openai_chat import OPENAI_CHAT
from gateway.wire.passthrough import carried
from tests.conftest import Start, chat_body

CONFIG = """
server: {listen: ["127.0.0.1:0"]}
store: {url: "STORE"}
providers:
  plain: {base_url: "MOCK/one/v1", speaks: [openai_chat]}
  new: {base_url: "MOCK/two/v1", speaks: {SPOKEN}}
routes: {plain: "plain:m", new: "new:m"}
"""


async def test_a_dialect_is_a_record_and_a_line(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new dialect is served on its own path, and translated in both directions, without any other change."""
    fake = evolve(OPENAI_CHAT, name="fake_chat", path="/fake/chat")
    monkeypatch.setitem(DIALECTS, fake.name, fake)
    spoken = "{fake_chat: /chat/completions}"  # the mock knows no path of this name
    running = await start(CONFIG.replace("STORE", "memory:").replace("{SPOKEN}", spoken))
    for path, model in (
        ("/v1/fake/chat", "new"),  # raw
        ("/v1/fake/chat", "plain"),  # a client of the new dialect on an old provider
        ("/v1/chat/completions", "new"),  # an old client on a provider of the new dialect
        ("/pt/v1/fake/chat", "new"),
    ):
        async with running.post(path, chat_body(model)) as answer:
            payload = await answer.json()
            assert answer.status == 200 and payload["choices"][0]["message"]["content"].startswith("Hello"), path
    assert [line["endpoint"] for line in running.exchanges] == [
        "fake_chat",
        "fake_chat",
        "chat_completions",
        "fake_chat",
    ]
    async with running.session.get(f"{running.url}/") as answer:
        assert (await answer.json())["endpoints"]["fake_chat"] == "/v1/fake/chat"


async def test_an_endpoint_without_translation_is_a_line(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """A carried endpoint is forwarded to providers that speak it, and is a 404 for a model of any other."""
    monkeypatch.setitem(DIALECTS, "openai_fake", carried("openai_fake", "/fake"))
    running = await start(CONFIG.replace("STORE", "memory:").replace("{SPOKEN}", "{openai_fake: /embeddings}"))
    async with running.post("/v1/fake", {"model": "new", "input": "x"}) as answer:
        assert answer.status == 200 and (await answer.json())["object"] == "list"
    async with running.post("/v1/fake", {"model": "plain", "input": "x"}) as answer:
        assert answer.status == 404


async def test_a_store_is_a_module_and_a_line(start: Start, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A new kind of store is accepted in `store.url`, opened with it, and used."""
    opened: list[str] = []

    class FakeResponses(MemoryResponses):
        @classmethod
        async def open(cls, url: str, file: Path | None) -> "FakeResponses":
            opened.append(url)
            return cls()

    module: Any = types.ModuleType("fake_store")
    module.FakeResponses = FakeResponses
    monkeypatch.setitem(sys.modules, "fake_store", module)
    monkeypatch.setitem(SCHEMES, "fake", Scheme("fake_store", "FakeResponses"))
    running = await start(CONFIG.replace("STORE", "fake:here").replace("{SPOKEN}", "[openai_chat]"))
    async with running.post("/v1/responses", {"model": "plain", "input": "Hi"}) as answer:
        stored = await answer.json()
    async with running.session.get(f"{running.url}/v1/responses/{stored['id']}") as answer:
        assert answer.status == 200 and await answer.json() == stored
    assert opened == ["fake:here"]
