"""What tests of stored responses share: a gateway with one provider of each dialect, and ways to ask it."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from gateway.store.protocol import StoreDown
from tests.conftest import Provider, Running
from tests.wire.grammar import read_responses

Providers = Callable[[str], Provider]
CONFIG = """
server: {listen: ["127.0.0.1:0"]}
store: {url: "STORE"}
providers:
  oai: {base_url: "MOCK/oai/v1", speaks: [openai_chat]}
  ant: {base_url: "MOCK/ant/v1", speaks: [anthropic_messages]}
  rsp: {base_url: "MOCK/rsp/v1", speaks: [openai_responses]}
routes: {chat: "oai:m", claude: "ant:m", native: "rsp:m"}
"""
KEYS = """
keys:
  a: {secret: {env: KEY}}
  b: {secret: {env: OTHER}}
"""
MODELS = {"chat": "oai", "claude": "ant", "native": "rsp"}
STORES = ["sqlite:state.db", pytest.param("memory:", marks=pytest.mark.slow)]
A, B = {"Authorization": "Bearer gwk_client-key"}, {"Authorization": "Bearer gwk_other-key"}


async def ask(running: Running, model: str = "chat", said: Any = "Hi", **more: Any) -> tuple[int, Any]:
    """Create a response; return (status, JSON)."""
    headers = more.pop("headers", {})
    async with running.post("/v1/responses", {"model": model, "input": said} | more, headers=headers) as answer:
        return answer.status, await answer.json()


async def ask_stream(running: Running, model: str, **more: Any) -> Any:
    """Request a stream and check its grammar; return (what it told, the final response)."""
    async with running.post("/v1/responses", {"model": model, "input": "Hi", "stream": True} | more) as answer:
        assert answer.status == 200
        return read_responses(await answer.read())


async def call(running: Running, method: str, path: str, **more: Any) -> tuple[int, Any]:
    """Call `/v1/responses/{path}`; return (status, JSON)."""
    async with running.session.request(method, f"{running.url}/v1/responses/{path}", **more) as answer:
        return answer.status, await answer.json()


def turns(sent: dict[str, Any]) -> list[str]:
    """Return the texts that an upstream was sent, in order."""
    found = []
    for message in sent.get("messages") or sent["input"]:
        content = message["content"]
        found.append(content if isinstance(content, str) else content[0]["text"])
    return found


async def ended(running: Running, name: str) -> dict[str, Any]:
    """Poll until the response is neither queued nor in progress; return it."""
    for _ in range(200):
        status, said = await call(running, "GET", name)
        assert status == 200
        if said["status"] not in ("queued", "in_progress"):
            found: dict[str, Any] = said
            return found
        await asyncio.sleep(0.02)
    raise AssertionError("it runs for ever")


async def events(running: Running, name: str, more: str = "") -> list[Any]:
    """Return the events of a stored response."""
    async with running.session.get(f"{running.url}/v1/responses/{name}?stream=true{more}") as answer:
        assert answer.status == 200
        lines = (await answer.read()).decode().splitlines()
    return [json.loads(line[6:]) for line in lines if line.startswith("data: ")]


class _Broken:
    asked = 0

    async def put(self, *_: Any, **__: Any) -> bool:
        self.asked += 1
        raise StoreDown("away")

    get = put
