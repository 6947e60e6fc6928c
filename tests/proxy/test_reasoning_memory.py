"""Reasoning remembered for clients that do not return it, and members learned from refusals."""

import pytest

from gateway.errors import Declined
from gateway.faults import Fault
from gateway.proxy.plan import reasoning_memory as module
from gateway.proxy.plan.reasoning_memory import TTL, ReasoningMemory
from gateway.proxy.plan.refused_members import RefusedMembers, offending
from gateway.wire.neutral import Reasoning, Request, Role, Text, ToolCall, Turn
from gateway.wire.translation.envelope import Sealer, is_envelope, unseal

THOUGHT = Reasoning(("hm",), signature="S", origin="anthropic_messages")
CALL = ToolCall("c", "f", "{}", extra={"google": {"thought_signature": "G"}})


def request(*blocks: object) -> Request:
    return Request("x", "m", turns=[Turn(Role.USER, (Text("x"),)), Turn(Role.ASSISTANT, tuple(blocks))])  # type: ignore[arg-type]


def restored(reasoning_memory: ReasoningMemory, owner: str, now: float, *blocks: object) -> tuple[object, ...]:
    asked = request(*blocks)
    reasoning_memory.restore(owner, now, asked)
    return asked.turns[1].blocks


def test_thoughts_come_back_to_their_call() -> None:
    """Reasoning is restored before its call, for one owner and one hour, never over the client's. (EC-135, EC-141)"""
    reasoning_memory = ReasoningMemory()
    reasoning_memory.remember("a", 0.0, [CALL], [THOUGHT])
    bare = ToolCall("c", "f", "{}")
    assert restored(reasoning_memory, "a", 1.0, bare) == (THOUGHT, CALL)
    assert restored(reasoning_memory, "b", 1.0, bare) == (bare,)
    assert restored(reasoning_memory, "a", TTL + 1, bare) == (bare,)
    own = Reasoning(("mine",))
    assert restored(reasoning_memory, "a", 1.0, own, bare) == (own, CALL)
    assert restored(reasoning_memory, "a", 1.0, ToolCall("other", "f", "")) == (ToolCall("other", "f", ""),)


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond its bound of entries or bytes the memory drops the oldest."""
    monkeypatch.setattr(module, "MAX_ENTRIES", 3)
    reasoning_memory = ReasoningMemory()
    for number in range(5):
        reasoning_memory.remember("a", 0.0, [ToolCall(str(number), "f", "")], [THOUGHT])
    kept = [
        number for number in range(5) if len(restored(reasoning_memory, "a", 0.0, ToolCall(str(number), "f", ""))) == 2
    ]
    assert kept == [2, 3, 4]
    monkeypatch.setattr(module, "MAX_BYTES", 100)
    reasoning_memory.remember("a", 0.0, [ToolCall("big", "f", "")], [Reasoning(("x" * 200,))])
    assert reasoning_memory.size == 0 and len(reasoning_memory) == 0


def declined(message: str, param: str | None = None, fault: Fault = Fault.CALLER) -> Declined:
    return Declined(message, fault, status=400, dialect="x", param=param)


@pytest.mark.parametrize(
    ("error", "found"),
    [
        (declined("Unsupported parameter: 'top_p'"), "top_p"),
        (declined("stream_options: Extra inputs are not permitted"), "stream_options"),
        (declined("This is not supported", param="thinking.type"), "thinking"),
        (declined("`reasoning_effort` is not supported"), "reasoning_effort"),
        (declined("Unsupported parameter: 'messages'"), None),
        (declined("top_p must be smaller"), None),
        (declined("Unsupported parameter: 'top_p'", fault=Fault.LIMITED), None),
        (declined("Invalid value: 'top_p not supported'", param="service_tier"), None),
        (declined("stop_reason_top_p_x unsupported"), None),
    ],
)
def test_which_member_a_refusal_names(error: Declined, found: str | None) -> None:
    """A refusal names a member only if that member is optional and was sent. (EC-240)"""
    sent = ["top_p", "thinking", "stream_options", "reasoning_effort", "reasoning"]
    assert offending(error, sent) == found
    assert offending(error, []) is None


def test_facts_are_forgotten() -> None:
    """A refused member is known for its owner, provider and model, and forgotten after an hour."""
    refused_members = RefusedMembers()
    refused_members.learn("o", "p", "m", "top_p", 0.0)
    assert refused_members.of("o", "p", "m", 1.0) == {"top_p"} and not refused_members.of("x", "p", "m", 1.0)
    assert not refused_members.of("o", "p", "other", 1.0) and not refused_members.of("o", "p", "m", 4000.0)


def test_envelopes() -> None:
    """An envelope opens only for its owner and secret; one that does not open is removed. (EC-133)"""
    sealer = Sealer(b"s", "a")
    block = Reasoning(("one", "two"), is_summary=True, sealed="E", origin="openai_responses", id="rs_1")
    sealed = sealer.seal(block)
    assert is_envelope(sealed) and sealer.seal(block) == sealed
    assert sealer.open(sealed, "one\n\ntwo") == block
    assert Sealer(b"s", "b").open(sealed, "") is None and Sealer(b"t", "a").open(sealed, "") is None
    for broken in ("gw1.", "gw1.!!", sealed[:-4], "gw0.AAAA"):
        assert sealer.open(broken, "x") is None
    asked = request(Reasoning(("one\n\ntwo",), signature=sealed), Reasoning(("x",), signature="gw1.forged"), Text("t"))
    unseal(asked, sealer)
    assert asked.turns[1].blocks == (block, Text("t"))
