"""`server.expose.listen`: operators' pages on a listener of their own, and nothing else there."""

import asyncio
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import aiohttp
import pytest

from tests.conftest import Provider
from tests.flows.processes import Run, free_port

pytestmark = pytest.mark.slow
LOCKED = """
server: {listen: ["127.0.0.1:PORT"], drain: 1s, step_aside: 0s, expose: {listen: "EXPOSED"}}
store: {url: "memory:"}
keys: {laptop: {secret: {env: LAPTOP}}, boss: {secret: {env: BOSS}, operator: true}}
providers: {one: {base_url: MOCK/one/v1, speaks: [openai_chat]}}
routes: {both: "one:m"}
"""
KEYS = {"LAPTOP": "gwk_a-key-of-a-laptop", "BOSS": "gwk_a-key-of-the-boss"}


async def statuses(connector: aiohttp.BaseConnector | None, url: str, **headers: str) -> list[int]:
    """Return the statuses of an operators' page, a public one and a client's."""
    found = []
    async with aiohttp.ClientSession(connector=connector) as session:
        for path in ("/metrics", "/health?format=json", "/v1/models"):
            async with session.get(url + path, headers=headers) as answer:
                found.append(answer.status)
                if path.startswith("/health"):
                    assert ("one" in (await answer.json())["providers"]) is (found[0] == 200)
    return found


async def test_a_port_for_operators(run: Run) -> None:
    """There no key is needed for operators' pages, and there is nothing else; a client's key opens nothing."""
    port = free_port()
    process = run(LOCKED.replace("EXPOSED", f"127.0.0.1:{port}"), environ=KEYS)
    exposed = f"http://127.0.0.1:{port}"
    assert await statuses(None, process.url) == [401, 200, 401]
    assert await statuses(None, exposed) == [200, 200, 401]
    assert await statuses(None, exposed, **{"x-api-key": KEYS["LAPTOP"]}) == [403, 200, 200]
    assert await statuses(None, exposed, Host="evil.example") == [403, 200, 403]


async def test_the_control_socket_serves_the_command_line(
    run: Run, folder: Path, provider: Callable[[str], Provider]
) -> None:
    """`gateway rest` asks the running gateway through a socket that only its own user may open."""
    text = LOCKED.replace(', expose: {listen: "EXPOSED"}', "").replace('"memory:"', f'"sqlite:{folder}/state/g.db"')
    provider("one").will(status=500)
    process = run(text.replace("store:", "breaker: {failures: 1, rest: 60s}\nstore:"), environ=KEYS)
    path = folder / "state" / "control.sock"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600

    async def ask(*more: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "gateway", "rest", *more, "--config", str(process.config)]
        environ = os.environ | KEYS
        return await asyncio.to_thread(
            subprocess.run, command, capture_output=True, text=True, check=False, env=environ
        )

    done = await ask()
    assert (done.returncode, done.stdout) == (0, "nothing rests\n")
    async with aiohttp.ClientSession() as session:
        body, headers = {"model": "both", "messages": []}, {"x-api-key": KEYS["LAPTOP"]}
        async with session.post(f"{process.url}/v1/chat/completions", json=body, headers=headers) as answer:
            assert answer.status == 502
        operator = {"x-api-key": KEYS["BOSS"]}
        async with session.get(f"{process.url}/rests", headers=operator) as answer:
            (rest,) = (await answer.json())["data"]
            assert (rest["target"], rest["credential"], rest["why"]) == ("one:m", None, "transient")
            assert 50 < rest["seconds_left"] <= 60 and rest["since"].endswith("Z")
        async with session.delete(f"{process.url}/rests?name=one:m", headers=operator) as answer:
            assert answer.status == 403  # not over a network
        async with session.get(f"{process.url}/health?format=json", headers=operator) as answer:
            assert [one["target"] for one in (await answer.json())["rests"]] == ["one:m"]
    done = await ask()
    assert done.stdout.startswith("one:m  ") and done.stdout.endswith(": transient\n")
    done = await ask("clear", "two:m")
    assert (done.returncode, done.stderr) == (1, "gateway: Nothing rests under the name 'two:m'\n")
    done = await ask("clear", "one:m")
    assert done.returncode == 0 and "its rest is ended" in done.stdout
    assert (await ask()).stdout == "nothing rests\n"
    assert process.has("rest begins") and process.has("rest ends")
    os.kill(process.popen.pid, 15)
    assert await process.ended() == 0
    assert not path.exists()
    done = await ask()
    assert done.returncode == 1 and "no gateway answers" in done.stderr


async def test_a_unix_socket_for_operators(run: Run, folder: Path) -> None:
    """A unix socket does the same, is closed to other users, and is gone when the daemon has ended."""
    path = folder / "operators.sock"
    process = run(LOCKED.replace("EXPOSED", f"unix:{path}"), environ=KEYS)
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    assert await statuses(aiohttp.UnixConnector(str(path)), "http://localhost") == [200, 200, 401]
    os.kill(process.popen.pid, 15)
    assert await process.ended() == 0
    assert not path.exists()
