"""Tokens from a credentials file: refreshed in time and once after a 401, one at a time, written back safely."""

import asyncio
import json
import stat
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from attrs import define, field

from tests.conftest import FakeClock, Provider, Running, Start
from tests.flows.pairs import PAIRS, ask

Providers = Callable[[str], Provider]
WRONG_MODE = (
    "system: This credential is only authorized for use with Claude Code and cannot be used for other API requests."
)


@define
class TokenServer:
    """A token endpoint that records its requests."""

    url: str = ""
    asked: list[Any] = field(factory=list)
    answer: dict[str, Any] = field(factory=dict)
    status: int = 200


@pytest.fixture
async def tokens() -> AsyncIterator[TokenServer]:
    found = TokenServer()

    async def give(request: web.Request) -> web.Response:
        found.asked.append(await request.json())
        await asyncio.sleep(0.02)
        number = len(found.asked)
        fresh = {"access_token": f"fresh-{number}", "refresh_token": f"next-{number}", "expires_in": 3600}
        return web.json_response(fresh | found.answer, status=found.status)

    app = web.Application()
    app.router.add_post("/token", give)
    server = TestServer(app)
    await server.start_server()
    found.url = str(server.make_url("/token"))
    yield found
    await server.close()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "credentials.json"


async def started(start: Start, file: Path, tokens: TokenServer, inner: dict[str, Any], **parts: Any) -> Running:
    file.write_text(json.dumps({"kept": [1], "claudeAiOauth": {"scopes": ["x"], **inner}}))
    auth = f'{{oauth: {{credentials_file: "{file}", token_url: "{tokens.url}", client_id: c}}}}'
    return await start(PAIRS.replace("{x-api-key: {env: TWO}}", auth), **parts)


async def test_a_good_token_is_sent(start: Start, file: Path, tokens: TokenServer, provider: Providers) -> None:
    """A token that is still valid goes upstream without a refresh."""
    running = await started(start, file, tokens, {"accessToken": "good", "refreshToken": "r", "expiresAt": 10**13})
    assert (await ask(running, "claude"))[0] == 200
    assert provider("ant").seen[0].headers["Authorization"] == "Bearer good" and not tokens.asked


async def test_one_refresh_serves_all(start: Start, file: Path, tokens: TokenServer, provider: Providers) -> None:
    """One refresh serves all requests; the file keeps its other members and is private to its owner."""
    running = await started(start, file, tokens, {"accessToken": "old", "refreshToken": "r", "expiresAt": 1000})
    answers = await asyncio.gather(*(ask(running, "claude") for _ in range(5)))
    assert {status for status, _, _ in answers} == {200}
    assert tokens.asked == [{"grant_type": "refresh_token", "refresh_token": "r", "client_id": "c"}]
    assert {seen.headers["Authorization"] for seen in provider("ant").seen} == {"Bearer fresh-1"}
    said = json.loads(file.read_text())
    assert said["kept"] == [1] and said["claudeAiOauth"]["scopes"] == ["x"]
    assert (said["claudeAiOauth"]["accessToken"], said["claudeAiOauth"]["refreshToken"]) == ("fresh-1", "next-1")
    assert said["claudeAiOauth"]["expiresAt"] > 10**12
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "fresh-1" not in running.output.getvalue().decode()


async def test_once_more_after_a_401(start: Start, file: Path, tokens: TokenServer, provider: Providers) -> None:
    """A 401 causes one refresh and one more attempt; if that is a 401 too, the client gets a 502."""
    running = await started(start, file, tokens, {"access_token": "stale", "refresh_token": "r"})
    provider("ant").will(status=401, times=1)
    assert (await ask(running, "claude"))[0] == 200
    assert [seen.headers["Authorization"] for seen in provider("ant").seen] == ["Bearer stale", "Bearer fresh-1"]
    assert json.loads(file.read_text())["claudeAiOauth"]["access_token"] == "fresh-1"
    provider("ant").server.script.rules.clear()
    provider("ant").will(status=401)
    assert (await ask(running, "claude"))[0] == 502
    assert len(provider("ant").seen) == 4, "one renewal, not a loop"


async def test_another_process_has_refreshed(
    start: Start, file: Path, tokens: TokenServer, provider: Providers
) -> None:
    """After a 401 a newer token in the file is used in place of a refresh."""
    running = await started(start, file, tokens, {"access_token": "first", "refresh_token": "r"})
    assert (await ask(running, "claude"))[0] == 200
    file.write_text(json.dumps({"access_token": "second"}))
    provider("ant").will(status=401, times=1)
    assert (await ask(running, "claude"))[0] == 200
    assert provider("ant").seen[-1].headers["Authorization"] == "Bearer second" and not tokens.asked


@pytest.mark.parametrize(
    ("text", "answer", "status"),
    [
        ('{"access_token":"a","refresh_token":"r","expires_at":5}', {"access_token": ""}, 200),
        ('{"access_token":"a","refresh_token":"r","expires_at":5}', {}, 500),
    ],
)
async def test_endpoints_that_fail(
    start: Start, file: Path, tokens: TokenServer, text: str | None, answer: dict[str, Any], status: int
) -> None:
    """A token endpoint that fails is a 502 without the file's path."""
    running = await started(start, file, tokens, {})
    tokens.answer, tokens.status = answer, status
    file.unlink()
    if text is not None:
        file.write_text(text)
    code, said, _ = await ask(running, "claude")
    assert code == 502 and str(file) not in json.dumps(said)


@pytest.mark.parametrize("path", ["/min/v1/messages", "/pt/v1/messages"])
async def test_the_wrong_mode(start: Start, file: Path, tokens: TokenServer, provider: Providers, path: str) -> None:
    """/min and /pt with a subscription's token are a 400 in the documented words, without an upstream call."""
    running = await started(start, file, tokens, {"access_token": "a"})
    status, said, _ = await ask(running, "claude", path)
    assert status == 400 and said["error"] == {"type": "invalid_request_error", "message": WRONG_MODE}
    assert provider("ant").seen == []


async def test_a_token_lasts_as_long_as_it_says(start: Start, file: Path, tokens: TokenServer) -> None:
    """A token is used until five minutes before its end, then refreshed with the newest refresh token."""
    clock = FakeClock()
    running = await started(
        start, file, tokens, {"access_token": "a", "refresh_token": "r", "expires_at": 1}, clock=clock.clock()
    )
    await ask(running, "claude")
    await ask(running, "claude")
    assert len(tokens.asked) == 1
    clock.now += 3400  # inside the five minutes before its end
    await ask(running, "claude")
    assert len(tokens.asked) == 2 and tokens.asked[1]["refresh_token"] == "next-1"


async def test_anothers_refresh_is_taken_over(
    start: Start, file: Path, tokens: TokenServer, provider: Providers
) -> None:
    """When a refresh is due the file is read first: another process may have used up the refresh token."""
    clock = FakeClock()
    inner = {"access_token": "a", "refresh_token": "r1", "expires_at": 1_700_000_000 + 2000}
    running = await started(start, file, tokens, inner, clock=clock.clock())
    await ask(running, "claude")
    file.write_text(json.dumps({"access_token": "b", "refresh_token": "r2", "expires_at": 1_700_000_000 + 9000}))
    clock.now += 2000
    assert (await ask(running, "claude"))[0] == 200
    assert provider("ant").seen[-1].headers["Authorization"] == "Bearer b" and not tokens.asked
