"""The log line of a failure says what was asked, who failed and in which words, and nothing of the prompt."""

import json
from collections.abc import Callable

import pytest
from aiohttp import web

from gateway.proxy.trail import LOOP
from gateway.telemetry.quotes import without_quotes
from tests.conftest import TWO_TARGETS, Provider, Start, chat_body

Providers = Callable[[str], Provider]
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


async def test_a_404_has_its_path_and_an_unknown_model_its_name(start: Start) -> None:
    """An unknown path is logged with its method, an unknown model under the name that was asked for."""
    running = await start()
    async with running.session.put(f"{running.url}/v2/chat?key=secret") as answer:
        assert answer.status == 404 and answer.headers["x-should-retry"] == "false"
    assert (running.exchanges[-1]["method"], running.exchanges[-1]["path"]) == ("PUT", "/v2/chat")
    status, _ = await running.chat("nobody-has-this")
    assert (status, running.exchanges[-1]["asked"]) == (404, "nobody-has-this")


async def test_the_providers_words_are_there_without_the_prompt(start: Start, provider: Providers) -> None:
    """The provider's words stand in the line, cut, without its key and without what they quote of the request."""
    running = await start()
    prompt = 'my grandmother\'s recipe for "apple" pie\nand nothing else'
    words = f"Bad thing in '{prompt}' near one-upstream-key: use fewer apples " + "x" * 300
    provider("one").will(status=500, error={"message": words})
    async with running.post(
        "/v1/chat/completions", {"model": "both", "messages": [{"role": "user", "content": prompt}]}
    ) as answer:
        assert answer.status == 200
    (failed,) = running.exchanges[-1]["failed"]
    assert (failed["target"], failed["why"]) == ("one:m", "transient")
    assert failed["words"].startswith("500: Bad thing in") and "use fewer apples" in failed["words"]
    assert len(failed["words"]) < 220
    log = running.output.getvalue()
    assert (
        b"grandmother" not in log and b"apple" not in log.replace(b"fewer apples", b"") and b"upstream-key" not in log
    )


async def test_who_was_passed_over_is_said(start: Start, provider: Providers) -> None:
    """A target without a credential, and one that cannot be asked this, stand in the line with the reason."""
    text = TWO_TARGETS.replace("{env: ONE}", "{env: MISSING}")
    running = await start(text)
    assert (await running.chat())[0] == 200
    assert running.exchanges[-1]["failed"] == [{"target": "one:m", "why": "no_credential", "words": ""}]


async def test_ids_of_balancers_and_tracers_are_logged_and_passed_on(start: Start, provider: Providers) -> None:
    """The configured request id and a valid traceparent go into the log and upstream; the provider's id is logged."""
    running = await start(TWO_TARGETS.replace("server: {", "server: {request_id_header: x-lb-id, "))
    provider("one").will(headers={"x-request-id": "up-1"})
    headers = {"X-LB-Id": "lb-7\u00e9", "traceparent": TRACE, "tracestate": "a=1"}
    async with running.post("/v1/chat/completions", chat_body("both"), headers=headers) as answer:
        assert answer.status == 200
    line, seen = running.exchanges[-1], provider("one").seen[-1].headers
    assert (line["balancer_id"], line["trace"], line["upstream_id"]) == ("lb-7", TRACE[3:35], "up-1")
    assert (seen["x-lb-id"], seen["traceparent"], seen["tracestate"]) == ("lb-7", TRACE, "a=1")
    async with running.post("/v1/chat/completions", chat_body("both"), headers={"traceparent": "00-0-0-01"}) as answer:
        assert answer.status == 200
    assert "trace" not in running.exchanges[-1] and "traceparent" not in provider("one").seen[-1].headers


async def test_a_call_that_comes_back_is_a_508(start: Start) -> None:
    """A provider whose address leads back here, over whatever ways, is told from a gateway behind a gateway."""
    app = web.Application()

    async def forward(request: web.Request) -> web.Response:  # a proxy in between, which hides the address
        async with running.session.post(
            f"{running.url}/v1/chat/completions", data=await request.read(), headers=_kept(request)
        ) as answer:
            return web.Response(status=answer.status, body=await answer.read(), content_type="application/json")

    app.router.add_route("*", "/{path:.*}", forward)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    try:
        text = TWO_TARGETS.replace("single: one:m", "single: one:single")
        running = await start(text.replace("MOCK/one/v1", f"http://127.0.0.1:{port}/v1"))
        await running.chat("single")
        outcomes = [line["outcome"] for line in running.exchanges]
        assert "loop" in outcomes and len(outcomes) <= 3
        inner = next(line for line in running.exchanges if line["outcome"] == "loop")
        assert inner["status"] == 508
        async with running.post("/v1/chat/completions", chat_body("both"), headers={LOOP: "another"}) as answer:
            assert answer.status != 508
        too_many = {LOOP: ",".join(map(str, range(8)))}
        async with running.post("/v1/chat/completions", chat_body("both"), headers=too_many) as answer:
            assert answer.status == 508 and (await answer.json())["error"]["code"] == "loop_detected"
    finally:
        await runner.cleanup()


def _kept(request: web.Request) -> dict[str, str]:
    return {name: value for name, value in request.headers.items() if name.lower() in (LOOP, "content-type")}


SECRET = "my grandmother's recipe"
RUSSIAN = "\u041c\u043e\u0439 \u043f\u0430\u0440\u043e\u043b\u044c"
CHINESE = "\u6211\u7684\u5bc6\u7801\u662f\u516d"


@pytest.mark.parametrize(
    ("words", "sent", "left"),
    [
        ("Rate limit reached for gpt-5 in organization org-1", b'{"model":"gpt-5"}', None),
        (
            "Invalid: 'the quick brown fox jumps'",
            b'{"content":"see the quick brown fox jumps over"}',
            "Invalid: '[...]'",
        ),
        ("Invalid: a\nb c d e f g h", b'{"content":"a\\nb c d e f g h"}', "Invalid: [...]"),
        ("no", b"x" * 2_000_000, "[...]"),
        (f"bad: {RUSSIAN}!", json.dumps({"content": RUSSIAN}).encode(), "bad: [...]!"),
        (f"bad: {RUSSIAN.upper()}!", json.dumps({"content": RUSSIAN}, ensure_ascii=False).encode(), "bad: [...]!"),
        (
            f"bad\uff1a\u300c{CHINESE}\u300d\u3002",
            json.dumps({"content": CHINESE}).encode(),
            "bad\uff1a\u300c[...]\u300d\u3002",
        ),
        (f"bad: {('line ' + SECRET)!r}", json.dumps({"content": "line\n" + SECRET}).encode(), None),
        (
            r"bad: 'my secret\nrecipe of pie'",
            json.dumps({"content": "my secret\nrecipe of pie"}).encode(),
            "bad: '[...]'",
        ),
        ("bad: MY GRANDMOTHER'S RECIPE", json.dumps({"content": SECRET}).encode(), "bad: [...]"),
        ("\U0001f600 smile so wide today", json.dumps({"content": "\U0001f600 smile so wide today"}).encode(), "[...]"),
    ],
)
def test_quotations_are_left_out(words: str, sent: bytes, left: str | None) -> None:
    """What stands in both is replaced, however it is escaped; a large request is not searched, and nothing is shown."""
    found = without_quotes(words, sent)
    if left is not None:
        assert found == left
    assert "grandmother" not in found.lower() and RUSSIAN.lower() not in found.lower() and CHINESE not in found
    if left is None and "grandmother" not in words:
        assert found == words
