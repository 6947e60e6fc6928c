"""Which target is next, and what the client hears in the end."""

from collections import deque
from typing import Any

import pytest

from gateway.config.schema import Target
from gateway.errors import Broke, CannotConnect, Declined, Fault, Held, SaidNothing, TimedOut, UpstreamFault
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
    """Never a sleep while a target is free; then one repeat, after a jittered pause."""
    schedule = make(A, B)
    lose(schedule, schedule.next(0), declined(Fault.TRANSIENT))
    assert schedule.next(0) == NextAttempt(B)
    lose(schedule, NextAttempt(B), declined(Fault.TRANSIENT))
    assert schedule.next(0) == NextAttempt(A, 0.25, is_repeat=True, is_forced=True)
    lose(schedule, NextAttempt(A), declined(Fault.TRANSIENT))
    assert schedule.next(0) is None


def test_a_short_retry_after_is_waited_for_once() -> None:
    """A single provider that says 2 s is asked again after 2 s (edge case 234)."""
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
    """A long wait, an empty account, a missing model, a provider that is only slow."""
    schedule = make(A)
    lose(schedule, schedule.next(0), fault)
    assert schedule.next(0) is None


@pytest.mark.parametrize("fault", [Fault.CALLER, Fault.TOO_LONG, Fault.FILTERED])
def test_the_clients_own_fault_ends_it_at_once(fault: Fault) -> None:
    """Exactly one attempt (edge case 239)."""
    schedule = make(A, B)
    lose(schedule, schedule.next(0), declined(fault))
    assert schedule.next(0) is None


def test_upstreams_should_retry_beats_the_table() -> None:
    """In both directions (edge case 237)."""
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
    """For what belongs to the key: limits, money, a refusal of it."""
    for fault in (Fault.LIMITED, Fault.QUOTA, Fault.CREDENTIALS):
        schedule = make(A, B)
        lose(schedule, schedule.next(0), declined(fault), has_other_key=True)
        assert schedule.next(0) == NextAttempt(A)
    schedule = make(A, B)
    lose(schedule, schedule.next(0), declined(Fault.TRANSIENT), has_other_key=True)
    assert schedule.next(0) == NextAttempt(B)


def test_attempts_and_time_are_bounded() -> None:
    """`retry.attempts` and `retry.within`."""
    schedule = make(A, B, C, attempts=2)
    for _ in range(2):
        lose(schedule, schedule.next(0), declined(Fault.TRANSIENT))
    assert schedule.next(0) is None
    assert make(A, until=5.0).next(5.0) is None
    late = make(A, until=5.0)
    lose(late, late.next(0), declined(Fault.LIMITED, retry_after=4.0), now=2.0)
    assert late.next(2.0) is None  # the pause would end after the time is up


def test_when_all_rest_the_least_bad_is_asked() -> None:
    """Better than failing blind; but only when nothing else was tried."""
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
    """And nowhere else."""
    schedule = make(A, B, fallback=(C,))
    lose(schedule, schedule.next(0), declined(Fault.TOO_LONG))
    assert schedule.next(0) == NextAttempt(C)
    lose(schedule, NextAttempt(C), declined(Fault.TOO_LONG))
    assert schedule.next(0) is None


def test_an_empty_reply_is_accepted_when_nobody_is_left() -> None:
    """Or when one was met already."""
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
    """What tells of our own account tells the client least."""
    assert verdict([declined(fault) for fault in faults]).fault is told


def test_the_smallest_retry_after_is_told() -> None:
    """Of all that were tried."""
    faults = [
        declined(Fault.LIMITED, retry_after=9.0),
        declined(Fault.OVERLOADED, retry_after=4.0),
        declined(Fault.LIMITED, retry_after=20.0),
    ]
    assert verdict(faults).retry_after == 4.0
    assert verdict([declined(Fault.LIMITED, retry_after=9.0), Broke("x")]).retry_after is None


def test_some_errors_say_not_to_ask_again() -> None:
    """x-should-retry: false."""
    assert is_pointless(declined(Fault.QUOTA)) and is_pointless(declined(Fault.CALLER))
    assert not is_pointless(CannotConnect("refused")) and not is_pointless(declined(Fault.LIMITED))
