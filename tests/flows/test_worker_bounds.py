"""`/chat` has bounds of its own: one MiB or less, and thirty seconds for all attempts together."""

import io
import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from attrs import evolve

from gateway.config.fields import Seconds
from gateway.server import routes
from tests.conftest import Provider, Running, Start, chat_body

pytestmark = pytest.mark.slow

TWO = """
server: {%s}
store: {url: "memory:"}
retry: {attempts: 6, within: 20s}
providers:
  one: {base_url: MOCK/one/v1, speaks: SPEAKS}
  two: {base_url: MOCK/two/v1, speaks: SPEAKS}
routes: {both: ["one:m", "two:m"]}
"""


async def ask(running: Running, path: str, size: int = 0, **more: Any) -> int:
    body = io.BytesIO(json.dumps(chat_body("both") | more | {"user": "x" * size}).encode())
    headers = {"Content-Type": "application/json"}
    async with running.session.post(running.url + path, data=body, headers=headers) as answer:
        await answer.read()
        return int(answer.status)


@pytest.mark.parametrize(
    ("most", "size", "chat", "plain"),
    [
        ("64MiB", 900_000, 200, 200),
        ("64MiB", 1_100_000, 413, 200),
        ("100KiB", 90_000, 200, 200),
        ("100KiB", 110_000, 413, 413),  # the operator's bound is the smaller one
    ],
)
async def test_the_smaller_of_both_bounds_holds(start: Start, most: str, size: int, chat: int, plain: int) -> None:
    """A body of /chat is bounded by the smaller of 1 MiB and server.max_body."""
    running = await start(TWO % f"max_body: {most}")
    assert await ask(running, "/chat", size) == chat
    assert await ask(running, "/v1/chat/completions", size) == plain


@pytest.mark.parametrize("more", [{}, {"stream": True}])
async def test_all_attempts_share_the_time(
    start: Start, provider: Callable[[str], Provider], monkeypatch: pytest.MonkeyPatch, more: dict[str, Any]
) -> None:
    """The time is for the whole exchange: a slow second target does not get it anew; then a 504 `timeout`."""
    monkeypatch.setattr(routes, "WORKER", evolve(routes.WORKER, first_byte=Seconds(0.4)))
    running = await start(TWO % "")
    provider("one").will(status=503, latency=0.25)
    provider("two").will(latency=0.35)
    began = time.monotonic()
    async with running.post("/chat", chat_body("both") | more) as answer:
        said = await answer.json()
        assert answer.status == 504 and said["error"] == "timeout"
    assert 0.35 < time.monotonic() - began < 0.55
    assert await ask(running, "/v1/chat/completions", **more) == 200


async def test_a_stream_that_has_begun_goes_on(
    start: Start, provider: Callable[[str], Provider], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time is for the beginning of a stream: one that speaks is not cut."""
    monkeypatch.setattr(routes, "WORKER", evolve(routes.WORKER, first_byte=Seconds(0.1)))
    running = await start(TWO % "")
    provider("one").will(pace=0.05)
    async with running.post("/chat", chat_body("both") | {"stream": True}) as answer:
        assert (await answer.read()).endswith(b"data: [DONE]\n\n")
