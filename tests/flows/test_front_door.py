"""Odd requests from strangers: invalid bodies, invalid heads, slow ones, large ones."""

import asyncio
import gzip
import io
import json
import zlib
from collections.abc import Callable

import aiohttp
import pytest

from gateway.wire.codec.unpack import zstd
from tests.conftest import TWO_TARGETS, Provider, Running, Start, chat_body

SMALL = """
server: {listen: ["127.0.0.1:0"], max_body: 2MiB, timeouts: {header: 200ms, body: 200ms}}
store: {url: "memory:"}
providers: {one: {base_url: MOCK/one/v1, speaks: SPEAKS}}
routes: {both: "one:m"}
"""
BODY = json.dumps(chat_body("both")).encode()
JSON = {"Content-Type": "application/json"}


async def send(running: Running, data: bytes, wait: float = 4.0) -> bytes:
    """Send raw bytes to the gateway; return all that comes back until the connection closes."""
    host, port = running.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(data)
    try:
        async with asyncio.timeout(wait):
            return await reader.read()
    finally:
        writer.close()
        await writer.wait_closed()


def envelope(raw: bytes) -> dict[str, object]:
    """Return the error of a raw response, which must be ours and in JSON."""
    head, _, body = raw.partition(b"\r\n\r\n")
    assert b"application/json" in head, raw
    found: dict[str, object] = json.loads(body)["error"]
    return found


@pytest.mark.parametrize(
    ("encoding", "pack"),
    [("gzip", gzip.compress), ("deflate", zlib.compress), ("zstd", zstd.compress), ("identity", bytes)],
)
async def test_compressed_bodies_are_understood(
    running: Running, provider: Callable[[str], Provider], encoding: str, pack: Callable[[bytes], bytes]
) -> None:
    """A compressed body (Codex sends zstd) goes upstream uncompressed, without Content-Encoding. (EC-9)"""
    headers = JSON | {"Content-Encoding": encoding}
    async with running.session.post(f"{running.url}/v1/chat/completions", data=pack(BODY), headers=headers) as answer:
        assert answer.status == 200
    assert "Content-Encoding" not in provider("one").seen[0].headers
    assert provider("one").seen[0].json["messages"] == chat_body("both")["messages"]


@pytest.mark.parametrize(
    ("data", "headers", "status", "code"),
    [
        (b"\x28\xb5\x2f\xfdgarbage", {"Content-Encoding": "zstd"}, 400, "invalid_encoding"),
        (BODY, {"Content-Encoding": "br"}, 415, "unsupported_content_encoding"),
        (gzip.compress(b"a" * 20_000_000), {"Content-Encoding": "gzip"}, 413, "request_too_large"),
        (b"x" * 3_000_000, {}, 413, "request_too_large"),
        (BODY, {"Content-Type": "application/xml"}, 415, "unsupported_media_type"),
        (b"", {}, 400, "invalid_json"),
        (b"[]", {}, 400, "invalid_json"),
        (b'{"messages":[]}', {}, 400, "missing_required_parameter"),
        (b'{"model":5}', {}, 400, "invalid_type"),
        (b'{"model":"both","stream":"yes"}', {}, 400, "invalid_type"),
        (b'{"model":"both","stream":true,"stream_options":7}', {}, 400, "invalid_type"),
        (b'{"model":"nope"}', {}, 404, "model_not_found"),
    ],
)
async def test_bad_bodies_get_a_clear_error(
    start: Start, data: bytes, headers: dict[str, str], status: int, code: str
) -> None:
    """A bad body gets its own status and code, never a 500 or a dropped connection.

    (EC-10, EC-11, EC-12, EC-16)
    """
    running = await start(SMALL)
    body = io.BytesIO(data)
    async with running.session.post(f"{running.url}/v1/chat/completions", data=body, headers=JSON | headers) as answer:
        assert answer.status == status
        assert (await answer.json())["error"]["code"] == code
        assert answer.headers["x-gateway-origin"] == "gateway"


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "text/plain", "application/vnd.api+json", None])
async def test_lenient_content_types(start: Start, kind: str | None) -> None:
    """Where a key is needed JSON is accepted under several content types, or without one."""
    running = await start(TWO_TARGETS + "keys: {laptop: {secret: {env: KEY}}}\n")
    headers = {"x-api-key": "gwk_client-key"} | ({"Content-Type": kind} if kind else {})
    skip = () if kind else ("Content-Type",)
    async with running.session.post(
        f"{running.url}/v1/chat/completions", data=BODY, headers=headers, skip_auto_headers=skip
    ) as answer:
        assert answer.status == 200


async def test_a_body_of_ten_megabytes_is_taken(running: Running, provider: Callable[[str], Provider]) -> None:
    """A body of ten megabytes is accepted, although aiohttp's own limit is 1 MiB. (EC-13)"""
    image = "A" * 10_000_000
    body = io.BytesIO(json.dumps({"model": "both", "messages": [{"role": "user", "content": image}]}).encode())
    async with running.session.post(f"{running.url}/v1/chat/completions", data=body, headers=JSON) as answer:
        assert answer.status == 200
    assert provider("one").seen[0].json["messages"][0]["content"] == image


async def test_a_body_in_chunks_is_counted_while_it_is_read(start: Start) -> None:
    """A chunked body beyond `max_body` is a 413: without a Content-Length the gateway counts while it reads."""
    running = await start(SMALL)

    async def endless() -> object:
        for _ in range(1000):
            yield b"x" * 65536

    try:
        async with running.session.post(f"{running.url}/v1/chat/completions", data=endless(), headers=JSON) as answer:
            assert answer.status == 413
    except aiohttp.ClientConnectionError:
        pass  # we closed while it was still sending


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("GET", "/v1/chat/completions", 405, "POST"),
        ("PUT", "/v1/models", 405, "GET,HEAD"),
        ("POST", "/nothing/here", 404, None),
        ("GET", "/v1/chat/completions/", 404, None),
        ("TRACE", "/", 405, "GET,HEAD"),
        ("OPTIONS", "/v1/models", 405, "GET,HEAD"),
    ],
)
async def test_unknown_paths_and_methods_are_said_in_json(
    running: Running, method: str, path: str, status: int, allow: str | None
) -> None:
    """An unknown path is a 404 and an unknown method a 405 with Allow, in JSON, never the framework's text."""
    async with running.session.request(method, running.url + path) as answer:
        assert answer.status == status
        assert (await answer.json())["error"]["type"] == "invalid_request_error"
        assert answer.headers.get("Allow") == allow
        assert answer.headers["x-request-id"]


@pytest.mark.parametrize(
    "data",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n" + b"".join(b"A%d: x\r\n" % n for n in range(200)) + b"\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    ],
)
async def test_what_is_no_http_is_refused_in_json(running: Running, data: bytes) -> None:
    """Invalid HTTP is a 400 in JSON that echoes nothing and closes the connection (docs/reliability.md P22)."""
    raw = await send(running, data)
    assert b" 400 " in raw.split(b"\r\n")[0]
    assert envelope(raw)["code"] == "invalid_http"
    assert b"nonsense" not in raw


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414, "uri_too_long"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 20_000 + b"\r\n\r\n", 431, "headers_too_large"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nCookie: " + b"a" * 40_000 + b"\r\n\r\n", 431, "headers_too_large"),
    ],
)
async def test_what_is_too_long_is_said_in_words(running: Running, data: bytes, status: int, code: str) -> None:
    """A long request line is a 414, a long header a 431: not \"no valid HTTP\", and nothing of it is echoed."""
    raw = await send(running, data)
    assert int(raw.split()[1]) == status and envelope(raw)["code"] == code
    assert b"aaaa" not in raw


@pytest.mark.parametrize("data", [b"", b"POST /v1/chat", b"GET / HTTP/1.1\r\nHost: x\r\n"])
async def test_a_head_that_does_not_come_is_given_up(start: Start, data: bytes) -> None:
    """A head that is not complete after `timeouts.header` is a 408: slowloris holds nothing."""
    running = await start(SMALL)
    raw = await send(running, data)
    assert raw.startswith(b"HTTP/1.1 408 ")
    assert envelope(raw)["code"] == "request_timeout"


@pytest.mark.parametrize(
    "first",
    [b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n", b"POST /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"],
)
async def test_half_a_head_behind_a_request_has_to_become_whole(start: Start, first: bytes) -> None:
    """Half a head that came together with the request before it is a 408, too."""
    running = await start(SMALL)
    host, port = running.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(first + b"GET /li")
    async with asyncio.timeout(2):
        raw = await reader.read()
    assert raw.count(b"HTTP/1.1 ") == 2 and b"HTTP/1.1 408 " in raw
    writer.close()


@pytest.mark.slow
async def test_a_second_head_on_a_kept_connection_has_to_come_too(start: Start) -> None:
    """On a kept connection the timer starts with the first byte of the next head, not while it is idle."""
    running = await start(SMALL)
    host, port = running.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (await reader.readuntil(b"ok\n")).startswith(b"HTTP/1.1 200")
    await asyncio.sleep(0.25)  # idle between requests is not a late head
    writer.write(b"GET /li")
    async with asyncio.timeout(1):
        assert (await reader.read()).startswith(b"HTTP/1.1 408 ")
    writer.close()


@pytest.mark.slow
async def test_a_body_that_does_not_come_is_given_up(start: Start) -> None:
    """A body that stops arriving is a 408 after `timeouts.body`, and the connection closes."""
    running = await start(SMALL)
    raw = await send(
        running,
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{",
    )
    assert b" 408 " in raw.split(b"\r\n")[0]
    assert "did not arrive" in str(envelope(raw)["message"])
    assert raw.count(b"HTTP/1.1") == 1


@pytest.mark.slow
async def test_100_continue_is_said_only_to_who_may_come_in(start: Start) -> None:
    """Only a client with a valid key gets 100 Continue; any other gets its 401 first (docs/reliability.md P19)."""
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nExpect: 100-continue\r\nConnection: close\r\nContent-Length: %d\r\n%s\r\n"
    running = await start(SMALL + "keys: {a: {secret: {env: KEY}}}\n")
    raw = await send(running, head % (len(BODY), b""))
    assert raw.startswith(b"HTTP/1.1 401")
    host, port = running.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(head % (len(BODY), b"x-api-key: gwk_client-key\r\n"))
    assert await reader.readline() == b"HTTP/1.1 100 Continue\r\n"
    writer.write(BODY)
    assert b"HTTP/1.1 200 OK" in await reader.read()
    writer.close()
    raw = await send(running, head.replace(b"100-continue", b"magic") % (len(BODY), b"x-api-key: gwk_client-key\r\n"))
    assert b" 400 " in raw.split(b"\r\n")[0]


async def test_browsers_get_nothing_by_default(running: Running) -> None:
    """Without configuration no response has a CORS header."""
    async with running.session.get(f"{running.url}/v1/models", headers={"Origin": "https://app.example"}) as answer:
        assert not [name for name in answer.headers if name.lower().startswith("access-control")]


async def test_configured_origins_are_named_exactly(start: Start) -> None:
    """A configured origin is named in preflights and responses, errors too; never `*`, never another origin."""
    running = await start(SMALL.replace("server: {", 'server: {cors: {origins: ["https://app.example"]}, '))
    good, evil = {"Origin": "https://app.example"}, {"Origin": "https://evil.example"}
    preflight = {"Access-Control-Request-Method": "POST"}
    async with running.session.options(f"{running.url}/v1/chat/completions", headers=good | preflight) as answer:
        assert answer.status == 204
        assert answer.headers["Access-Control-Allow-Origin"] == "https://app.example"
        assert "anthropic-beta" in answer.headers["Access-Control-Allow-Headers"]
        assert answer.headers["Vary"] == "Origin, Access-Control-Request-Headers"
    asked = "x-stainless-lang,anthropic-dangerous-direct-browser-access, x-provider-key"
    more = preflight | {"Access-Control-Request-Headers": asked, "Access-Control-Request-Private-Network": "true"}
    async with running.session.options(f"{running.url}/v1/chat/completions", headers=good | more) as answer:
        assert answer.status == 204 and answer.headers["Access-Control-Allow-Headers"] == asked
        assert answer.headers["Access-Control-Allow-Private-Network"] == "true"
    more = preflight | {"Access-Control-Request-Headers": "a b, c;d"}
    async with running.session.options(f"{running.url}/v1/chat/completions", headers=good | more) as answer:
        assert "c;d" not in answer.headers["Access-Control-Allow-Headers"]
        assert answer.headers["Access-Control-Allow-Methods"] == "GET, POST, DELETE, OPTIONS"
    async with running.session.post(f"{running.url}/v1/chat/completions", data=b"{", headers=good | JSON) as answer:
        assert answer.status == 400 and answer.headers["Access-Control-Allow-Origin"] == "https://app.example"
        exposed = answer.headers["Access-Control-Expose-Headers"].split(", ")
        assert {"x-request-id", "request-id", "Retry-After", "retry-after-ms", "x-should-retry"} < set(exposed)
        assert {"x-ratelimit-remaining-tokens", "X-RateLimit-Reset", "x-gateway-provider"} < set(exposed)
    async with running.session.options(f"{running.url}/v1/chat/completions", headers=evil | preflight) as answer:
        assert answer.status == 403 and "Access-Control-Allow-Origin" not in answer.headers
        assert "server.cors.origins" in (await answer.json())["error"]["message"]


async def test_http_1_0_clients_are_served(running: Running) -> None:
    """An HTTP/1.0 client gets its response; the connection closes unless it asks for keep-alive."""
    raw = await send(
        running,
        b"POST /v1/chat/completions HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
        % (len(BODY), BODY),
    )
    assert raw.startswith(b"HTTP/1.1 200 OK") and b"Hello from the mock" in raw
    keep = b"POST /v1/chat/completions HTTP/1.0\r\nConnection: keep-alive\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
    raw = await send(running, keep % (len(BODY), BODY) + b"GET /livez HTTP/1.0\r\n\r\n")
    assert b"Connection: keep-alive" in raw and raw.endswith(b"ok\n")


async def test_large_replies_are_sent_whole(running: Running, provider: Callable[[str], Provider]) -> None:
    """A reply larger than any buffer's high-water mark arrives whole."""
    provider("one").will(text="x" * 3_000_000)
    _, said = await running.chat()
    assert len(said["choices"][0]["message"]["content"]) == 3_000_000


async def test_a_bug_is_a_500_without_details(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug is a 500 without details for the client and a traceback in the log."""
    broken = running.gateway.snapshot.table.__class__
    monkeypatch.setattr(broken, "resolve", lambda self, name: 1 / 0)
    status, said = await running.chat()
    assert (status, said["error"]["code"]) == (500, "internal_error")
    assert "ZeroDivision" not in str(said)
    assert any(line["event"] == "bug" and "ZeroDivisionError" in str(line["exception"]) for line in running.log)


async def test_an_endless_model_name_is_refused(running: Running) -> None:
    """A model name of 600 characters is a 400, because the log would hold all of it."""
    async with running.post("/v1/chat/completions", {"model": "one:" + "m" * 600, "messages": []}) as answer:
        assert answer.status == 400 and (await answer.json())["error"]["param"] == "model"


@pytest.mark.parametrize("n", [10**6, 10**30, "a", -1, 1.5, None, True])
async def test_the_mock_is_not_carried_away(running: Running, n: object) -> None:
    """The mock bounds `n` at 128 choices: it serves alias `demo` in the gateway, where clients choose `n`."""
    async with running.post("/v1/chat/completions", {"model": "one:m", "messages": [], "n": n}) as answer:
        assert answer.status == 200 and len((await answer.json())["choices"]) <= 128
