"""Which optional member a refusal names, and for how long that is known."""

import pytest

from gateway.errors import Declined
from gateway.faults import Fault
from gateway.proxy.plan import refused_members as module
from gateway.proxy.plan.refused_members import TTL, RefusedMembers, offending


def declined(message: str, param: str | None = None, fault: Fault = Fault.CALLER) -> Declined:
    return Declined(message, fault, status=400, dialect="openai_chat", param=param)


@pytest.mark.parametrize(
    "words",
    [
        "Unsupported parameter: 'top_p'",
        "`top_p` is not supported with this model",
        "This model DOES NOT SUPPORT top_p",
        "top_p: Extra inputs are not permitted",
        "Unrecognized request argument supplied: top_p",
        "unknown field top_p",
        "got an unexpected keyword argument 'top_p'",
        "top_p is not allowed here",
        "`top_p` is deprecated for this model.",
    ],
)
def test_every_way_to_refuse_a_member(words: str) -> None:
    """Each provider's words for a member that it does not take are understood."""
    assert offending(declined(words), ["top_p"]) == "top_p"


@pytest.mark.parametrize(
    ("message", "param", "found"),
    [
        ("reasoning.effort is not supported", None, "reasoning.effort"),
        ("reasoning.summary is not supported", None, "reasoning"),
        ("not supported", "reasoning.effort", "reasoning.effort"),
        ("not supported", "reasoning.effort.level", "reasoning.effort"),
        ("not supported", "reasoning", "reasoning"),
        ("top_p and reasoning.effort are not supported", None, "reasoning.effort"),
        ("reasoning_effort is not supported", None, None),
        ("my.reasoning is not supported", None, None),
        ("reasoning must be an object", None, None),
    ],
)
def test_the_most_exact_name_is_taken(message: str, param: str | None, found: str | None) -> None:
    """Of several names the longest is meant; a part of a longer word is no name."""
    assert offending(declined(message, param), ["reasoning", "reasoning.effort", "top_p"]) == found


@pytest.mark.parametrize("fault", [fault for fault in Fault if fault is not Fault.CALLER])
def test_only_the_callers_fault_teaches(fault: Fault) -> None:
    """An error about anything but the request itself names no member."""
    assert offending(declined("top_p is not supported", fault=fault), ["top_p"]) is None


def test_a_refusal_is_known_for_an_hour_where_it_was_learned() -> None:
    """What was refused counts for one owner, provider and model; a second refusal starts the hour again."""
    refused = RefusedMembers()
    refused.learn("o", "p", "m", "top_p", 0.0)
    refused.learn("o", "p", "m", "seed", 100.0)
    assert refused.of("o", "p", "m", TTL - 1) == {"top_p", "seed"}
    assert refused.of("o", "p", "m", TTL) == {"seed"}
    refused.learn("o", "p", "m", "top_p", TTL)
    assert refused.of("o", "p", "m", TTL + 200) == {"top_p"}
    for place in (("x", "p", "m"), ("o", "x", "m"), ("o", "p", "x")):
        assert refused.of(*place, 1.0) == frozenset()


def test_the_oldest_facts_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the bound the place that was learned first is forgotten."""
    monkeypatch.setattr(module, "MAX_FACTS", 2)
    refused = RefusedMembers()
    for model in "abc":
        refused.learn("o", "p", model, "seed", 0.0)
    assert [model for model in "abc" if refused.of("o", "p", model, 1.0)] == ["b", "c"]
