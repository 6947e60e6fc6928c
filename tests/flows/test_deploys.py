"""Deploys behind real balancers, with socket activation, and by reload: no request is lost."""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gateway.mock.server import MockServer
from tests.conftest import Provider, eventually
from tests.flows.load import Load
from tests.flows.processes import Process, Run, free_port

pytestmark = [pytest.mark.slow, pytest.mark.exhaustive]
CONFIG = """
server: {listen: ["127.0.0.1:PORT"], drain: 10s, step_aside: ASIDE, trusted_proxies: [127.0.0.0/8]}
store: {url: "memory:"}
providers: {one: {base_url: MOCK/one/v1, speaks: [openai_chat]}}
routes: {both: "one:m"}
"""
HAPROXY = """
defaults
    mode http
    option http-no-delay
    option httpchk GET /readyz
    http-check expect status 200
    default-server check SEND
    timeout connect 2s
    timeout client 30s
    timeout server 30s
frontend in
    bind 127.0.0.1:FRONT
    default_backend gateways
backend gateways
    server a 127.0.0.1:PORT_A
    server b 127.0.0.1:PORT_B
"""
NGINX = """
daemon off; pid FOLDER/nginx.pid; error_log stderr;
events {}
http {
    access_log off;
    client_body_temp_path FOLDER/1; proxy_temp_path FOLDER/2; fastcgi_temp_path FOLDER/3; uwsgi_temp_path FOLDER/4;
    scgi_temp_path FOLDER/5;
    upstream gateways {
        server 127.0.0.1:PORT_A max_fails=1 fail_timeout=1s;
        server 127.0.0.1:PORT_B max_fails=1 fail_timeout=1s;
        keepalive 16;
    }
    server {
        listen 127.0.0.1:FRONT;
        location / {
            proxy_pass http://gateways;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For $remote_addr;
            proxy_buffering off;
            proxy_request_buffering off;
            proxy_next_upstream error timeout http_503 non_idempotent;
        }
    }
}
"""


def needs(program: str) -> None:
    """Skip where a program is missing; in CI it is not."""
    if shutil.which(program) is None:
        if os.environ.get("GATEWAY_CI"):
            pytest.fail(f"{program} is missing")
        pytest.skip(f"{program} is not installed")


Balance = Callable[[list[str]], subprocess.Popen[bytes]]


@pytest.fixture
def balance() -> Iterator[Balance]:
    started: list[subprocess.Popen[bytes]] = []

    def start(command: list[str]) -> subprocess.Popen[bytes]:
        started.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        return started[-1]

    yield start
    for popen in started:
        popen.terminate()
        popen.wait(10)


async def _is_up(url: str) -> None:
    async with aiohttp.ClientSession() as session, asyncio.timeout(10):
        while True:
            try:
                async with session.get(f"{url}/readyz") as answer:
                    if answer.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.05)


async def _restart(run: Run, text: str, old: Process, port: int) -> Process:
    old.popen.send_signal(signal.SIGTERM)
    assert await old.ended(20) == 0
    new = await asyncio.to_thread(run, text, port=port)
    await _is_up(new.url)
    return new


@pytest.mark.parametrize(
    ("program", "send", "aside"),
    # HAProxy's own defaults are `inter 2s fall 3`; faster checks only make the test shorter, in the same proportion.
    [
        ("haproxy", "inter 300ms fall 3 rise 1", "1500ms"),
        ("haproxy", "inter 300ms fall 3 rise 1 send-proxy", "1500ms"),
        ("nginx", "", "300ms"),
    ],
)
async def test_a_rolling_restart_behind_a_balancer(
    run: Run, folder: Path, balance: Balance, program: str, send: str, aside: str
) -> None:
    """Two gateways behind a balancer are restarted one after the other, under load: every request is answered."""
    needs(program)
    text = CONFIG.replace("ASIDE", aside)
    ports = [free_port(), free_port()]
    gateways = [await asyncio.to_thread(run, text, port=port) for port in ports]
    front, config = free_port(), folder / "balancer.cfg"
    written = HAPROXY if program == "haproxy" else NGINX
    for old, new in (
        ("FRONT", str(front)),
        ("PORT_A", str(ports[0])),
        ("PORT_B", str(ports[1])),
        ("SEND", send),
        ("FOLDER", str(folder)),
    ):
        written = written.replace(old, new)
    config.write_text(written)
    balance(["haproxy", "-db", "-f", str(config)] if program == "haproxy" else ["nginx", "-c", str(config)])
    url = f"http://127.0.0.1:{front}"
    await _is_up(url)
    async with Load(url) as load:
        await load.more(200)
        for number in (0, 1):
            gateways[number] = await _restart(run, text, gateways[number], ports[number])
            await asyncio.sleep(1.0)  # the balancer finds it again
            await load.more(200)
    assert load.failed == [] and load.sent > 800
    assert {line["address"] for line in gateways[0].lines if line["event"] == "exchange"} == {"127.0.0.1"}


async def test_reloads_lose_nothing(run: Run) -> None:
    """Twenty reloads under load, each of another file: every request is answered."""
    text = CONFIG.replace("ASIDE", "0s")
    process = await asyncio.to_thread(run, text)
    good = process.config.read_text()
    async with Load(process.url) as load:
        for number in range(20):
            process.config.write_text(good.replace("routes: {", f'routes: {{r{number}: "one:m", '))
            process.popen.send_signal(signal.SIGHUP)
            await load.more(60)
    assert load.failed == []
    assert sum(line["event"] == "reloaded" for line in process.lines) >= 19


@pytest.fixture
async def listener() -> AsyncIterator[socket.socket]:
    made = socket.create_server(("127.0.0.1", 0), backlog=1024)
    yield made
    made.close()


async def test_restarts_by_socket_activation_lose_nothing(
    folder: Path, mock: MockServer, listener: socket.socket
) -> None:
    """Five restarts on a socket that systemd holds: requests wait for the next gateway, and each is answered."""
    config = folder / "p.yaml"
    config.write_text(CONFIG.replace("PORT", "1").replace("MOCK", mock.url).replace("ASIDE", "300ms"))

    def start() -> subprocess.Popen[bytes]:
        return _activated(listener, ["--config", str(config), "--log-format", "json"], folder)

    popen = start()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    await _is_up(url)
    async with Load(url) as load:
        for _ in range(5):
            await load.more(200)
            popen.terminate()
            assert await asyncio.to_thread(popen.wait, 20) == 0
            popen = start()
    popen.terminate()
    assert await asyncio.to_thread(popen.wait, 20) == 0
    assert load.failed == [] and load.sent > 1000


def _activated(listener: socket.socket, arguments: list[str], folder: Path) -> subprocess.Popen[bytes]:
    """Start a gateway as systemd does: with the socket as descriptor 3."""
    script = (
        "import os, sys\n"
        "os.dup2(int(sys.argv[1]), 3); os.set_inheritable(3, True)\n"
        "os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1')\n"
        "os.execv(sys.executable, [sys.executable, '-m', 'gateway', 'run', *sys.argv[2:]])"
    )
    command = [sys.executable, "-c", script, str(listener.fileno()), *arguments]
    return subprocess.Popen(command, pass_fds=[listener.fileno()], stdout=subprocess.DEVNULL, cwd=folder)


async def test_fifty_streams_survive_sigterm(run: Run, mock: MockServer) -> None:
    """Streams that run when the gateway is told to stop go on to their end."""
    Provider(mock, "one").will(pace=0.15)
    process = await asyncio.to_thread(run, CONFIG.replace("ASIDE", "200ms"))
    body: dict[str, Any] = {"model": "both", "messages": [], "stream": True}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def stream() -> bytes:
            async with session.post(f"{process.url}/v1/chat/completions", json=body) as answer:
                return await answer.read()

        streams = [asyncio.create_task(stream()) for _ in range(50)]
        await eventually(lambda: len(mock.seen) == 50, 5)
        process.popen.send_signal(signal.SIGTERM)
        assert all(one.endswith(b"data: [DONE]\n\n") for one in await asyncio.gather(*streams))
    assert await process.ended(15) == 0
