"""The raw lane: the client's bytes go up, with named members edited and nothing else."""

import json
from typing import Any

import pytest
from attrs import evolve

from gateway.proxy.plan.mode import MINIMAL, PASS_THROUGH, Mode
from gateway.proxy.plan.raw import RawPlan, make_raw_plan, provider_members
from gateway.proxy.plan.source_request import History
from gateway.wire import DIALECTS
from gateway.wire.codec.json_body import JsonBody
from gateway.wire.profile import Profile
from tests.proxy.plan.sources import HI, provider, source

EDITS: dict[str, Any] = {"set": {"seed": 1}, "drop": ("user",), "rename": {"stop": "halt"}, "system_prefix": "Be kind."}
REPLY = {
    "id": "c", "object": "chat.completion", "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
}  # fmt: skip


def plan(client: str = "openai_chat", said: dict[str, Any] | None = None, **more: Any) -> RawPlan:
    without = more.pop("without", frozenset())
    settings = more.pop("settings", {})
    return make_raw_plan(source(client, said, **more), provider(client, **settings), "model-1", Profile(), without)


def test_only_the_models_name_changes() -> None:
    """Numbers, escapes and members that nobody knows stay the bytes that the client sent."""
    body = JsonBody.read(b'{"model":"alias","messages":[],"temperature":1.00,"odd":"\\u00e9"}')
    made = make_raw_plan(evolve(source(), body=body), provider("openai_chat"), "model-1", Profile(), frozenset())
    assert made.body == b'{"model":"model-1","messages":[],"temperature":1.00,"odd":"\\u00e9"}'
    assert (made.drops, made.optional, made.answer, made.is_raw) == ([], [], None, True)


@pytest.mark.parametrize(
    ("mode", "changed"),
    [
        (None, {"halt": "x", "seed": 1, "messages": [{"role": "system", "content": "Be kind."}, HI]}),
        (MINIMAL, {"halt": "x", "seed": 1, "messages": [HI]}),
        (PASS_THROUGH, {"stop": "x", "user": "u", "messages": [HI]}),
    ],
)
def test_the_providers_settings_are_applied(mode: Mode | None, changed: dict[str, Any]) -> None:
    """Members are dropped, renamed and set; `/min` adds no prefix, and `/pt` changes the model's name alone."""
    more: dict[str, Any] = {} if mode is None else {"mode": mode}
    made = plan(said={"stop": "x", "user": "u"}, settings=EDITS, **more)
    assert json.loads(made.body) == {"model": "model-1"} | changed


def test_settings_are_for_models_that_write() -> None:
    """The members of `set` go only where a model is asked to write."""
    settings = provider("openai_embeddings", set={"seed": 1})
    assert provider_members(DIALECTS["openai_embeddings"], settings) == {}
    assert provider_members(DIALECTS["openai_chat"], settings) == {"seed": b"1"}


@pytest.mark.parametrize(
    ("without", "mode", "options", "optional"),
    [
        (frozenset(), None, {"include_usage": True}, ["stream_options"]),
        ({"stream_options"}, None, None, []),
        (frozenset(), PASS_THROUGH, None, []),
    ],
)
def test_a_stream_is_asked_for_its_usage(
    without: frozenset[str], mode: Mode | None, options: Any, optional: list[str]
) -> None:
    """A stream is asked for its usage unless the model has refused that before, or the mode edits nothing."""
    more: dict[str, Any] = {} if mode is None else {"mode": mode}
    made = plan(said={"stream": True}, without=without, **more)
    assert json.loads(made.body).get("stream_options") == options
    assert made.optional == optional and made.asks_stream and made.can_stream_whole


def test_a_body_without_foreign_reasoning_is_a_loss() -> None:
    """If a provider can read only a part of the conversation, that part is sent and `reasoning` counts as lost."""
    less = JsonBody.of({"model": b'"alias"', "input": b"[]"})
    history = History(readable=lambda name: less if name == "p" else JsonBody.of({}))
    made = plan("openai_responses", history=history)
    assert json.loads(made.body) == {"model": "model-1", "input": []} and made.drops == ["reasoning"]


@pytest.mark.parametrize(("without", "include"), [(frozenset(), ["ours"]), ({"include"}, ["theirs"])])
def test_the_include_that_we_added_can_be_taken_back(without: frozenset[str], include: list[str]) -> None:
    """`include` is optional if the gateway has added to it; refused once, it is sent as the client wrote it."""
    history = History(plain_include=b'["theirs"]')
    made = plan("openai_responses", {"include": ["ours"]}, history=history, without=without)
    assert json.loads(made.body)["include"] == include and made.optional == ["include"]


def test_headers_and_query_of_the_client_go_along() -> None:
    """The client's forwarded headers are joined with those of the provider's settings."""
    made = plan(forwarded={"openai-beta": "b"}, settings={"headers": {"X-Team": "t"}})
    assert made.headers == {"openai-beta": "b", "x-team": "t"}


def test_a_whole_reply_stays_as_it_is() -> None:
    """A whole reply keeps its bytes; its usage and whether it says anything are read."""
    body = json.dumps(REPLY).encode()
    reply = plan().read_whole(body, is_stream=False)
    assert reply.body is body and not reply.is_empty
    assert reply.usage is not None and (reply.usage.input, reply.usage.output) == (3, 2)


def test_a_whole_reply_is_written_as_the_stream_that_was_asked_for() -> None:
    """A server that answers a stream's request whole is written as a stream of the same dialect."""
    reply = plan(said={"stream": True}).write_stream(json.dumps(REPLY).encode())
    assert b'"content":"Hello"' in reply.body and reply.body.endswith(b"data: [DONE]\n\n")
    assert reply.usage is not None and reply.usage.output == 2
    assert not plan("openai_embeddings").can_stream_whole
