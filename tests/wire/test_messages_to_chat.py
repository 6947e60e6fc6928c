"""Messages requests written for Chat upstreams."""

import json
from typing import Any

import pytest

from gateway.errors import CannotSay
from gateway.wire.profile import Profile
from tests.wire.crossings import PIXEL, memo_of, messages_request, write, written
from tests.wire.messages_to_chat import HI, MARK, OPENAI, results, sent, turns, use


def test_the_output_cap() -> None:
    """`max_tokens` becomes the profile's field, at most its `max_output`. (EC-22, EC-23)"""
    assert sent()[0]["max_completion_tokens"] == 1000 and "max_tokens" not in sent()[0]
    assert sent(Profile())[0]["max_tokens"] == 1000
    assert sent(Profile(max_output=10))[0]["max_tokens"] == 10


def test_sampling_and_stops() -> None:
    """Sampling that the upstream does not take is noted as lost; stops beyond its bound are kept here. (EC-33)"""
    out, drops = sent(temperature=0.5, top_k=3, stop_sequences=["a", "b", "c", "d", "e", "f"])
    assert out["temperature"] == 0.5 and out["top_k"] == 3 and out["stop"] == ["a", "b", "c", "d"] and not drops
    reasoning = Profile(sampling=False, penalties=False, stops=0, top_k=False)
    out, memo = written(
        "anthropic_messages", messages_request(temperature=0.5, top_k=3, stop_sequences=["a"]), reasoning
    )
    assert not {"temperature", "top_k", "stop"} & set(out) and memo.stops == ("a",)
    assert memo.drops.names == ["temperature", "top_k"]


def test_identity_and_tier() -> None:
    """The user id is hashed to OpenAI's length and the tier is mapped. (EC-39, EC-40)"""
    user = json.dumps({"device": "x" * 300, "session_id": "12345678-1234-1234-1234-123456789012"})
    out, _ = sent(metadata={"user_id": user}, service_tier="standard_only")
    assert len(out["safety_identifier"]) == 64 and out["service_tier"] == "default"
    assert out["prompt_cache_key"] == "12345678-1234-1234-1234-123456789012"
    assert sent(Profile(), metadata={"user_id": "u"})[0]["user"] == "u"
    assert sent(Profile(user=False), metadata={"user_id": "u"})[1] == ["user"]
    assert sent(OPENAI, speed="fast")[0]["service_tier"] == "priority"


def test_streams_ask_for_usage_without_padding() -> None:
    """A stream requests usage and no obfuscation; a large cap makes the call a stream. (EC-42, EC-44, EC-46)"""
    padded = Profile(obfuscation=True)
    assert sent(padded, stream=True)[0]["stream_options"] == {"include_usage": True, "include_obfuscation": False}
    assert sent(stream=True)[0]["stream_options"] == {"include_usage": True}
    assert "stream_options" not in sent(Profile(stream_options=False), stream=True)[0]
    assert sent(max_tokens=64_000)[0]["stream"] is True and "stream" not in sent()[0]
    assert sent(Profile(stream_only=True))[0]["stream"] is True


@pytest.mark.parametrize(
    ("more", "wanted"),
    [
        ({}, None),
        ({"thinking": {"type": "enabled", "budget_tokens": 2000}}, "low"),  # EC-52
        ({"thinking": {"type": "enabled", "budget_tokens": 20_000}}, "high"),
        ({"thinking": {"type": "enabled", "budget_tokens": 2000}, "output_config": {"effort": "max"}}, "high"),  # EC-53
        ({"thinking": {"type": "adaptive"}}, None),
        ({"thinking": {"type": "between_tools"}, "output_config": {"effort": "medium"}}, "medium"),  # EC-55
        ({"thinking": {"type": "disabled"}}, "none"),
    ],
)
def test_effort(more: dict[str, Any], wanted: str | None) -> None:
    """`thinking` and `output_config.effort` become the nearest `reasoning_effort`; the effort wins."""
    assert sent(**more)[0].get("reasoning_effort") == wanted


@pytest.mark.parametrize(
    ("knob", "on", "off"),
    [
        ("thinking", {"thinking": {"type": "enabled"}, "reasoning_effort": "low"}, {"thinking": {"type": "disabled"}}),
        ("enable_thinking", {"enable_thinking": True, "thinking_budget": 2000}, {"enable_thinking": False}),
        ("reasoning", {"reasoning": {"max_tokens": 2000}}, {"reasoning": {"enabled": False}}),
        (
            "template",
            {"chat_template_kwargs": {"enable_thinking": True}},
            {"chat_template_kwargs": {"enable_thinking": False}},
        ),
        ("none", {}, {}),
    ],
)
def test_knobs(knob: str, on: dict[str, Any], off: dict[str, Any]) -> None:
    """Thinking on and off is written with the profile's own member (docs/wire/requests.md#reasoning-controls). (EC-61)"""
    profile = Profile(knob=knob)
    base = set(sent(profile)[0])
    for thinking, wanted in (({"type": "enabled", "budget_tokens": 2000}, on), ({"type": "disabled"}, off)):
        out, _ = sent(profile, thinking=thinking)
        assert {name: value for name, value in out.items() if name not in base} == wanted


def test_adaptive_thinking_on_a_model_that_takes_budgets_only() -> None:
    """In the translation lane of Messages itself adaptive thinking becomes a budget. (EC-51)"""
    memo = memo_of("anthropic_messages", messages_request(thinking={"type": "adaptive"}, max_tokens=20_000))
    memo.profile = Profile(thinking="budget", efforts=())
    assert write(memo)["thinking"] == {"type": "enabled", "budget_tokens": 8192}


def test_system_texts() -> None:
    """The system text loses Anthropic's attribution line and has the profile's role. (EC-92)"""
    system = [{"type": "text", "text": "x-anthropic-billing-header: cc"}, {"type": "text", "text": "Be brief."}]
    assert turns(HI, system=system)[0] == {"role": "developer", "content": "Be brief."}
    assert turns(HI, system=system, profile=Profile())[0]["role"] == "system"
    middle = turns(HI, {"role": "system", "content": "now"}, HI, profile=Profile(single_system=True), system="a")
    assert [one["role"] for one in middle] == ["system", "user"] and middle[0]["content"] == "a\n\nnow"


def test_results_before_the_rest() -> None:
    """All results of a turn come first, with their pictures in the user message behind them. (EC-77, EC-78, EC-81)"""
    answer = results(
        {"tool_use_id": "a", "content": [{"type": "text", "text": "see"}, image()]},
        {"tool_use_id": "b"},
    )
    answer["content"].append({"type": "text", "text": "so?"})
    calls = {"role": "assistant", "content": use("a")["content"] + use("b")["content"]}
    found = turns(HI, calls, answer)
    assert [one["role"] for one in found] == ["user", "assistant", "tool", "tool", "user"]
    assert found[2]["content"] == "see\n[image #1 attached below]" and found[3]["content"] == ""
    assert [part["type"] for part in found[4]["content"]] == ["image_url", "text"]


def image() -> dict[str, Any]:
    return {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}


def test_errors_are_marked() -> None:
    """The text of a failed result begins with `[tool error]`. (EC-80)"""
    found = turns(HI, use("a"), results({"tool_use_id": "a", "content": "no", "is_error": True}))
    assert found[2]["content"] == "[tool error] no"


def test_every_call_is_answered() -> None:
    """A call without a result gets one that says it was interrupted. (EC-74)"""
    found = turns(HI, use("a"), HI)
    assert [one["role"] for one in found] == ["user", "assistant", "tool", "user"]
    assert "interrupted" in found[2]["content"]


@pytest.mark.parametrize(
    ("block", "profile"),
    [
        ({"type": "document", "source": {"type": "url", "url": "https://x.example/a.pdf"}}, OPENAI),
        ({"type": "document", "source": {"type": "file", "file_id": "f"}}, OPENAI),  # EC-89
        ({"type": "image", "source": {"type": "file", "file_id": "f"}}, OPENAI),
        ({"type": "image", "source": {"type": "url", "url": "https://x.example/a.png"}}, Profile(image_url=False)),
        (image(), Profile(image=False)),
        (image(), Profile(string_content=True)),
        (
            {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}},
            Profile(pdf=False),
        ),
    ],
)
def test_content_that_cannot_be_said_is_refused(block: dict[str, Any], profile: Profile) -> None:
    """Content that the profile does not take raises CannotSay."""
    with pytest.raises(CannotSay):
        turns({"role": "user", "content": [block]}, profile=profile)


def test_documents_and_search_results() -> None:
    """Text documents and search results become text with a heading."""
    text = {"type": "document", "title": "t", "context": "c", "source": {"type": "text", "data": "body"}}
    found = {"type": "search_result", "title": "T", "source": "s", "content": [{"type": "text", "text": "hit"}]}
    parts = turns({"role": "user", "content": [text, found]})[0]["content"]
    assert parts[0]["text"] == "[document: t — c]\nbody"
    assert parts[1]["text"] == "[search result: T — s]\nhit"
    flat = turns({"role": "user", "content": [text]}, profile=Profile(string_content=True))
    assert flat[0]["content"] == "[document: t — c]\nbody"


@pytest.mark.parametrize(
    ("profile", "member"),
    [
        (OPENAI, None),
        (Profile(cache_breakpoints=True), "prompt_cache_breakpoint"),
        (Profile(cache_control=True), "cache_control"),
    ],
)
def test_cache_marks(profile: Profile, member: str | None) -> None:
    """Cache marks are dropped, kept or turned into breakpoints, by profile. (EC-93)"""
    out, drops = sent(profile, messages=[{"role": "user", "content": [{"type": "text", "text": "x", **MARK}]}])
    content = out["messages"][0]["content"]
    if member is None:
        assert content == "x" and drops == ["cache_control"]
    else:
        assert set(content[0]) == {"type", "text", member} and not drops
