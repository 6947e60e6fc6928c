"""Which lane a compaction takes, and how compactions of the history stand in a raw request."""

import json
from typing import Any

import pytest

from gateway.errors import BadRequest
from gateway.policy.affinity import NO_AFFINITY, Affinity
from gateway.proxy.plan import compaction_homes
from gateway.proxy.plan.choose import make_plan
from gateway.proxy.plan.compaction import SummaryPlan
from gateway.proxy.plan.compaction_homes import CompactionHomes
from gateway.proxy.plan.mode import PASS_THROUGH
from gateway.proxy.plan.record import Plan
from gateway.wire.profile import Profile
from gateway.wire.translation.compaction import SUMMARY_HEAD, UNREADABLE
from gateway.wire.translation.envelope import Sealer
from tests.proxy.plan.sources import provider, source

RESPONSES, MESSAGES = "openai_responses", "anthropic_messages"
TRIGGERED = {"input": [{"role": "user", "content": "a"}, {"type": "compaction_trigger"}]}
SUMMARISED = {"compaction": {"type": "summarize"}}
SEALER = Sealer(b"secret of the tests", "owner")
OURS, WHOLE = (
    {"type": "compaction", "encrypted_content": SEALER.seal_summary("s", is_whole=one)} for one in (False, True)
)
THEIRS = {"type": "compaction", "encrypted_content": "gAAAA"}
A, B = {"role": "user", "content": "a"}, {"role": "user", "content": "b"}
SAID = {"role": "assistant", "content": "said"}
CALL = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
OUTPUT = {"type": "function_call_output", "call_id": "c", "output": "x"}
TOLD, LOST = (
    {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
    for text in (f"{SUMMARY_HEAD}s", UNREADABLE)
)


def plan(client: str, said: dict[str, Any], *speaks: str, makes: bool = False, **more: Any) -> Plan:
    found = make_plan(source(client, said, **more), provider(*(speaks or (client,))), "m", Profile(compaction=makes))
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("client", "said", "speaks", "makes", "is_asked"),
    [
        (RESPONSES, TRIGGERED, (RESPONSES,), True, False),
        (RESPONSES, TRIGGERED, (RESPONSES, "openai_compact"), False, False),
        (RESPONSES, TRIGGERED, (RESPONSES,), False, True),
        (RESPONSES, TRIGGERED, ("openai_chat",), True, True),
        (MESSAGES, SUMMARISED, (MESSAGES,), True, False),
        (MESSAGES, SUMMARISED, (MESSAGES, RESPONSES, "openai_compact"), False, True),
        (MESSAGES, SUMMARISED, (RESPONSES, "openai_compact"), True, True),
    ],
)
def test_who_makes_it(client: str, said: dict[str, Any], speaks: tuple[str, ...], makes: bool, is_asked: bool) -> None:
    """A provider that makes compactions in the client's dialect gets the request; any other is asked for a summary."""
    made = plan(client, said, *speaks, makes=makes)
    assert isinstance(made, SummaryPlan) is is_asked and made.is_raw is not is_asked
    assert made.is_held is is_asked and ("Write a summary" in made.body.decode()) is is_asked


def test_nothing_is_made_under_pt() -> None:
    """A server of the client's own dialect gets what the client sent; one of another dialect is asked."""
    made = plan(RESPONSES, TRIGGERED, mode=PASS_THROUGH)
    assert made.is_raw and b"compaction_trigger" in made.body
    assert isinstance(plan(RESPONSES, TRIGGERED, "openai_chat", mode=PASS_THROUGH), SummaryPlan)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ([A, OURS, B], [A, TOLD, B]),
        ([A, SAID, WHOLE, B], [TOLD, B]),
        ([A, SAID, B, WHOLE, B], [TOLD, B, B]),
        ([A, SAID, CALL, OUTPUT, WHOLE], [TOLD, CALL, OUTPUT]),
        ([A, {"type": "compaction_trigger"}, OURS], [TOLD, A]),
        ([A, SAID, {"type": "compaction_trigger"}, OURS, B], [TOLD, B]),
        ([{"type": "compaction", "encrypted_content": "gw1.bad"}, B], [LOST, B]),
        ([{"role": "user", "content": "compaction"}], [{"role": "user", "content": "compaction"}]),
        ([5, "compaction", OURS], [5, "compaction", TOLD]),
    ],
)
@pytest.mark.parametrize("makes", [False, True])
def test_our_own_are_read_on_the_raw_lane(given: list[Any], kept: list[Any], makes: bool) -> None:
    """A server of the same dialect gets the summary as a message, whether it makes compactions or not."""
    made = plan(RESPONSES, {"input": given}, makes=makes)
    triggers = [item for item in kept if isinstance(item, dict) and item.get("type") == "compaction_trigger"]
    assert made.is_raw and json.loads(made.body)["input"] == kept and not triggers
    assert list(made.drops) == (["input.compaction"] if LOST in kept else [])


def test_anothers_on_the_raw_lane() -> None:
    """It stays where compactions are made; elsewhere, or after a refusal, the loss is told, or the route refuses."""
    assert json.loads(plan(RESPONSES, {"input": [THEIRS, B]}, makes=True).body)["input"] == [THEIRS, B]
    refused: dict[str, Any] = {"cannot_decrypt": frozenset({"p"})}
    for made in (
        plan(RESPONSES, {"input": [THEIRS, B]}),
        plan(RESPONSES, {"input": [THEIRS, B]}, makes=True, **refused),
    ):
        assert json.loads(made.body)["input"] == [LOST, B] and "input.compaction" in made.drops
    at_home = plan(RESPONSES, {"input": [THEIRS, B]}, makes=True, home="p", **refused)
    assert json.loads(at_home.body)["input"] == [THEIRS, B]
    with pytest.raises(BadRequest, match="compaction"):
        plan(RESPONSES, {"input": [THEIRS, B]}, refuses_losses=True)


@pytest.mark.parametrize(("mark", "stays"), [(SEALER.seal_summary(""), False), ("theirs", True), (None, True)])
def test_blocks_of_messages_on_the_raw_lane(mark: str | None, stays: bool) -> None:
    """Anthropic's own block stays where compactions are made; every other is text, with the last turn behind it."""
    block = {"type": "compaction", "content": "s", "encrypted_content": mark}
    use = {"role": "assistant", "content": [{"type": "tool_use", "id": "c", "name": "f", "input": {}}]}
    result = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c"}]}
    last = {"role": "assistant", "content": [block, {"type": "text", "text": "new"}]}
    given = [A, use, result, last, B]
    told = {"role": "user", "content": [{"type": "text", "text": f"{SUMMARY_HEAD}s"}]}
    kept = [told, use, result, {"role": "assistant", "content": [{"type": "text", "text": "new"}]}, B]
    assert json.loads(plan(MESSAGES, {"messages": given}).body)["messages"] == kept
    assert json.loads(plan(MESSAGES, {"messages": given}, makes=True).body)["messages"] == (given if stays else kept)


def test_other_edits_stay_on_the_raw_lane() -> None:
    """Below its trigger a server that makes no compactions gets the other edits only."""
    edits = [{"type": "compact_20260112"}, {"type": "clear_tool_uses_20250919"}]
    made = plan(MESSAGES, {"context_management": {"edits": edits}})
    assert made.is_raw and json.loads(made.body)["context_management"] == {"edits": edits[1:]}
    assert "context_management" not in json.loads(plan(MESSAGES, {"context_management": {"edits": edits[:1]}}).body)


def test_homes_are_found_by_their_owner(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last known compaction decides; another owner finds nothing, and the oldest are forgotten."""
    homes, one, two = CompactionHomes(), Affinity("p:m", "p#1"), Affinity("q:m", "q#1")
    homes.remember("a", ["x"], one)
    homes.remember("a", ["y"], two)
    assert homes.find("a", ["x"]) == one and homes.find("a", ["x", "y", "z"]) == two
    assert homes.find("b", ["x"]) == NO_AFFINITY and homes.find("a", []) == NO_AFFINITY
    monkeypatch.setattr(compaction_homes, "MAX_ENTRIES", 2)
    homes.remember("a", ["z"], one)
    assert homes.find("a", ["x"]) == NO_AFFINITY and homes.find("a", ["y"]) == two
