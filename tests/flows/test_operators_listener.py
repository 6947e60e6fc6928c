"""`server.expose.listen`: operators' pages on a listener of their own, and nothing else there."""

import os
import stat
from pathlib import Path

import aiohttp
import pytest

from tests.flows.processes import Run, free_port

pytestmark = pytest.mark.slow
LOCKED = """
server: {listen: ["127.0.0.1:PORT"], drain: 1s, expose: {listen: "EXPOSED"}}
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


async def test_a_unix_socket_for_operators(run: Run, folder: Path) -> None:
    """A unix socket does the same, is closed to other users, and is gone when the daemon has ended."""
    path = folder / "operators.sock"
    process = run(LOCKED.replace("EXPOSED", f"unix:{path}"), environ=KEYS)
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    assert await statuses(aiohttp.UnixConnector(str(path)), "http://localhost") == [200, 200, 401]
    os.kill(process.popen.pid, 15)
    assert await process.ended() == 0
    assert not path.exists()
