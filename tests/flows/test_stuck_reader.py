"""Whoever reads the log may stop: the gateway goes on serving, and ends when it is told to."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import aiohttp
import pytest

from gateway.mock.server import MockServer
from tests.conftest import Provider
from tests.flows.processes import CONFIG, free_port, is_up

BODY = {"model": "both", "messages": []}


@pytest.mark.slow
async def test_a_stuck_reader_of_the_log_stops_nothing(
    folder: Path, mock: MockServer, provider: Callable[[str], Provider]
) -> None:
    """With a full pipe as standard output, requests, /livez and SIGTERM work; what is lost is counted and then said."""
    port, config = free_port(), folder / "providers.yaml"
    config.write_text(CONFIG.replace("PORT", str(port)).replace("MOCK", mock.url))
    reader, pipe = os.pipe()
    try:
        popen = subprocess.Popen(
            [sys.executable, "-m", "gateway", "run", "--config", str(config), "--log-format", "json"],
            stdout=pipe,
            cwd=folder,
        )
        os.close(pipe)
        url = f"http://127.0.0.1:{port}"
        async with aiohttp.ClientSession() as session:
            await is_up(session, url)
            alias = {"model": "nothing-" + "x" * 480, "messages": []}  # a long line for each refusal
            for _ in range(30):
                await asyncio.gather(*(_post(session, url, alias) for _ in range(20)))
            async with asyncio.timeout(5):
                assert await _post(session, url, BODY) == 200
                async with session.get(f"{url}/livez") as answer:
                    assert answer.status == 200
                async with session.get(f"{url}/metrics") as answer:
                    assert "gateway_log_lines_dropped_total" in await answer.text()
        popen.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(popen.wait, 8) == 0
    finally:
        os.close(reader)
        popen.kill()
        popen.wait()


async def _post(session: aiohttp.ClientSession, url: str, body: object) -> int:
    async with session.post(f"{url}/v1/chat/completions", json=body) as answer:
        await answer.read()
        return answer.status
