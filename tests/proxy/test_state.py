"""What lives as long as the process: tasks, rotations, budgets and files that all exchanges share."""

import asyncio
import random

from gateway.config.provider_schema import OAuth
from gateway.config.schema import Breaker
from gateway.policy.health import Health
from gateway.proxy.state import Lifecycle, Selection
from tests.conftest import Start

OAUTH = OAuth("/nowhere/credentials.json", "http://127.0.0.1:1/token", "client")


def selection() -> Selection:
    return Selection(Health(Breaker()), random.Random(1))


async def test_background_work_is_known_until_it_ends() -> None:
    """Work that no exchange waits for is listed as long as it runs, so that the process can wait for it."""
    lifecycle, gate, done = Lifecycle(0.0), asyncio.Event(), []

    async def work() -> None:
        await gate.wait()
        done.append(1)

    lifecycle.spawn(work())
    lifecycle.spawn(work())
    assert len(lifecycle.background_tasks) == 2
    gate.set()
    await asyncio.gather(*lifecycle.background_tasks)
    await asyncio.sleep(0)
    assert done == [1, 1] and not lifecycle.background_tasks


async def test_a_cancelled_task_is_forgotten_too() -> None:
    """A background task that is cancelled does not stay in the list."""
    lifecycle = Lifecycle(0.0)
    lifecycle.spawn(asyncio.sleep(3600))
    (task,) = lifecycle.background_tasks
    task.cancel()
    await asyncio.wait({task})
    assert not lifecycle.background_tasks


def test_each_route_rotates_by_itself() -> None:
    """Exchanges of a route are counted from zero, each route for itself."""
    chosen = selection()
    assert [chosen.next_rotation(alias) for alias in ("a", "a", "b", "a")] == [0, 1, 0, 2]


def test_a_provider_has_one_budget_of_second_tries() -> None:
    """All exchanges of a provider spend the same budget, and no other provider's."""
    chosen = selection()
    one, two = chosen.retry_budget("one"), chosen.retry_budget("two")
    assert chosen.retry_budget("one") is one and two is not one
    while one.take():
        pass
    assert not chosen.retry_budget("one").take() and chosen.retry_budget("two").take()


async def test_the_configured_secret_signs(start: Start) -> None:
    """The secret of the configuration signs; without one, the process's own does, and a reload changes it."""
    text = "server: {listen: ['127.0.0.1:0']}\nstore: {url: 'memory:'}\n"
    running = await start(text, secret=b"own", environ={"SIGN": "configured"})
    assert running.gateway.secret == b"own"
    running.reload("server: {listen: ['127.0.0.1:0'], secret: {env: SIGN}}\nstore: {url: 'memory:'}\n")
    assert running.gateway.secret == b"configured"
    running.reload("server: {listen: ['127.0.0.1:0'], secret: {env: NOWHERE}}\nstore: {url: 'memory:'}\n")
    assert running.gateway.secret == b"own"


async def test_one_token_file_serves_all(start: Start) -> None:
    """The same credentials file gives the same object, so that a token is refreshed once."""
    gateway = (await start()).gateway
    assert gateway.token_file("one", OAUTH) is gateway.token_file("two", OAUTH)
    other = OAuth("/nowhere/other.json", OAUTH.token_url, OAUTH.client_id)
    assert gateway.token_file("one", other) is not gateway.token_file("one", OAUTH)
