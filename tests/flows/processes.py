"""Real daemons under test, started as an operator starts them and ended by their pid."""

import asyncio
import json
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
from attrs import define

from tests.conftest import eventually

CONFIG = """
server: {listen: ["127.0.0.1:PORT"], drain: 2s, step_aside: 0s}
store: {url: "memory:"}
providers: {one: {base_url: MOCK/one/v1, speaks: [openai_chat]}}
routes: {both: "one:m"}
"""


@define
class Process:
    """A running `gateway run`."""

    popen: subprocess.Popen[bytes]
    config: Path
    url: str
    log: Path
    notices: socket.socket

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_bytes().splitlines()]

    def has(self, event: str) -> bool:
        return any(line["event"] == event for line in self.lines)

    def notice(self) -> str:
        return self.notices.recv(4096).decode()

    async def ended(self, seconds: float = 5) -> int:
        await eventually(lambda: self.popen.poll() is not None, seconds)
        return self.popen.wait()


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


Run = Callable[..., Process]


async def is_up(session: aiohttp.ClientSession, url: str) -> None:
    """Return as soon as the gateway at `url` answers /livez with 200; raises TimeoutError after ten seconds."""
    async with asyncio.timeout(10):
        while True:
            try:
                async with session.get(f"{url}/livez") as answer:
                    assert answer.status == 200
                    return
            except aiohttp.ClientError:
                await asyncio.sleep(0.02)
