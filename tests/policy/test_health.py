"""What a fault costs a target or a credential, and how each recovers."""

import pytest

from gateway.config.fields import Seconds
from gateway.config.schema import Breaker
from gateway.faults import Fault
from gateway.policy.health import CONSEQUENCES, MAX_NAMES, MAX_REST, Health, TargetState
from gateway.policy.retries import RetryBudget


def make(failures: int = 3) -> Health:
    return Health(Breaker(failures=failures, rest=Seconds(30)))


def fail(health: Health, times: int, now: float = 0.0, fault: Fault = Fault.TRANSIENT) -> None:
    for _ in range(times):
        health.fail("t", "c", fault, None, now)


def test_every_fault_has_a_consequence() -> None:
    """The table has every fault: a missing one would raise only when it happens."""
    assert set(CONSEQUENCES) == set(Fault)


def test_failures_in_a_row_open_the_breaker() -> None:
    """Three failures in a row open the breaker; a success in between starts the count again."""
    health = make()
    fail(health, 2)
    health.succeed("t", "c", 0.0)
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
    """Faults of the client, the credential or a limit never open the breaker (docs/reliability.md R7)."""
    health = make()
    fail(health, 50, fault=fault)
    assert health.state("t", 0.0) is TargetState.LIVE


def test_after_the_rest_one_probe_is_let_through() -> None:
    """After the rest one probe is let through and others wait: success closes the breaker, failure doubles the rest."""
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
    health.succeed("t", "c", 0.0)
    health.release("t")
    assert health.wait("t", "c", 92.0) == 0.0 and health.begin("t") is False


def test_a_probe_whose_client_left_gives_its_place_free() -> None:
    """A probe released without a verdict frees its place for the next one."""
    health = make()
    fail(health, 3)
    assert health.begin("t")
    health.release("t")
    assert health.wait("t", "c", 30.0) == 0.0


def test_rests_double_up_to_a_bound() -> None:
    """Failed probes double the rest from 30 to 240 seconds and no further."""
    health = make(failures=1)
    waits = []
    now = 0.0
    for _ in range(5):
        health.fail("t", "c", Fault.CONNECT, None, now)
        waits.append(health.wait("t", "c", now))
        now += waits[-1]
    assert waits == [30, 60, 120, 240, 240]


def test_failures_during_a_rest_do_not_lengthen_it() -> None:
    """Failures during a rest do not lengthen it: last-resort tries are not failed probes."""
    health = make(failures=1)
    for second in range(6):
        health.fail("t", "c", Fault.CONNECT, None, float(second))
    assert health.wait("t", "c", 6.0) == 24.0


def test_a_breaker_can_be_turned_off() -> None:
    """With `failures: 0` no number of failures opens the breaker."""
    health = make(failures=0)
    fail(health, 100)
    assert health.wait("t", "c", 0.0) == 0.0


def test_a_limit_rests_this_credential_at_this_target() -> None:
    """A rate limit rests one credential at one target for the provider's wait, up to a bound; others are free."""
    health = make()
    health.fail("t", "c", Fault.LIMITED, 7.0, 0.0)
    assert health.wait("t", "c", 0.0) == 7.0
    assert health.wait("t", "other", 0.0) == 0.0
    assert health.wait("other", "c", 0.0) == 0.0
    health.fail("t", "c", Fault.LIMITED, 3000.0, 0.0)
    assert health.wait("t", "c", 0.0) == MAX_REST


def test_a_bad_key_rests_everywhere() -> None:
    """A refused key or an empty account rests the credential at every target, until a success."""
    health = make()
    health.fail("t", "c", Fault.CREDENTIALS, None, 0.0)
    assert health.wait("any", "c", 0.0) == 300.0
    health.fail("t", "c", Fault.QUOTA, None, 0.0)
    assert health.wait("any", "c", 0.0) == 600.0
    health.succeed("t", "c", 0.0)
    assert health.wait("any", "c", 0.0) == 0.0


def test_latency_is_a_moving_average() -> None:
    """Latency is a moving average in which the newest value weighs a fifth."""
    health = make()
    assert health.latency("t") is None
    health.note_latency("t", 1.0)
    health.note_latency("t", 2.0)
    assert health.latency("t") == pytest.approx(1.2)


@pytest.mark.slow
def test_a_flood_of_names_does_not_grow_without_bound() -> None:
    """Model names come from clients, so each table keeps at most MAX_NAMES of them."""
    health = make(failures=1)
    for number in range(MAX_NAMES + 500):
        health.fail(f"t{number}", f"c{number}", Fault.TRANSIENT, None, 0.0)
        health.fail(f"t{number}", f"c{number}", Fault.LIMITED, 5.0, 0.0)
        health.note_latency(f"t{number}", 1.0)
    assert all(0 < size <= MAX_NAMES for size in health.sizes)


def test_retries_stay_a_fifth_of_the_requests() -> None:
    """Retries stay at a fifth of the requests, and a quiet provider still gets some (docs/reliability.md P8)."""
    budget = RetryBudget()
    assert sum(budget.take() for _ in range(50)) == 10
    for _ in range(10):
        budget.note_request(1.0)
    assert sum(budget.take() for _ in range(50)) == 2
    budget.note_request(6.0)
    assert sum(budget.take() for _ in range(50)) == 5
