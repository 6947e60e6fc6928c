"""Windows, slots and funds in memory: exact, whole or not at all, shared by processes, and bounded."""

import multiprocessing
import os
import signal
from multiprocessing.connection import Connection
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.store import cells as module
from gateway.store.cell_layout import make_shared
from gateway.store.cells import Cells
from gateway.store.counters import Claim, Fund, Slot, Window

COLUMNS = 6


def minute(name: str = "m", amount: int = 60) -> Window:
    return Window(name, amount / 60, amount)


def one_of(window: Window) -> Claim:
    return Claim(((window, 1.0),))


def hold(cells: Cells, slot: Slot) -> bool:
    return cells.take(Claim(slots=(slot,)), 0.0).refused is None


def admitted(cells: Cells, claim: Claim, now: float, times: int) -> int:
    return sum(cells.take(claim, now).refused is None for _ in range(times))


@pytest.fixture
def cells() -> Any:
    made = Cells.alone()
    yield made
    made.close()


def test_a_full_window_holds_its_capacity(cells: Cells) -> None:
    """60 a minute admits 60 at once, then one for each second; the wait that is told is the true one."""
    claim = one_of(minute())
    assert admitted(cells, claim, 1.0, 200) == 60
    assert cells.take(claim, 1.5).wait == pytest.approx(0.5)
    assert admitted(cells, claim, 4.0, 200) == 3


@given(st.lists(st.floats(0, 120), min_size=1, max_size=100), st.integers(1, 100), st.integers(0, 50))
def test_never_more_than_allowed_in_any_window(times: list[float], amount: int, burst: int) -> None:
    """For any arrival times a window admits at most the capacity plus what has refilled."""
    cells = Cells.alone()
    window = Window("b", amount / 60, amount + burst)
    taken = [now for now in sorted(times) if cells.take(one_of(window), now).refused is None]
    for index, start in enumerate(taken):
        for count, end in enumerate(taken[index:], 1):
            assert count <= window.capacity + (end - start) * window.per_second + 1e-3
    cells.close()


@given(
    st.lists(st.tuples(st.floats(0, 500), st.floats(0, 800)), min_size=1, max_size=40),
    st.floats(0, 1000),
)
def test_what_was_reserved_and_not_used_comes_back(calls: list[tuple[float, float]], start: float) -> None:
    """However reserves and uses follow each other, what is left is the capacity less what was used, at one moment."""
    cells = Cells.alone()
    window, fund = Window("t", 10.0, 1000.0), Fund("f", 1e6, 3, 0.0)
    used = 0.0
    for reserved, spent in calls:
        taken = cells.take(Claim(((window, reserved),), (), ((fund, reserved),)), start)
        if taken.refused is None:
            cells.settle([(window, spent - reserved)], start)
            cells.leave((), [(fund, reserved, spent)])
            used += spent
    assert cells.left(window, start) == pytest.approx(1000.0 - used, abs=1e-3)
    spent, reserved = cells.spent(fund)
    assert spent == pytest.approx(used) and reserved == pytest.approx(0.0, abs=1e-6)
    cells.close()


def test_all_or_nothing(cells: Cells) -> None:
    """A claim that one of its parts refuses takes nothing of the others."""
    small, large, slot = Window("small", 1.0, 1), Window("large", 1.0, 100), Slot("s", 1)
    assert cells.take(Claim(((large, 1.0), (small, 1.0)), (slot,)), 1.0).refused is None
    refused = cells.take(Claim(((large, 1.0), (small, 1.0))), 1.0)
    assert refused.refused is small and refused.wait == pytest.approx(1.0)
    assert cells.take(Claim(((large, 1.0),), (slot,)), 1.0).refused is slot
    assert cells.left(large, 1.0) == pytest.approx(99)
    assert cells.peek(one_of(large), 1.0).refused is None and cells.left(large, 1.0) == pytest.approx(99)


def test_a_slot_is_free_again(cells: Cells) -> None:
    """As many as allowed hold a slot, and one that is given back can be taken."""
    slot = Slot("s", 3)
    assert [hold(cells, slot) for _ in range(5)] == [True, True, True, False, False]
    cells.leave([slot])
    assert hold(cells, slot) and cells.held(slot) == 3


def test_a_fund_is_spent_until_its_period_ends(cells: Cells) -> None:
    """A claim is let in as long as anything is left that is neither spent nor reserved; the next period begins anew."""
    fund = Fund("f", 100.0, 7, 50.0)
    assert cells.take(Claim(funds=((fund, 60.0),)), 1.0).refused is None
    assert cells.take(Claim(funds=((fund, 60.0),)), 1.0).open == [120.0]
    refused = cells.take(Claim(funds=((fund, 1.0),)), 1.0)
    assert refused.refused is fund and refused.open == [120.0]
    cells.leave((), [(fund, 60.0, 10.0), (fund, 60.0, 20.0)])
    assert cells.spent(fund) == (30.0, 0.0)
    following = Fund("f", 100.0, 8, 99.0)
    assert cells.spent(following) == (0.0, 0.0)
    cells.leave((), [(following, 0.0, 5.0), (fund, 0.0, 500.0)])  # the second began before
    assert cells.spent(following) == (5.0, 0.0)


def test_a_fund_begins_once(cells: Cells) -> None:
    """What was spent before the start is noted once, whoever comes second."""
    fund = Fund("f", 100.0, 7, 50.0)
    cells.begin([(fund, 40.0)])
    cells.leave((), [(fund, 0.0, 1.0)])
    cells.begin([(fund, 40.0)])
    assert cells.spent(fund) == (41.0, 0.0)
    warned = Fund("warned", 1.0, 7, 50.0)
    assert [cells.is_first(warned), cells.is_first(warned)] == [True, False]
    assert cells.is_first(Fund("warned", 1.0, 8, 99.0))


def test_a_flood_of_names_takes_no_more_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """The table is of one size: of a flood the windows that are in debt stay, and full ones make room."""
    monkeypatch.setattr(module, "WINDOWS", 1 << 8)
    monkeypatch.setattr(module, "HELD", 1 << 6)
    cells = Cells.alone()
    debtor = Window("debtor", 0.001, 10)
    cells.settle([(debtor, 50.0)], 1.0)
    for number in range(5000):
        cells.take(one_of(Window(f"a{number}", 100.0, 10)), 1.0 + number / 1000)
    assert cells.left(debtor, 6.0) < 0
    assert sum(hold(cells, Slot(f"s{number}", 1)) for number in range(200)) == 200  # beyond the room: not counted
    cells.close()


def _hammer(descriptor: int, column: int, answers: Connection, name: str) -> None:
    cells = Cells.shared(descriptor, COLUMNS, column)
    claim = Claim(((minute(name), 1.0),), (Slot(f"{name}-slot", 5),))
    count = 0
    for _ in range(2000):
        if cells.take(claim, 5.0).refused is None:
            count += 1
            cells.leave(claim.slots)
    answers.send(count)
    cells.close()


def _hold_and_wait(descriptor: int, column: int, answers: Connection) -> None:
    cells = Cells.shared(descriptor, COLUMNS, column)
    cells.take(Claim(slots=(Slot("held", 5),), funds=((Fund("f", 10.0, 1, 0.0), 9.0),)), 1.0)
    answers.send(os.getpid())
    signal.pause()


def test_processes_share_what_is_left() -> None:
    """Four processes that hammer one window admit as many as it holds, together and exactly."""
    descriptor = make_shared(COLUMNS)
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    started = [context.Process(target=_hammer, args=(descriptor, number, theirs, "w")) for number in range(4)]
    for one in started:
        one.start()
    found = [ours.recv() for _ in started]
    for one in started:
        one.join(10)
    assert sum(found) == 60
    cells = Cells.shared(descriptor, COLUMNS, 5)
    assert cells.held(Slot("w-slot", 5)) == 0
    cells.close()
    os.close(descriptor)


def _hammer_kept(descriptor: int, column: int, answers: Connection) -> None:
    cells = Cells.shared(descriptor, COLUMNS, column)
    slots = (Slot("whole", 40), Slot("own", 33))
    most = 0
    for _ in range(3000):
        held = 0
        while cells.hold_kept(slots) is None:
            held += 1
            most = max(most, int(cells.held(slots[0])))
        for _ in range(held):
            cells.leave_kept(slots)
    answers.send(most)
    cells.close()


def test_slots_that_are_kept_are_never_overrun() -> None:
    """Without a lock far from the limit, and with one near it: never more than allowed, and all come back."""
    descriptor = make_shared(COLUMNS)
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    started = [context.Process(target=_hammer_kept, args=(descriptor, number, theirs)) for number in range(3)]
    for one in started:
        one.start()
    most = [ours.recv() for _ in started]
    for one in started:
        one.join(10)
    assert 25 <= max(most) <= 33
    cells = Cells.shared(descriptor, COLUMNS, 5)
    assert (cells.held(Slot("whole", 40)), cells.held(Slot("own", 33))) == (0, 0)
    cells.close()
    os.close(descriptor)


def test_what_a_killed_process_held_is_given_back() -> None:
    """What a killed worker held counts until its column is cleared, and nothing else is."""
    descriptor = make_shared(COLUMNS)
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    worker = context.Process(target=_hold_and_wait, args=(descriptor, 2, theirs))
    worker.start()
    os.kill(ours.recv(), signal.SIGKILL)
    worker.join(10)
    cells = Cells.shared(descriptor, COLUMNS, 0)
    slot, fund = Slot("held", 5), Fund("f", 10.0, 1, 0.0)
    hold(cells, slot)
    assert (cells.held(slot), cells.spent(fund)[1]) == (2, 9.0)
    cells.clear(2)
    assert (cells.held(slot), cells.spent(fund)[1]) == (1, 0.0)
    cells.close()
    os.close(descriptor)
