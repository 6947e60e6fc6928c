"""A response is in the store before its client hears of it, and says so itself if it is not."""

import json
from typing import Any

import pytest
from attrs import define, field

from gateway.errors import StorageFull
from gateway.policy.affinity import Affinity
from gateway.proxy.exchange import Exchange
from gateway.proxy.response_recorder import PATIENCE_S, ResponseRecorder
from gateway.store.memory import MemoryResponses
from gateway.store.protocol import StoreDown, StoredResponse
from gateway.wire import DIALECTS
from gateway.wire.dialect import Asked
from tests.conftest import FakeClock

MAKER = Affinity("one:m", "one#1")
ITEM = {"type": "message", "id": "msg_1", "role": "assistant", "content": [{"type": "output_text", "text": "Hello"}]}
BODY = {"id": "resp_theirs", "object": "response", "status": "completed", "store": False, "output": [ITEM], "odd": 1.0}


@define
class FailingStore(MemoryResponses):
    """A store in memory that is down for its first `failures` writes."""

    failures: int = 0
    tries: int = field(default=0, init=False)

    async def put(self, stored: StoredResponse, *, only_running: bool = False) -> bool:
        self.tries += 1
        if self.tries <= self.failures:
            raise StoreDown("down")
        return await MemoryResponses.put(self, stored, only_running=only_running)


def recorder(store: MemoryResponses, clock: FakeClock | None = None, **more: Any) -> ResponseRecorder:
    given: dict[str, Any] = {
        "owner": "a",
        "id": "resp_1",
        "previous": None,
        "ttl": 60.0,
        "input": b'["new"]',
        "joined": b'["old","new"]',
        "exchange": Exchange("r", 0.0),
    }
    return ResponseRecorder(store=store, clock=(clock or FakeClock()).clock(), **(given | more))


def event(kind: str, number: int, response: dict[str, Any]) -> bytes:
    data = {"type": kind, "sequence_number": number, "response": response}
    return f"event: {kind}\ndata: {json.dumps(data)}\n\n".encode()


def responses_in(stream: bytes) -> list[dict[str, Any]]:
    lines = [line for line in stream.decode().splitlines() if line.startswith("data: ")]
    return [json.loads(line[6:])["response"] for line in lines]


async def stored(store: MemoryResponses) -> StoredResponse:
    found = await store.get("a", "resp_1", 0.0)
    assert found is not None
    return found


async def test_a_whole_response_is_stored_under_our_id() -> None:
    """A whole response is sent with our marks, and its row has the maker, the items and an empty `output`."""
    store = MemoryResponses()
    one = recorder(store, given=("mine",))
    sent = json.loads(await one.store_whole(json.dumps(BODY).encode(), MAKER))
    row = await stored(store)
    assert sent == BODY | {"id": "resp_1", "store": True, "previous_response_id": None, "background": False}
    assert json.loads(row.body) == sent | {"output": []} and json.loads(row.output) == [ITEM]
    assert (row.maker, row.items, row.input, row.status) == (MAKER.encode(), ("mine", "msg_1"), b'["new"]', "completed")
    assert row.expires == row.created + 60.0
    assert one.is_over and one.exchange.is_stored is True


async def test_a_response_that_is_not_stored_says_so() -> None:
    """While the store is down an answer goes out with `store: false`, unless the client has demanded storage."""
    one = recorder(FailingStore(failures=1))
    sent = json.loads(await one.store_whole(json.dumps(BODY).encode(), MAKER))
    assert sent["store"] is False and sent["id"] == "resp_1" and one.exchange.is_stored is False
    with pytest.raises(StorageFull):
        await recorder(FailingStore(failures=1), is_demanded=True).store_whole(json.dumps(BODY).encode(), MAKER)


@pytest.mark.parametrize(("failures", "is_stored"), [(0, True), (1, False)])
async def test_a_whole_stream_is_stored(failures: int, is_stored: bool) -> None:
    """Every response object of a whole stream has our marks; `store` is what became of it."""
    one = recorder(FailingStore(failures=failures))
    stream = event("response.created", 0, BODY | {"output": []}) + event("response.completed", 1, BODY)
    sent = responses_in(await one.store_stream(stream, MAKER))
    assert [(said["id"], said["store"]) for said in sent] == [("resp_1", is_stored)] * 2
    assert one.exchange.is_stored is is_stored


async def test_the_last_event_waits_for_the_store() -> None:
    """The lane holds the last event back, and what `store_final` returns for it is stored already."""
    store = MemoryResponses()
    one = recorder(store)
    lane = one.lane(DIALECTS["openai_responses"].watch(Asked()), MAKER)
    first = lane.feed(event("response.created", 0, BODY | {"status": "in_progress", "output": []}))
    assert responses_in(first)[0]["id"] == "resp_1"
    assert lane.feed(event("response.completed", 1, BODY)) == b"" and len(store) == 0
    (said,) = responses_in(await one.store_final(lane.end()))
    assert said["store"] is True and (await stored(store)).maker == MAKER.encode()


async def test_a_client_that_left_finds_what_it_was_sent() -> None:
    """A stream that its client has left is stored as incomplete; one that has not begun is not stored."""
    store = MemoryResponses()
    one = recorder(store)
    await one.store_partial()
    lane = one.lane(DIALECTS["openai_responses"].watch(Asked()), MAKER)
    lane.feed(event("response.created", 0, BODY | {"status": "in_progress", "output": []}))
    assert len(store) == 0
    await one.store_partial()
    assert (await stored(store)).status == "incomplete"


async def test_the_end_is_stored_once() -> None:
    """After the end was stored, nothing more is: a second end says `store: false`."""
    store = FailingStore()
    one = recorder(store)
    await one.store_whole(json.dumps(BODY).encode(), MAKER)
    await one.store_partial()
    again = json.loads(await one.store_whole(json.dumps(BODY).encode(), MAKER))
    assert store.tries == 1 and again["store"] is False


async def test_if_the_past_is_deleted_the_whole_conversation_is_kept() -> None:
    """A response whose previous one was deleted meanwhile is stored with the whole conversation as its input."""
    store = MemoryResponses()
    assert await recorder(store, previous="resp_0").store_whole(json.dumps(BODY).encode(), MAKER)
    row = await stored(store)
    assert row.previous is None and row.input == b'["old","new"]'


@pytest.mark.parametrize("output", [{"a": 1}, [1], "x"])
async def test_an_odd_reply_is_sent_all_the_same(output: Any) -> None:
    """A reply whose output is not a list of objects is sent, though it cannot be stored."""
    store = MemoryResponses()
    sent = json.loads(await recorder(store).store_whole(json.dumps(BODY | {"output": output}).encode(), MAKER))
    assert sent["store"] is False and sent["output"] == output and len(store) == 0


async def test_the_end_of_a_run_is_stored_patiently() -> None:
    """The end of a background run is tried again each second, and given up only after minutes."""
    for failures, is_stored, slept in ((3, True, 3.0), (10**6, False, PATIENCE_S)):
        store, clock = FailingStore(failures=failures), FakeClock()
        run = recorder(store, clock, is_background=True).for_run(b"{}", Exchange("run", 0.0))
        begun = run.record({}, status="in_progress")
        await MemoryResponses.put(store, begun)
        await run.store_stream(event("response.completed", 9, BODY), MAKER)
        assert (run.exchange.is_stored, sum(clock.slept)) == (is_stored, slept)
        row = await stored(store)
        assert (row.status, row.last) == (("completed", 9) if is_stored else ("in_progress", -1))
