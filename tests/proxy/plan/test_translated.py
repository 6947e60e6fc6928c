"""The translated lane: a request in another dialect, and its reply read back."""

import json
from typing import Any

import pytest

from gateway.errors import CannotSay
from gateway.proxy.plan.mode import MINIMAL
from gateway.proxy.plan.reasoning_memory import ReasoningMemory
from gateway.proxy.plan.translated import TranslatedPlan, make_translated_plan
from gateway.wire import DIALECTS
from gateway.wire.neutral import Reasoning, Request, Role, ToolCall, Turn
from gateway.wire.profile import Profile
from tests.proxy.plan.sources import HI, provider, source

CHAT, MESSAGES = "openai_chat", "anthropic_messages"
THOUGHT = {"type": "thinking", "thinking": "hm", "signature": "S"}
CALL = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}}


def plan(
    client: str = CHAT, upstream: str = MESSAGES, said: dict[str, Any] | None = None, **more: Any
) -> TranslatedPlan:
    profile, without = more.pop("profile", Profile()), frozenset(more.pop("without", ()))
    settings = more.pop("settings", {})
    asked = source(client, said, **more)
    return make_translated_plan(asked, DIALECTS[upstream], provider(upstream, **settings), "up", profile, without)


def reply(*blocks: dict[str, Any]) -> bytes:
    usage = {"input_tokens": 3, "output_tokens": 2}
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "up", "content": list(blocks)}
    reason = "tool_use" if CALL in blocks else "end_turn"
    return json.dumps(message | {"stop_reason": reason, "stop_sequence": None, "usage": usage}).encode()


def test_a_request_is_written_in_the_upstreams_dialect() -> None:
    """The body and headers are the upstream's; the client's own headers stay behind."""
    made = plan(said={"max_tokens": 7}, forwarded={"openai-beta": "b"})
    assert json.loads(made.body) == made.members
    assert (made.members["model"], made.members["max_tokens"]) == ("up", 7)
    assert made.headers["anthropic-version"] == "2023-06-01" and "openai-beta" not in made.headers
    assert (made.is_raw, made.can_stream_whole, made.asks_stream, made.answer) == (False, True, False, None)


def test_settings_are_dropped_renamed_and_set() -> None:
    """A provider's settings apply to the written body: drop, then rename, then set."""
    settings = {"drop": ("temperature",), "rename": {"top_p": "nucleus"}, "set": {"seed": 1}}
    made = plan(MESSAGES, CHAT, {"temperature": 0.5, "top_p": 0.5}, settings=settings)
    assert "temperature" not in made.members and "top_p" not in made.members
    assert (made.members["nucleus"], made.members["seed"]) == (0.5, 1)


@pytest.mark.parametrize(
    ("mode", "system", "sent"),
    [
        ({}, None, ["Be kind."]),
        ({}, "Be brief.", ["Be kind.", "Be brief."]),
        ({}, "Be kind. Always.", ["Be kind. Always."]),
        ({"mode": MINIMAL}, "Be brief.", ["Be brief."]),
    ],
)
def test_the_prefix_stands_before_the_system_prompt(mode: dict[str, Any], system: str | None, sent: list[str]) -> None:
    """The operator's prefix comes first, never twice, and not under `/min`."""
    messages = [*([{"role": "system", "content": system}] if system else []), HI]
    made = plan(said={"messages": messages}, settings={"system_prefix": "Be kind."}, **mode)
    given = made.members["system"]
    assert ([given] if isinstance(given, str) else [part["text"] for part in given]) == sent


def test_refused_members_are_left_out_and_counted_as_lost() -> None:
    """Members that the model has refused are left out, a part of one by its path; others stay."""
    said = {"temperature": 0.5, "reasoning": {"effort": "high"}, "input": "Hi"}
    first = plan("openai_responses", CHAT, said)
    assert {"temperature", "reasoning_effort"} <= set(first.optional) and "messages" not in first.optional
    made = plan("openai_responses", CHAT, said, without={"temperature", "messages"})
    assert "temperature" not in made.members and "messages" in made.members
    assert "temperature" in made.drops


def test_a_part_of_a_member_can_be_refused() -> None:
    """A refused path takes its part only, and the member itself with its last part."""
    said = {"reasoning_effort": "high", "verbosity": "low"}
    profile = Profile(verbosity=True)
    first = plan(CHAT, "openai_responses", said, profile=profile)
    assert {"reasoning.effort", "text.verbosity"} <= set(first.optional)
    made = plan(CHAT, "openai_responses", said, profile=profile, without=first.optional)
    assert "text" not in made.members and "effort" not in made.members.get("reasoning", {})
    assert {"reasoning.effort", "text.verbosity"} <= set(made.drops)


def test_the_other_name_of_the_cap_is_tried() -> None:
    """If a model has refused `max_tokens`, the cap is sent under its other name."""
    made = plan(MESSAGES, CHAT, without={"max_tokens"})
    assert made.members["max_completion_tokens"] == 100 and "max_tokens" not in made.members
    assert "max_tokens" not in made.drops


def test_losses_can_be_refused() -> None:
    """Under `on_shed: refuse` a loss of this call is a CannotSay with its name; one of the history passes."""
    with pytest.raises(CannotSay) as caught:
        plan(said={"seed": 3}, refuses_losses=True)
    assert caught.value.param == "seed"
    history = [HI, {"role": "assistant", "content": [THOUGHT, {"type": "text", "text": "Yes"}]}, HI]
    made = plan(MESSAGES, CHAT, {"messages": history}, refuses_losses=True)
    assert set(made.drops) <= {"reasoning"}


def test_a_request_that_only_warms_a_cache_is_answered_at_once() -> None:
    """A Messages request for no output is answered without an upstream, as a reply that has no content."""
    answer = plan(MESSAGES, CHAT, {"max_tokens": 0}).answer
    assert answer is not None
    said = json.loads(answer.body)
    assert (said["content"], said["stop_reason"], said["usage"]["output_tokens"]) == ([], "max_tokens", 0)
    assert answer.usage is not None and answer.usage.is_estimated and not answer.is_empty


def test_a_whole_reply_is_read_back_and_its_reasoning_remembered() -> None:
    """A whole reply is the client's, and what stood before its calls is kept for clients that drop it."""
    memory = ReasoningMemory()
    answer = plan(reasoning_memory=memory).read_whole(reply(THOUGHT, CALL), is_stream=False)
    (call,) = json.loads(answer.body)["choices"][0]["message"]["tool_calls"]
    asked = Request("x", "m", turns=[Turn(Role.ASSISTANT, (ToolCall(call["id"], "f", "{}"),))])
    memory.restore("owner", 11.0, asked)
    thought = asked.turns[0].blocks[0]
    assert isinstance(thought, Reasoning) and thought.signature == "S"
    assert answer.usage is not None and answer.usage.output == 2


def test_an_empty_reply_is_noticed() -> None:
    """A finished reply without any content counts as empty, so that another target can be tried."""
    assert plan().read_whole(reply().replace(b'"output_tokens": 2', b'"output_tokens": 0'), is_stream=False).is_empty
    assert not plan().read_whole(reply({"type": "text", "text": "Hello"}), is_stream=False).is_empty


def test_a_whole_reply_becomes_the_clients_stream() -> None:
    """A whole reply is written as a stream of the client's dialect."""
    made = plan(said={"stream": True}).write_stream(reply({"type": "text", "text": "Hello"}))
    assert b"Hello" in made.body and made.body.endswith(b"data: [DONE]\n\n") and not made.is_empty
