"""Two attempts at the same time: when the first target is slow, the next one is asked as well (`routes.ALIAS.hedge`).

The first that has content wins, and the client never hears of the other, which is cancelled. Until then neither may
write to the client: its keep-alives come from here.
"""

import asyncio
from collections.abc import Collection, Coroutine
from typing import Any

from aiohttp import web
from attrs import define, field

from gateway.config.schema import Target
from gateway.proxy.client_stream import ClientStream

Answer = asyncio.Task[web.StreamResponse | None]


@define(eq=False)
class Race:
    """The attempts that may answer one exchange. `client` is its stream; None if the answer is whole."""

    client: ClientStream | None
    is_heard: bool = field(default=False, init=False)  # the head of some reply has come
    _tasks: list[tuple[Target, Answer]] = field(factory=list, init=False)
    attempt: Any = field(default=None, init=False)  # the one that has spoken
    _winner: Target | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self._share(is_shared=True)

    @property
    def tasks(self) -> list[Answer]:
        """The attempts that were started."""
        return [task for _, task in self._tasks]

    def start(self, target: Target, attempt: Coroutine[Any, Any, web.StreamResponse | None]) -> None:
        """Start the attempt at a target."""
        self._tasks.append((target, asyncio.create_task(attempt)))

    def claim(self, target: Target, attempt: Any) -> None:
        """Let the attempt that has content write to the client, and cancel the others.

        Raises CancelledError if another one was first.
        """
        if self.has_lost(target):
            raise asyncio.CancelledError
        if self._winner is None:
            self._winner, self.attempt = target, attempt
            self._share(is_shared=False)
            for other, task in self._tasks:
                if other is not target:
                    task.cancel()

    def has_lost(self, target: Target) -> bool:
        """Whether another target's attempt has spoken."""
        return self._winner is not None and self._winner is not target

    async def end(self) -> None:
        """End the attempts that still run, and wait until they have let go of their connections."""
        self._share(is_shared=False)
        running = [task for task in self.tasks if not task.done()]
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running)
        for task in self.tasks:
            if not task.cancelled():
                task.exception()  # whoever won has answered: the other's error is nobody's

    def _share(self, *, is_shared: bool) -> None:
        if self.client is not None:
            self.client.is_shared = is_shared

    async def wait(self, tasks: Collection[Answer], seconds: float | None = None) -> set[Answer]:
        """Wait until one of the attempts is over, for `seconds` at most; keep the client alive meanwhile."""
        loop = asyncio.get_running_loop()
        until = None if seconds is None else loop.time() + seconds
        while True:
            now = loop.time()
            looks = [moment for moment in (until, self._next_beat(now)) if moment is not None]
            done, _ = await asyncio.wait(
                tasks, timeout=max(0.0, min(looks) - now) if looks else None, return_when=asyncio.FIRST_COMPLETED
            )
            if done or (until is not None and loop.time() >= until):
                return done
            if self.client is not None and self.client.is_shared:
                await self.client.beat(loop.time(), of_all=True)

    def _next_beat(self, now: float) -> float | None:
        if self.client is None or not self.client.is_shared:
            return None
        return self.client.next_beat(now, of_all=True)
