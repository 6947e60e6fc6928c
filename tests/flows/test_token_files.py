"""A token file that is missing or broken disables its provider, visibly, until it is back."""

import json
from pathlib import Path
from typing import Any

import pytest

from gateway.__main__ import main
from tests.conftest import FakeClock, Running, Start, chat_body
from tests.flows.messages import Providers
from tests.flows.pairs import PAIRS, ask

GOOD = '{"accessToken":"a","refreshToken":"r","expiresAt":9999999999999}'
BROKEN = {
    "missing": None,
    "empty": "",
    "no json": "no json",
    "no object": "[]",
    "no token": "{}",
    "an empty token": '{"access_token":""}',
    "a number": '{"access_token":5}',
    "inner without token": '{"claudeAiOauth":{"scopes":[]}}',
    "a blank token": '{"access_token":" "}',
    "two lines": '{"access_token":"a\\nb"}',
    "letters of no header": '{"access_token":"h\\u00e9"}',
    "an empty refresh token": '{"access_token":"a","refresh_token":"","expires_at":5}',
    "ended for good": '{"access_token":"a","expires_at":5}',
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "credentials.json"


def put(file: Path, text: str | None) -> None:
    file.unlink(missing_ok=True)
    if text is not None:
        file.write_text(text)


def auth(file: Path) -> str:
    return f'{{oauth: {{credentials_file: "{file}", token_url: "http://127.0.0.1:9/token", client_id: c}}}}'


async def started(start: Start, file: Path) -> Running:
    return await start(PAIRS.replace("{x-api-key: {env: TWO}}", auth(file)))


async def health(running: Running, path: str = "/health?format=json") -> tuple[int, Any]:
    async with running.session.get(running.url + path) as answer:
        return answer.status, await answer.text()


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN)
async def test_it_disables_its_provider(start: Start, provider: Providers, file: Path, text: str | None) -> None:
    """The provider is never asked: 503, 529 on Messages, without the file's path; other targets serve."""
    put(file, text)
    running = await started(start, file)
    async with running.post("/v1/chat/completions", chat_body("claude")) as answer:
        said = await answer.json()
        assert (answer.status, said["error"]["code"]) == (503, "service_unavailable")
    assert str(file) not in json.dumps(said) and not provider("ant").seen
    status, said, _ = await ask(running, "claude")
    assert (status, said["error"]["type"]) == (529, "overloaded_error")
    assert (await ask(running, "claude_first"))[0] == 200
    status, report = await health(running)
    assert status == 200 and json.loads(report)["status"] == "degraded"


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN)
async def test_alone_it_is_not_ready(start: Start, file: Path, text: str | None) -> None:
    """If nothing else can serve, /readyz and /health are 503; a file that comes back is used without a reload."""
    put(file, text)
    running = await start(
        f"""
        store: {{url: "memory:"}}
        providers: {{ant: {{base_url: MOCK/ant/v1, speaks: [anthropic_messages], auth: {auth(file)}}}}}
        routes: {{claude: "ant:m"}}
        """
    )
    assert (await health(running, "/readyz"))[0] == 503
    status, report = await health(running)
    assert status == 503 and json.loads(report)["status"] == "unhealthy"
    assert (await ask(running, "claude"))[0] == 529
    put(file, GOOD)
    assert (await health(running, "/readyz"))[0] == 200 and json.loads((await health(running))[1])[
        "status"
    ] == "healthy"
    assert (await ask(running, "claude"))[0] == 200


async def test_a_file_that_goes_while_its_token_is_in_use(start: Start, file: Path) -> None:
    """The token in memory serves until it is due; without the file its provider is disabled then."""
    clock = FakeClock()
    put(file, json.dumps({"access_token": "a", "expires_at": clock.clock().time() + 900}))
    running = await start(PAIRS.replace("{x-api-key: {env: TWO}}", auth(file)), clock=clock.clock())
    assert (await ask(running, "claude"))[0] == 200
    file.unlink()
    assert (await ask(running, "claude"))[0] == 200
    clock.now += 1000
    status, said, _ = await ask(running, "claude")
    assert (status, said["error"]["type"]) == (529, "overloaded_error")
    assert json.loads((await health(running))[1])["status"] == "degraded"
    put(file, GOOD)
    assert (await ask(running, "claude"))[0] == 200


@pytest.mark.parametrize("text", [*BROKEN.values(), GOOD], ids=[*BROKEN, "good"])
def test_check_warns(tmp_path: Path, file: Path, text: str | None, capsys: pytest.CaptureFixture[str]) -> None:
    """`gateway check` warns of a file that is missing or broken, by provider and path; the configuration is good."""
    put(file, text)
    config = tmp_path / "providers.yaml"
    config.write_text(
        f'providers: {{ant: {{base_url: "http://127.0.0.1:9/v1", speaks: [anthropic_messages], auth: {auth(file)}}}}}\n'
    )
    assert main(["check", str(config)]) == 0
    said = capsys.readouterr().out
    assert ("providers.ant: disabled" in said and str(file) in said) is (text != GOOD)
