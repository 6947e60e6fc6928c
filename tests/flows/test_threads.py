"""Message threads belong to the account that made them: they go back there, or the client sends everything again."""

from collections.abc import AsyncIterator
from typing import Any

import anthropic
import pytest

from tests.conftest import FakeClock, Running, Start, events_of
from tests.flows.messages import Providers
from tests.flows.sessions import PLACES, places
from tests.wire.crossings import messages_request

TWO_KEYS = PLACES.replace("SPOKEN", "anthropic_messages") + '  lone: "one:m"\n  mixed: ["one:m", "chat:m"]\n'
TWO_KEYS = TWO_KEYS.replace("routes:", "  chat: {base_url: MOCK/chat/v1, speaks: [openai_chat]}\nroutes:")
ONE_KEY = TWO_KEYS.replace(", {env: TWO}]", "]")
NOT_FOUND: Any = {
    "type": "error",
    "error": {
        "type": "not_found_error",
        "message": "No thread",
        "details": {"error_code": "thread_not_found", "more": 1},
    },
}


def reply(name: str) -> dict[str, Any]:
    """A whole message with an id of its own."""
    content = [{"type": "text", "text": "Hello"}]
    head = {"id": name, "type": "message", "role": "assistant", "model": "m", "content": content}
    return {**head, "stop_reason": "end_turn", "stop_sequence": None, "usage": {"input_tokens": 3, "output_tokens": 1}}


async def say(running: Running, model: str, previous: str | None = None, **more: Any) -> tuple[int, Any]:
    """Begin a thread or continue one; return (status, JSON), or the first event of a stream."""
    thread = {"type": "create"} if previous is None else {"type": "continue", "previous_message_id": previous}
    async with running.post("/v1/messages", messages_request(model=model, thread=thread, **more)) as answer:
        if more.get("stream") and answer.status == 200:
            return answer.status, events_of(await answer.read())[0]["message"]
        return answer.status, await answer.json()


def code_of(said: Any) -> str:
    return str(said["error"]["details"]["error_code"])


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", ["first", "turns", "stay", "lone"])
async def test_a_thread_goes_back_to_its_maker(start: Start, provider: Providers, model: str, stream: bool) -> None:
    """All continuations of a thread go to the target and the key that made it, whatever they begin with."""
    running = await start(TWO_KEYS)
    _, said = await say(running, model, stream=stream)
    for number in range(8):
        more = {"messages": [{"role": "user", "content": f"only what is new: {number}"}]}
        status, said = await say(running, model, said["id"], stream=stream, **more)
        assert status == 200
    assert len(set(places(provider("one"), provider("two")))) == 1
    assert running.exchanges[-1]["affinity"] == "kept"


async def test_threads_do_not_mix(start: Start, provider: Providers) -> None:
    """Threads of different keys go on side by side, each by the newest id."""
    running = await start(TWO_KEYS)
    one = provider("one")
    for name in ("msg_a", "msg_b", "msg_b2", "msg_a2", "msg_a3"):
        one.will(body=reply(name), times=1)
    for name in "ab":
        await say(running, "lone", messages=[{"role": "user", "content": name}])
    assert [await say(running, "lone", f"msg_{name}") for name in ("b", "a", "a2")]
    keys = [key for _, key in places(one)]
    assert keys[0] != keys[1] and keys[2:] == [keys[1], keys[0], keys[0]]


async def test_a_maker_that_is_gone(start: Start, provider: Providers) -> None:
    """Where the key that made a thread is no longer there, nobody is asked, and the client is told to begin again."""
    running = await start(TWO_KEYS)
    _, said = await say(running, "lone")
    used = places(provider("one"))[0][1]
    left = "[{env: TWO}]" if "one-upstream-key" in used else "[{env: ONE}]"
    running.reload(TWO_KEYS.replace("[{env: ONE}, {env: TWO}]", left))
    status, refused = await say(running, "lone", said["id"])
    assert (status, code_of(refused)) == (404, "thread_not_found")
    assert len(provider("one").seen) == 1
    assert (await say(running, "lone"))[0] == 200


@pytest.mark.parametrize("model", ["first", "lone", "stay"])
@pytest.mark.parametrize("fault", [{"status": 429}, {"status": 500}, {"status": 401}, {"fault": "reset_before_head"}])
async def test_a_maker_that_fails(start: Start, provider: Providers, model: str, fault: dict[str, Any]) -> None:
    """A continuation is never tried at another account: if its own fails, the client sends everything again."""
    running = await start(TWO_KEYS, clock=FakeClock().clock())
    _, said = await say(running, model)
    home = places(provider("one"), provider("two"))[0]
    provider(home[0]).will(**fault)
    status, refused = await say(running, model, said["id"])
    assert (status, code_of(refused)) == (404, "thread_not_found")
    assert set(places(provider("one"), provider("two"))) == {home}
    provider(home[0]).server.script.rules.clear()
    assert (await say(running, model))[0] == 200


async def test_the_only_accounts_fault_is_its_own(start: Start, provider: Providers) -> None:
    """Where there is no other account, the client gets the fault itself: sending everything would not help."""
    running = await start(ONE_KEY, clock=FakeClock().clock())
    _, said = await say(running, "lone")
    provider("one").will(status=429, headers={"Retry-After": "60"}, times=1)
    status, refused = await say(running, "lone", said["id"])
    assert (status, refused["error"]["type"]) == (429, "rate_limit_error")


async def test_an_unknown_thread(start: Start, provider: Providers) -> None:
    """After a restart nobody knows who made a thread: the only account may, one of several is not guessed."""
    running = await start(ONE_KEY)
    assert (await say(running, "lone", "msg_old"))[0] == 200
    status, refused = await say(running, "first", "msg_old")
    assert (status, code_of(refused)) == (404, "thread_not_found")
    assert len(provider("one").seen) == 1 and not provider("two").seen


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (404, "thread_not_found"),
        (409, "thread_already_continued"),
        (409, "thread_continue_in_flight"),
        (400, "thread_fingerprint_mismatch"),
        (400, "thread_unsupported_request"),
    ],
)
async def test_the_providers_word_is_not_passed_over(start: Start, provider: Providers, status: int, code: str) -> None:
    """What the provider says of a thread goes to the client as it is; no other target is asked, and nobody rests."""
    running = await start(ONE_KEY)
    error = {**NOT_FOUND["error"], "details": {"error_code": code}}
    provider("one").will(status=status, body={"type": "error", "error": error}, times=1)
    got, said = await say(running, "first")
    assert (got, said) == (status, {"type": "error", "error": error})
    assert not provider("two").seen
    assert (await say(running, "first"))[0] == 200 and len(provider("one").seen) == 2


async def test_over_to_another_dialect(start: Start, provider: Providers) -> None:
    """If only a target of another dialect is left, the client is told that there are no threads, not of the fault."""
    running = await start(ONE_KEY, clock=FakeClock().clock())
    _, said = await say(running, "mixed")
    provider("one").will(status=500)
    for previous in (None, said["id"]):
        status, refused = await say(running, "mixed", previous)
        assert (status, code_of(refused)) == (400, "thread_unsupported_request")
    async with running.post("/v1/messages", messages_request(model="mixed")) as answer:
        assert answer.status == 200 and answer.headers["x-gateway-provider"] == "chat"


async def test_another_keys_thread_is_unknown(start: Start) -> None:
    """A thread is one client's: another gateway key cannot reach its account by its id."""
    keys = "keys: {ada: {secret: {env: KEY}}, bob: {secret: {env: OTHER}}}\n"
    running = await start(keys + TWO_KEYS)
    running.session.headers["x-api-key"] = "gwk_client-key"
    _, said = await say(running, "lone")
    assert (await say(running, "lone", said["id"]))[0] == 200
    running.session.headers["x-api-key"] = "gwk_other-key"
    assert (await say(running, "lone", said["id"]))[0] == 404


@pytest.mark.parametrize(
    "thread", [None, "x", 7, {}, {"type": "continue"}, {"type": "continue", "previous_message_id": 7}]
)
async def test_what_is_no_thread_goes_up(start: Start, provider: Providers, thread: Any) -> None:
    """A member that is not valid is the provider's to refuse."""
    running = await start(TWO_KEYS)
    async with running.post("/v1/messages", messages_request(model="lone", thread=thread)) as answer:
        assert answer.status == 200
    assert provider("one").seen[-1].json["thread"] == thread


@pytest.fixture
async def running(start: Start) -> Running:
    return await start(TWO_KEYS)


@pytest.fixture
async def client(running: Running) -> AsyncIterator[anthropic.AsyncAnthropic]:
    async with anthropic.AsyncAnthropic(base_url=running.url, api_key="k", max_retries=0) as client:
        yield client


@pytest.mark.sdk
async def test_the_sdk_sends_everything_again(
    running: Running, client: anthropic.AsyncAnthropic, provider: Providers
) -> None:
    """Anthropic's SDK loses its maker and goes on by itself: its whole history begins a thread at the other account."""
    if not hasattr(client.beta.messages, "thread"):
        pytest.skip("this SDK knows no threads yet")
    one = provider("one")
    thread = client.beta.messages.thread(model="lone", max_tokens=9)
    await thread.send({"role": "user", "content": "first"})
    await thread.send({"role": "user", "content": "second"})
    assert one.seen[-1].json["thread"]["type"] == "continue" and len(one.seen[-1].json["messages"]) == 1
    one.will(status=429, times=1)
    message = await thread.send({"role": "user", "content": "third"})
    last = one.seen[-1]
    assert message.stop_reason == "end_turn"
    assert last.json["thread"] == {"type": "create"} and len(last.json["messages"]) == 5
    assert len({key for _, key in places(one)}) == 2
