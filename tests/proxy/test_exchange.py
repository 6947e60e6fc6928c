"""The state table of an exchange."""

import pytest

from gateway.proxy.exchange import NEXT, Exchange, IllegalStep, State, Step


def test_the_state_table_forbids_what_it_does_not_list() -> None:
    """After content no step leads back to another attempt, and an ended exchange takes no step."""
    exchange = Exchange("r", 0.0)
    for step in (Step.TRY, Step.OPEN, Step.SPEAK):
        exchange.step(step)
    assert exchange.is_spoken and exchange.is_open
    for step in (Step.TRY, Step.OPEN, Step.GIVE_UP):
        with pytest.raises(IllegalStep):
            exchange.step(step)
    exchange.step(Step.LOSE)
    assert exchange.state is State.FAILED
    assert set(NEXT) == set(State)
    assert all(not NEXT[state] for state in (State.ENDED, State.ABANDONED))
    assert not NEXT[State.FAILED]
