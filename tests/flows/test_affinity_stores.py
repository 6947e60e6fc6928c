"""Several gateways on one Redis know of each other's conversations; each goes on alone while it is away."""

import time
from collections.abc import Callable

from tests.conftest import Provider, Running, Start, eventually
from tests.flows.sessions import CHAT, places, take_turn
from tests.store.redis_server import Redis, server, with_redis

__all__ = ["server"]


async def turn(running: Running, session: str, number: int = 0) -> str:
    """Take one turn; return what the log says of its affinity, once the store has it."""
    assert await take_turn(running, "stay", session, number) == 200
    await eventually(lambda: not running.gateway.lifecycle.background_tasks)
    return str(running.exchanges[-1]["affinity"])


@with_redis
async def test_two_gateways_share_their_sessions(
    start: Start,
    server: Redis,
    provider: Callable[[str], Provider],
) -> None:
    """A conversation stays where it is, whichever gateway its turns come to."""
    text = CHAT.replace("memory:", server.url)
    one, two = await start(text), await start(text)
    for session in range(8):
        seen = len(places(provider("one"), provider("two")))
        said = [
            await turn(running, f"session {session}", number) for number, running in enumerate((one, two, two, one))
        ]
        assert said == ["new", "kept", "kept", "kept"]
        assert len(set(places(provider("one"), provider("two"))[seen:])) == 1


@with_redis
async def test_without_redis_each_remembers_alone(start: Start, server: Redis) -> None:
    """While Redis is away a gateway goes by its own memory, and no request waits for it."""
    running = await start(CHAT.replace("memory:", server.url))
    assert await turn(running, "Ada") == "new"
    server.end()
    began = time.monotonic()
    assert [await turn(running, "Ada", number) for number in (1, 2, 3)] == ["kept"] * 3
    assert time.monotonic() - began < 1.0
    server.begin()
    assert await turn(running, "Ada", 4) == "kept"
