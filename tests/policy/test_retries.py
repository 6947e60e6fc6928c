"""Which target is next, and which error the client gets in the end."""

from collections import deque
from typing import Any

import pytest

from gateway.config.schema import Target
from gateway.errors import (
    Broke,
    CannotConnect,
    Declined,
    Held,
    SaidNothing,
    TimedOut,
    UpstreamFault,
)
from gateway.faults import Fault
from gateway.policy.retries import NextAttempt, Schedule, is_pointless, verdict

A, B, C = Target("one", "a"), Target("two", "b"), Target("three", "c")


def make(*targets: Target, fallback: tuple[Target, ...] = (), attempts: int = 4, until: float = 60.0) -> Schedule:
    return Schedule(deque(targets), fallback, attempts, until)


def declined(fault: Fault, **more: Any) -> Declined:
    return Declined("m", fault, status=500, dialect="openai_chat", **more)


def lose(
    schedule: Schedule, turn: NextAttempt | None, fault: UpstreamFault, has_other_key: bool = False, now: float = 0.0
) -> None:
    assert turn is not None
    schedule.start()
    schedule.note(turn.target, fault, has_other_key, now, 0.5)


def test_the_list_is_used_up_before_anything_is_repeated() -> None:
    """Every target is tried without a pause before one is repeated once, after a jittered pause."""
    schedule = make(A, B)
    lose(schedule, schedule.next(0), declined(Fault.TRANSIENT))
    assert schedule.next(0) == NextAttempt(B)
    lose(schedule, NextAttempt(B), declined(Fault.TRANSIENT))
    assert schedule.next(0) == NextAttempt(A, 0.25, is_repeat=True, is_forced=True)
    lose(schedule, NextAttempt(A), declined(Fault.TRANSIENT))
    assert schedule.next(0) is None


def test_a_short_retry_after_is_waited_for_once() -> None:
    """A single target that gives 2 s of Retry-After is tried again after 2 s. (EC-234)"""
    schedule = make(A)
    lose(schedule, schedule.next(0), declined(Fault.LIMITED, retry_after=2.0), now=1.0)
    assert schedule.next(1.0) == NextAttempt(A, 2.0, is_repeat=True, is_forced=True)


@pytest.mark.parametrize(
    "fault",
    [
        declined(Fault.LIMITED, retry_after=40.0),
        declined(Fault.LIMITED),
        declined(Fault.QUOTA),
        declined(Fault.MISSING),
        TimedOut("first byte", 1, "x"),
    ],
)
def test_some_faults_are_not_worth_a_repeat(fault: UpstreamFault) -> None:
    """A long wait, an empty account, a missing model and a slow provider are not repeated."""
    schedule = make(A)
    lose(schedule, schedule.next(0), fault)
    assert schedule.next(0) is None


@pytest.mark.parametrize("fault", [Fault.CALLER, Fault.TOO_LONG, Fault.FILTERED])
def test_the_clients_own_fault_ends_it_at_once(fault: Fault) -> None:
    """The client's own fault ends the schedule after exactly one attempt. (EC-239)"""
    schedule = make(A, B)
    lose(schedule, schedule.next(0), declined(fault))
    assert schedule.next(0) is None


def test_upstreams_should_retry_beats_the_table() -> None:
    """The upstream's x-should-retry overrides the table in both directions. (EC-237)"""
    no = declined(Fault.TRANSIENT)
    no.should_retry = False
    schedule = make(A)
    lose(schedule, schedule.next(0), no)
    assert schedule.next(0) is None

    yes = declined(Fault.CALLER)
    yes.should_retry = True
    schedule = make(A)
    lose(schedule, schedule.next(0), yes)
    assert schedule.next(0) == NextAttempt(A, 0.25, is_repeat=True, is_forced=True)


def test_another_key_of_the_same_provider_comes_before_the_next_target() -> None:
    """After a fault of the key (limit, quota, refusal) another key of the same provider is tried first."""
    for fault in (Fault.LIMITED, Fault.QUOTA, Fault.CREDENTIALS):
        schedule = make(A, B)
        lose(schedule, schedule.next(0), declined(fault), has_other_key=True)
        assert schedule.next(0) == NextAttempt(A)
    schedule = make(A, B)
    lose(schedule, schedule.next(0), declined(Fault.TRANSIENT), has_other_key=True)
    assert schedule.next(0) == NextAttempt(B)


def test_attempts_and_time_are_bounded() -> None:
    """`retry.attempts` and `retry.within` bound the schedule."""
    schedule = make(A, B, C, attempts=2)
    for _ in range(2):
        lose(schedule, schedule.next(0), declined(Fault.TRANSIENT))
    assert schedule.next(0) is None
    assert make(A, until=5.0).next(5.0) is None
    late = make(A, until=5.0)
    lose(late, late.next(0), declined(Fault.LIMITED, retry_after=4.0), now=2.0)
    assert late.next(2.0) is None  # the pause would end after the time is up


def test_when_all_rest_the_least_bad_is_asked() -> None:
    """If all targets rest, the one with the shortest wait is tried, unless another was tried already."""
    schedule = make(A, B)
    for wait in (9.0, 3.0):
        turn = schedule.next(0)
        assert turn is not None
        schedule.pass_over(turn.target, wait)
    assert schedule.next(0) == NextAttempt(B, is_forced=True)

    schedule = make(A, B)
    schedule.next(0)
    schedule.pass_over(A, 9.0)
    lose(schedule, schedule.next(0), declined(Fault.QUOTA))
    assert schedule.next(0) is None


def test_a_context_refusal_goes_to_the_fallback_once() -> None:
    """A context refusal goes to `context_fallback` once, and to no other target."""
    schedule = make(A, B, fallback=(C,))
    lose(schedule, schedule.next(0), declined(Fault.TOO_LONG))
    assert schedule.next(0) == NextAttempt(C)
    lose(schedule, NextAttempt(C), declined(Fault.TOO_LONG))
    assert schedule.next(0) is None


def test_an_empty_reply_is_accepted_when_nobody_is_left() -> None:
    """After one empty reply the next empty one is accepted."""
    schedule = make(A, B)
    turn = schedule.next(0)
    assert not schedule.accepts_empty
    lose(schedule, turn, SaidNothing(Held(b"", {}, is_stream=False)))
    assert schedule.accepts_empty


@pytest.mark.parametrize(
    ("faults", "told"),
    [
        ([Fault.TRANSIENT, Fault.CREDENTIALS], Fault.TRANSIENT),
        ([Fault.LIMITED, Fault.TRANSIENT], Fault.TRANSIENT),
        ([Fault.TRANSIENT, Fault.LIMITED], Fault.LIMITED),
        ([Fault.LIMITED, Fault.MISSING, Fault.QUOTA], Fault.LIMITED),
        ([Fault.CREDENTIALS, Fault.QUOTA], Fault.QUOTA),
    ],
)
def test_the_last_informative_fault_is_told(faults: list[Fault], told: Fault) -> None:
    """The client gets the last informative fault; faults of our own account come last of all."""
    assert verdict([declined(fault) for fault in faults]).fault is told


def test_the_smallest_retry_after_is_told() -> None:
    """A limit or overload carries the smallest Retry-After of all faults; any other fault carries none."""
    faults = [
        declined(Fault.LIMITED, retry_after=9.0),
        declined(Fault.OVERLOADED, retry_after=4.0),
        declined(Fault.LIMITED, retry_after=20.0),
    ]
    assert verdict(faults).retry_after == 4.0
    assert verdict([declined(Fault.LIMITED, retry_after=9.0), Broke("x")]).retry_after is None


def test_some_errors_say_not_to_ask_again() -> None:
    """A quota fault and the client's own fault carry `x-should-retry: false`; a limit does not."""
    assert is_pointless(declined(Fault.QUOTA)) and is_pointless(declined(Fault.CALLER))
    assert not is_pointless(CannotConnect("refused")) and not is_pointless(declined(Fault.LIMITED))


def test_after_a_refusal_one_target_is_left() -> None:
    """A refusal as an answer lets one further attempt be made, of the next target or of one that the client names."""
    for named, wanted in (((), B), ((C, A), C)):
        schedule = Schedule(deque([A, B, C]), (), 4, 100.0, named)
        assert schedule.next(0.0) == NextAttempt(A)
        schedule.start()
        assert not schedule.accepts_refusal
        schedule.note(A, SaidNothing(Held(b"", {}, is_stream=False), Fault.FILTERED), True, 0.0, 0.0)
        assert schedule.next(0.0) == NextAttempt(wanted)
        schedule.start()
        assert schedule.next(0.0) is None
        assert Schedule(deque(), (), 4, 100.0).accepts_refusal
