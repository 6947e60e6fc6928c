"""A process whose event loop is stuck gives no sign of life, and is replaced."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from tests.conftest import eventually
from tests.flows.processes import CONFIG, Run

pytestmark = pytest.mark.slow


async def test_a_stuck_loop_gives_no_sign_of_life(run: Run) -> None:
    """WATCHDOG=1 comes from the loop: a process that is stopped sends none, and again some when it goes on."""
    process = await asyncio.to_thread(run, CONFIG, environ={"WATCHDOG_USEC": "200000"})
    assert await asyncio.to_thread(process.notice) == "WATCHDOG=1"
    process.popen.send_signal(signal.SIGSTOP)
    process.notices.settimeout(0.6)
    try:
        while True:  # what was sent before it stopped
            await asyncio.to_thread(process.notice)
    except TimeoutError:
        pass
    process.popen.send_signal(signal.SIGCONT)
    process.notices.settimeout(5)
    assert await asyncio.to_thread(process.notice) == "WATCHDOG=1"


async def test_a_stuck_worker_is_replaced(run: Run, folder: Path) -> None:
    """The supervisor kills a worker that is silent for too long, and starts another one."""
    text = CONFIG.replace("drain: 2s", "drain: 2s, workers: 2").replace('"memory:"', f'"sqlite:{folder}/state/g.db"')
    process = await asyncio.to_thread(run, text, environ={"WATCHDOG_USEC": "2000000"})
    children = Path(f"/proc/{process.popen.pid}/task/{process.popen.pid}/children")
    stuck = int(children.read_text().split()[0])
    os.kill(stuck, signal.SIGSTOP)
    await eventually(lambda: process.has("worker stuck") and process.has("worker died"), 10)
    await eventually(lambda: len(children.read_text().split()) == 2 and str(stuck) not in children.read_text(), 10)
