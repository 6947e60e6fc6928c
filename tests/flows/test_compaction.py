"""Conversations that are compacted by the gateway, and go on, on upstreams of every dialect."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from gateway.wire.translation.compaction import ASK, UNREADABLE
from tests.conftest import Provider, Running, Start, events_of
from tests.wire.grammar import read_messages, read_responses

Providers = Callable[[str], Provider]
CONFIG = """
server: {listen: ["127.0.0.1:0"]}
store: {url: "memory:"}
providers:
  oai: {base_url: "MOCK/oai/v1", speaks: [openai_chat]}
  ant: {base_url: "MOCK/ant/v1", speaks: [anthropic_messages]}
  rsp: {base_url: "MOCK/rsp/v1", speaks: [openai_responses]}
  own:
    base_url: "MOCK/own/v1"
    auth: {bearer: [{env: ONE}, {env: TWO}]}
    speaks: [openai_responses, openai_compact]
  two: {base_url: "MOCK/two/v1", speaks: [openai_responses, openai_compact]}
routes:
  chat: "oai:m"
  claude: "ant:m"
  native: "rsp:m"
  openai: "own:m"
  failing: ["oai:m", "ant:m"]
  turning: {targets: ["two:m", "own:m", "oai:m"], policy: round_robin}
  strict: {targets: ["oai:m"], on_shed: refuse}
"""
ROUTES = {"chat": "oai", "claude": "ant", "native": "rsp"}
TRIGGER = {"type": "compaction_trigger"}
SEALED = {"type": "compaction", "id": "cmp_1", "encrypted_content": "gAAAA-sealed"}
USER = {"type": "message", "role": "user", "content": "Paint the shed red."}


@pytest.fixture
async def running(start: Start) -> Running:
    return await start(CONFIG)


async def ask(running: Running, model: str, given: Any, path: str = "/v1/responses", **more: Any) -> tuple[Any, Any]:
    body = {"model": model, "input": given, **({} if path.endswith("compact") else {"store": False})} | more
    async with running.post(path, body) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.json(), answer.headers


def sent(provider: Provider) -> str:
    """Return all that the last request said, as text."""
    return json.dumps(provider.seen[-1].json, ensure_ascii=False)


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize("route", ROUTES)
async def test_a_trigger_gives_one_item_that_every_target_reads(
    running: Running, provider: Providers, route: str, *, is_stream: bool
) -> None:
    """One item comes back, whole and streamed; its summary is read on Chat, Messages and Responses, and OpenAI."""
    upstream = provider(ROUTES[route])
    upstream.will(text="The shed is to be red.", times=1)
    given = [USER, {"role": "assistant", "content": "Done."}, TRIGGER]
    if is_stream:
        body = {"model": route, "input": given, "store": False, "stream": True}
        async with running.post("/v1/responses", body) as answer:
            stream = await answer.read()
        read_responses(stream)
        said = events_of(stream)[-1]["response"]
        done = [event["item"] for event in events_of(stream) if event["type"] == "response.output_item.done"]
        assert done == said["output"]
    else:
        said, _ = await ask(running, route, given)
    (item,) = said["output"]
    assert item["type"] == "compaction" and item["id"] and said["status"] == "completed"
    assert said["usage"]["output_tokens"] and ASK in json.loads(
        sent(upstream) and json.dumps(str(upstream.seen[-1].json))
    )
    assert "compaction" not in sent(upstream)
    for name, other in {**ROUTES, "openai": "own"}.items():
        _, headers = await ask(running, name, [item, {"role": "user", "content": "Go on."}])
        assert "The shed is to be red." in sent(provider(other)) and "Go on." in sent(provider(other))
        assert item["encrypted_content"] not in sent(provider(other)) and "x-gateway-dropped" not in headers


@pytest.mark.parametrize("route", ROUTES)
async def test_the_path_gives_the_users_messages_and_one_item(
    running: Running, provider: Providers, route: str
) -> None:
    """/compact answers as OpenAI does; its output is the next request's input, and may be compacted again."""
    provider(ROUTES[route]).will(text="A summary.")
    call = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"}
    output = {"type": "function_call_output", "call_id": "c1", "output": "red"}
    said, _ = await ask(
        running, route, [USER, call, output, {"role": "user", "content": "Go on."}], "/v1/responses/compact"
    )
    assert said["object"] == "response.compaction" and said["usage"]["total_tokens"]
    assert [item["type"] for item in said["output"]] == ["message", "message", "compaction"]
    assert said["output"][0]["content"] == [{"type": "input_text", "text": "Paint the shed red."}]
    await ask(running, route, [*said["output"], {"role": "user", "content": "And?"}])
    text = sent(provider(ROUTES[route]))
    assert "A summary." in text and "Paint the shed red." in text and "And?" in text
    again, _ = await ask(running, route, said["output"], "/v1/responses/compact")
    assert len(again["output"]) == 3 and "A summary." in sent(provider(ROUTES[route]))


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize("route", ROUTES)
async def test_a_long_conversation_is_compacted_before_the_reply(
    running: Running, provider: Providers, route: str, *, is_stream: bool
) -> None:
    """At its threshold the target is asked twice; the usage of both is counted, and the old turns are not sent again."""
    upstream = provider(ROUTES[route])
    upstream.will(text="They talked about sheds.", times=1)
    upstream.will(text="Red it is.", times=1)
    old = [{"role": "user", "content": "shed " * 400}, {"role": "assistant", "content": "Yes."}]
    body = {
        "model": route, "input": [*old, USER], "stream": is_stream,
        "context_management": [{"type": "compaction", "compact_threshold": 300}],
    }  # fmt: skip
    async with running.post("/v1/responses", body) as answer:
        assert answer.status == 200 and "x-gateway-dropped" not in answer.headers
        data = await answer.read()
    said = events_of(data)[-1]["response"] if is_stream else json.loads(data)
    if is_stream:
        read_responses(data)
    assert [item["type"] for item in said["output"]] == ["compaction", "message"]
    assert said["output"][1]["content"][0]["text"] == "Red it is." and said["usage"]["output_tokens"] == 18
    first, second = upstream.seen
    assert ASK in str(first.json) and "shed shed" in str(first.json)
    assert "They talked about sheds." in str(second.json) and "Paint the shed red." in str(second.json)
    assert "shed shed" not in str(second.json) and running.exchanges[-1]["output"] == 18
    await ask(running, route, "Thanks.", previous_response_id=said["id"])
    assert "They talked about sheds." in sent(upstream) and "shed shed" not in sent(upstream)
    assert all(text in sent(upstream) for text in ("Paint the shed red.", "Red it is.", "Thanks."))


async def test_a_short_conversation_is_left_alone(running: Running, provider: Providers) -> None:
    """Below the threshold there is one call; a server that makes no compactions does not get the member."""
    managed = [{"type": "compaction", "compact_threshold": 5000}]
    for route, name in ROUTES.items():
        said, headers = await ask(running, route, [USER], context_management=managed)
        assert [item["type"] for item in said["output"]] == ["message"] and "x-gateway-dropped" not in headers
        assert len(provider(name).seen) == 1 and "context_management" not in provider(name).seen[-1].json
    await ask(running, "openai", [USER], context_management=managed)
    assert provider("own").seen[-1].json["context_management"] == managed


async def test_openais_own_goes_as_it_came(running: Running, provider: Providers) -> None:
    """A provider that makes compactions gets the trigger, and its own compaction back."""
    for given in ([USER, TRIGGER], [SEALED, USER]):
        _, headers = await ask(running, "openai", given)
        assert provider("own").seen[-1].json["input"] == given and "x-gateway-dropped" not in headers


@pytest.mark.parametrize("route", ROUTES)
async def test_a_sealed_compaction_away_from_home_is_told(running: Running, provider: Providers, route: str) -> None:
    """What only OpenAI can read is named in the header and told to the model; a strict route refuses."""
    _, headers = await ask(running, route, [SEALED, USER])
    assert headers["x-gateway-dropped"] == "input.compaction"
    assert UNREADABLE in str(provider(ROUTES[route]).seen[-1].json) and "gAAAA" not in sent(provider(ROUTES[route]))
    async with running.post("/v1/responses", {"model": "strict", "input": [SEALED, USER]}) as answer:
        assert answer.status == 400 and "compaction" in await answer.text()


@pytest.mark.parametrize("is_stream", [False, True])
async def test_a_sealed_compaction_goes_home(running: Running, provider: Providers, *, is_stream: bool) -> None:
    """The conversation goes to the target and the key that made its compaction, whatever the policy says."""
    sealed = [SEALED | {"encrypted_content": f"gAAAA-{name}"} for name in ("two", "own")]
    for name, item in zip(("two", "own"), sealed, strict=True):
        done = b'event: response.output_item.done\ndata: {"type":"response.output_item.done","item":%s}\n\n'
        ends = b'event: response.completed\ndata: {"type":"response.completed","response":%s}\n\n'
        whole = {"id": "r", "object": "response", "status": "completed", "output": [item]}
        frames = [done % json.dumps(item).encode(), ends % json.dumps(whole).encode()]
        provider(name).will(times=1, **({"frames": frames} if is_stream else {"body": whole}))
    for _ in range(2):
        body = {"model": "turning", "input": [USER, TRIGGER], "store": False, "stream": is_stream}
        async with running.post("/v1/responses", body) as answer:
            await answer.read()
    maker = provider("own").seen[-1].headers["Authorization"]
    for _ in range(4):
        await ask(running, "turning", [sealed[1], USER])
        assert provider("own").seen[-1].json["input"][0] == sealed[1]
        assert provider("own").seen[-1].headers["Authorization"] == maker
    await ask(running, "turning", [sealed[0], USER])
    assert len(provider("two").seen) == 2 and not provider("oai").seen


async def test_a_compaction_that_home_refuses_is_told(running: Running, provider: Providers) -> None:
    """After `invalid_encrypted_content` the request is sent once more, with the text in the compaction's place."""
    error = {"message": "no", "type": "invalid_request_error", "code": "invalid_encrypted_content", "param": None}
    provider("own").will(status=400, error=error, times=1)
    _, headers = await ask(running, "openai", [SEALED, USER])
    assert UNREADABLE in sent(provider("own")) and "input.compaction" in headers["x-gateway-dropped"]


@pytest.mark.parametrize("sample", ["tools", "empty", "content_filter"])
async def test_a_model_without_a_summary_is_passed_over(running: Running, provider: Providers, sample: str) -> None:
    """A model that calls tools, says nothing or refuses in place of a summary: the next target is asked."""
    provider("oai").will(reply=sample)
    provider("ant").will(text="A summary.")
    said, headers = await ask(running, "failing", [USER, TRIGGER])
    assert [item["type"] for item in said["output"]] == ["compaction"] and headers["x-gateway-provider"] == "ant"


async def test_another_key_reads_nothing(start: Start, provider: Providers) -> None:
    """An envelope opens for its owner only: for another key the summary is lost, and that is told."""
    keys = "keys: {a: {secret: {env: KEY}}, b: {secret: {env: OTHER}}}\n"
    running = await start(CONFIG + keys)
    provider("oai").will(text="A secret plan.", times=1)
    a, b = ({"Authorization": f"Bearer gwk_{name}-key"} for name in ("client", "other"))
    async with running.post("/v1/responses", {"model": "chat", "input": [USER, TRIGGER]}, headers=a) as answer:
        (item,) = (await answer.json())["output"]
    async with running.post("/v1/responses", {"model": "chat", "input": [item, USER]}, headers=b) as answer:
        assert answer.status == 200 and answer.headers["x-gateway-dropped"] == "input.compaction"
    assert "A secret plan." not in sent(provider("oai"))
    async with running.post("/v1/responses", {"model": "chat", "input": [item, USER]}, headers=a) as answer:
        assert answer.status == 200 and "A secret plan." in sent(provider("oai"))


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize("route", ROUTES)
async def test_a_messages_client_gets_its_block(
    running: Running, provider: Providers, route: str, *, is_stream: bool
) -> None:
    """`compaction` gives one readable block; the client sends it first in `messages`, and any target reads it."""
    provider(ROUTES[route]).will(text="The shed is to be red.", times=1)
    body: dict[str, Any] = {
        "model": route, "max_tokens": 500, "stream": is_stream, "messages": [{"role": "user", "content": "Red."}],
        "compaction": {"type": "summarize", "instructions": "In one line."},
    }  # fmt: skip
    async with running.post("/v1/messages", body, headers={"anthropic-beta": "compact-2026-09-04"}) as answer:
        assert answer.status == 200 and "x-gateway-dropped" not in answer.headers
        data = await answer.read()
    if is_stream:
        told = read_messages(data)
        delta = next(one["delta"] for one in events_of(data) if one["type"] == "content_block_delta")
        assert told.stop == "compaction" and delta["type"] == "compaction_delta"
        block = {**delta, "type": "compaction"}
    else:
        said = json.loads(data)
        (block,) = said["content"]
        assert said["stop_reason"] == "compaction" and block["type"] == "compaction"
    assert block["content"] == "The shed is to be red."
    assert "In one line." in sent(provider(ROUTES[route])) and ASK[:40] not in sent(provider(ROUTES[route]))
    history = [{"role": "assistant", "content": [block]}, {"role": "user", "content": "Go on."}]
    for name, other in ROUTES.items():
        async with running.post("/v1/messages", {"model": name, "max_tokens": 99, "messages": history}) as answer:
            assert answer.status == 200 and "x-gateway-dropped" not in answer.headers
        assert "The shed is to be red." in sent(provider(other)) and '"compaction"' not in sent(provider(other))


@pytest.mark.parametrize("pauses", [False, True])
@pytest.mark.parametrize("route", ROUTES)
async def test_the_edit_of_a_messages_client(
    running: Running, provider: Providers, route: str, *, pauses: bool
) -> None:
    """The edit gives a block before the reply, or alone if it pauses; other edits of the context are named."""
    upstream = provider(ROUTES[route])
    upstream.will(text="Sheds.", times=1)
    upstream.will(text="Red it is.", times=1)
    edit = {
        "type": "compact_20260112",
        "trigger": {"type": "input_tokens", "value": 50},
        "pause_after_compaction": pauses,
    }
    body = {
        "model": route, "max_tokens": 500, "messages": [{"role": "user", "content": "shed " * 100}],
        "context_management": {"edits": [edit, {"type": "clear_thinking_20251015"}]},
    }  # fmt: skip
    async with running.post("/v1/messages", body) as answer:
        said = await answer.json()
        assert answer.headers["x-gateway-dropped"] == "context_management"
    kinds = [block["type"] for block in said["content"]]
    assert kinds == (["compaction"] if pauses else ["compaction", "text"])
    assert said["stop_reason"] == ("compaction" if pauses else "end_turn") and len(upstream.seen) == 2 - pauses


async def test_a_compaction_in_the_background(running: Running, provider: Providers) -> None:
    """A background run is compacted as any other."""
    provider("oai").will(text="A summary.")
    body = {"model": "chat", "input": [USER, TRIGGER], "background": True, "stream": True}
    async with running.post("/v1/responses", body) as answer:
        said = events_of(await answer.read())[-1]["response"]
    assert said["status"] == "completed" and [item["type"] for item in said["output"]] == ["compaction"]
    async with running.post("/v1/responses", {"model": "claude", "input": "Go.", "previous_response_id": said["id"]}):
        assert "A summary." in sent(provider("ant")) and "Paint" not in sent(provider("ant")).split("A summary.")[0]


@pytest.mark.parametrize("is_stream", [False, True])
async def test_a_target_that_fails_behind_its_summary(
    running: Running, provider: Providers, *, is_stream: bool
) -> None:
    """If the call for the reply fails, the next target makes a summary of its own, and the client sees one reply."""
    provider("oai").will(text="One.", times=1)
    provider("oai").will(status=500)
    provider("ant").will(text="Two.", times=1)
    provider("ant").will(text="Red.", times=1)
    managed = [{"type": "compaction", "compact_threshold": 1}]
    body = {"model": "failing", "input": [USER], "context_management": managed, "stream": is_stream, "store": False}
    async with running.post("/v1/responses", body) as answer:
        data = await answer.read()
        assert answer.status == 200 and answer.headers["x-gateway-provider"] == "ant"
    said = events_of(data)[-1]["response"] if is_stream else json.loads(data)
    assert [item["type"] for item in said["output"]] == ["compaction", "message"]
    assert "Two." in sent(provider("ant")) and "One." not in sent(provider("ant"))
