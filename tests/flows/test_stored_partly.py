"""Responses that end early, oddly, or under a client that has left."""

import asyncio
import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from gateway.mock import responses
from tests.conftest import Running, Start, eventually
from tests.flows.stored import CONFIG, MODELS, STORES, Providers, ask, ask_stream, call, turns

pytestmark = pytest.mark.slow


@pytest.fixture(params=STORES)
async def running(request: pytest.FixtureRequest, start: Start, tmp_path: Path) -> Running:
    return await start(CONFIG.replace("STORE", request.param), state_dir=str(tmp_path))


@pytest.mark.parametrize("model", MODELS)
async def test_what_a_client_did_not_wait_for_is_kept(running: Running, provider: Providers, model: str) -> None:
    """A stream whose client leaves is stored as incomplete, as far as it went.

    See docs/wire/streaming.md#client-disconnect.
    """
    provider(MODELS[model]).will(reply="parallel_tools", pace=0.03)
    body = {"model": model, "input": "Hi", "stream": True}
    async with running.post("/v1/responses", body) as answer:
        begin = b""
        while b"response.output_item.done" not in begin:
            begin += await answer.content.readany()
        answer.close()
    name = json.loads(begin.split(b"data: ")[1].split(b"\n")[0])["response"]["id"]
    await eventually(lambda: not running.gateway.lifecycle.exchanges and not running.gateway.lifecycle.background_tasks)
    status, kept = await call(running, "GET", name)
    assert (status, kept["status"]) == (200, "incomplete")
    assert kept["output"][0]["content"][0]["text"] == "Let me look."


@pytest.mark.parametrize("model", MODELS)
async def test_half_a_text_is_kept(running: Running, provider: Providers, model: str) -> None:
    """The text sent before the client left is stored, and a later request continues from it."""
    provider(MODELS[model]).will(text="one two three four five six seven eight", pace=0.03)
    async with running.post("/v1/responses", {"model": model, "input": "Hi", "stream": True}) as answer:
        begin = b""
        while begin.count(b"event: response.output_text.delta") < 2:
            begin += await answer.content.readany()
        answer.close()
    frames = [json.loads(line[6:]) for line in begin.split(b"\n") if line.startswith(b"data: ") and line.endswith(b"}")]
    said = "".join(frame.get("delta", "") for frame in frames)
    await eventually(lambda: not running.gateway.lifecycle.exchanges and not running.gateway.lifecycle.background_tasks)
    status, kept = await call(running, "GET", frames[0]["response"]["id"])
    assert (status, kept["status"], kept["output"][0]["status"]) == (200, "incomplete", "incomplete")
    assert kept["output"][0]["content"][0]["text"].startswith(said) and said.startswith("one")
    provider(MODELS[model]).server.script.rules.clear()
    status, _ = await ask(running, model, "go on", previous_response_id=kept["id"])
    assert status == 200 and turns(provider(MODELS[model]).seen[-1].json)[1].startswith(said)


async def test_a_reference_needs_no_type(running: Running, provider: Providers) -> None:
    """An item with only an `id` is a reference, as in the SDK's types; the reference itself is never stored."""
    _, said = await ask(running, "chat")
    name = said["output"][0]["id"]
    for model in MODELS:
        for bare in ({"id": name}, {"id": name, "type": None}):
            status, _ = await ask(running, model, [bare, {"role": "user", "content": "x"}], store=False)
            assert status == 200 and turns(provider(MODELS[model]).seen[-1].json)[-2].startswith("Hello")
        assert (await ask(running, model, [{"id": name}, {"role": "user", "content": "x"}]))[0] == 200
    status, error = await ask(running, "native", [{"id": "msg_none"}], store=False)
    assert status == 400 and "not found" in error["error"]["message"]


async def test_what_lacks_a_member_is_replayed(running: Running, provider: Providers) -> None:
    """A stored response with incomplete items is still streamed to its end: the items are the provider's."""
    odd = [
        {"type": "function_call", "id": "fc", "call_id": "c", "name": "f"},
        {"type": "message", "id": "m", "content": [5]},
    ]
    whole = {"id": "r", "object": "response", "status": "completed", "output": odd, "usage": None}
    provider("rsp").will(body=json.dumps(whole))
    _, said = await ask(running, "native")
    async with running.session.get(f"{running.url}/v1/responses/{said['id']}?stream=true") as answer:
        assert b"event: response.completed" in await answer.read()


@pytest.mark.parametrize("model", MODELS)
async def test_what_breaks_off_is_kept_as_failed(running: Running, provider: Providers, model: str) -> None:
    """A stream that breaks off is stored as failed, under the client's id and with the output that was sent."""
    provider(MODELS[model]).will(reply="parallel_tools", fault="truncate", after=14 if model == "native" else 7)
    async with running.post("/v1/responses", {"model": model, "input": "Hi", "stream": True}) as answer:
        frames = [json.loads(line[6:]) for line in (await answer.read()).splitlines() if line.startswith(b"data: ")]
    assert [frame["type"] for frame in frames[-2:]] == ["error", "response.failed"]
    final = frames[-1]["response"]
    assert final["id"] == frames[0]["response"]["id"] and final["output"] and final["store"] is True
    assert await call(running, "GET", final["id"]) == (200, final)
    status, error = await ask(running, model, previous_response_id=final["id"])
    assert status == 400 and "is failed" in error["error"]["message"]


@pytest.mark.parametrize("odd", [{"output": None}, {"status": None}, {"output": [None]}, {"output": 5}, {"status": 5}])
async def test_odd_replies_are_told_all_the_same(running: Running, provider: Providers, odd: dict[str, Any]) -> None:
    """An odd reply reaches the client once, or is a 502; if it cannot be stored, it is not."""
    whole = {"id": "r", "object": "response", "status": "completed", "output": [], "usage": None} | odd
    begun = {"type": "response.created", "sequence_number": 0, "response": whole | {"status": "in_progress"}}
    said = {"type": "response.output_text.delta", "sequence_number": 1, "item_id": "m", "delta": "Hi"}
    end = {"type": "response.completed", "sequence_number": 2, "response": whole}
    frames = [f"event: {one['type']}\ndata: {json.dumps(one)}\n\n".encode() for one in (begun, said, end)]
    provider("rsp").will(frames=frames, times=1)
    async with running.post("/v1/responses", {"model": "native", "input": "Hi", "stream": True}) as answer:
        told = await asyncio.wait_for(answer.read(), 2)
    assert told.count(b"event: response.completed") == 1
    provider("rsp").will(body=json.dumps(whole))
    status, reply = await ask(running, "native")
    assert status in (200, 502) and (status == 502 or reply["store"] in (True, False))


async def test_an_upstream_that_does_not_close(running: Running, provider: Providers) -> None:
    """The client's stream ends with the last event, although the upstream keeps its body open."""
    whole = len(list(responses.events({"model": "m", "input": "Hi"}, "", "")))
    provider("rsp").will(fault="stall_in_body", after=whole)
    started = asyncio.get_running_loop().time()
    _, final = await ask_stream(running, "native")
    assert final["status"] == "completed" and asyncio.get_running_loop().time() - started < 1
    assert (await call(running, "GET", final["id"]))[0] == 200


async def test_a_beginning_that_is_deleted_meanwhile(running: Running, provider: Providers) -> None:
    """If the previous response is deleted during the call, the new one stores the whole conversation itself."""
    _, first = await ask(running, "chat", "one")
    provider("oai").will(latency=0.3)
    asking = asyncio.create_task(ask(running, "chat", "two", previous_response_id=first["id"]))
    await eventually(lambda: len(provider("oai").seen) == 2)
    assert (await call(running, "DELETE", first["id"]))[0] == 200
    _, second = await asking
    assert second["store"] is True
    status, _ = await ask(running, "chat", "three", previous_response_id=second["id"])
    assert status == 200 and turns(provider("oai").seen[-1].json)[0::2] == ["one", "two", "three"]
    _, page = await call(running, "GET", f"{second['id']}/input_items?order=asc")
    assert [item["role"] for item in page["data"]] == ["user", "assistant", "user"]


async def test_the_log_says_what_was_stored(running: Running) -> None:
    """The log line of a stored response has the id that the client knows; without storing it has none."""
    _, said = await ask(running)
    await ask(running, store=False)
    lines = [line for line in running.exchanges if line["endpoint"] == "responses"]
    assert (lines[0]["response"], lines[0]["stored"]) == (said["id"], True) and "response" not in lines[1]


async def test_a_form_is_no_request(running: Running) -> None:
    """A form on a JSON endpoint is a 400 or a 415, never a 500."""
    for path in ("/v1/responses", "/v1/responses/input_tokens", "/v1/messages/count_tokens", "/v1/chat/completions"):
        with aiohttp.MultipartWriter("form-data") as form:
            form.append("x")
        async with running.session.post(running.url + path, data=form) as answer:
            assert answer.status in (400, 415), path


async def test_the_connection_is_used_again(start: Start) -> None:
    """A body that ends shortly after its last event is read to the end, so that its connection is reused."""
    peers = set()

    async def answer_slowly(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        peers.add(request.transport.get_extra_info("peername"))
        answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await answer.prepare(request)
        for frame in responses.events(await request.json(), "", ""):
            await answer.write(frame)
        await asyncio.sleep(0.01)
        await answer.write_eof()
        return answer

    app = web.Application()
    app.router.add_post("/v1/responses", answer_slowly)
    async with TestServer(app) as server:
        running = await start(CONFIG.replace("STORE", "memory:").replace("MOCK/rsp/v1", str(server.make_url("/v1"))))
        for _ in range(3):
            _, final = await ask_stream(running, "native")
            assert final["store"] is True
    assert len(peers) == 1
