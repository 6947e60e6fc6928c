"""The other workers of this gateway, as one of them sees them: asked for their part of what pages show.

Each worker answers on a socket of its own in a private folder. Whichever a client's page comes to asks the others and
answers for all. Counters of workers that have left are kept in that folder, so that sums do not fall.
"""

import asyncio
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
from aiohttp import web
from attrs import define

from gateway.proxy.state import Gateway
from gateway.server.ground import socket_of

PATIENCE_S = 1.0  # for a worker that does not answer: its part is left out
OWN = "own"  # member of the query: this worker's part only
_SAMPLE = re.compile(r"([a-zA-Z_:][\w:]*)(\{.*\})? (\S+)")
# Gauges of what there is once for all workers, or of a state; the others are of each worker, and are added up.
_NOT_ADDED = (
    "gateway_target_state",
    "gateway_store_state",
    "gateway_draining",
    "gateway_worker_restarts_total",
    "gateway_budget_left",
)


@define(eq=False)
class Siblings:
    """The workers that have a socket in `folder`; `restarts` is how many have died."""

    folder: Path
    restarts: int = 0

    def watch(self, gateway: Gateway) -> None:
        """Count in the metrics how many workers there are, and how many have died."""
        metrics = gateway.telemetry.metrics
        metrics.watch_count("worker_restarts", "Workers that died and were started again.", lambda: self.restarts)
        metrics.watch("workers", "Workers that answer.", lambda: [((), 1.0)])

    def leave(self, gateway: Gateway) -> None:
        """Leave this worker's counters to those that serve on; its socket is gone by now."""
        path = self.folder / f"left-{os.getpid()}.prom"
        try:
            fresh = path.with_suffix(".new")
            fresh.write_text(_counters(gateway.telemetry.metrics.expose().decode()), encoding="utf-8")
            fresh.replace(path)
            fresh.write_bytes(msgspec.json.encode(gateway.running_totals.report(0)))
            fresh.replace(path.with_suffix(".json"))
        except OSError:
            return  # the sums fall, as after any restart

    async def ask(self, page: str, method: str = "GET", **query: str) -> list[bytes]:
        """Return what each of the other workers answers; those that do not answer in time are left out."""
        mine = socket_of(self.folder, os.getpid())
        others = [path for path in sorted(self.folder.glob("worker-*.sock")) if path != mine]
        answers = await asyncio.gather(*(_ask(path, page, method, {OWN: "1", **query}) for path in others))
        return [answer for answer in answers if answer is not None]

    def left(self) -> list[str]:
        """Return the counters of workers that have left."""
        found = []
        for path in self.folder.glob("left-*.prom"):
            with suppress(OSError):
                found.append(path.read_text(encoding="utf-8"))
        return found

    def left_totals(self) -> list[dict[str, Any]]:
        """Return the running totals of workers that have left."""
        found = []
        for path in self.folder.glob("left-*.json"):
            with suppress(OSError, msgspec.MsgspecError):
                found.append(msgspec.json.decode(path.read_bytes()))
        return found


SIBLINGS = web.AppKey("siblings", Siblings)


def siblings_of(request: web.Request) -> Siblings | None:
    """Return the other workers, if this page is to speak for all of them."""
    siblings = request.app.get(SIBLINGS)
    return None if siblings is None or OWN in request.query else siblings


def merge(texts: Iterable[str]) -> str:
    """Add several expositions of Prometheus' text format up to one."""
    sums: dict[str, float] = {}
    heads: dict[str, list[str]] = {}  # HELP and TYPE, by family
    order: dict[str, list[str]] = {}  # samples, by family
    for text in texts:
        family = ""
        for line in text.splitlines():
            if line.startswith("# "):
                name = line.split(" ")[2]
                if name != family:
                    family = name
                    order.setdefault(family, [])
                if line not in heads.setdefault(family, []) and len(heads[family]) < 2:
                    heads[family].append(line)
            elif (found := _SAMPLE.fullmatch(line)) is not None:
                key, value = found[1] + (found[2] or ""), float(found[3])
                if key not in sums:
                    order.setdefault(family, []).append(key)
                is_added = not found[1].startswith(_NOT_ADDED)
                sums[key] = sums.get(key, 0.0) + value if is_added else max(sums.get(key, 0.0), value)
    return "".join(_lines(heads, order, sums))


def _lines(heads: dict[str, list[str]], order: dict[str, list[str]], sums: dict[str, float]) -> Iterator[str]:
    for family, keys in order.items():
        for head in heads.get(family, ()):
            yield f"{head}\n"
        for key in keys:
            yield f"{key} {sums[key]!r}\n"


def _counters(text: str) -> str:
    """Return the counters and histograms of an exposition; gauges are nothing without their worker."""
    kept, is_kept = [], False
    for line in text.splitlines():
        if line.startswith("# HELP"):
            continue
        if line.startswith("# TYPE"):
            is_kept = line.endswith((" counter", " histogram")) and "worker_restarts" not in line
        if is_kept:
            kept.append(line)
    return "\n".join(kept) + "\n"


async def _ask(path: Path, page: str, method: str, query: dict[str, str]) -> bytes | None:
    try:
        connector = aiohttp.UnixConnector(str(path))
        timeout = aiohttp.ClientTimeout(total=PATIENCE_S)
        async with (
            aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
            session.request(method, f"http://localhost{page}", params=query) as answer,
        ):
            return await answer.read() if answer.status < 300 or answer.status == 503 else None
    except (OSError, TimeoutError, aiohttp.ClientError):
        return None
