"""The bounds of conversations, and what is left of them when they are deleted or the store fails."""

import json
from pathlib import Path
from typing import Any

import pytest

from gateway.server.responses import named
from gateway.store.protocol import Conversation, StoreDown
from tests.conftest import FakeClock, Running, Start, eventually
from tests.flows.conversations import at, made, texts
from tests.flows.stored import CONFIG, STORES, Providers, ask, ask_stream, call

NEW = {"items": [{"role": "user", "content": "x"}]}


@pytest.fixture(params=STORES)
async def running(request: pytest.FixtureRequest, start: Start, tmp_path: Path) -> Running:
    return await start(CONFIG.replace("STORE", request.param), state_dir=str(tmp_path))


async def turns_stored(running: Running, path: str) -> int:
    """Return how many turns the store has of a conversation; 0 when the conversation is not there."""
    store, now = running.gateway.responses, running.gateway.clock.time()
    found = await store.get_conversation("anonymous", path[1:], now)
    if found is None or found.head is None:
        return 0
    return len(await store.chain("anonymous", found.head, now, 0.0, 10**9))


async def test_a_conversation_is_bounded(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond its turns a conversation is a 413 for responses and new items, and can still be read."""
    monkeypatch.setattr(named, "MAX_TURNS", 2)
    path = await made(running, "one")
    assert (await at(running, "POST", f"{path}/items", NEW))[0] == 200
    for status, error in (await at(running, "POST", f"{path}/items", NEW), await ask(running, conversation=path[1:])):
        assert status == 413 and "begin a new one" in error["error"]["message"]
    assert await texts(running, path) == ["one", "x"]
    assert await at(running, "POST", f"{path}/items", {"items": []}) == (
        200,
        {"object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False},
    )


async def test_a_conversation_has_no_more_bytes_than_a_body(start: Start) -> None:
    """Items beyond `server.max_body` are refused; a reply that went beyond it can be read, and not continued."""
    text = CONFIG.replace("STORE", "memory:").replace("server: {", "server: {max_body: 4KiB, ")
    running = await start(text)
    path = await made(running, "x" * 2000)
    big: dict[str, Any] = {"items": [{"role": "user", "content": "y" * 2500}]}
    assert (await at(running, "POST", f"{path}/items", big))[0] == 413
    assert (await ask(running, "chat", "z" * 1900, conversation=path[1:]))[0] == 200
    assert (await ask(running, "chat", "more", conversation=path[1:]))[0] == 413
    assert len(await texts(running, path)) == 3


async def test_what_is_taken_back_is_not_kept(running: Running) -> None:
    """The newest items, once deleted, are gone from the store too; the conversation goes on from what is left."""
    path = await made(running, "one")
    for _ in range(3):
        _, added = await at(running, "POST", f"{path}/items", NEW)
        assert (await at(running, "DELETE", f"{path}/items/{added['first_id']}"))[0] == 200
    assert await turns_stored(running, path) == 1
    _, page = await at(running, "GET", f"{path}/items")
    assert (await at(running, "DELETE", f"{path}/items/{page['first_id']}"))[0] == 200
    assert await turns_stored(running, path) == 0 and await texts(running, path) == []
    assert (await ask(running, "chat", "again", conversation=path[1:]))[0] == 200
    assert (await texts(running, path))[0] == "again"


async def test_a_turn_goes_when_its_last_item_does(running: Running) -> None:
    """A turn of which one item is left stays; an older deleted item goes with it when the newer ones have gone."""
    path = await made(running, "one", "two")
    _, page = await at(running, "GET", f"{path}/items?order=asc")
    first, second = (item["id"] for item in page["data"])
    await at(running, "DELETE", f"{path}/items/{first}")
    assert await turns_stored(running, path) == 1 and await texts(running, path) == ["two"]
    await at(running, "DELETE", f"{path}/items/{second}")
    assert await turns_stored(running, path) == 0
    _, page = await at(running, "POST", f"{path}/items", NEW)
    assert await texts(running, path) == ["x"]


async def test_turns_are_no_responses(running: Running) -> None:
    """A turn cannot be read, deleted or continued as a response, whoever guesses its id."""
    path = await made(running, "one")
    store, now = running.gateway.responses, running.gateway.clock.time()
    found = await store.get_conversation("anonymous", path[1:], now)
    assert found is not None and found.head is not None
    for method, rest in (("GET", ""), ("DELETE", ""), ("GET", "/input_items"), ("POST", "/cancel")):
        assert (await call(running, method, found.head + rest))[0] == 404
    assert (await ask(running, previous_response_id=found.head))[0] == 400
    assert await texts(running, path) == ["one"]


async def test_ids_that_are_none(running: Running) -> None:
    """An id of another kind is a 400 in the words of the real API, in a path and in a request. (EC-259)"""
    status, error = await at(running, "GET", "/my-chat")
    words = "Invalid 'conversation_id': 'my-chat'. Expected an ID that begins with 'conv'."
    assert (status, error["error"]["message"], error["error"]["code"]) == (400, words, "invalid_value")
    status, error = await ask(running, conversation="my-chat")
    assert error["error"]["message"] == words.replace("conversation_id", "conversation")
    assert (status, error["error"]["param"]) == (400, "conversation")
    status, error = await ask(running, conversation="conv_1", previous_response_id="resp_1")
    assert status == 400 and error["error"]["message"].startswith("Mutually exclusive parameters.")
    assert (await ask(running, conversation=None))[0] == 200


async def test_ids_that_come_twice_are_told_apart(running: Running) -> None:
    """An item id that a client uses twice is listed twice under two ids, and each is deleted alone."""
    item = {"type": "message", "id": "msg_same", "role": "user", "content": "x"}
    path = await made(running)
    for _ in range(2):
        await at(running, "POST", f"{path}/items", {"items": [item]})
    _, page = await at(running, "GET", f"{path}/items?order=asc")
    assert [one["id"] for one in page["data"]] == ["msg_same", "msg_same_2"]
    await at(running, "DELETE", f"{path}/items/msg_same")
    _, page = await at(running, "GET", f"{path}/items")
    assert [one["id"] for one in page["data"]] == ["msg_same_2"]


async def test_a_reference_is_added_as_what_it_refers_to(running: Running) -> None:
    """A reference to a stored item becomes that item; in a request, one to an item of the conversation adds nothing."""
    _, said = await ask(running, "chat", "one")
    reference = {"type": "item_reference", "id": said["output"][0]["id"]}
    path = await made(running)
    assert (await at(running, "POST", f"{path}/items", {"items": [reference]}))[0] == 200
    assert await texts(running, path) == [said["output"][0]["content"][0]["text"]]
    _, page = await at(running, "GET", f"{path}/items")
    own = {"type": "item_reference", "id": page["data"][0]["id"]}
    given = [own, {"role": "user", "content": "two"}]
    assert (await ask(running, "chat", given, conversation=path[1:]))[0] == 200
    assert (await texts(running, path))[1] == "two"


async def test_sealed_reasoning_goes_home_only(running: Running, provider: Providers) -> None:
    """Reasoning that one provider sealed stays out of another's request, and is back with the first one's next."""
    secret = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAAsecret"}
    answer = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed"}
    answer["content"] = [{"type": "output_text", "text": "ok", "annotations": []}]  # type: ignore[assignment]
    body = {"id": "resp_x", "object": "response", "status": "completed", "model": "m", "output": [secret, answer]}
    provider("rsp").will(body=json.dumps(body), times=1)
    path = await made(running)
    assert (await ask(running, "native", "one", conversation=path[1:]))[0] == 200
    assert (await ask(running, "chat", "two", conversation=path[1:]))[0] == 200
    assert "gAAAsecret" not in json.dumps(provider("oai").seen[-1].json)
    assert (await ask(running, "native", "three", conversation=path[1:]))[0] == 200
    assert "gAAAsecret" in json.dumps(provider("rsp").seen[-1].json)


async def test_a_client_that_leaves_adds_nothing(running: Running, provider: Providers) -> None:
    """A stream that its client has left in the middle is no turn: the client has not read its end."""
    path = await made(running, "zero")
    provider("oai").will(text="one two three four five six", pace=0.02)
    given = {"model": "chat", "input": "one", "stream": True, "conversation": path[1:]}
    async with running.post("/v1/responses", given) as answer:
        while b"output_text.delta" not in await answer.content.readline():
            pass
        answer.close()
    await eventually(lambda: not running.gateway.lifecycle.exchanges and not running.gateway.lifecycle.background_tasks)
    assert await texts(running, path) == ["zero"]


async def test_what_must_be_stored_and_cannot(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the store is down, reading is a 503 and writing a 507, and no provider is asked for a turn."""
    path = await made(running, "zero")

    async def down(*_: Any, **__: Any) -> Any:
        raise StoreDown("away")

    store = running.gateway.responses.store
    kind = type(store)
    for name in ("put", "put_conversation", "check"):
        monkeypatch.setattr(kind, name, down)
    assert (await at(running, "POST", "", {}))[0] == 507
    assert (await ask(running, "chat", "one", conversation=path[1:]))[0] == 507
    monkeypatch.setattr(kind, "get_conversation", down)
    assert (await at(running, "GET", path))[0] == 503


async def test_a_turn_that_cannot_be_added_is_said(
    running: Running, provider: Providers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the store fails after the answer came, a whole reply is a 507, and a stream ends with `store: false`."""
    path = await made(running, "zero")

    async def down(*_: Any, **__: Any) -> bool:
        raise StoreDown("away")

    monkeypatch.setattr(type(running.gateway.responses.store), "put_conversation", down)
    _, final = await ask_stream(running, "chat", conversation=path[1:])
    assert final["store"] is False
    monkeypatch.undo()
    store, now = running.gateway.responses.store, running.gateway.clock.time()  # the watched one rests for a second
    found = await store.get_conversation("anonymous", path[1:], now)
    assert found is not None and found.version == 2


async def test_changes_that_come_at_once(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """A change is made anew after another that came first; none is lost."""
    path = await made(running, "zero")
    store = running.gateway.responses.store
    inner = type(store).put_conversation
    lost: list[Conversation] = []

    async def loses_once(self: Any, conversation: Conversation, now: float) -> bool:
        if not lost:
            lost.append(conversation)
            return False
        return await inner(self, conversation, now)

    monkeypatch.setattr(type(store), "put_conversation", loses_once)
    status, found = await at(running, "POST", path, {"metadata": {"a": "b"}})
    assert (status, found["metadata"]) == (200, {"a": "b"}) and lost


async def test_an_updated_conversation_keeps_its_end(start: Start) -> None:
    """Reading a conversation and changing its metadata do not renew it: its turns would be gone before it."""
    clock = FakeClock()
    running = await start(CONFIG.replace('"STORE"', '"memory:", ttl: 1h'), clock=clock.clock())
    path = await made(running, "one")
    clock.now += 3000
    assert (await at(running, "POST", path, {"metadata": {"a": "b"}}))[0] == 200
    clock.now += 700
    assert (await at(running, "GET", path))[0] == 404
