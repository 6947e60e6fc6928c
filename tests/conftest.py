"""Fixtures that all tests share: a real gateway on a real socket, and the scripted provider behind it."""

import asyncio
import gc
import io
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import aiohttp
import pytest
import uvloop
from aiohttp import web
from aiohttp.test_utils import TestServer
from attrs import define, field

from gateway.clock import Clock
from gateway.config.files import packaged, packaged_prices
from gateway.config.load import load
from gateway.config.schema import Config
from gateway.mock.script import Rule, make_behaviour
from gateway.mock.server import MockServer, Seen
from gateway.proxy.state import GATEWAY, Gateway
from gateway.server.app import make_app, reload_parts, secrets_of
from gateway.server.listener import open_sockets, serve
from gateway.telemetry.logs import make_logs
from gateway.telemetry.redact import Redactor

SECRETS = {"ONE": "one-upstream-key", "TWO": "two-upstream-key", "KEY": "gwk_client-key", "OTHER": "gwk_other-key"}
# Two providers at the mock, which tells them apart by the first part of their paths; `one` is the first target.
TWO_TARGETS = """
server: {listen: ["127.0.0.1:0"]}
store: {url: "memory:"}
providers:
  one: {base_url: "MOCK/one/v1", auth: {bearer: {env: ONE}}, speaks: SPEAKS, timeouts: {idle: 300ms, first_byte: 300ms, whole: 300ms, connect: 1s}}
  two: {base_url: "MOCK/two/v1", auth: {bearer: {env: TWO}}, speaks: SPEAKS}
routes:
  both: [one:m, two:m]
  single: one:m
"""
RAW_DIALECTS = [
    "openai_chat", "openai_completions", "openai_embeddings", "openai_moderations", "openai_rerank",
    "openai_images_generations", "openai_images_edits", "openai_speech", "openai_transcriptions",
    "openai_translations",
]  # fmt: skip


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> Mapping[str, Any]:
    """Run every test on the loop that production runs on."""
    return {"uvloop": uvloop.new_event_loop}


def pytest_collection_finish(session: pytest.Session) -> None:
    """Keep the imports' objects out of every later collection: they would cost each test a tenth of a second."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _collect() -> Any:
    """Collect garbage after each test, so that an unclosed resource warns in the test that left it open.

    Objects that survive are frozen and not scanned again: the SDKs load much of themselves on first use.
    """
    yield
    gc.collect()
    gc.freeze()


@define
class FakeClock:
    """A clock that stands still: `sleep` moves it on at once and records the seconds in `slept`."""

    now: float = 1000.0
    slept: list[float] = field(factory=list)

    def clock(self) -> Clock:
        return Clock(monotonic=lambda: self.now, time=lambda: 1_700_000_000.0 + self.now, sleep=self._sleep)

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@define
class Provider:
    """One provider's name at the mock server."""

    server: MockServer
    name: str

    def will(self, times: int = 0, **values: Any) -> None:
        """Behave like this from now on, or only `times` times; rules are used in the order of these calls."""
        self.server.script.rules.append(Rule(make_behaviour(values), name=self.name, times=times))

    @property
    def seen(self) -> list[Seen]:
        return [seen for seen in self.server.seen if seen.name == self.name]


@define
class Running:
    """A gateway under test."""

    url: str
    app: web.Application
    session: aiohttp.ClientSession
    output: io.BytesIO
    load: Callable[[str], Config]

    @property
    def gateway(self) -> Gateway:
        return self.app[GATEWAY]

    @property
    def log(self) -> list[dict[str, Any]]:
        """Every line logged so far."""
        self.gateway.telemetry.logs.flush()
        return [json.loads(line) for line in self.output.getvalue().splitlines()]

    @property
    def exchanges(self) -> list[dict[str, Any]]:
        return [line for line in self.log if line["event"] == "exchange"]

    def reload(self, text: str) -> None:
        reload_parts(self.gateway, self.load(text))

    def post(self, path: str, body: Any = None, **more: Any) -> Any:
        return self.session.post(self.url + path, json=body, **more)

    async def chat(self, model: str = "both", **more: Any) -> tuple[int, Any]:
        """Request a whole reply; return (status, JSON)."""
        async with self.post("/v1/chat/completions", chat_body(model) | more) as answer:
            return answer.status, await answer.json()

    async def chat_stream(self, model: str = "both", **more: Any) -> tuple[int, bytes]:
        """Request a stream; return (status, all bytes)."""
        async with self.post("/v1/chat/completions", chat_body(model) | {"stream": True} | more) as answer:
            return answer.status, await answer.read()


def chat_body(model: str) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": "Hi"}]}


def events_of(stream: bytes) -> list[Any]:
    """Return the JSON of each data frame, and `[DONE]` as a string."""
    found = []
    for frame in stream.split(b"\n\n"):
        for line in frame.splitlines():
            if line.startswith(b"data: "):
                data = line[6:]
                found.append("[DONE]" if data == b"[DONE]" else json.loads(data))
    return found


def text_of(stream: bytes) -> str:
    """Return the text of a chat stream."""
    return "".join(
        choice["delta"].get("content") or ""
        for event in events_of(stream)
        if isinstance(event, dict)
        for choice in event.get("choices", ())
    )


@pytest.fixture
async def mock() -> AsyncIterator[MockServer]:
    server = MockServer()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
def provider(mock: MockServer) -> Callable[[str], Provider]:
    return lambda name: Provider(mock, name)


Start = Callable[..., Awaitable[Running]]


@pytest.fixture
async def start(mock: MockServer) -> AsyncIterator[Start]:
    """Start gateways: `await start()`, or with a configuration in which MOCK is the mock's address."""
    stops: list[Callable[[], Awaitable[None]]] = []

    async def run(text: str = TWO_TARGETS, environ: Mapping[str, str] | None = None, **parts: Any) -> Running:
        secrets = SECRETS | dict(environ or {})

        def read(text: str) -> Config:
            filled = text.replace("MOCK", mock.url).replace("SPEAKS", json.dumps(RAW_DIALECTS))
            return load(filled, "test.yaml", lambda _, name: secrets.get(name), packaged("presets.yaml"))

        config = read(text)
        redactor, output = Redactor(secrets_of(config), deep=True), io.BytesIO()
        logs = make_logs(redactor, "json", output)
        data = {
            "models": packaged("models.yaml"),
            "top_models": packaged("top_models.yaml"),
            "prices": packaged_prices(),
        }
        parts.setdefault("dice", random.Random(7))
        app = make_app(config, logs, redactor, data, **parts)
        sockets = open_sockets(["127.0.0.1:0"], {})
        runner, servers = await serve(app, config, sockets)
        session = aiohttp.ClientSession()
        port = sockets[0].getsockname()[1]

        async def stop() -> None:
            await session.close()
            for server in servers:
                server.close()
            await runner.cleanup()
            logs.close()

        stops.append(stop)
        return Running(f"http://127.0.0.1:{port}", app, session, output, read)

    yield run
    for stop in stops:
        await stop()


@pytest.fixture
async def running(start: Start) -> Running:
    """A gateway with two targets behind `both`, and one behind `single`."""
    return await start()


async def eventually(check: Callable[[], bool], seconds: float = 2.0) -> None:
    """Wait until `check` is true, which another task brings about; raise TimeoutError after `seconds`."""
    async with asyncio.timeout(seconds):
        while not check():
            await asyncio.sleep(0.005)


Serve = Callable[[bytes], str]


@pytest.fixture
async def serve_stream() -> AsyncIterator[Serve]:
    """Start a server that answers any request with the stream passed to the function that this yields."""
    answer: dict[str, bytes] = {}

    async def respond(request: web.Request) -> web.Response:
        return web.Response(body=answer["stream"], content_type="text/event-stream")

    app = web.Application()
    app.router.add_post("/{path:.*}", respond)
    server = TestServer(app)
    await server.start_server()

    def tell(stream: bytes) -> str:
        answer["stream"] = stream
        return str(server.make_url(""))

    yield tell
    await server.close()
