"""Responses in the background: polled, followed, cancelled, failed; on every kind of upstream and store."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from gateway.server.responses import background
from gateway.store.memory import MemoryResponses
from tests.conftest import Running, Start, eventually
from tests.flows.stored import CONFIG, KEYS, MODELS, STORES, A, B, Providers, _Broken, ask, call, ended, events
from tests.wire.grammar import read_responses

pytestmark = pytest.mark.slow

__all__ = ["running"]


@pytest.fixture(params=STORES)
async def running(request: pytest.FixtureRequest, start: Start, tmp_path: Path) -> Running:
    return await start(CONFIG.replace("STORE", request.param), state_dir=str(tmp_path))


@pytest.mark.parametrize("model", MODELS)
async def test_the_background(running: Running, provider: Providers, model: str) -> None:
    """A background response completes without its client, and can be continued like any other."""
    provider(MODELS[model]).will(latency=0.1)
    status, said = await ask(running, model, background=True)
    assert status == 200 and said["status"] == "queued" and said["background"] is True and said["output"] == []
    status, error = await ask(running, model, previous_response_id=said["id"])
    assert status == 400 and "cannot be continued" in error["error"]["message"]
    final = await ended(running, said["id"])
    assert final["status"] == "completed" and final["background"] is True and final["id"] == said["id"]
    assert final["output"][-1]["content"][0]["text"].startswith("Hello")
    status, again = await call(running, "POST", f"{said['id']}/cancel")
    assert (status, again) == (200, final)
    assert (await ask(running, model, previous_response_id=said["id"]))[0] == 200
    assert [line["outcome"] for line in running.exchanges if line["id"].endswith("-run")] == ["ok"]


@pytest.mark.parametrize("model", MODELS)
async def test_a_background_stream_is_picked_up_again(running: Running, provider: Providers, model: str) -> None:
    """A client that left a background stream gets the missed events by `starting_after`. (EC-265)"""
    provider(MODELS[model]).will(pace=0.03)
    body = {"model": model, "input": "Hi", "background": True, "stream": True}
    async with running.post("/v1/responses", body) as answer:
        begin = b""
        while begin.count(b"\n\n") < 4:
            begin += await answer.content.readany()
        begin = b"".join(frame + b"\n\n" for frame in begin.split(b"\n\n")[:-1])
    first = json.loads(begin.split(b"\n\n")[0].split(b"data: ")[1])["response"]["id"]
    last = begin.count(b"event: ") - 1
    async with running.session.get(f"{running.url}/v1/responses/{first}?stream=true&starting_after={last}") as answer:
        rest = await answer.read()
    told, final = read_responses(begin + rest)
    assert told.text.startswith("Hello") and await call(running, "GET", first) == (200, final)


async def test_a_background_run_is_cancelled(running: Running, provider: Providers) -> None:
    """Cancelling a run closes its upstream at once, and the response stays cancelled."""
    provider("oai").will(latency=30)
    _, said = await ask(running, "chat", background=True)
    await eventually(lambda: len(provider("oai").seen) == 1)
    status, final = await call(running, "POST", f"{said['id']}/cancel")
    assert status == 200 and final["status"] == "cancelled"
    await eventually(lambda: not running.gateway.lifecycle.exchanges)
    assert await call(running, "GET", said["id"]) == (200, final)
    assert await call(running, "POST", f"{said['id']}/cancel") == (200, final)
    async with running.session.get(f"{running.url}/v1/responses/{said['id']}?stream=true") as answer:
        assert answer.status == 200


@pytest.mark.parametrize("fault", [{"status": 500}, {"fault": "truncate", "after": 3}, {"status": 400}])
async def test_a_background_run_fails(running: Running, provider: Providers, fault: dict[str, Any]) -> None:
    """If the upstream fails, the response is failed with an error, and its events say so."""
    provider("oai").will(**fault)
    _, said = await ask(running, "chat", background=True)
    final = await ended(running, said["id"])
    assert final["status"] == "failed" and final["error"]["code"] and final["error"]["message"]
    async with running.session.get(f"{running.url}/v1/responses/{said['id']}?stream=true") as answer:
        assert b"event: response.failed" in await answer.read()


async def test_the_background_needs_storage(running: Running, provider: Providers) -> None:
    """`background` with `store: false` is a 400 before any upstream call. (EC-264)"""
    status, error = await ask(running, background=True, store=False)
    assert (status, error["error"]["code"]) == (400, "background_not_supported")
    assert not provider("oai").seen


async def test_a_bad_request_is_refused_at_once(running: Running, provider: Providers) -> None:
    """An invalid background request is a 400 at once, not a run that fails later."""
    for more in ({"input": [{"role": "nobody", "content": "x"}]}, {"temperature": "x"}, {"reasoning": "high"}):
        status, error = await ask(running, "chat", background=True, **{"said": "Hi"} | more)
        assert status == 400 and error["error"]["param"]
    status, said = await ask(running, "native", background=True, reasoning="high", text=[1])
    assert status == 200 and said["reasoning"] == {"effort": None, "summary": None}
    assert not provider("oai").seen


@pytest.mark.slow
async def test_the_clients_patience_is_not_the_runs(running: Running, provider: Providers) -> None:
    """The timeout headers of the SDK bound its request, not the run, which goes on."""
    provider("oai").will(latency=1.5)
    headers = {"x-stainless-timeout": "1", "x-stainless-read-timeout": "1"}
    _, said = await ask(running, "chat", background=True, headers=headers)
    assert (await ended(running, said["id"]))["status"] == "completed"


async def test_one_key_does_not_take_the_gateway(start: Start, provider: Providers) -> None:
    """Each key may hold only its share of the runs: one more is a 429, until one of its runs has ended."""
    text = CONFIG.replace("STORE", "memory:").replace('["127.0.0.1:0"]', '["127.0.0.1:0"], max_concurrent: 8')
    running = await start(text + KEYS)
    provider("oai").will(latency=30)
    status, said = await ask(running, "chat", background=True, headers=A)
    assert status == 200
    status, error = await ask(running, "chat", background=True, headers=A)
    assert (status, error["error"]["code"]) == (429, "rate_limit_exceeded")
    status, other = await ask(running, "chat", background=True, headers=B)
    assert status == 200
    for name, headers in ((said["id"], A), (other["id"], B)):
        assert (await call(running, "POST", f"{name}/cancel", headers=headers))[0] == 200
    await eventually(lambda: not running.gateway.lifecycle.exchanges)
    assert (await ask(running, "chat", background=True, headers=A))[0] == 200


async def test_what_has_ended_is_let_go_of(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """An ended run keeps its frames for a while, within a bound, and nothing else; later the store answers."""
    runs = running.app[background.RUNS]
    names = []
    for _ in range(3):
        _, said = await ask(running, "chat", background=True, instructions="x" * 100_000)
        await ended(running, said["id"])
        names.append(said["id"])
    await eventually(lambda: runs.running == 0)
    run = runs.get("anonymous", names[0])
    assert run is not None and run.ended is not None and run.event_log.size < 400_000
    monkeypatch.setattr(background, "MAX_KEPT", run.event_log.size)
    runs.forget()
    assert [runs.get("anonymous", name) is not None for name in names] == [False, False, True]
    assert (await events(running, names[0]))[-1]["type"] == "response.completed"
    monkeypatch.setattr(background, "KEPT_S", -1)
    runs.forget()
    assert runs.get("anonymous", names[2]) is None


async def test_frames_without_numbers_are_counted(running: Running, provider: Providers) -> None:
    """Frames without a `sequence_number`, or with null, are numbered by their order."""
    told: list[dict[str, Any]] = [
        {"type": "response.created", "response": {"id": "r", "status": "in_progress", "output": []}},
        {
            "type": "response.output_text.delta",
            "delta": "Hi",
            "item_id": "m",
            "output_index": 0,
            "sequence_number": None,
        },
        {"type": "response.completed", "response": {"id": "r", "status": "completed", "output": []}},
    ]
    frames = [f"event: {one['type']}\ndata: {json.dumps(one)}\n\n".encode() for one in told]
    provider("rsp").will(frames=frames)
    _, said = await ask(running, "native", background=True)
    assert (await ended(running, said["id"]))["status"] == "completed"
    assert [event["type"] for event in await events(running, said["id"])] == [one["type"] for one in told]
    assert [event["type"] for event in await events(running, said["id"], "&starting_after=1")] == [told[2]["type"]]


async def test_the_end_is_always_told(running: Running, provider: Providers) -> None:
    """A `starting_after` beyond the end still gets the final event, here and from the store. (EC-265)"""
    _, said = await ask(running, "chat", background=True)
    await ended(running, said["id"])
    live = await events(running, said["id"])
    for after in (len(live) - 2, len(live) - 1, 99_999):
        assert [event["type"] for event in await events(running, said["id"], f"&starting_after={after}")] == [
            "response.completed"
        ]
    running.app[background.RUNS].forget_all()  # as at another gateway
    for after in (5, len(live) - 3, len(live) - 2, len(live) - 1, 99_999):
        rest = await events(running, said["id"], f"&starting_after={after}")
        assert rest[-1]["type"] == "response.completed"
        assert all(event["sequence_number"] > after for event in rest)
    rest = await events(running, said["id"], f"&starting_after={len(live) - 3}")
    assert [event["type"] for event in rest] == [event["type"] for event in live[-2:]]
    text = "".join(event.get("delta", "") for event in await events(running, said["id"], "&starting_after=3"))
    assert text.startswith("Hello")


@pytest.mark.parametrize("model", MODELS)
async def test_a_cancelled_stream_ends(running: Running, provider: Providers, model: str) -> None:
    """A cancelled stream ends with the cancelled response, for its follower and for later readers."""
    provider(MODELS[model]).will(pace=0.05)
    body = {"model": model, "input": "Hi", "background": True, "stream": True}
    async with running.post("/v1/responses", body) as answer:
        begin = await answer.content.readuntil(b"\n\n")
        name = json.loads(begin.split(b"data: ")[1])["response"]["id"]
        assert (await call(running, "POST", f"{name}/cancel"))[1]["status"] == "cancelled"
        rest = await answer.read()
    assert rest.count(b"event: response.cancelled") == 1 and rest.endswith(b"\n\n")
    last = (await events(running, name))[-1]
    assert last["type"] == "response.cancelled" and last["response"]["id"] == name


async def test_a_failure_is_told_as_it_is_stored(running: Running, provider: Providers) -> None:
    """A failed run's last event has the stored response, whether it failed before the first output or after."""
    provider("oai").will(status=500, times=4)
    _, said = await ask(running, "chat", background=True)
    final = await ended(running, said["id"])
    told = await events(running, said["id"])
    assert [event["type"] for event in told] == ["response.created", "error", "response.failed"]
    assert [event["sequence_number"] for event in told] == [0, 1, 2]
    assert told[-1]["response"]["id"] == said["id"] and told[-1]["response"]["error"] == final["error"]
    provider("oai").server.script.rules.clear()
    running.gateway.selection.health = type(running.gateway.selection.health)(running.gateway.snapshot.config.breaker)
    for (model, name), after in zip(MODELS.items(), (4, 6, 14), strict=True):
        provider(name).will(reply="parallel_tools", fault="truncate", after=after)
        _, said = await ask(running, model, background=True)
        final = await ended(running, said["id"])
        told = await events(running, said["id"])
        assert final["status"] == "failed" and final["id"] == said["id"] and final["background"] is True
        assert told[-1]["response"] == final and final["output"], model


async def test_deleted_is_cancelled(running: Running, provider: Providers) -> None:
    """Deleting a running response cancels its run."""
    provider("oai").will(latency=30)
    _, said = await ask(running, "chat", background=True)
    assert (await call(running, "DELETE", said["id"]))[0] == 200
    await eventually(lambda: not running.gateway.lifecycle.exchanges)
    assert (await call(running, "GET", said["id"]))[0] == 404


async def test_a_run_that_lives_here_is_not_dead(
    running: Running, provider: Providers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run in this process is never taken for dead because its lease ended: the store may have been away."""
    monkeypatch.setattr(background, "LEASE_S", -100.0)
    provider("oai").will(latency=0.5)
    _, said = await ask(running, "chat", background=True)
    assert (await call(running, "GET", said["id"]))[1]["status"] in ("queued", "in_progress")
    assert (await ended(running, said["id"]))["status"] == "completed"


async def test_what_is_followed_elsewhere_may_be_deleted(start: Start, provider: Providers) -> None:
    """If a response is deleted at one gateway, its follower at another gets an error event."""
    text = CONFIG.replace("STORE", "memory:")
    one, two = await start(text), await start(text)
    two.gateway.responses.store = one.gateway.responses.store
    provider("oai").will(latency=30)
    _, said = await ask(one, "chat", background=True)
    async with two.session.get(f"{two.url}/v1/responses/{said['id']}?stream=true") as answer:
        assert (await answer.content.readuntil(b"\n\n")).startswith(b":")
        assert (await call(one, "DELETE", said["id"]))[0] == 200
        rest = await answer.read()
    assert b"event: error" in rest and b"not found" in rest
    assert isinstance(one.gateway.responses.store, MemoryResponses)


@pytest.mark.slow
async def test_a_run_goes_on_while_its_end_cannot_be_stored(
    running: Running, provider: Providers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run whose end cannot be stored for a moment is stored later: its paid output is not lost."""
    watched = running.gateway.responses
    provider("oai").will(latency=0.3)
    _, said = await ask(running, "chat", background=True)
    broken: Any = _Broken()
    whole, watched.store = watched.store, broken
    await eventually(lambda: broken.asked > 0)
    watched.store = whole
    for _ in range(100):
        status, final = await call(running, "GET", said["id"])
        if status == 200 and final["status"] == "completed":
            break
        await asyncio.sleep(0.05)
    assert final["status"] == "completed" and final["store"] is True
