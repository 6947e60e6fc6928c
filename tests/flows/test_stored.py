"""Stored responses over real sockets, on every kind of upstream and store."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import FakeClock, Running, Start
from tests.flows.stored import CONFIG, KEYS, MODELS, STORES, A, B, Providers, ask, ask_stream, call, turns
from tests.wire.grammar import read_responses


@pytest.fixture(params=STORES)
async def running(request: pytest.FixtureRequest, start: Start, tmp_path: Path) -> Running:
    return await start(CONFIG.replace("STORE", request.param), state_dir=str(tmp_path))


@pytest.mark.parametrize("model", MODELS)
async def test_what_was_answered_can_be_got(running: Running, model: str) -> None:
    """A stored response is returned as it was sent; after DELETE every path of it is a 404. (EC-253, EC-262)"""
    status, said = await ask(running, model, metadata={"a": "b"})
    assert (status == 200 and said["store"] is True and said["metadata"] == {"a": "b"}) or model == "native"
    assert said["id"].startswith("resp_") and "mock" not in said["id"]
    assert await call(running, "GET", said["id"]) == (200, said)
    gone = {"id": said["id"], "object": "response", "deleted": True}
    assert await call(running, "DELETE", said["id"]) == (200, gone)
    for method, path in (("GET", said["id"]), ("DELETE", said["id"]), ("GET", f"{said['id']}/input_items")):
        status, error = await call(running, method, path)
        assert status == 404 and error["error"]["message"] == f"Response with id '{said['id']}' not found."
        assert error["error"]["type"] == "invalid_request_error" and error["error"]["code"] is None


@pytest.mark.parametrize("model", MODELS)
async def test_a_stream_is_stored_before_its_end_is_told(running: Running, model: str) -> None:
    """A streamed response is stored under the id of its first event before its last event is sent."""
    told, final = await ask_stream(running, model)
    assert final["store"] is True and final["id"].startswith("resp_") and final["id"] != "resp_mock"
    assert await call(running, "GET", final["id"]) == (200, final)
    del told


async def test_nothing_is_stored_that_should_not_be(running: Running, provider: Providers) -> None:
    """With `store: false` nothing is stored, and the id cannot be continued. (EC-254, EC-257)"""
    _, said = await ask(running, "native", store=False)
    assert (await call(running, "GET", said["id"]))[0] == 404
    assert provider("rsp").seen[0].json == {"model": "m", "input": "Hi", "store": False}
    status, error = await ask(running, "chat", previous_response_id=said["id"])
    assert status == 400 and error["error"]["code"] == "previous_response_not_found"
    assert error["error"]["param"] == "previous_response_id"
    status, error = await ask(running, "chat", previous_response_id="msg_1")
    assert status == 400 and error["error"]["code"] == "invalid_value"
    assert not provider("oai").seen


@pytest.mark.parametrize("model", MODELS)
async def test_a_chain_of_three(running: Running, provider: Providers, model: str) -> None:
    """A chain of three sends all items in order and carries no earlier instructions over. (EC-255, EC-256)"""
    _, first = await ask(running, model, "one", instructions="A")
    _, second = await ask(running, model, "two", previous_response_id=first["id"])
    _, third = await ask_stream(running, model, input="three", previous_response_id=second["id"])
    assert third["previous_response_id"] == second["id"]
    sent = provider(MODELS[model]).seen[-1].json
    texts = turns(sent)
    assert texts[0::2] == ["one", "two", "three"] and len(texts) == 5
    assert "A" not in texts and sent.get("instructions") is None and sent.get("system") is None
    assert "previous_response_id" not in sent


async def test_a_chain_may_change_its_model(running: Running, provider: Providers) -> None:
    """A chain may change its model at each link: the next provider gets what the others have said."""
    previous = None
    for model in ("chat", "native", "claude", "chat"):
        _, said = await ask(running, model, f"to {model}", previous_response_id=previous)
        previous = said["id"]
    assert [text for text in turns(provider("oai").seen[-1].json) if text.startswith("to ")] == [
        "to chat",
        "to native",
        "to claude",
        "to chat",
    ]


async def test_a_middle_link_may_be_deleted(running: Running, provider: Providers) -> None:
    """A deleted link is a 404 and cannot be continued; the responses after it keep the whole conversation."""
    _, first = await ask(running, "chat", "one")
    _, second = await ask(running, "chat", "two", previous_response_id=first["id"])
    assert (await call(running, "DELETE", first["id"]))[0] == 200
    assert (await call(running, "GET", first["id"]))[0] == 404
    assert (await ask(running, "chat", "x", previous_response_id=first["id"]))[0] == 400
    assert (await ask(running, "chat", "three", previous_response_id=second["id"]))[0] == 200
    assert turns(provider("oai").seen[-1].json)[0] == "one"


@pytest.mark.parametrize("url", ["memory:", "sqlite:state.db"])
async def test_another_keys_responses_are_not_there(start: Start, tmp_path: Path, url: str) -> None:
    """Another key's response gives the same 404 or 400 as an id that never existed. (EC-258)"""
    running = await start(CONFIG.replace("STORE", url) + KEYS, state_dir=str(tmp_path))
    _, said = await ask(running, headers=A)
    _, none = await call(running, "GET", "resp_0", headers=B)
    for method, path in (("GET", ""), ("DELETE", ""), ("GET", "/input_items"), ("POST", "/cancel")):
        status, error = await call(running, method, said["id"] + path, headers=B)
        assert status == 404
        assert error["error"]["message"] == none["error"]["message"].replace("resp_0", said["id"])
    status, error = await ask(running, previous_response_id=said["id"], headers=B)
    assert (status, error["error"]["code"]) == (400, "previous_response_not_found")
    reference = [{"type": "item_reference", "id": said["output"][0]["id"]}]
    assert (await ask(running, "chat", reference, headers=B))[0] == 400
    assert (await ask(running, "chat", reference, headers=A))[0] == 200
    assert (await call(running, "GET", said["id"], headers=A))[0] == 200


async def test_open_calls_have_to_be_answered(running: Running, provider: Providers) -> None:
    """Continuing past an open tool call without its output is a 400 before any upstream call. (EC-260)"""
    tools = [{"type": "function", "name": "get_weather", "parameters": {"type": "object"}}]
    for model, name in MODELS.items():
        provider(name).will(reply="tools")
        _, said = await ask(running, model, tools=tools)
        call_id = next(item["call_id"] for item in said["output"] if item["type"] == "function_call")
        asked = len(provider(name).seen)
        status, error = await ask(running, model, previous_response_id=said["id"])
        assert status == 400 and error["error"]["param"] == "input"
        assert error["error"]["message"] == f"No tool output found for function call {call_id}."
        assert len(provider(name).seen) == asked

        output = [{"type": "function_call_output", "call_id": call_id, "output": "22"}]
        status, _ = await ask(running, model, output, previous_response_id=said["id"], tools=tools)
        assert status == 200


async def test_the_list_of_input_items(running: Running) -> None:
    """Input items come newest first in pages of 20 with exclusive cursors, earlier turns included. (EC-261)"""
    _, first = await ask(running, "chat", "one")
    given = [{"role": "user", "content": f"{number}"} for number in range(24)]
    _, second = await ask(running, "chat", given, previous_response_id=first["id"])
    path = f"{second['id']}/input_items"
    status, page = await call(running, "GET", path)
    assert status == 200 and page["object"] == "list" and len(page["data"]) == 20 and page["has_more"]
    assert page["data"][0]["content"] == [{"type": "input_text", "text": "23"}]
    assert all(item["id"] and item["status"] == "completed" for item in page["data"])
    assert (page["first_id"], page["last_id"]) == (page["data"][0]["id"], page["data"][-1]["id"])
    _, rest = await call(running, "GET", f"{path}?after={page['last_id']}")
    assert len(rest["data"]) == 6 and not rest["has_more"]
    assert [item["role"] for item in rest["data"]][-2:] == ["assistant", "user"]
    _, rising = await call(running, "GET", f"{path}?order=asc&limit=100")
    assert [item["id"] for item in rising["data"]] == [item["id"] for item in page["data"] + rest["data"]][::-1]
    for bad in ("limit=0", "limit=101", "limit=x", "order=up", "after=msg_none"):
        assert (await call(running, "GET", f"{path}?{bad}"))[0] == 400


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("sample", ["", "tools", "reasoning", "refusal"])
async def test_a_stored_response_is_streamed_again(
    running: Running, provider: Providers, model: str, sample: str
) -> None:
    """A stored response is streamed as events that build the same object, from any number on. (EC-265)"""
    if sample:
        provider(MODELS[model]).will(reply=sample)
    _, said = await ask(running, model)
    async with running.session.get(f"{running.url}/v1/responses/{said['id']}?stream=true") as answer:
        whole = await answer.read()
    _, final = read_responses(whole)
    assert final == said
    async with running.session.get(f"{running.url}/v1/responses/{said['id']}?stream=true&starting_after=1") as answer:
        rest = await answer.read()
    assert whole.endswith(rest) and b'"sequence_number":2' in rest.split(b"\n\n")[0]


async def test_cancel_is_for_the_background(running: Running) -> None:
    """Cancelling a foreground response is a 400. (EC-263)"""
    _, said = await ask(running)
    status, error = await call(running, "POST", f"{said['id']}/cancel")
    assert status == 400 and "background=true" in error["error"]["message"]


async def test_responses_are_kept_as_long_as_they_are_used(start: Start, tmp_path: Path) -> None:
    """Continuing a chain renews all its links; a response that nobody continues expires after `ttl`."""
    for url in ("memory:", "sqlite:state.db"):
        clock = FakeClock()
        text = CONFIG.replace('"STORE"', f'"{url}", ttl: 1h')
        running = await start(text, clock=clock.clock(), state_dir=str(tmp_path))
        _, first = await ask(running, "chat", "one")
        _, other = await ask(running, "chat", "other")
        clock.now += 3000
        _, second = await ask(running, "chat", "two", previous_response_id=first["id"])
        clock.now += 3000
        assert (await ask(running, "chat", "three", previous_response_id=second["id"]))[0] == 200
        assert (await call(running, "GET", other["id"]))[0] == 404
        await running.gateway.responses.sweep(clock.now)
        assert (await call(running, "GET", first["id"]))[0] == 200


async def test_concurrent_writers(running: Running) -> None:
    """Forty concurrent requests are all answered and all stored."""
    answers = await asyncio.gather(*(ask(running, "chat", f"{number}") for number in range(40)))
    assert len({said["id"] for _, said in answers}) == 40
    for _, said in answers:
        assert (await call(running, "GET", said["id"]))[0] == 200
    assert json.dumps(answers)


async def test_items_that_were_listed_can_be_referred_to(running: Running, provider: Providers) -> None:
    """An item_reference by a listed id, also one made by the gateway, is replaced by its item; others are a 400."""
    given = [{"role": "user", "content": "one"}, {"role": "user", "content": "two", "id": "msg_mine"}]
    _, said = await ask(running, "chat", given)
    _, page = await call(running, "GET", f"{said['id']}/input_items?order=asc")
    names = [item["id"] for item in page["data"]]
    assert names[1] == "msg_mine" and all(len(name) <= 64 for name in names)
    references = [{"type": "item_reference", "id": names[0]}] * 3
    status, _ = await ask(running, "chat", [*references, {"role": "user", "content": "x"}])
    assert status == 200 and turns(provider("oai").seen[-1].json) == ["one\none\none\nx"]
    status, _ = await ask(running, "chat", [{"type": "item_reference", "id": "msg_mine"}])
    assert status == 200 and turns(provider("oai").seen[-1].json) == ["two"]
    for name in (names[0][:-1] + "9", names[0].replace("_i0", "_o9"), "msg_none", "x" * 500):
        status, error = await ask(running, "chat", [{"type": "item_reference", "id": name}])
        assert status == 400 and error["error"]["param"] == "input[0].id"


async def test_the_input_is_bounded(running: Running, provider: Providers) -> None:
    """Too many references or items are a 400 before any upstream call."""
    many = [{"type": "item_reference", "id": f"msg_{number}"} for number in range(1001)]
    status, error = await ask(running, "chat", many)
    assert status == 400 and "1001 items" in error["error"]["message"]
    status, error = await ask(running, "chat", [{"role": "user", "content": "x"}] * 20_001)
    assert status == 400 and "20001 items" in error["error"]["message"]
    assert not provider("oai").seen


async def test_a_conversation_is_bounded(start: Start, provider: Providers) -> None:
    """A joined conversation beyond `max_body` is a 413; an item counts once for each reference to it."""
    text = CONFIG.replace("STORE", "memory:").replace('["127.0.0.1:0"]', '["127.0.0.1:0"], max_body: 20KiB')
    running = await start(text)
    _, said = await ask(running, "chat", "x" * 8000)
    _, again = await ask(running, "chat", "y" * 8000, previous_response_id=said["id"])
    asked = len(provider("oai").seen)
    status, error = await ask(running, "chat", "z" * 8000, previous_response_id=again["id"])
    assert (status, error["error"]["code"]) == (413, "request_too_large")
    assert "begin a new one" in error["error"]["message"]
    _, page = await call(running, "GET", f"{said['id']}/input_items")
    references = [{"type": "item_reference", "id": page["data"][0]["id"]}] * 3
    assert (await ask(running, "chat", references))[0] == 413
    assert len(provider("oai").seen) == asked


async def test_ids_that_repeat_are_paged_all_the_same(running: Running) -> None:
    """If clients or providers use an id twice, paging still lists every item once."""
    given = [{"role": "user", "content": f"{number}", "id": "msg_same"} for number in range(6)]
    _, said = await ask(running, "native", given)
    _, last = await ask(running, "native", "x", previous_response_id=said["id"])
    found: list[Any] = []
    after = ""
    while True:
        _, page = await call(running, "GET", f"{last['id']}/input_items?order=asc&limit=2{after}")
        found += page["data"]
        if not page["has_more"]:
            break
        after = f"&after={page['last_id']}"
    assert [item["content"][0]["text"] for item in found[:6]] == [str(number) for number in range(6)]
    assert len({item["id"] for item in found}) == len(found) == 8
