"""What a fault costs, and how a target comes back."""

import pytest

from gateway.config.schema import Breaker, Seconds
from gateway.errors import Fault
from gateway.policy.health import CONSEQUENCES, MAX_NAMES, MAX_REST, Health, TargetState
from gateway.policy.retries import RetryBudget


def make(failures: int = 3) -> Health:
    return Health(Breaker(failures=failures, rest=Seconds(30)))


def fail(health: Health, times: int, now: float = 0.0, fault: Fault = Fault.TRANSIENT) -> None:
    for _ in range(times):
        health.fail("t", "c", fault, None, now)


def test_every_fault_has_a_consequence() -> None:
    """What is missing in the table would be a crash at night."""
    assert set(CONSEQUENCES) == set(Fault)


def test_failures_in_a_row_open_the_breaker() -> None:
    """A success in between starts the count again."""
    health = make()
    fail(health, 2)
    health.succeed("t", "c")
    fail(health, 2)
    assert health.wait("t", "c", 0.0) == 0.0
    fail(health, 1)
    assert health.wait("t", "c", 1.0) == 29.0
    assert health.state("t", 1.0) is TargetState.RESTING
    assert dict(health.resting(10.0)) == {"t": 20.0}


@pytest.mark.parametrize(
    "fault", [Fault.CALLER, Fault.MISSING, Fault.LIMITED, Fault.CREDENTIALS, Fault.REFUSED, Fault.TOO_LONG]
)
def test_what_is_not_the_targets_fault_never_opens_it(fault: Fault) -> None:
    """400, 404, 422 and 429 say nothing of its health (RELIABILITY.md rule 7)."""
    health = make()
    fail(health, 50, fault=fault)
    assert health.state("t", 0.0) is TargetState.LIVE


def test_after_the_rest_one_probe_is_let_through() -> None:
    """Others wait until it has ended; success closes the breaker, failure doubles the rest."""
    health = make()
    fail(health, 3)
    assert health.wait("t", "c", 30.0) == 0.0
    assert health.begin("t") is True
    assert health.state("t", 30.0) is TargetState.PROBING
    assert health.wait("t", "c", 30.0) == 30.0
    assert health.begin("t") is False

    health.fail("t", "c", Fault.TRANSIENT, None, 31.0)
    health.release("t")
    assert health.wait("t", "c", 31.0) == 60.0

    assert health.begin("t") is True
    health.succeed("t", "c")
    health.release("t")
    assert health.wait("t", "c", 92.0) == 0.0 and health.begin("t") is False


def test_a_probe_whose_client_left_gives_its_place_free() -> None:
    """`release` without a verdict: the next one may try."""
    health = make()
    fail(health, 3)
    assert health.begin("t")
    health.release("t")
    assert health.wait("t", "c", 30.0) == 0.0


def test_rests_double_up_to_a_bound() -> None:
    """30, 60, 120, 240, 240 seconds."""
    health = make(failures=1)
    waits = []
    now = 0.0
    for _ in range(5):
        health.fail("t", "c", Fault.CONNECT, None, now)
        waits.append(health.wait("t", "c", now))
        now += waits[-1]
    assert waits == [30, 60, 120, 240, 240]


def test_failures_during_a_rest_do_not_lengthen_it() -> None:
    """A burst of last-resort tries, or of attempts that were under way, is not a row of failed probes."""
    health = make(failures=1)
    for second in range(6):
        health.fail("t", "c", Fault.CONNECT, None, float(second))
    assert health.wait("t", "c", 6.0) == 24.0


def test_a_breaker_can_be_turned_off() -> None:
    """failures: 0."""
    health = make(failures=0)
    fail(health, 100)
    assert health.wait("t", "c", 0.0) == 0.0


def test_a_limit_rests_this_credential_at_this_target() -> None:
    """For as long as the provider asks, within reason; others are free."""
    health = make()
    health.fail("t", "c", Fault.LIMITED, 7.0, 0.0)
    assert health.wait("t", "c", 0.0) == 7.0
    assert health.wait("t", "other", 0.0) == 0.0
    assert health.wait("other", "c", 0.0) == 0.0
    health.fail("t", "c", Fault.LIMITED, 3000.0, 0.0)
    assert health.wait("t", "c", 0.0) == MAX_REST


def test_a_bad_key_rests_everywhere() -> None:
    """401 and an empty account belong to the credential."""
    health = make()
    health.fail("t", "c", Fault.CREDENTIALS, None, 0.0)
    assert health.wait("any", "c", 0.0) == 300.0 and health.credential_rests("c", 299.0)
    health.fail("t", "c", Fault.QUOTA, None, 0.0)
    assert health.wait("any", "c", 0.0) == 600.0
    health.succeed("t", "c")
    assert health.wait("any", "c", 0.0) == 0.0


def test_latency_is_a_moving_average() -> None:
    """The newest counts a fifth."""
    health = make()
    assert health.latency("t") is None
    health.note_latency("t", 1.0)
    health.note_latency("t", 2.0)
    assert health.latency("t") == pytest.approx(1.2)


def test_a_flood_of_names_does_not_grow_without_bound() -> None:
    """Model names come from clients."""
    health = make(failures=1)
    for number in range(MAX_NAMES + 500):
        health.fail(f"t{number}", f"c{number}", Fault.TRANSIENT, None, 0.0)
        health.fail(f"t{number}", f"c{number}", Fault.LIMITED, 5.0, 0.0)
        health.note_latency(f"t{number}", 1.0)
    assert len(health._targets) <= MAX_NAMES
    assert len(health._credentials) <= MAX_NAMES
    assert len(health._latency) <= MAX_NAMES


def test_retries_stay_a_fifth_of_the_requests() -> None:
    """And a quiet provider still gets some (RELIABILITY.md 8)."""
    budget = RetryBudget()
    assert sum(budget.take() for _ in range(50)) == 10
    for _ in range(10):
        budget.note_request(1.0)
    assert sum(budget.take() for _ in range(50)) == 2
    budget.note_request(6.0)
    assert sum(budget.take() for _ in range(50)) == 5
