"""The endpoints for load balancers and operators."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from tests.conftest import FakeClock, Provider, Running, Start


async def get(running: Running, path: str, **headers: str) -> tuple[int, str]:
    async with running.session.get(running.url + path, headers=headers) as answer:
        return answer.status, await answer.text()


async def test_the_root_says_who_this_is(running: Running) -> None:
    """GET / names the service, its state and its endpoints; HEAD / is a 200. (EC-7)"""
    async with running.session.get(f"{running.url}/?beta=true") as answer:
        said = await answer.json()
    assert (said["status"], said["state"], said["service"]) == ("ok", "running", "gateway")
    assert said["endpoints"]["health"] == "/health" and said["message"] == f"gateway v{said['version']}"
    async with running.session.head(f"{running.url}/") as answer:
        assert answer.status == 200


async def test_probes_call_no_provider(running: Running, provider: Callable[[str], Provider]) -> None:
    """No probe calls a provider: a deep check would turn one provider's failure into a whole fleet's."""
    for path in ("/", "/health", "/livez", "/readyz"):
        assert (await get(running, path))[0] == 200
    assert not provider("one").seen
    assert running.exchanges == []  # machines send these every second: counted, not logged
    assert 'endpoint="probe"' in running.gateway.telemetry.metrics.expose().decode()


async def test_health_is_yaml_or_json(running: Running, provider: Callable[[str], Provider]) -> None:
    """/health is YAML by default and JSON on request; `api_key_valid` is what the last traffic showed."""
    status, text = await get(running, "/health")
    report: Any = yaml.safe_load(text)
    assert status == 200 and report["status"] == "healthy" and report["api_key_valid"] is None
    assert report["providers"]["one"]["live"] is True
    await running.chat()
    provider("two").will(status=401)
    await running.chat("two:m")
    async with running.session.get(f"{running.url}/health", headers={"Accept": "application/json"}) as answer:
        report = await answer.json()
    assert report["providers"]["one"]["api_key_valid"] is True
    assert report["providers"]["two"]["api_key_valid"] is False
    assert "one-upstream-key" not in str(report)


async def test_without_a_live_target_it_is_not_ready(start: Start) -> None:
    """Without a live target /readyz and /health are 503, so that a balancer looks elsewhere; /livez is 200."""
    running = await start(
        "store: {url: 'memory:'}\nproviders: {one: {base_url: MOCK/one/v1, auth: {bearer: {env: NONE}}, speaks: SPEAKS}}\nroutes: {a: 'one:m'}"
    )
    assert (await get(running, "/readyz"))[0] == 503
    status, text = await get(running, "/health")
    assert status == 503 and yaml.safe_load(text)["status"] == "unhealthy"
    assert (await get(running, "/livez"))[0] == 200


async def test_draining_and_starting_are_not_ready(running: Running) -> None:
    """While draining or starting /readyz is 503; /livez is 200; draining responses carry Connection: close."""
    running.gateway.lifecycle.is_draining = True
    assert (await get(running, "/readyz")) == (503, "draining\n")
    assert yaml.safe_load((await get(running, "/health"))[1])["status"] == "draining"
    async with running.session.get(f"{running.url}/livez") as answer:
        assert answer.status == 200 and answer.headers["Connection"] == "close"
    async with running.post("/v1/chat/completions", {"model": "both", "messages": []}) as answer:
        assert answer.status == 200 and answer.headers["Connection"] == "close"
    running.gateway.lifecycle.is_started = False
    assert (await get(running, "/readyz")) == (503, "starting\n")


async def test_metrics_can_be_turned_off(start: Start) -> None:
    """With `server.expose.metrics: false` /metrics is a 404."""
    running = await start("server: {expose: {metrics: false}}\nstore: {url: 'memory:'}")
    assert (await get(running, "/metrics"))[0] == 404


async def test_metrics_are_prometheus(running: Running) -> None:
    """/metrics is Prometheus text with a HELP line for each of the gateway's metrics."""
    await running.chat()
    async with running.session.get(f"{running.url}/metrics") as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        text = await answer.text()
    for name in (
        "requests_total", "errors_total", "attempts_total", "fallbacks_total", "tokens_total", "refusals_total",
        "config_reloads_total", "config_reload_failures_total", "request_duration_seconds", "upstream_duration_seconds",
        "time_to_first_token_seconds", "overhead_seconds", "in_flight", "target_state", "draining",
    ):  # fmt: skip
        assert f"# HELP gateway_{name.removesuffix('_total')}" in text, name


TESTED = """
store: {url: "memory:"}
providers: {one: {base_url: MOCK/one/v1, auth: {bearer: {env: ONE}}, speaks: SPEAKS}}
routes: {both: "one:m"}
default_provider: one
"""


async def test_the_connection_test_asks_once_and_keeps_the_answer(
    start: Start, provider: Callable[[str], Provider]
) -> None:
    """/test-connection calls the provider once; for ten seconds every client gets that result."""
    clock = FakeClock()
    running = await start(TESTED, clock=clock.clock())

    async def test() -> tuple[int, Any]:
        async with running.session.get(f"{running.url}/test-connection") as answer:
            return answer.status, await answer.json()

    answers = await asyncio.gather(*(test() for _ in range(5)))
    assert {status for status, _ in answers} == {200}
    said = answers[0][1]
    assert (said["status"], said["provider"], said["model_used"], said["response_id"]) == (
        "success",
        "one",
        "m",
        "chatcmpl-mock",
    )
    assert len(provider("one").seen) == 1 and provider("one").seen[0].json["max_tokens"] == 16

    clock.now += 10.1
    provider("one").will(status=401)
    status, said = await test()
    assert status == 503 and said["status"] == "failed" and said["suggestions"] and said["provider"] == "one"
    assert "upstream-key" not in str(said)


@pytest.mark.parametrize("extra", ["defaults: {probe: both}", "defaults: {chat_model: both}", "default_provider: one"])
async def test_what_is_asked_can_be_configured(start: Start, extra: str) -> None:
    """/test-connection uses `defaults.probe`, `defaults.chat_model` or the default provider's first route."""
    running = await start(TESTED.replace("default_provider: one", extra))
    assert (await get(running, "/test-connection"))[0] == 200


async def test_nothing_to_ask_is_said(start: Start) -> None:
    """Without anything to call, /test-connection is a 503 that names the key to set."""
    running = await start(TESTED.replace("default_provider: one", ""))
    status, text = await get(running, "/test-connection")
    assert status == 503 and "defaults.probe" in text
