"""Conversations over real sockets, on every kind of upstream and store."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import FakeClock, Running, Start
from tests.flows.conversations import at, lines, made, texts
from tests.flows.stored import CONFIG, KEYS, MODELS, STORES, A, B, Providers, ask, ask_stream, call, ended, turns

TOOLS = [{"type": "function", "name": "get_weather", "parameters": {"type": "object"}}]


@pytest.fixture(params=STORES)
async def running(request: pytest.FixtureRequest, start: Start, tmp_path: Path) -> Running:
    return await start(CONFIG.replace("STORE", request.param), state_dir=str(tmp_path))


async def test_a_conversation_is_made_read_changed_and_deleted(running: Running) -> None:
    """A conversation is created with metadata, read, changed and deleted; then every path of it is a 404."""
    status, one = await at(running, "POST", "", {"metadata": {"topic": "demo"}})
    assert status == 200 and one["id"].startswith("conv_") and one["object"] == "conversation"
    assert one["metadata"] == {"topic": "demo"} and isinstance(one["created_at"], int)
    path = f"/{one['id']}"
    assert await at(running, "GET", path) == (200, one)
    assert await at(running, "POST", path, {"metadata": {"topic": "other"}}) == (
        200,
        one | {"metadata": {"topic": "other"}},
    )
    assert (await at(running, "POST", path, {"metadata": None}))[1]["metadata"] == {}
    gone = {"id": one["id"], "object": "conversation.deleted", "deleted": True}
    assert await at(running, "DELETE", path) == (200, gone)
    item = {"role": "user", "content": "x"}
    for method, rest, body in (
        ("GET", "", None), ("POST", "", {"metadata": {}}), ("DELETE", "", None), ("GET", "/items", None),
        ("POST", "/items", {"items": [item]}), ("GET", "/items/msg_1", None), ("DELETE", "/items/msg_1", None),
    ):  # fmt: skip
        status, error = await at(running, method, path + rest, body)
        assert status == 404 and error["error"]["message"] == f"Conversation with id '{one['id']}' not found."
        assert error["error"]["type"] == "invalid_request_error" and error["error"]["code"] is None


async def test_items_are_added_listed_shown_and_deleted(running: Running) -> None:
    """Items keep their order and their ids, are listed in pages from either end, and go one by one."""
    path = await made(running, "one", "two")
    new = [{"role": "assistant", "content": "three"}, {"type": "message", "role": "user", "content": "four"}]
    status, added = await at(running, "POST", f"{path}/items", {"items": new})
    assert status == 200 and added["object"] == "list" and added["has_more"] is False
    assert [item["role"] for item in added["data"]] == ["assistant", "user"]
    assert (added["first_id"], added["last_id"]) == (added["data"][0]["id"], added["data"][1]["id"])
    _, page = await at(running, "GET", f"{path}/items?limit=3")
    assert [item["content"][0]["text"] for item in page["data"]] == ["four", "three", "two"] and page["has_more"]
    _, rest = await at(running, "GET", f"{path}/items?after={page['last_id']}")
    assert [item["content"][0]["text"] for item in rest["data"]] == ["one"] and not rest["has_more"]
    second = page["data"][2]
    assert await at(running, "GET", f"{path}/items/{second['id']}") == (200, second)
    status, left = await at(running, "DELETE", f"{path}/items/{second['id']}")
    assert (status, left["object"], left["id"]) == (200, "conversation", path[1:])
    assert await texts(running, path) == ["one", "three", "four"]
    for method in ("GET", "DELETE"):
        status, error = await at(running, method, f"{path}/items/{second['id']}")
        assert status == 404 and error["error"]["message"] == f"Item with id '{second['id']}' not found."


@pytest.mark.parametrize("model", MODELS)
async def test_responses_go_on_in_it(running: Running, provider: Providers, model: str) -> None:
    """A response gets what the conversation has, and adds its input and its output, whole and streamed."""
    path = await made(running, "zero")
    provider(MODELS[model]).will(text="first answer", times=1)
    status, said = await ask(running, model, "one", conversation=path[1:])
    assert status == 200 and said["conversation"] == {"id": path[1:]} and said["previous_response_id"] is None
    assert lines(provider(MODELS[model]).seen[-1].json) == ["zero", "one"]
    provider(MODELS[model]).will(text="second answer", times=1)
    _, final = await ask_stream(running, model, input="two", conversation={"id": path[1:]})
    assert final["conversation"] == {"id": path[1:]}
    sent = provider(MODELS[model]).seen[-1].json
    assert "conversation" not in sent
    assert lines(sent) == ["zero", "one", "first answer", "two"]
    assert await texts(running, path) == ["zero", "one", "first answer", "two", "second answer"]


async def test_a_conversation_may_change_its_model(running: Running, provider: Providers) -> None:
    """Each turn may go to another provider: it gets what the others have said."""
    path = await made(running)
    for model in (*MODELS, "chat"):
        assert (await ask(running, model, f"to {model}", conversation=path[1:]))[0] == 200
    sent = [text for text in turns(provider("oai").seen[-1].json) if text.startswith("to ")]
    assert sent == ["to chat", "to claude", "to native", "to chat"]


@pytest.mark.parametrize("is_stream", [False, True])
async def test_a_tool_loop_in_a_conversation(running: Running, provider: Providers, *, is_stream: bool) -> None:
    """A call of one turn is answered in the next by its output alone; without it the turn is a 400."""
    for model, name in MODELS.items():
        path = await made(running)
        provider(name).will(reply="tools", times=1)
        given: dict[str, Any] = {"tools": TOOLS, "conversation": path[1:]}
        if is_stream:
            _, said = await ask_stream(running, model, **given)
        else:
            _, said = await ask(running, model, **given)
        call_id = next(item["call_id"] for item in said["output"] if item["type"] == "function_call")
        status, error = await ask(running, model, "x", **given)
        assert status == 400 and error["error"]["message"] == f"No tool output found for function call {call_id}."
        output = [{"type": "function_call_output", "call_id": call_id, "output": "22"}]
        assert (await ask(running, model, output, **given))[0] == 200
        _, found = await at(running, "GET", f"{path}/items?order=asc")
        assert [item["type"] for item in found["data"]][-3:] == ["function_call", "function_call_output", "message"]


@pytest.mark.parametrize("url", ["memory:", "sqlite:state.db"])
async def test_another_keys_conversation_is_not_there(start: Start, tmp_path: Path, url: str) -> None:
    """Another key's conversation gives the same 404 as one that never existed, on every path and in a response."""
    running = await start(CONFIG.replace("STORE", url) + KEYS, state_dir=str(tmp_path))
    path = await made(running, "secret", headers=A)
    _, page = await at(running, "GET", f"{path}/items", headers=A)
    item = page["data"][0]["id"]
    add = {"items": [{"role": "user", "content": "x"}]}
    for method, rest, body in (
        ("GET", "", None), ("POST", "", {"metadata": {}}), ("DELETE", "", None), ("GET", "/items", None),
        ("POST", "/items", add), ("GET", f"/items/{item}", None), ("DELETE", f"/items/{item}", None),
    ):  # fmt: skip
        status, error = await at(running, method, path + rest, body, headers=B)
        assert (status, error["error"]["message"]) == (404, f"Conversation with id '{path[1:]}' not found.")
    status, error = await ask(running, conversation=path[1:], headers=B)
    assert (status, error["error"]["message"]) == (404, f"Conversation with id '{path[1:]}' not found.")
    assert (await ask(running, "chat", [{"type": "item_reference", "id": item}], headers=B))[0] == 400
    assert (await ask(running, "chat", [{"type": "item_reference", "id": item}], headers=A))[0] == 200
    assert await texts(running, path, headers=A) == ["secret"]


async def test_turns_at_the_same_time_are_both_kept(running: Running, provider: Providers) -> None:
    """Two responses at once in one conversation each add their turn whole, one behind the other."""
    path = await made(running, "zero")
    answers = await asyncio.gather(*(ask(running, "chat", f"ask {n}", conversation=path[1:]) for n in range(4)))
    assert [status for status, _ in answers] == [200] * 4
    found = await texts(running, path)
    assert len(found) == 9 and sorted(found[1::2]) == [f"ask {number}" for number in range(4)]


async def test_a_deleted_item_is_never_sent_again(running: Running, provider: Providers) -> None:
    """What was deleted of a conversation is in no later request, nor in one that continues a later response."""
    path = await made(running, "keep", "forget me")
    _, page = await at(running, "GET", f"{path}/items")
    await at(running, "DELETE", f"{path}/items/{page['data'][0]['id']}")
    _, said = await ask(running, "chat", "one", conversation=path[1:])
    assert lines(provider("oai").seen[-1].json) == ["keep", "one"]
    await ask(running, "chat", "two", previous_response_id=said["id"])
    assert lines(provider("oai").seen[-1].json)[:2] == ["keep", "one"]
    assert "forget" not in json.dumps(provider("oai").seen[-1].json)


async def test_a_response_of_it_is_continued_alone(running: Running, provider: Providers) -> None:
    """A response of a conversation can be continued by its id: with what it had then, and without adding to it."""
    path = await made(running, "zero")
    _, first = await ask(running, "chat", "one", conversation=path[1:])
    await ask(running, "chat", "two", conversation=path[1:])
    before = await texts(running, path)
    status, _ = await ask(running, "chat", "other", previous_response_id=first["id"])
    assert status == 200
    sent = lines(provider("oai").seen[-1].json)
    assert (sent[0], sent[1], sent[-1]) == ("zero", "one", "other") and "two" not in sent
    assert await texts(running, path) == before
    _, listed = await call(running, "GET", f"{first['id']}/input_items?order=asc")
    assert [item["content"][0]["text"] for item in listed["data"]] == ["zero", "one"]


async def test_deleting_a_response_leaves_the_conversation(running: Running) -> None:
    """A deleted response's items stay in its conversation, and a deleted conversation's responses stay too."""
    path = await made(running, "zero")
    _, said = await ask(running, "chat", "one", conversation=path[1:])
    assert (await call(running, "DELETE", said["id"]))[0] == 200
    assert (await texts(running, path))[:2] == ["zero", "one"]
    _, again = await ask(running, "chat", "two", conversation=path[1:])
    assert (await at(running, "DELETE", path))[0] == 200
    assert await call(running, "GET", again["id"]) == (200, again)
    assert (await ask(running, "chat", "three", previous_response_id=again["id"]))[0] == 200


async def test_without_storage_only_the_turn_is_kept(running: Running) -> None:
    """With `store: false` the response cannot be read, and its turn is part of the conversation all the same."""
    path = await made(running)
    status, said = await ask(running, "chat", "one", conversation=path[1:], store=False)
    assert status == 200 and said["store"] is False
    assert (await call(running, "GET", said["id"]))[0] == 404
    assert (await texts(running, path))[0] == "one"


async def test_in_the_background(running: Running, provider: Providers) -> None:
    """A background response adds its turn when it ends."""
    path = await made(running, "zero")
    status, said = await ask(running, "claude", "one", conversation=path[1:], background=True)
    assert status == 200 and said["conversation"] == {"id": path[1:]}
    assert (await ended(running, said["id"]))["status"] == "completed"
    for _ in range(100):
        if len(found := await texts(running, path)) == 3:
            break
        await asyncio.sleep(0.01)
    assert found[:2] == ["zero", "one"]


async def test_a_turn_that_fails_is_not_added(running: Running, provider: Providers) -> None:
    """A request that no provider answers leaves the conversation as it was."""
    path = await made(running, "zero")
    provider("oai").will(status=400)
    assert (await ask(running, "chat", "one", conversation=path[1:]))[0] == 400
    assert await texts(running, path) == ["zero"]


async def test_conversations_live_as_long_as_they_are_used(start: Start, tmp_path: Path) -> None:
    """A response renews the whole conversation; one that nobody uses expires after `ttl`."""
    for url in ("memory:", "sqlite:state.db"):
        clock = FakeClock()
        text = CONFIG.replace('"STORE"', f'"{url}", ttl: 1h')
        running = await start(text, clock=clock.clock(), state_dir=str(tmp_path))
        used, unused = await made(running, "one"), await made(running, "other")
        clock.now += 3000
        assert (await ask(running, "chat", "two", conversation=used[1:]))[0] == 200
        clock.now += 3000
        assert (await texts(running, used))[:2] == ["one", "two"]
        assert (await at(running, "GET", unused))[0] == 404


async def test_counting_reads_the_conversation_and_adds_nothing(running: Running, provider: Providers) -> None:
    """A count of input tokens includes the conversation, and leaves it as it was."""
    path = await made(running, "a much longer text than the other one " * 20)
    given = {"model": "claude", "input": "x", "conversation": path[1:]}
    async with running.post("/v1/responses/input_tokens", given) as answer:
        assert answer.status == 200 and (await answer.json())["input_tokens"] > 100
    assert len(await texts(running, path)) == 1


async def test_paths_that_pass_everything_through_have_none(running: Running) -> None:
    """Under /pt nothing is stored here, so there are no conversations either; under /min there are."""
    for prefix, wanted in (("/pt", 404), ("/min", 200), ("/openai", 200)):
        async with running.session.post(f"{running.url}{prefix}/v1/conversations", json={}) as answer:
            assert answer.status == wanted


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        ({"items": [{"role": "user", "content": "x"}] * 21}, "items", "array_above_max_length"),
        ({"items": "x"}, "items", "invalid_type"),
        ({"items": [3]}, "items[0]", "invalid_type"),
        ({"items": [{"content": "x"}]}, "items[0].type", "missing_required_parameter"),
        ({"items": [{"type": "item_reference", "id": "msg_9"}]}, "items[0].id", None),
        ({"metadata": "x"}, "metadata", "invalid_type"),
        ({"metadata": {"a": 1}}, "metadata.a", "invalid_type"),
        ({"metadata": {"a": "x" * 513}}, "metadata.a", "string_above_max_length"),
        ({"metadata": {"x" * 65: "a"}}, "metadata", "invalid_value"),
        ({"metadata": {f"{n}": "a" for n in range(17)}}, "metadata", "object_above_max_properties"),
    ],
)
async def test_what_cannot_be_created(start: Start, body: Any, param: str, code: str | None) -> None:
    """What the API does not take is a 400 that names the place."""
    running = await start(CONFIG.replace("STORE", "memory:"))
    status, error = await at(running, "POST", "", body)
    assert (status, error["error"]["param"], error["error"]["code"]) == (400, param, code)
