"""The process: start, signals, sockets, drain. The tests use real processes and end them by their pid."""

import asyncio
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import aiohttp
import pytest

from gateway.mock.server import MockServer
from tests.conftest import Provider, events_of, eventually
from tests.flows.processes import CONFIG, Run, free_port

BODY = {"model": "both", "messages": []}


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as made:
        yield made


async def test_it_serves_and_stops_cleanly(run: Run, session: aiohttp.ClientSession) -> None:
    """SIGTERM with nothing in flight ends the daemon at once with exit code 0 and STOPPING=1."""
    process = await asyncio.to_thread(run)
    async with session.post(f"{process.url}/v1/chat/completions", json=BODY) as answer:
        assert answer.status == 200
    process.popen.send_signal(signal.SIGTERM)
    assert await process.ended() == 0
    assert process.notice().startswith("STOPPING=1")
    assert process.has("listening") and process.has("exchange") and process.has("stopped")


async def _status(session: aiohttp.ClientSession, url: str) -> int:
    async with session.get(url) as answer:
        return answer.status


@pytest.mark.slow
async def test_a_stream_is_finished_before_it_stops(
    run: Run, session: aiohttp.ClientSession, provider: Callable[[str], Provider]
) -> None:
    """After SIGTERM the daemon is not ready and serves on for `step_aside`; then it takes no new connections.

    The open stream runs to its end, and what is answered meanwhile announces the end of its connection.
    """
    provider("one").will(pace=0.15)
    process = await asyncio.to_thread(run, CONFIG.replace("step_aside: 0s", "step_aside: 500ms"))
    async with session.post(f"{process.url}/v1/chat/completions", json=BODY | {"stream": True}) as answer:
        await answer.content.readany()
        process.popen.send_signal(signal.SIGTERM)
        async with asyncio.timeout(5):
            while await _status(session, f"{process.url}/readyz") != 503:
                await asyncio.sleep(0.01)
            async with (
                aiohttp.ClientSession() as fresh,
                fresh.post(f"{process.url}/v1/chat/completions", json=BODY) as served,
            ):
                assert served.status == 200 and served.headers["Connection"] == "close"
            with pytest.raises(aiohttp.ClientConnectorError):
                while True:
                    async with aiohttp.ClientSession() as other:
                        await _status(other, f"{process.url}/livez")
                    await asyncio.sleep(0.01)
        assert (await answer.read()).endswith(b"data: [DONE]\n\n")
    assert await process.ended() == 0


@pytest.mark.slow
@pytest.mark.parametrize("aside", ["10s", "0s"])
async def test_a_second_signal_ends_the_drain(
    run: Run, session: aiohttp.ClientSession, provider: Callable[[str], Provider], aside: str
) -> None:
    """A second SIGTERM ends stepping aside and waiting at once: what runs is cut with a word, and the exit code is 0."""
    provider("one").will(fault="stall_in_body", after=3)
    text = CONFIG.replace("drain: 2s, step_aside: 0s", f"drain: 20s, step_aside: {aside}")
    process = await asyncio.to_thread(run, text)
    async with session.post(f"{process.url}/v1/chat/completions", json=BODY | {"stream": True}) as answer:
        await answer.content.readany()
        process.popen.send_signal(signal.SIGTERM)
        await eventually(lambda: process.has("draining"))
        process.popen.send_signal(signal.SIGTERM)
        stream = await answer.read()
    assert events_of(stream)[-2]["error"]["message"] == "The gateway is shutting down"
    assert await process.ended(4) == 0


@pytest.mark.slow
async def test_what_does_not_finish_is_cut_with_a_word(
    run: Run, session: aiohttp.ClientSession, provider: Callable[[str], Provider]
) -> None:
    """A stream that outlasts the drain ends with the dialect's error event; the exit code is 0."""
    provider("one").will(fault="stall_in_body", after=3)
    process = await asyncio.to_thread(run, CONFIG.replace("drain: 2s", "drain: 300ms"))
    async with session.post(f"{process.url}/v1/chat/completions", json=BODY | {"stream": True}) as answer:
        await answer.content.readany()
        process.popen.send_signal(signal.SIGTERM)
        stream = await answer.read()
    assert events_of(stream)[-2]["error"]["message"] == "The gateway is shutting down"
    assert await process.ended() == 0
    assert [line["outcome"] for line in process.lines if line["event"] == "exchange"] == ["shutting_down"]
    assert process.has("cut off")


@pytest.mark.slow
async def test_a_whole_reply_that_does_not_finish_is_a_503(
    run: Run, session: aiohttp.ClientSession, provider: Callable[[str], Provider]
) -> None:
    """A whole reply that outlasts the drain is a 503 with Retry-After, and the log does not blame the client."""
    one = provider("one")
    one.will(latency=3)
    process = await asyncio.to_thread(run, CONFIG.replace("drain: 2s", "drain: 300ms"))
    asking = asyncio.create_task(session.post(f"{process.url}/v1/chat/completions", json=BODY))
    await eventually(lambda: bool(one.seen))
    process.popen.send_signal(signal.SIGTERM)
    async with await asking as answer:
        assert answer.status == 503 and answer.headers["Retry-After"] == "1"
        assert (await answer.json())["error"]["message"] == "The gateway is shutting down"
    assert await process.ended() == 0
    line = next(line for line in process.lines if line["event"] == "exchange")
    assert (line["status"], line["outcome"]) == (503, "shutting_down")


@pytest.mark.slow
async def test_sighup_takes_a_good_file_and_keeps_the_old_for_a_bad_one(
    run: Run, session: aiohttp.ClientSession
) -> None:
    """SIGHUP validates the file and then swaps it; for a bad file the old one stays in force.

    The problems of a bad file are logged, counted in the metrics and shown in /health.
    """
    process = await asyncio.to_thread(run)
    text = process.config.read_text()

    async def status(model: str) -> int:
        async with session.post(f"{process.url}/v1/chat/completions", json=BODY | {"model": model}) as answer:
            return answer.status

    process.config.write_text(text.replace("both:", "fresh:"))
    process.popen.send_signal(signal.SIGHUP)
    assert process.notice().startswith("RELOADING=1\nMONOTONIC_USEC=")
    assert process.notice() == "READY=1"
    assert (await status("fresh"), await status("both")) == (200, 404)
    assert not process.has("server.listen changes with a restart only")

    for bad in (
        "",
        'server: {listen: ["127.0.0.1:1"]}',
        text[: text.index("routes")],
        "routes: {a: nope}",
        text.replace('["127', '["0.0.0.0:1", "127') if False else 'server: {listen: ["0.0.0.0:1"]}',
        "a: [",
    ):
        process.config.write_text(bad)
        process.popen.send_signal(signal.SIGHUP)
        process.notice()
        process.notice()
        assert await status("fresh") == 200
    async with session.get(f"{process.url}/metrics") as answer:
        assert "gateway_config_reload_failures_total 6.0" in await answer.text()
    async with session.get(f"{process.url}/health?format=json") as answer:
        assert (await answer.json())["reload_problems"]
    process.config.write_text(text.replace('"127.0.0.1:', '"127.0.0.1:1", "127.0.0.1:'))
    process.popen.send_signal(signal.SIGHUP)
    await eventually(lambda: process.has("server.listen changes with a restart only"))
    assert process.has("reload refused, the old configuration stays")

    process.config.write_text(text)
    process.popen.send_signal(signal.SIGHUP)
    process.notice()
    process.notice()
    async with session.get(f"{process.url}/health?format=json") as answer:
        assert "reload_problems" not in await answer.json()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("server: {listne: x}", 78, "server.listne: unknown key 'listne'"),
        ("a: [", 78, "did not find expected node content"),
        ("", 78, "providers: no providers, so that nothing can be served"),
        ("server: {}\n", 78, "providers.yaml:1:1: providers: no providers"),
        (
            'server: {listen: ["127.0.0.1:PORT"]}\nproviders: {llamacpp: {base_url: "http://localhost:PORT/v1"}}',
            78,
            "is this gateway itself (server.listen)",
        ),
        ('server: {listen: ["0.0.0.0:PORT"]}', 78, "no keys are configured"),
        (
            'server: {listen: ["127.0.0.1:PORT"]}\nstore: {url: "sqlite:/proc/nowhere/x.db"}\nproviders: {mock: }',
            1,
            "state directory /proc/nowhere",
        ),
        (
            'server: {listen: ["unix:/nowhere/at/all.sock"]}\nstore: {url: "memory:"}\nproviders: {mock: }',
            1,
            "cannot listen on unix:/nowhere",
        ),
        (
            'server: {listen: ["nobody.invalid:80"], open: true}\nstore: {url: "memory:"}\nproviders: {mock: }',
            1,
            "cannot listen on nobody.invalid:80",
        ),
    ],
)
async def test_what_keeps_it_from_starting_is_one_line(run: Run, text: str, code: int, words: str) -> None:
    """A start that fails logs one line without a traceback and exits 78 for the file, 1 for anything else."""
    process = await asyncio.to_thread(run, text)
    assert await process.ended() == code
    assert words in process.log.read_text()
    assert len(process.lines) == 1 and "Traceback" not in process.log.read_text()


@pytest.mark.slow
async def test_a_port_in_use_is_one_line(run: Run) -> None:
    """A second daemon on a port in use logs one line and exits 1."""
    first = await asyncio.to_thread(run)
    port = int(first.url.rpartition(":")[2])
    second = await asyncio.to_thread(run, CONFIG, port=port)
    assert await second.ended() == 1
    assert [line["detail"] for line in second.lines] == [f"cannot listen on 127.0.0.1:{port}: Address already in use"]


@pytest.mark.slow
async def test_a_missing_file_and_a_bad_listen_are_said(run: Run, folder: Path) -> None:
    """A missing configuration file exits 78 and an invalid --listen exits 1, each with its reason in the log."""
    process = await asyncio.to_thread(run, CONFIG, "--config", str(folder / "nope.yaml"))
    assert await process.ended() == 78 and "cannot be read: No such file" in process.log.read_text()
    process = await asyncio.to_thread(run, CONFIG, "--listen", "here")
    assert await process.ended() == 1 and "--listen: 'here' is no address" in process.log.read_text()


@pytest.mark.slow
async def test_unix_sockets_and_a_stale_one(run: Run, folder: Path) -> None:
    """The daemon listens on a unix socket and replaces the stale file of a killed process."""
    path = folder / "gateway.sock"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    await asyncio.to_thread(run, CONFIG, "--listen", f"unix:{path}")
    async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(path))) as session:
        async with session.post("http://gateway/v1/chat/completions", json=BODY) as answer:
            assert answer.status == 200
        async with session.get("http://gateway/metrics") as answer:
            assert answer.status == 200


@pytest.mark.slow
async def test_a_socket_handed_over_by_systemd_wins(
    folder: Path, mock: MockServer, session: aiohttp.ClientSession
) -> None:
    """A socket from LISTEN_FDS is used in place of `server.listen`: restarts leave no gap."""
    config = folder / "p.yaml"
    config.write_text(CONFIG.replace("PORT", "1").replace("MOCK", mock.url))
    listener = socket.create_server(("127.0.0.1", 0))
    script = (
        "import os, sys\n"
        "os.dup2(int(sys.argv[1]), 3); os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1')\n"
        "os.execv(sys.executable, [sys.executable, '-m', 'gateway', 'run', '--config', sys.argv[2]])"
    )
    command = [sys.executable, "-c", script, str(listener.fileno()), str(config)]
    popen = subprocess.Popen(
        command,
        pass_fds=[listener.fileno(), 3] if listener.fileno() == 3 else [listener.fileno()],
        stdout=subprocess.DEVNULL,
    )
    try:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        async with session.post(f"{url}/v1/chat/completions", json=BODY, timeout=aiohttp.ClientTimeout(5)) as answer:
            assert answer.status == 200
    finally:
        popen.terminate()
        await asyncio.to_thread(popen.wait)
        listener.close()


@pytest.mark.slow
async def test_the_watchdog_hears_of_a_turning_loop(run: Run) -> None:
    """The daemon sends WATCHDOG=1 while its event loop turns, at half of the period that systemd allows."""
    process = await asyncio.to_thread(run, CONFIG, environ={"WATCHDOG_USEC": "100000"})
    assert [await asyncio.to_thread(process.notice) for _ in range(2)] == ["WATCHDOG=1"] * 2


async def test_the_shipped_configuration_answers_without_a_key(run: Run, session: aiohttp.ClientSession) -> None:
    """The configuration of `make run` starts without any key, and alias demo is answered by the built-in mock."""
    shipped = Path(__file__).parents[2] / "providers.yaml"
    port = free_port()
    process = await asyncio.to_thread(run, shipped.read_text(), "--listen", f"127.0.0.1:{port}", port=port)
    for stream in (False, True):
        async with session.post(
            f"http://127.0.0.1:{port}/v1/chat/completions", json={"model": "demo", "messages": [], "stream": stream}
        ) as answer:
            assert answer.status == 200 and b"Hello from" in (await answer.read())
    assert process.has("config")  # providers without their keys are switched off with one line each
