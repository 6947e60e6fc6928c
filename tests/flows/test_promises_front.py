"""Promises at the front door that no other test shows (docs/reliability.md)."""

import asyncio
import contextlib
import json
import resource
import socket
import sys
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest
from aiohttp import http_parser

from gateway.__main__ import main
from gateway.server.routes import all_routes
from tests.conftest import TWO_TARGETS, Provider, Running, Start, chat_body, eventually
from tests.flows.processes import CONFIG, Run, is_up

Providers = Callable[[str], Provider]
LOCKED = TWO_TARGETS + "keys: {laptop: {secret: {env: KEY}}}\n"
BODY = json.dumps(chat_body("both")).encode()
HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"


async def connect(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))


@pytest.mark.slow
@pytest.mark.parametrize("part", ["head", "body"])
async def test_a_drip_is_no_way_round_a_timeout(start: Start, part: str) -> None:
    """A head or a body that comes byte by byte has to be whole in time, however often a byte comes. (P3)"""
    running = await start(TWO_TARGETS.replace("server: {", "server: {timeouts: {header: 300ms, body: 300ms}, "))
    reader, writer = await connect(running.url)
    head = HEAD % len(BODY)
    if part == "body":
        writer.write(head)
    data = head if part == "head" else BODY
    with contextlib.suppress(ConnectionError, RuntimeError):  # uvloop's word for a connection that is closed
        for byte in data[:40]:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0.02)
    with contextlib.suppress(ConnectionError):
        async with asyncio.timeout(2):
            assert b" 408 " in await reader.read()
    assert running.exchanges == [] if part == "head" else running.exchanges[-1]["status"] == 408
    writer.transport.abort()


async def test_pipelined_requests_are_answered_in_turn(running: Running) -> None:
    """Hundreds of requests that come at once on a connection are answered one after the other. (P23)"""
    reader, writer = await connect(running.url)
    count = 300
    writer.write(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n" * (count - 1))
    writer.write(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    async with asyncio.timeout(10):
        answer = await reader.read()
    assert answer.count(b"HTTP/1.1 200 OK") == count
    writer.transport.abort()


@pytest.mark.parametrize(
    "path",
    [
        "//v1/models", "/v1//models", "/./v1/models", "/v1/../v1/models", "/v1/%6dodels", "/%761/models", "/V1/models",
        "/v1/models/..", "/livez/../v1/models", "/livez%2f..%2fv1/models", "/v1/models;x", "/v1/models%00", "/v1/models?key=gwk_client-key",
    ],
)  # fmt: skip
async def test_a_path_is_no_way_round_the_key(start: Start, provider: Providers, path: str) -> None:
    """Whatever spelling of a path: without a key it is a 401 or a 404, and no provider is asked. (P24)"""
    running = await start(LOCKED)
    reader, writer = await connect(running.url)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    async with asyncio.timeout(3):
        answer = await reader.read()
    assert int(answer.split()[1]) in (400, 401, 404, 405), answer
    assert not provider("one").seen
    writer.close()


async def test_names_of_sql_are_names(start: Start) -> None:
    """SQL in a key, an id or a model is text: 401, 404, and everything goes on. (P30)"""
    running = await start(LOCKED)
    words = "'; DROP TABLE responses; --"
    async with running.post("/v1/responses", {"model": "both", "input": "x"}, headers={"x-api-key": words}) as answer:
        assert answer.status == 401
    key = {"x-api-key": "gwk_client-key"}
    for path in (f"/v1/responses/{words}", f"/v1/conversations/{words}", "/v1/responses/x' OR '1'='1"):
        async with running.session.get(running.url + path, headers=key) as answer:
            assert answer.status in (400, 404)
    body = {"model": "both", "input": "x", "previous_response_id": words}
    async with running.post("/v1/responses", body, headers=key) as answer:
        assert answer.status in (400, 404)


async def test_a_body_steers_nothing(start: Start, provider: Providers) -> None:
    """`api_base`, `api_key` and the like in a body change neither where a request goes nor what it shows. (P31)"""
    running = await start()
    more: dict[str, Any] = {
        "api_base": "http://127.0.0.1:1/v1",
        "base_url": "http://127.0.0.1:1",
        "api_key": "sk-evil",
        "headers": {"x": "y"},
    }
    assert (await running.chat(**more))[0] == 200
    seen = provider("one").seen[0]
    assert seen.headers["Authorization"] == "Bearer one-upstream-key" and "x" not in seen.headers
    assert seen.json["api_base"] == more["api_base"]  # a member of the body, and nothing else


def test_the_paths_are_these() -> None:
    """What is served is this list: a path that changes anything but stored things and rests is not in it. (P32)"""
    changing = {
        (route.method, route.path)
        for route in all_routes()
        if route.method not in ("GET", "HEAD")
        and route.path.startswith(("/v1", "/chat", "/rests", "/metrics", "/health"))
    }
    assert {path for method, path in changing if method == "DELETE"} == {
        "/v1/responses/{id}", "/v1/conversations/{id}", "/v1/conversations/{id}/items/{item}", "/rests",
    }  # fmt: skip
    assert not any(
        word in path for _, path in changing for word in ("admin", "config", "key", "route", "provider", "reload")
    )


async def test_a_right_key_is_compared_whole(start: Start) -> None:
    """Keys that begin or end like the right one are not right. (P29)"""
    running = await start(LOCKED)
    for key in ("gwk_client-ke", "gwk_client-key ", "gwk_client-keyx", "GWK_CLIENT-KEY", "gwk_client-kex"):
        async with running.session.get(f"{running.url}/v1/models", headers={"api-key": key}) as answer:
            assert answer.status == (200 if key.strip() == "gwk_client-key" else 401)


def test_without_the_compiled_parser_nothing_starts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    """aiohttp's own parser in Python has had most of its advisories: the daemon does not start on it. (P22)"""
    monkeypatch.setattr(http_parser, "HttpRequestParser", http_parser.HttpRequestParserPy)
    for name in ("excepthook", "unraisablehook"):
        monkeypatch.setattr(sys, name, getattr(sys, name))
    monkeypatch.setattr("threading.excepthook", None)
    monkeypatch.setattr("logging.root.handlers", [])
    (tmp_path / "p.yaml").write_text("providers: {mock: }\nstore: {url: 'memory:'}\n")
    assert main(["run", "--config", str(tmp_path / "p.yaml"), "--log-format", "json"]) == 1
    assert "compiled HTTP parser is missing" in capfd.readouterr().out


@pytest.mark.slow
async def test_descriptors_run_out_without_harm(run: Run) -> None:
    """With few descriptors a flood of connections is closed, said once in a while, and what is served is served. (P20)"""
    process = await asyncio.to_thread(run, CONFIG)
    resource.prlimit(process.popen.pid, resource.RLIMIT_NOFILE, (160, 160))
    port = int(process.url.rpartition(":")[2])
    flood = []
    try:
        for _ in range(220):
            sock = socket.socket()
            sock.setblocking(False)
            sock.connect_ex(("127.0.0.1", port))
            flood.append(sock)
        await asyncio.sleep(1.5)
        for sock in flood[:120]:
            sock.close()
        async with aiohttp.ClientSession() as session:
            await is_up(session, process.url)
            async with session.post(f"{process.url}/v1/chat/completions", json=chat_body("both")) as answer:
                assert answer.status == 200
    finally:
        for sock in flood:
            sock.close()
    await eventually(lambda: bool(process.lines))
    assert sum(line["event"] == "loop" for line in process.lines) <= 3
