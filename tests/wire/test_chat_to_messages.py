"""Chat requests written for Messages upstreams."""

from typing import Any

import pytest

from gateway.errors import CannotSay
from gateway.wire.profile import Profile
from tests.wire.chat_to_messages import CLAUDE_45, HI, MIXED, OPUS_46, OPUS_48, TOOL, call, result, sent, turns

OPUS_47 = Profile(thinking="adaptive", efforts=("low", "medium", "high", "xhigh", "max"), sampling=False)
FABLE = Profile(
    thinking="always", efforts=("low", "high"), sampling=False, tool_choice=("auto", "none"), can_disable_thinking=False
)


@pytest.mark.parametrize(
    ("more", "profile", "wanted"),
    [
        ({}, Profile(), 32_000),  # EC-20
        ({}, Profile(max_output=8192), 8192),
        ({}, Profile(default_max_output=1234), 1234),
        ({"max_tokens": 100, "max_completion_tokens": 200}, Profile(), 200),  # EC-21
        ({"max_tokens": 999_999}, Profile(max_output=64_000), 64_000),
    ],
)
def test_the_output_cap_is_always_there(more: dict[str, Any], profile: Profile, wanted: int) -> None:
    """`max_tokens` is always sent: the client's cap within the profile's, or the profile's default."""
    assert sent(profile, **more)[0]["max_tokens"] == wanted


@pytest.mark.parametrize(
    ("more", "profile", "version", "kept", "lost"),
    [
        ({"temperature": 1.7}, CLAUDE_45, "2023-06-01", {"temperature": 1.0}, ["temperature"]),  # EC-25
        ({"temperature": 0.2, "top_k": 4}, OPUS_47, "2023-06-01", {}, ["temperature", "top_k"]),  # EC-26
        (
            {"temperature": 0.2, "top_p": 0.5, "top_k": 4},
            CLAUDE_45,
            "2026-10-21",
            {},
            ["temperature", "top_p", "top_k"],
        ),
        ({"temperature": 0.2, "top_p": 0.5}, CLAUDE_45, "2023-06-01", {"temperature": 0.2}, ["top_p"]),
        ({"temperature": None}, CLAUDE_45, "2023-06-01", {}, []),
        ({"top_p": 0.5, "reasoning_effort": "low"}, CLAUDE_45, "2023-06-01", {}, ["top_p"]),
        ({"top_p": 0.97, "reasoning_effort": "low"}, CLAUDE_45, "2023-06-01", {"top_p": 0.97}, []),
    ],
)
def test_sampling(
    more: dict[str, Any], profile: Profile, version: str, kept: dict[str, float], lost: list[str]
) -> None:
    """Sampling is clamped, or dropped where the model or the version takes none. (EC-25, EC-26, EC-28)"""
    out, drops = sent(profile, version, **more)
    assert {name: out[name] for name in ("temperature", "top_p", "top_k") if name in out} == kept
    assert drops == lost


@pytest.mark.parametrize(
    ("stop", "wanted", "lost"),
    [("\n", None, []), (["\n\n", "END"], ["END"], []), ([], None, []), (None, None, []), ("", None, [])],
)
def test_stop_sequences(stop: Any, wanted: list[str] | None, lost: list[str]) -> None:
    """A stop sequence of whitespace is left out: the gateway enforces it. (EC-30, EC-31, EC-32)"""
    out, drops = sent(stop=stop)
    assert (out.get("stop_sequences"), drops) == (wanted, lost)


def test_several_answers_are_refused() -> None:
    """`n: 2` raises CannotSay with param `n`. (EC-36)"""
    with pytest.raises(CannotSay) as raised:
        sent(n=2)
    assert raised.value.param == "n"


def test_what_messages_has_no_words_for() -> None:
    """Members that Messages lacks are noted as lost; `user` becomes user_id. (EC-37, EC-38, EC-41)"""
    out, drops = sent(n=1, seed=1, logit_bias={}, user="u1", service_tier="flex", logprobs=True, metadata={"a": "b"})
    assert out["metadata"] == {"user_id": "u1"} and "service_tier" not in out
    assert drops == ["seed", "logprobs", "service_tier", "metadata"]
    assert len(sent(user="a@b.example")[0]["metadata"]["user_id"]) == 64
    assert sent(service_tier="default")[0]["service_tier"] == "standard_only"
    assert sent(service_tier="priority")[0]["service_tier"] == "auto"


@pytest.mark.parametrize(
    ("effort", "more", "profile", "thinking", "wanted"),
    [
        ("high", {}, OPUS_48, {"type": "adaptive", "display": "summarized"}, "high"),  # EC-47
        ("minimal", {}, OPUS_48, {"type": "adaptive", "display": "summarized"}, "low"),
        ("none", {}, OPUS_48, {"type": "disabled"}, None),
        ("none", {}, FABLE, None, None),  # EC-50
        ("high", {}, FABLE, None, "high"),
        ("xhigh", {}, OPUS_46, {"type": "adaptive", "display": "summarized"}, "high"),  # EC-54
        ("low", {}, CLAUDE_45, {"type": "enabled", "budget_tokens": 2048}, None),
        ("high", {"max_tokens": 800}, CLAUDE_45, None, None),  # EC-49
        ("none", {}, CLAUDE_45, None, None),
        ("high", {}, Profile(), None, None),
        (None, {}, OPUS_48, None, None),
    ],
)
def test_effort(effort: str | None, more: dict[str, Any], profile: Profile, thinking: Any, wanted: str | None) -> None:
    """`reasoning_effort` becomes the thinking and effort that the model takes."""
    out, _ = sent(profile, reasoning_effort=effort, **more)
    assert (out.get("thinking"), out.get("output_config", {}).get("effort")) == (thinking, wanted)


def test_a_budget_stays_inside_the_cap() -> None:
    """A budget is at least 1024 and below `max_tokens`, so that there is room for a reply. (EC-48)"""
    out, _ = sent(CLAUDE_45, reasoning_effort="high", max_tokens=2000)
    assert 1024 <= out["thinking"]["budget_tokens"] < 2000


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "f"}}])
def test_a_forced_tool_wins_over_a_budget(choice: Any) -> None:
    """A forced tool on a budget model drops the thinking. (EC-59)"""
    out, drops = sent(CLAUDE_45, reasoning_effort="high", tools=[TOOL], tool_choice=choice)
    assert "thinking" not in out and drops == ["thinking"]
    assert out["tool_choice"]["type"] in ("any", "tool")


def test_forcing_is_given_up_where_it_is_refused() -> None:
    """Where forcing is refused the choice is `auto`, and only the named tool is offered. (EC-60)"""
    out, drops = sent(FABLE, tools=[TOOL], tool_choice="required")
    assert (out["tool_choice"], drops) == ({"type": "auto"}, ["tool_choice"])
    other = {"type": "function", "function": {"name": "g"}}
    named = {"type": "function", "function": {"name": "g"}}
    out, drops = sent(FABLE, tools=[TOOL, other], tool_choice=named)
    assert [tool["name"] for tool in out["tools"]] == ["g"] and drops == ["tool_choice"]


def test_system_texts_in_the_middle() -> None:
    """A later system text keeps its place, so that earlier turns keep their prefix. (EC-63, EC-64)"""
    out, _ = sent(CLAUDE_45, messages=MIXED)
    assert [block["text"] for block in out["system"]] == ["one"]
    assert [turn["role"] for turn in out["messages"]] == ["user", "assistant", "user"]
    assert out["messages"][0]["content"][1]["text"].endswith("two")
    before, _ = sent(CLAUDE_45, messages=MIXED[:3])
    assert before["messages"] == out["messages"][:1]
    out, _ = sent(OPUS_48, messages=MIXED)
    assert [turn["role"] for turn in out["messages"]] == ["user", "system", "assistant", "user"]


def test_a_system_text_between_call_and_result() -> None:
    """A system text between a call and its result goes behind the result. (EC-65)"""
    found = turns(HI, call("c"), {"role": "system", "content": "s"}, result("c"), profile=CLAUDE_45)
    assert [block["type"] for block in found[2]["content"]] == ["tool_result", "text"]


def test_developer_is_system() -> None:
    """A developer message is a system block, and an empty one is left out. (EC-66, EC-68)"""
    out, _ = sent(messages=[{"role": "developer", "content": "d"}, {"role": "system", "content": ""}, HI])
    assert out["system"] == [{"type": "text", "text": "d"}]
    assert "system" not in sent(messages=[{"role": "system", "content": ""}, HI])[0]


def test_turns_take_turns() -> None:
    """User messages in a row are one turn, empty texts are left out, the first turn is a user's.

    (EC-67, EC-69, EC-72)
    """
    assert [b["text"] for b in turns(HI, {"role": "user", "content": "there"})[0]["content"]] == ["Hi", "there"]
    assert [b["type"] for b in turns(HI, {**call("c"), "content": ""}, result("c"))[1]["content"]] == ["tool_use"]
    found = turns({"role": "assistant", "content": "I"}, HI)
    assert found[0] == {"role": "user", "content": [{"type": "text", "text": "(conversation resumed)"}]}
    assert turns({"role": "user", "content": ""})[0]["content"][0]["text"] == "(empty)"
    only = sent(messages=[{"role": "system", "content": "s"}])[0]
    assert only["messages"] == [{"role": "user", "content": [{"type": "text", "text": "s"}]}] and "system" not in only


def test_prefill() -> None:
    """A prefill is trimmed; where the model takes none, a user turn is added. (EC-70, EC-71)"""
    begun = {"role": "assistant", "content": "So far  "}
    assert turns(HI, begun, profile=OPUS_46)[-1]["content"][0]["text"] == "Continue."
    assert turns(HI, begun, profile=CLAUDE_45)[-1]["content"][0]["text"] == "So far"
    assert turns(HI, {"role": "assistant", "content": "  "}, profile=CLAUDE_45)[-1]["role"] == "user"


def test_results_find_their_calls() -> None:
    """Every call gets its last result, in call order; a result without a call is text.

    (EC-73, EC-74, EC-75, EC-76)
    """
    orphan = turns(HI, result("nobody", "kept"))
    assert orphan[0]["content"][1]["text"] == "[tool result nobody] kept"
    missing = turns(HI, call("c"), {"role": "user", "content": "stop"})[2]["content"]
    assert missing[0]["is_error"] is True and missing[0]["tool_use_id"] == "c" and missing[1]["text"] == "stop"
    twice = turns(HI, call("c"), result("c", "old"), result("c", "new"))[2]["content"]
    assert [block["content"] for block in twice] == ["new"]
    both = {**call("a"), "tool_calls": call("a")["tool_calls"] + call("b")["tool_calls"]}
    ordered = turns(HI, both, result("b"), result("a"))[2]["content"]
    assert [block["tool_use_id"] for block in ordered] == ["a", "b"]
    again = turns(HI, call("c"), result("c"), call("c"), result("c", "2"))
    assert [again[3]["content"][0]["id"], again[4]["content"][0]["tool_use_id"]] == ["c_2", "c_2"]


def test_our_mark_of_an_error_comes_back_as_one() -> None:
    """A result that begins with `[tool error]` is an error again. (EC-80)"""
    found = turns(HI, call("c"), result("c", "[tool error] no such file"))[2]["content"][0]
    assert found["is_error"] is True and found["content"] == "no such file"
