"""`make bench`: what the gateway costs beside a bare aiohttp proxy, in one interleaved run on loopback.

CPU time is what the kernel counts for the proxy's own threads. The proxy is pinned to one core, the provider and this
load generator to another. On a shared machine throughput varies by tens of per cent, CPU time per request by a few: so
the figures are medians of CPU time, and the ratios matter more than the microseconds.
"""

import argparse
import asyncio
import json
import os
import pathlib
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from typing import cast

import uvloop

HERE = pathlib.Path(__file__).parent
ROUNDS = 7  # each row is measured so often; the table shows medians
SECONDS = 1.5  # of one measurement of plain requests
CONNECTIONS = 16  # of plain requests, each with one request at a time
STREAMS = 100  # at a time
KEY = "gwk_bench_0123456789abcdef0123456789abcdef"
CHAT, MESSAGES, RESPONSES = "/v1/chat/completions", "/v1/messages", "/v1/responses"
QUESTION = {"model": "bench", "messages": [{"role": "user", "content": "Tell me about foxes. " * 8}]}
CONFIG = """
server: {listen: ["127.0.0.1:%(port)d"]}
store: {url: "sqlite:%(folder)s/state.db"}
keys: {bench: {secret: {env: BENCH_KEY}, routes: ["bench*"]}}
limits:
  key: {default: {requests: 1000000/second}}
  address: {default: {requests: 1000000/second}}
providers:
  chat: {base_url: "http://127.0.0.1:%(upstream)d/v1", auth: {bearer: {env: BENCH_UPSTREAM}}, speaks: [openai_chat]}
  claude:
    base_url: "http://127.0.0.1:%(upstream)d/v1"
    auth: {bearer: {env: BENCH_UPSTREAM}}
    speaks: [anthropic_messages]
  native:
    base_url: "http://127.0.0.1:%(upstream)d/v1"
    auth: {bearer: {env: BENCH_UPSTREAM}}
    speaks: [openai_responses]
routes:
  bench: ["chat:bench", "chat:other"]
  bench-claude: ["claude:bench", "claude:other"]
  bench-native: ["native:bench", "native:other"]
"""
NGINX = """
daemon off; worker_processes 1; pid %(folder)s/pid; error_log /dev/null;
events { worker_connections 2048; }
http { access_log off; client_body_temp_path %(folder)s/b; proxy_temp_path %(folder)s/p;
  fastcgi_temp_path %(folder)s/f; uwsgi_temp_path %(folder)s/u; scgi_temp_path %(folder)s/s;
  upstream u { server 127.0.0.1:%(upstream)d; keepalive 128; }
  server { listen 127.0.0.1:%(port)d; keepalive_requests 1000000; client_body_buffer_size 1m;
    location / { proxy_pass http://u; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off; } } }
"""


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


class Proxy:
    """A process under test, pinned to one core; several rows may measure the same one."""

    def __init__(self, name: str, command: list[str], port: int, core: int, folder: str | None = None) -> None:
        self.name, self.port = name, port
        environ = os.environ | {"BENCH_KEY": KEY, "BENCH_UPSTREAM": "upstream-key"}
        self.log = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process does
        self.process = subprocess.Popen(command, stdout=self.log, stderr=subprocess.STDOUT, env=environ, cwd=folder)
        self.wait()
        os.sched_setaffinity(self.process.pid, {core})

    def wait(self) -> None:
        for _ in range(200):
            try:
                socket.create_connection(("127.0.0.1", self.port), 0.2).close()
                return
            except OSError:
                time.sleep(0.05)
        self.log.seek(0)
        sys.exit(f"{self.name} did not start: {self.log.read().decode()}")

    def cpu_us(self) -> float:
        """CPU of the process and its children so far, in microseconds."""
        pids = [str(self.process.pid)]
        children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        pids += children.read_text().split()
        total = 0
        for pid in pids:
            for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
                total += int((task / "schedstat").read_text().split()[0])
        return total / 1000

    def memory_mib(self) -> float:
        """Resident memory."""
        pages = int(pathlib.Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

    def stop(self) -> None:
        """End it; a gateway would step aside for a while, and the second signal ends that."""
        for _ in range(2):
            self.process.terminate()
            try:
                self.process.wait(0.5)
                return
            except subprocess.TimeoutExpired:
                continue
        self.process.wait(10)


class Client(asyncio.Protocol):
    """A closed loop on one connection: sends a request, counts what comes back, sends the next."""

    def __init__(self, request: bytes, is_over: Callable[[], bool]) -> None:
        self.request, self.is_over = request, is_over
        self.requests = self.events = 0
        self.done = asyncio.get_running_loop().create_future()
        self._body = -1  # bytes of the body still to come; -1 while the head is read, 0 if the body is chunked
        self._tail = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's transport is not a subclass
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        self.events += data.count(b"data: {")
        if self._is_end(data):
            self.requests += 1
            self._body, self._tail = -1, b""
            if self.is_over():
                self.transport.close()
                if not self.done.done():
                    self.done.set_result(None)
            else:
                self.transport.write(self.request)

    def _is_end(self, data: bytes) -> bool:
        if self._body < 0:
            self._tail += data
            head, gap, rest = self._tail.partition(b"\r\n\r\n")
            if not gap:
                return False
            if b" 200 " not in head[:16]:
                sys.exit(f"unexpected answer: {self._tail[:500]!r}")
            found = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
            self._body = int(found) - len(rest) if found else 0
            if found:
                return self._body == 0
        elif self._body > 0:
            self._body -= len(data)
            return self._body == 0
        return data.endswith(b"0\r\n\r\n")


def write_request(port: int, path: str, body: Mapping[str, object]) -> bytes:
    """The bytes of one POST."""
    data = json.dumps(body, separators=(",", ":")).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {KEY}\r\n"
    return f"{head}Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data


async def load(proxy: Proxy, request: bytes, connections: int, seconds: float) -> tuple[int, int, float]:
    """Keep `connections` busy for `seconds`. Return (requests, events, CPU microseconds of the proxy)."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    before = proxy.cpu_us()
    clients = []
    for _ in range(connections):
        _, client = await loop.create_connection(
            lambda: Client(request, lambda: loop.time() >= end), "127.0.0.1", proxy.port
        )
        clients.append(client)
    await asyncio.wait([client.done for client in clients], timeout=seconds + 30)
    used = proxy.cpu_us() - before
    return sum(client.requests for client in clients), sum(client.events for client in clients), used


class Row:
    """One line of the table: a proxy and the request that it gets. `base` names the row that it is compared with."""

    def __init__(
        self, name: str, proxy: Proxy, path: str = CHAT, model: str = "bench", base: str = "lean", **more: object
    ) -> None:
        self.name, self.proxy, self.path, self.base = name, proxy, path, base
        self.question = QUESTION | {"model": model} | ({"max_tokens": 1000} if path == MESSAGES else {}) | more
        self.found: dict[str, list[float]] = {"request": [], "64k": [], "chunk": []}

    def request(self, **more: object) -> bytes:
        body = self.question | more
        if self.path == RESPONSES:
            body["input"] = body.pop("messages")
        return write_request(self.proxy.port, self.path, body)

    async def measure(self) -> None:
        """Measure one round: small requests, requests of 64 KiB, and streams.

        A stream outlasts the 0.1 s, so that each connection reads exactly one.
        """
        requests, _, used = await load(self.proxy, self.request(), CONNECTIONS, SECONDS)
        self.found["request"].append(used / requests)
        large = [{"role": "user", "content": "x" * 65000}]
        requests, _, used = await load(self.proxy, self.request(messages=large), CONNECTIONS, SECONDS / 2)
        self.found["64k"].append(used / requests)
        _, events, used = await load(self.proxy, self.request(stream=True), STREAMS, 0.1)
        self.found["chunk"].append(used / events)


async def measure(rows: list[Row], rounds: int) -> None:
    """Run every row in turn, round by round."""
    for row in rows:  # warm up: connections, caches, the interpreter's specialisations
        await load(row.proxy, row.request(), CONNECTIONS, 1.0)
    for number in range(rounds):
        for row in rows[number % 2 :] + rows[: number % 2]:
            await row.measure()


def report(rows: list[Row]) -> str:
    """The table: absolute figures, and ratios to the row that each is compared with."""
    lines = [f"{'':<18}{'us/request':>12}{'x':>7}{'us/64 KiB':>12}{'x':>7}{'us/chunk':>12}{'x':>7}{'MiB':>7}  x is to"]
    medians = {row.name: {kind: statistics.median(found) for kind, found in row.found.items()} for row in rows}
    for row in rows:
        line = f"{row.name:<18}"
        for kind, value in medians[row.name].items():
            line += f"{value:>12.1f}{value / medians[row.base][kind]:>7.2f}"
        lines.append(f"{line}{row.proxy.memory_mib():>7.0f}  {row.base}")
    return "\n".join(lines)


def start_gateway(
    name: str, checkout: str, python: str, upstream: int, folder: str, core: int, workers: int = 1
) -> Proxy:
    """Start the gateway of a checkout on a free port, with a store of its own."""
    port, state = free_port(), pathlib.Path(folder, name)
    state.mkdir()
    config = state / "providers.yaml"
    text = CONFIG % {"port": port, "upstream": upstream, "folder": state}
    config.write_text(text if workers == 1 else text.replace("server: {", f"server: {{workers: {workers}, "))
    command = [python, "-m", "gateway", "run", "--config", str(config), "--log-format", "json"]
    return Proxy(name, command, port, core, checkout)


def main() -> None:
    """Start everything, measure, print, stop everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--against", metavar="CHECKOUT", help="another checkout, set up, measured in the same run")
    arguments = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    upstream = free_port()
    with tempfile.TemporaryDirectory() as folder:
        provider = subprocess.Popen([sys.executable, str(HERE / "upstream.py"), str(upstream)])
        os.sched_setaffinity(0, {cores[-1]})
        os.sched_setaffinity(provider.pid, {cores[-1]})
        proxies = []
        try:
            port = free_port()
            command = [sys.executable, str(HERE / "lean.py"), str(port), f"http://127.0.0.1:{upstream}"]
            proxies.append(Proxy("lean", command, port, cores[0]))
            proxies.append(start_gateway("gateway", str(HERE.parent), sys.executable, upstream, folder, cores[0]))
            # What two workers and their supervisor use for a request: on cores of their own they carry 2 / x times one.
            two = start_gateway("two workers", str(HERE.parent), sys.executable, upstream, folder, cores[0], workers=2)
            proxies.append(two)
            if shutil.which("nginx"):
                port = free_port()
                config = pathlib.Path(folder, "nginx.conf")
                config.write_text(NGINX % {"port": port, "upstream": upstream, "folder": folder})
                proxies.append(Proxy("nginx", ["nginx", "-c", str(config)], port, cores[0]))
            rows = [Row(proxy.name, proxy, base="gateway" if proxy is two else "lean") for proxy in proxies]
            gateway = proxies[1]
            if arguments.against:
                python = str(pathlib.Path(arguments.against, ".venv/bin/python").absolute())
                other = start_gateway("other", arguments.against, python, upstream, folder, cores[0])
                proxies.append(other)
                rows += [Row("other checkout", other), Row("gateway to other", gateway, base="other checkout")]
                rows += [
                    Row("other crossed", other, CHAT, "bench-claude"),
                    Row("crossed to other", gateway, CHAT, "bench-claude", "other crossed"),
                ]
            rows += [
                Row("raw messages", gateway, MESSAGES, "bench-claude"),
                Row("chat on claude", gateway, CHAT, "bench-claude", "gateway"),
                Row("claude on chat", gateway, MESSAGES, "bench", "gateway"),
                Row("responses on chat", gateway, RESPONSES, "bench", "gateway", store=False),
                Row("raw responses", gateway, RESPONSES, "bench-native", store=False),
                Row("stored responses", gateway, RESPONSES, "bench-native", "raw responses", store=True),
                Row("stored on chat", gateway, RESPONSES, "bench", "responses on chat", store=True),
            ]
            uvloop.run(measure(rows, arguments.rounds))
            print(report(rows))
        finally:
            for proxy in proxies:
                proxy.stop()
            provider.terminate()
            provider.wait(10)


if __name__ == "__main__":
    main()
