"""No secret, no prompt and no answer in any log, error, metric or health output."""

from collections.abc import Callable
from typing import Any

from tests.conftest import Provider, Start, chat_body

CANARIES = {
    "ONE": "canary-upstream-one", "TWO": "canary-upstream-two", "KEY": "canary-client-key", "BOSS": "canary-boss-key",
}  # fmt: skip
PROMPT, ANSWER, PASSED = "canary-prompt-text", "canary-answer-text", "canary-passed-key"
TEXT = """
store: {url: "memory:"}
keys: {a: {secret: {env: KEY}}, boss: {secret: {env: BOSS}, operator: true}}
limits: {failed_auth: 2/minute}
providers:
  one: {base_url: MOCK/one/v1, auth: {bearer: {env: ONE}}, speaks: SPEAKS}
  two: {base_url: MOCK/two/v1, auth: {api-key: [{env: TWO}]}, speaks: SPEAKS}
  byok: {base_url: MOCK/byok/v1, auth: passthrough, speaks: SPEAKS}
routes: {both: ["one:m", "two:m"]}
default_provider: one
"""


async def test_no_canary_sings(start: Start, provider: Callable[[str], Provider]) -> None:
    """No key or prompt shows up in a log, error, header, metric or page, although providers and clients echo them."""
    running = await start(TEXT, CANARIES)
    shown: list[str] = []
    headers = {"Authorization": f"Bearer {CANARIES['KEY']}", "x-provider-key": PASSED}
    echo = {
        "message": f"Incorrect API key provided: {CANARIES['ONE']} {CANARIES['TWO']} {PASSED}",
        "type": "invalid_request_error",
    }

    async def ask(body: dict[str, Any], path: str = "/v1/chat/completions", method: str = "POST", **more: str) -> None:
        async with running.session.request(method, running.url + path, json=body, headers=headers | more) as answer:
            text = await answer.text()
            if answer.status != 200:
                shown.append(text)
            shown.append(str(answer.headers))

    body = chat_body("both")
    body["messages"][0]["content"] = PROMPT
    provider("one").will(times=1, text=ANSWER)
    await ask(body)
    for status in (400, 401, 403, 404, 429, 500, 503):
        for name in ("one", "two", "byok"):
            provider(name).will(times=2, status=status, error=echo)
        await ask(body)
        await ask(body | {"model": "byok:m"})
        await ask(body | {"stream": True})
    provider("one").will(
        times=2,
        frames=[b'data: {"choices":[{"index":0,"delta":{"content":"' + ANSWER.encode() + b'"}}]}\n\n'],
        fault="truncate",
    )
    await ask(body | {"stream": True})
    await ask(body | {"model": CANARIES["ONE"]})
    await ask(body | {"model": f"one:{CANARIES['TWO']}"})
    await ask({"model": "both", "messages": PROMPT, "stream": PROMPT})
    await ask(body, Authorization=f"Bearer {CANARIES['ONE']}")
    await ask(body, path="/v1/nothing")
    for path in ("/", "/health", "/metrics", "/v1/models", "/v1/aliases", "/test-connection"):
        await ask({}, path, "GET", **{"x-api-key": CANARIES["BOSS"]})
        async with running.session.get(running.url + path, headers={"x-api-key": CANARIES["BOSS"]}) as answer:
            shown.append(await answer.text())
    shown.append(running.gateway.telemetry.metrics.expose().decode())
    running.gateway.telemetry.logs.flush()
    log = running.output.getvalue().decode()

    for canary in (*CANARIES.values(), PASSED, PROMPT):
        assert canary not in log, canary
        assert not any(canary in text for text in shown), canary
    assert ANSWER not in log
    assert len(running.exchanges) > 20
