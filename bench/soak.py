"""`make soak`: mixed traffic with faults for some minutes; prints what must not grow, and who is disturbed by whom.

One gateway, one scripted provider that is also mute, refusing and damaged under other names, and clients of several
kinds. Meanwhile nobody reads the gateway's log, and its configuration is reloaded every few seconds. Everything is on
loopback and ends by itself. Exit code 1 if an answer was not what was expected, if memory grew by over 2 MiB, or if the
healthy route was slower among faults.
"""

import argparse
import asyncio
import os
import pathlib
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter

import aiohttp

CONFIG = """
server: {listen: ["127.0.0.1:%(port)d"], step_aside: 0s}
store: {url: "sqlite:%(folder)s/state.db"}
breaker: {failures: 0}
providers:
  good: {base_url: "%(mock)s/good/v1", speaks: [openai_chat]}
  claude: {base_url: "%(mock)s/claude/v1", speaks: [anthropic_messages]}
  mute: {base_url: "%(mock)s/mute/v1", speaks: [openai_chat], timeouts: {first_byte: 500ms, whole: 500ms}}
  refusing: {base_url: "%(mock)s/refusing/v1", speaks: [openai_chat]}
  garbage: {base_url: "%(mock)s/garbage/v1", speaks: [openai_chat]}
routes:
  healthy: "good:m"
  crossed: "claude:m"
  after-mute: ["mute:m", "good:m"]
  after-refusal: ["refusing:m", "good:m"]
  after-garbage: ["garbage:m", "good:m"]
"""
SCRIPT = """
- {when: {name: mute}, then: {fault: stall_before_head}}
- {when: {name: refusing}, then: {status: 500}}
- {when: {name: garbage}, then: {fault: garbage}}
- {when: {name: good}, then: {latency: 5ms}}
"""
MAX_SLOPE = 2.0  # MiB between the first and the last fifth of the run, after a warm-up
MAX_DISTURBED = 1.2  # p99 of the healthy route among faults, against that without them
WARM_UP_S = 20.0
FAULTY = ("after-mute", "after-refusal", "after-garbage")


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


class Soak:
    """One run: its clients, and what they have seen."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.answers: Counter[str] = Counter()
        self.unexpected: list[str] = []
        self.latencies: dict[str, list[float]] = {"alone": [], "among faults": []}
        self.has_faults = False
        self.is_over = False

    async def client(self, session: aiohttp.ClientSession, dice: random.Random) -> None:
        """Send requests of all kinds, one after the other."""
        while not self.is_over:
            model = dice.choice(("crossed", *FAULTY)) if self.has_faults else "crossed"
            await self.ask(session, model, stream=dice.random() < 0.5, leaves=dice.random() < 0.02)
            await asyncio.sleep(dice.random() * 0.05)

    async def probe(self, session: aiohttp.ClientSession) -> None:
        """Measure the healthy route, at a steady pace."""
        while not self.is_over:
            began = time.perf_counter()
            if await self.ask(session, "healthy", stream=False):
                kind = "among faults" if self.has_faults else "alone"
                self.latencies[kind].append(time.perf_counter() - began)
            await asyncio.sleep(0.02)

    async def keeper(self, session: aiohttp.ClientSession) -> None:
        """Store responses, read them, delete them."""
        while not self.is_over:
            async with session.post(f"{self.url}/v1/responses", json={"model": "healthy", "input": "hi"}) as answer:
                name = (await answer.json()).get("id", "")
                self.note("responses", answer.status)
            async with session.get(f"{self.url}/v1/responses/{name}") as answer:
                self.note("stored", answer.status)
            async with session.delete(f"{self.url}/v1/responses/{name}") as answer:
                self.note("deleted", answer.status)
            await asyncio.sleep(0.1)

    async def ask(self, session: aiohttp.ClientSession, model: str, *, stream: bool, leaves: bool = False) -> bool:
        """Send one request; return whether it was answered as it should be."""
        body = {"model": model, "messages": [{"role": "user", "content": "hi"}], "stream": stream}
        try:
            async with session.post(f"{self.url}/v1/chat/completions", json=body) as answer:
                if leaves:
                    self.answers["left"] += 1
                    return False
                text = await answer.read()
        except aiohttp.ClientError as error:
            self.unexpected.append(f"{model}: {error!r}")
            return False
        is_whole = not stream or text.endswith(b"data: [DONE]\n\n")
        return self.note(model, answer.status if is_whole else 0)

    def note(self, kind: str, status: int) -> bool:
        """Count an answer."""
        self.answers[kind] += 1
        if status != 200:
            self.unexpected.append(f"{kind}: {status}")
        return status == 200


def resident(pid: int) -> float:
    """Return the MiB of a process that are in memory."""
    return int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096 / 2**20


def descriptors(pid: int) -> int:
    """Return how many descriptors a process has open."""
    return sum(1 for _ in pathlib.Path(f"/proc/{pid}/fd").iterdir())


async def run(minutes: float, popen: subprocess.Popen[bytes], url: str) -> int:
    soak = Soak(url)
    samples: list[tuple[float, int]] = []
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        work = [soak.client(session, random.Random(seed)) for seed in range(12)]
        tasks = [asyncio.create_task(one) for one in (*work, soak.probe(session), soak.keeper(session))]
        end = time.monotonic() + minutes * 60
        begun = time.monotonic()
        while time.monotonic() < end and popen.poll() is None:
            await asyncio.sleep(1)
            soak.has_faults = time.monotonic() - begun > min(WARM_UP_S, minutes * 60 / 4)
            if int(time.monotonic()) % 7 == 0:
                popen.send_signal(signal.SIGHUP)
            samples.append((resident(popen.pid), descriptors(popen.pid)))
        soak.is_over = True
        await asyncio.gather(*tasks)
        await asyncio.sleep(12)  # the daemon keeps house every ten seconds
        left = resident(popen.pid), descriptors(popen.pid)
        async with session.get(f"{url}/metrics") as answer:
            text = await answer.text()
    return report(soak, samples, left, text)


def report(soak: Soak, samples: list[tuple[float, int]], left: tuple[float, int], metrics: str) -> int:
    warm = samples[len(samples) // 4 :]
    fifth = max(1, len(warm) // 5)
    slope = statistics.median(one for one, _ in warm[-fifth:]) - statistics.median(one for one, _ in warm[:fifth])
    print(f"answers             {sum(soak.answers.values())}  {dict(soak.answers)}")
    print(f"unexpected          {len(soak.unexpected)}  {soak.unexpected[:5]}")
    print(f"memory, MiB         slope {slope:+.1f}, at the end {left[0]:.1f}")
    print(f"descriptors         most {max(count for _, count in samples)}, at the end {left[1]}")
    for name in (
        "gateway_in_flight",
        "gateway_tasks",
        "gateway_log_lines_dropped_total",
        "gateway_config_reloads_total",
    ):
        found = [line for line in metrics.splitlines() if line.startswith(f"{name} ")]
        print(f"{name:<32} {found[0].split()[-1] if found else '-'}")
    late = {}
    for kind, seconds in soak.latencies.items():
        if len(seconds) > 100:
            late[kind] = statistics.quantiles(seconds, n=100)[98]
            middle = statistics.median(seconds) * 1000
            print(f"healthy route, {kind:<13} p50 {middle:.1f} ms, p99 {late[kind] * 1000:.1f} ms")
    is_disturbed = len(late) == 2 and late["among faults"] > late["alone"] * MAX_DISTURBED
    return int(bool(soak.unexpected) or slope > MAX_SLOPE or is_disturbed)


def main() -> int:
    parser = argparse.ArgumentParser(description="Mixed traffic with faults, bounded.")
    parser.add_argument("--minutes", type=float, default=10)
    minutes = parser.parse_args().minutes
    with tempfile.TemporaryDirectory() as folder:
        script, config = pathlib.Path(folder, "script.yaml"), pathlib.Path(folder, "providers.yaml")
        script.write_text(SCRIPT)
        mock_port, port = free_port(), free_port()
        config.write_text(CONFIG % {"port": port, "folder": folder, "mock": f"http://127.0.0.1:{mock_port}"})
        gateway = [sys.executable, "-m", "gateway"]
        mock = subprocess.Popen([*gateway, "mock", "--listen", f"127.0.0.1:{mock_port}", "--script", str(script)])
        reader, pipe = os.pipe()  # nobody reads it: the log is stuck after 64 KiB
        popen = subprocess.Popen([*gateway, "run", "--config", str(config), "--log-format", "json"], stdout=pipe)
        os.close(pipe)
        try:
            wait_for(port)
            wait_for(mock_port)
            return asyncio.run(run(minutes, popen, f"http://127.0.0.1:{port}"))
        finally:
            for process in (popen, mock):
                process.terminate()
                process.wait(20)
            os.close(reader)


def wait_for(port: int) -> None:
    """Wait until somebody listens."""
    until = time.monotonic() + 20
    while time.monotonic() < until:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise TimeoutError(f"nobody listens on {port}")


if __name__ == "__main__":
    sys.exit(main())
