"""Requests without a pause, some on kept connections and some on fresh ones; each that fails is kept."""

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import aiohttp
from attrs import define, field

BODY = {"model": "both", "messages": []}


@define
class Load:
    """Sends requests until the end of the `async with`. A client of the kind of an SDK: it retries nothing."""

    url: str
    kept: int = 6  # connections that are used again
    fresh: int = 4  # at the same time, each request on a connection of its own
    sent: int = 0
    failed: list[str] = field(factory=list)
    _is_over: bool = False
    _tasks: list[asyncio.Task[None]] = field(factory=list)

    async def __aenter__(self) -> Self:
        make: list[tuple[int, Callable[[], Any]]] = [
            (self.kept, lambda: aiohttp.TCPConnector(limit=1)),
            (self.fresh, lambda: aiohttp.TCPConnector(force_close=True)),
        ]
        self._tasks = [asyncio.create_task(self._send(connector())) for count, connector in make for _ in range(count)]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_over = True
        await asyncio.gather(*self._tasks)

    async def more(self, count: int, seconds: float = 30) -> None:
        """Wait until so many more requests were answered."""
        until = self.sent + count
        async with asyncio.timeout(seconds):
            while self.sent < until:
                await asyncio.sleep(0.01)

    async def _send(self, connector: aiohttp.BaseConnector) -> None:
        async with aiohttp.ClientSession(connector=connector) as session:
            while not self._is_over:
                try:
                    async with session.post(f"{self.url}/v1/chat/completions", json=BODY) as answer:
                        text = await answer.text()
                        if answer.status != 200:
                            self.failed.append(f"{answer.status} {text[:100]}")
                except (aiohttp.ClientError, TimeoutError) as error:
                    self.failed.append(repr(error))
                self.sent += 1
