"""What is remembered for clients that send nothing back, and what is learned from refusals."""

import pytest

from gateway.errors import Declined, Fault
from gateway.proxy.plan import reasoning_memory as recall_room
from gateway.proxy.plan.reasoning_memory import TTL, Recall
from gateway.proxy.plan.refused_members import Learned, offending
from gateway.wire.neutral import Reasoning, Request, Role, Text, ToolCall, Turn
from gateway.wire.translation.envelope import Sealer, is_envelope, unseal

THOUGHT = Reasoning(("hm",), signature="S", origin="anthropic_messages")
CALL = ToolCall("c", "f", "{}", extra={"google": {"thought_signature": "G"}})


def request(*blocks: object) -> Request:
    return Request("x", "m", turns=[Turn(Role.USER, (Text("x"),)), Turn(Role.ASSISTANT, tuple(blocks))])  # type: ignore[arg-type]


def restored(recall: Recall, owner: str, now: float, *blocks: object) -> tuple[object, ...]:
    asked = request(*blocks)
    recall.restore(owner, now, asked)
    return asked.turns[1].blocks


def test_thoughts_come_back_to_their_call() -> None:
    """135, 141: for one owner, for an hour, never over what the client sends itself."""
    recall = Recall()
    recall.put("a", 0.0, [CALL], [THOUGHT])
    bare = ToolCall("c", "f", "{}")
    assert restored(recall, "a", 1.0, bare) == (THOUGHT, CALL)
    assert restored(recall, "b", 1.0, bare) == (bare,)
    assert restored(recall, "a", TTL + 1, bare) == (bare,)
    own = Reasoning(("mine",))
    assert restored(recall, "a", 1.0, own, bare) == (own, CALL)
    assert restored(recall, "a", 1.0, ToolCall("other", "f", "")) == (ToolCall("other", "f", ""),)


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recall_room, "MAX_ENTRIES", 3)
    recall = Recall()
    for number in range(5):
        recall.put("a", 0.0, [ToolCall(str(number), "f", "")], [THOUGHT])
    kept = [number for number in range(5) if len(restored(recall, "a", 0.0, ToolCall(str(number), "f", ""))) == 2]
    assert kept == [2, 3, 4]
    monkeypatch.setattr(recall_room, "MAX_BYTES", 100)
    recall.put("a", 0.0, [ToolCall("big", "f", "")], [Reasoning(("x" * 200,))])
    assert recall._size == 0 and not recall._entries


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
    """240: only optional ones that were sent."""
    sent = ["top_p", "thinking", "stream_options", "reasoning_effort", "reasoning"]
    assert offending(error, sent) == found
    assert offending(error, []) is None


def test_facts_are_forgotten() -> None:
    learned = Learned()
    learned.learn("o", "p", "m", "top_p", 0.0)
    assert learned.refused("o", "p", "m", 1.0) == {"top_p"} and not learned.refused("x", "p", "m", 1.0)
    assert not learned.refused("o", "p", "other", 1.0) and not learned.refused("o", "p", "m", 4000.0)


def test_envelopes() -> None:
    """133: signed for one owner; what does not open is taken out."""
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
