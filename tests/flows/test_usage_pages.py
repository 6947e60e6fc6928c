"""To see it: a key's page about itself, the running totals, and the commands `gateway usage` and `gateway keys`."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from tests.conftest import Provider, Running, Start, chat_body
from tests.flows.accounts import A, B, chat_frames, chat_reply, config
from tests.flows.processes import Process, Run

Providers = Callable[[str], Provider]
ENVIRON = {"KEY": "gwk_client-key", "OTHER": "gwk_other-key"}


async def chat(running: Running | Process, session: aiohttp.ClientSession, headers: Any = A, **more: Any) -> int:
    body = chat_body("single") | more
    async with session.post(f"{running.url}/v1/chat/completions", json=body, headers=headers) as answer:
        await answer.read()
        return answer.status


async def page(running: Running, path: str, headers: Any = A) -> Any:
    async with running.session.get(running.url + path, headers=headers) as answer:
        return answer.status, json.loads(await answer.read())


async def test_a_key_sees_itself(start: Start, provider: Providers) -> None:
    """GET /v1/usage says what the key has used and has left, and nothing of another key; all prefixes have it."""
    running = await start(config(b="limits: {default: {requests: 10/minute}}, budget: {usd: 5}"))
    provider("one").will(body=chat_reply(100, 50))
    assert [await chat(running, running.session, headers) for headers in (A, B)] == [200, 200]
    status, found = await page(running, "/v1/usage", B)
    assert (status, found["object"]) == (200, "usage")
    (row,) = found["rows"]
    assert (row["requests"], row["input"], row["output"], row["cost"]) == (1, 100, 50, 0.0006)
    assert [(one["unit"], one["left"]) for one in found["limits"]] == [("requests", 8)]
    assert [(one["name"], one["spent"]) for one in found["budgets"]] == [("key:b", 0.0006)]
    _, by_model = await page(running, "/openai/v1/usage?by=model,provider&since=24h", B)
    assert [(one["model"], one["provider"]) for one in by_model["rows"]] == [("m", "one")]
    for query in ("by=secret", "since=tomorrow", "until=1"):
        status, refused = await page(running, f"/v1/usage?{query}", B)
        assert status == 400 and query.partition("=")[0] in refused["error"]["message"]
    assert (await page(running, "/usage", B))[0] == 403 and (await page(running, "/v1/usage", {}))[0] == 401


async def test_running_totals(start: Start, provider: Providers) -> None:
    """YAML or JSON, by provider and model with globs, streamed and not, with what is in flight."""
    running = await start(config())
    provider("one").will(1, body=chat_reply(100, 50))
    provider("one").will(1, frames=chat_frames(7, 3))
    await chat(running, running.session)
    await chat(running, running.session, stream=True)
    async with running.session.get(f"{running.url}/metrics/running-totals", headers=A) as answer:
        assert answer.content_type == "application/yaml"
        found = yaml.safe_load(await answer.text())
    assert found["summary"] == {"requests": 2, "errors": 0, "tokens": 160, "cost": 0.000637, "unpriced": 0, "active": 0}
    rollup = found["providers"]["one"]["rollup"]
    assert (rollup["total"]["input"], rollup["streaming"]["input"], rollup["non_streaming"]["output"]) == (107, 7, 50)
    assert found["providers"]["one"]["models"]["m"]["streaming"]["requests"] == 1
    _, none = await page(running, "/metrics/running-totals?format=json&model=x*&include_active=false")
    assert none["providers"] == {} and "active" not in none["summary"]
    _, some = await page(running, "/metrics/running-totals?format=json&provider=o*&model=m")
    assert some["summary"]["requests"] == 2
    assert (await page(running, "/metrics/running-totals", B))[0] == 403


async def test_metrics_by_key(start: Start, provider: Providers) -> None:
    """Tokens by kind, cost and budgets have the key and its team; a key that nobody configured has none."""
    running = await start(config(a="budget: {usd: 1, per: day}"))
    provider("one").will(body=chat_reply(100, 50, cached=10))
    await chat(running, running.session)
    text = running.gateway.telemetry.metrics.expose().decode()
    labels = 'key="a",part="{}",provider="one",team="search"'
    for part, count in (("input", 90), ("cache_read", 10), ("output", 50)):
        assert f"gateway_tokens_total{{{labels.format(part)}}} {count}.0" in text
    assert 'gateway_cost_usd_total{key="a",provider="one",team="search"} 0.000591' in text
    assert 'gateway_budget_left{name="key:a",unit="usd"} 0.999409' in text
    assert 'gateway_key_requests_total{key="a",outcome="ok",team="search"} 1.0' in text


def command(process: Process, *arguments: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "gateway", *arguments, "--config", str(process.config)]
    return subprocess.run(line, capture_output=True, text=True, timeout=30, env=ENVIRON | {"PATH": ""}, check=False)


@pytest.mark.slow
async def test_the_command_reads_what_runs_and_what_has_ended(run: Run, folder: Path, provider: Providers) -> None:
    """`gateway usage` asks the running gateway, and reads the store of one that has ended: nothing is lost."""
    text = config(store=f"sqlite:{folder}/state/g.db", a="budget: {usd: 1, per: day}")
    process = await asyncio.to_thread(run, text.replace("127.0.0.1:0", "127.0.0.1:PORT"), environ=ENVIRON)
    provider("one").will(body=chat_reply(100, 50))
    async with aiohttp.ClientSession() as session:
        assert [await chat(process, session) for _ in range(3)] == [200] * 3
        shown = await asyncio.to_thread(command, process, "usage", "--by", "key,model")
        assert shown.returncode == 0 and "budget key:a: $0.0018 of $1 this day" in shown.stdout, shown.stderr
        assert [line.split() for line in shown.stdout.splitlines() if line.startswith("a ")] == [
            ["a", "m", "3", "0", "300", "0", "0", "150", "0", "$0.001800"]
        ]
        assert await chat(process, session) == 200
    process.popen.terminate()
    assert await process.ended(10) == 0
    found = json.loads((await asyncio.to_thread(command, process, "usage", "--json")).stdout)
    assert [(row["key"], row["requests"], row["cost"]) for row in found["rows"]] == [("a", 4, 0.0024)]
    assert [(one["name"], one["spent"]) for one in found["budgets"]] == [("key:a", 0.0024)]
    table = (await asyncio.to_thread(command, process, "usage", "--csv", "--by", "day")).stdout.splitlines()
    assert table[0].startswith("day,requests,errors,input") and table[1].endswith(",4,0,400,0,0,200,0,0.0024,0,0")
    wrong = await asyncio.to_thread(command, process, "usage", "--by", "nothing")
    assert wrong.returncode == 1 and "none of day, key, team" in wrong.stderr
    again = await asyncio.to_thread(run, text.replace("127.0.0.1:0", "127.0.0.1:PORT"), environ=ENVIRON)
    async with aiohttp.ClientSession() as session, session.get(f"{again.url}/usage", headers=A) as answer:
        assert [one["spent"] for one in (await answer.json())["budgets"]] == [0.0024], "a restart keeps it"


async def test_keys_list_shows_no_secret(folder: Path) -> None:
    """`gateway keys list` shows what is set for each key, and of its secrets only the ids of the log."""
    file = folder / "providers.yaml"
    file.write_text(
        config(a="expires: 2020-01-01, limits: {default: {requests: 60/minute, burst: 5}}, budget: {usd: 2}").replace(
            "MOCK", "http://127.0.0.1:1"
        )
    )
    line = [sys.executable, "-m", "gateway", "keys", "list", "--config", str(file)]
    environ = ENVIRON | {"PATH": ""}
    shown = await asyncio.to_thread(subprocess.run, line, capture_output=True, text=True, env=environ, check=True)
    assert "gwk_" not in shown.stdout and "2020-01-01 (expired)" in shown.stdout and "team=search" in shown.stdout
    assert "60 requests/minute, burst 5" in shown.stdout and "2 USD a month" in shown.stdout
    found = await asyncio.to_thread(subprocess.run, [*line, "--json"], capture_output=True, text=True, env=environ)
    assert [key["name"] for key in json.loads(found.stdout)] == ["a", "b"]
