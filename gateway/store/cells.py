"""Windows, slots and funds in memory: of one process, or shared by all workers of a machine.

The memory is an array of 64-bit words, the same in both cases. Where workers share it, a lock (flock) stands around
each operation; it is free again at once when its holder is killed. Nothing is awaited, and an operation takes
microseconds (docs/design.md#limits has the measurement, and what else was tried).

A killed worker may leave an operation half done: so every word is valid alone, and nothing is kept twice. What a worker
holds stands in a column of its own, which the supervisor clears when the worker is gone.

A window is kept as one number, the time at which it will be full again (GCRA, the generic cell rate algorithm). Taking
units moves that time on by units / rate, and time fills the window without any work. What is left is
capacity - (full_at - now) * rate; a time in the past, or no entry at all, is a full window. So entries need not be
deleted: whoever needs the room of one that is full again takes it.
"""

import fcntl
import mmap
import os
from array import array
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

from attrs import define, field

from gateway.store.cell_layout import (
    H_COLUMNS,
    H_PERIOD,
    H_SPENT,
    HELD,
    HELD_PROBES,
    PROBES,
    W_FULL,
    W_WORDS,
    WINDOWS,
    WORD,
    Words,
    size_of,
)
from gateway.store.counters import Claim, Counted, Fund, Slot, Taken, Window

# In units. Tolerates rounding: without it a unit that has refilled just now may still be a hair short.
PATIENCE = 1e-6
MARGIN = 4  # slots for each worker that are left where no lock is taken
_ALONE = nullcontext()  # where nobody else has the memory
SLOT_WAIT = 1.0  # seconds: nobody knows when a slot will be free


@define
class Cells:
    """The counters of one process (`column` 0 of 1), or its part of those that the workers share."""

    _whole: mmap.mmap
    _lock: int | None
    _columns: int
    _column: int
    machine: str = ""  # names the gateway whose workers share them
    _numbers: Words = field(init=False)
    _places: Words = field(init=False)
    _row: int = field(init=False)  # words of a slot or a fund
    _base: int = field(init=False)  # where slots and funds begin

    def __attrs_post_init__(self) -> None:
        whole = memoryview(self._whole)
        self._numbers, self._places = whole.cast("d"), whole.cast("Q")
        self._row, self._base = H_COLUMNS + self._columns, WINDOWS * W_WORDS

    @classmethod
    def alone(cls) -> "Cells":
        """Make the counters of a process that shares them with none."""
        return cls(mmap.mmap(-1, size_of(1, WINDOWS, HELD)), None, 1, 0)

    @classmethod
    def shared(cls, descriptor: int, columns: int, column: int, machine: str = "") -> "Cells":
        """Share the counters behind a descriptor that was inherited, with the other workers of `machine`."""
        # Opened anew: the lock of an inherited descriptor would be shared with the process that it comes from.
        own = os.open(f"/proc/self/fd/{descriptor}", os.O_RDWR | os.O_CLOEXEC)
        return cls(mmap.mmap(own, size_of(columns, WINDOWS, HELD)), own, columns, column, machine)

    def close(self) -> None:
        """Let go of the memory."""
        for view in (self._numbers, self._places):
            view.release()  # type: ignore[attr-defined]  # a memoryview
        self._whole.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def take(self, claim: Claim, now: float) -> Taken:
        """Take a claim whole, or nothing of it. `now` is monotonic."""
        with self._locked():
            return self._take(claim, now)

    def peek(self, claim: Claim, now: float) -> Taken:
        """Return what `take` would return if it took nothing; a refusal is the same."""
        with self._locked():
            return self._check(claim, now)[0]

    def settle(self, windows: Sequence[tuple[Window, float]], now: float) -> None:
        """Take more units of windows, whatever is left of them, or give some back (below 0)."""
        with self._locked():
            for window, units in windows:
                self._charge(window, units, now)

    def leave(self, slots: Sequence[Slot], funds: Sequence[tuple[Fund, float, float]] = ()) -> None:
        """Give slots back, and of each fund what was reserved; add what was spent of it: (fund, reserved, spent)."""
        with self._locked():
            for slot in slots:
                self._hold(slot, -1.0)
            for fund, reserved, spent in funds:
                self._hold(fund, -reserved)
                self.spend(fund, spent)

    def hold_kept(self, slots: Sequence[Slot]) -> Slot | None:
        """Take slots whose entries stay for ever; return the one that has none left, None if all were taken.

        Far from a limit no lock is needed: each worker writes into a column of its own only, and what all others may
        take in the same moment still has room. A lock costs more than all the rest.
        """
        room = MARGIN * self._columns
        found = []
        for slot in slots:
            at = self._find_held(slot)
            if at < 0 or self._held(at) + room > slot.most:
                return self._hold_kept_surely(slots)
            found.append(at + H_COLUMNS + self._column)
        for at in found:
            self._numbers[at] += 1.0
        return None

    def leave_kept(self, slots: Sequence[Slot]) -> None:
        """Give back slots that `hold_kept` has taken: nobody else writes into this worker's column."""
        for slot in slots:
            at = self._find_held(slot)
            if at >= 0:
                at += H_COLUMNS + self._column
                self._numbers[at] = max(0.0, self._numbers[at] - 1.0)

    def _hold_kept_surely(self, slots: Sequence[Slot]) -> Slot | None:
        with self._locked():
            for slot in slots:
                at = self._find_held(slot)
                if at < 0 and (at := self._make_held(slot)) >= 0:
                    self._numbers[at + H_PERIOD] = 1.0  # so that nobody else takes its room
                if at >= 0 and self._held(at) + 1.0 > slot.most:
                    return slot
            for slot in slots:
                self._hold(slot, 1.0)
        return None

    def begin(self, funds: Sequence[tuple[Fund, float]]) -> None:
        """Note what was spent of each fund before this gateway was started; not if another worker has done so."""
        with self._locked():
            for fund, spent in funds:
                at = self._find_held(fund)
                if at < 0 or self._numbers[at + H_PERIOD] != fund.period:
                    self.spend(fund, spent)

    def reflect(self, claim: Claim, taken: Taken, now: float) -> None:
        """Note what shared counters have answered, so that these begin there when those are silent."""
        with self._locked():
            for (window, _), left in zip(claim.windows, taken.left, strict=True):
                at = self._find(window)
                if at < 0:
                    at = self._make(window, now)
                self._numbers[at + W_FULL] = now + max(0.0, window.capacity - left) / window.per_second
            for slot in claim.slots if taken.refused is None else ():
                self._hold(slot, 1.0)
            for (fund, units), spent in zip(claim.funds, taken.spent, strict=True):
                at = self._find_held(fund)
                if at >= 0 and self._numbers[at + H_PERIOD] == fund.period:
                    self._numbers[at + H_SPENT] = spent
                else:
                    self.spend(fund, spent)
                if taken.refused is None:
                    self._hold(fund, units)

    def knows(self, window: Window) -> bool:
        """Whether anything was taken of a window, as far as is known here."""
        with self._locked():
            return self._find(window) >= 0

    def average(self, fund: Fund, number: float, weight: float) -> None:
        """Move what a fund has spent towards a number, by a part of the difference; the first number is taken whole."""
        with self._locked():
            at = self._find_held(fund)
            if at < 0 or self._numbers[at + H_PERIOD] != fund.period:
                self.spend(fund, number)
            else:
                self._numbers[at + H_SPENT] += weight * (number - self._numbers[at + H_SPENT])

    def counts(self, fund: Fund) -> bool:
        """Whether anything is known of a fund in its period."""
        with self._locked():
            at = self._find_held(fund)
            return at >= 0 and bool(self._numbers[at + H_PERIOD] == fund.period)

    def is_first(self, fund: Fund) -> bool:
        """Whether this is the first time in a fund's period that this is asked; by any worker of the machine."""
        with self._locked():
            at = self._find_held(fund)
            if at >= 0 and self._numbers[at + H_PERIOD] == fund.period:
                return False
            self.spend(fund, 1.0)
            return True

    def spent(self, fund: Fund) -> tuple[float, float]:
        """Return what a fund has spent in its period, and what is reserved of it."""
        with self._locked():
            at = self._find_held(fund)
            if at < 0:
                return 0.0, 0.0
            is_now = self._numbers[at + H_PERIOD] == fund.period
            return (self._numbers[at + H_SPENT] if is_now else 0.0), self._held(at)

    def held(self, slot: Slot) -> float:
        """Return how many hold a slot."""
        with self._locked():
            at = self._find_held(slot)
            return 0.0 if at < 0 else self._held(at)

    def left(self, window: Window, now: float) -> float:
        """Return the units that are left of a window."""
        with self._locked():
            return self._left(window, now)

    def clear(self, column: int) -> None:
        """Give back all that a worker held which is gone."""
        with self._locked():
            empty = array("d", bytes(HELD * WORD))
            self._numbers[self._base + H_COLUMNS + column :: self._row] = memoryview(empty)

    def _locked(self) -> AbstractContextManager[None]:
        return _ALONE if self._lock is None else self._flocked(self._lock)

    @contextmanager
    def _flocked(self, lock: int) -> Iterator[None]:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(lock, fcntl.LOCK_UN)

    def _take_windows(self, windows: Sequence[tuple[Window, float]], now: float) -> Taken:
        """Take a claim that has windows only, as nearly all have: one look at each, and one write."""
        numbers, found, left = self._numbers, [], []
        for window, units in windows:
            at = self._find(window)
            full = numbers[at + W_FULL] if at >= 0 else 0.0
            full = max(full, now)
            rest = window.capacity - (full - now) * window.per_second - units
            if rest < -PATIENCE:
                return self._check(Claim(windows), now)[0]
            found.append((at, full))
            left.append(rest)
        for (at, full), (window, units) in zip(found, windows, strict=True):
            # Its room may have been taken by another one of this claim.
            is_there = at >= 0 and self._places[at] == window.place
            numbers[(at if is_there else self._make(window, now)) + W_FULL] = full + units / window.per_second
        return Taken(None, 0.0, left)

    def _take(self, claim: Claim, now: float) -> Taken:
        if not (claim.slots or claim.funds):
            return self._take_windows(claim.windows, now)
        taken, left = self._check(claim, now)
        if taken.refused is not None:
            return taken
        for window, units in claim.windows:
            self._charge(window, units, now)
        for slot in claim.slots:
            self._hold(slot, 1.0)
        for fund, units in claim.funds:
            self._hold(fund, units)
        reserved = [held + units for held, (_, units) in zip(taken.open, claim.funds, strict=True)]
        return Taken(None, 0.0, left, taken.spent, reserved)

    def _check(self, claim: Claim, now: float) -> tuple[Taken, list[float]]:
        """Return the answer to a claim that takes nothing yet, and what would be left of each window."""
        before, after = [], []
        refused: Counted | None = None
        wait = 0.0
        for window, units in claim.windows:
            left = self._left(window, now)
            before.append(left)
            after.append(left - units)
            if left - units < -PATIENCE and (needs := (units - left) / window.per_second) > wait:
                refused, wait = window, needs
        for slot in claim.slots:
            at = self._find_held(slot)
            if (0.0 if at < 0 else self._held(at)) + 1.0 > slot.most and wait < SLOT_WAIT:
                refused, wait = slot, SLOT_WAIT
        spent, reserved = [], []
        for fund, _ in claim.funds:
            at = self._find_held(fund)
            is_now = at >= 0 and self._numbers[at + H_PERIOD] == fund.period
            spent.append(self._numbers[at + H_SPENT] if is_now else 0.0)
            reserved.append(0.0 if at < 0 else self._held(at))
            if spent[-1] + reserved[-1] >= fund.most and not (isinstance(refused, Fund) and refused.ends >= fund.ends):
                refused, wait = fund, 0.0  # the caller knows when the period ends
        return Taken(refused, wait, before if refused is not None else after, spent, reserved), after

    def _left(self, window: Window, now: float) -> float:
        at = self._find(window)
        if at < 0 or (full := self._numbers[at + W_FULL]) <= now:
            return window.capacity
        return float(window.capacity - (full - now) * window.per_second)

    def _charge(self, window: Window, units: float, now: float) -> None:
        at = self._find(window)
        if at < 0:
            if units <= 0:
                return  # it is full
            at = self._make(window, now)
        full = self._numbers[at + W_FULL]
        self._numbers[at + W_FULL] = (full if full > now else now) + units / window.per_second

    def _find(self, window: Window) -> int:
        """Return where a window lies, -1 if it has no entry: it is full."""
        places, place, at = self._places, window.place, window.at
        if at >= 0 and places[at] == place:
            return at
        first = place % WINDOWS
        for index in range(first, first + PROBES):
            at = index % WINDOWS * W_WORDS
            if places[at] == place:
                window.at = at
                return at
        return -1

    def _make(self, window: Window, now: float) -> int:
        """Make an entry in the room of one that is full again, or of the one that is nearest to it."""
        places, numbers = self._places, self._numbers
        first = window.place % WINDOWS
        best, earliest = -1, 0.0
        for index in range(first, first + PROBES):
            at = index % WINDOWS * W_WORDS
            full = numbers[at + W_FULL] if places[at] else 0.0
            if best < 0 or full < earliest:
                best, earliest = at, full
                if full <= now:
                    break
        numbers[best + W_FULL] = 0.0
        places[best] = window.place
        window.at = best
        return best

    def _hold(self, counted: Slot | Fund, units: float) -> None:
        at = self._find_held(counted)
        if at < 0:
            at = self._make_held(counted)
        if at >= 0:
            at += H_COLUMNS + self._column
            self._numbers[at] = max(0.0, self._numbers[at] + units)

    def spend(self, fund: Fund, units: float) -> None:
        """Add to what a fund has spent in its period. The caller holds the lock."""
        at = self._find_held(fund)
        if at < 0:
            at = self._make_held(fund)
        if at < 0:
            return
        if self._numbers[at + H_PERIOD] != fund.period:
            if self._numbers[at + H_PERIOD] == fund.period + 1:
                return  # of an exchange that began before the period did; any later one is a clock that was wrong
            self._numbers[at + H_SPENT] = 0.0
            self._numbers[at + H_PERIOD] = fund.period
        self._numbers[at + H_SPENT] += units

    def _held(self, at: int) -> float:
        first = at + H_COLUMNS
        if self._columns == 1:
            return float(self._numbers[first])
        return float(sum(self._numbers[first : first + self._columns]))

    def _find_held(self, counted: Slot | Fund) -> int:
        places, place, at = self._places, counted.place, counted.at
        if at >= 0 and places[at] == place:
            return at
        first = place % HELD
        for index in range(first, first + HELD_PROBES):
            at = self._base + index % HELD * self._row
            if places[at] == place:
                counted.at = at
                return at
        return -1

    def _make_held(self, counted: Slot | Fund) -> int:
        """Make an entry in the room of one that nobody holds; -1 if there is none, and then it is not counted."""
        first = counted.place % HELD
        for index in range(first, first + HELD_PROBES):
            at = self._base + index % HELD * self._row
            is_free = not self._places[at] or (self._held(at) == 0.0 and self._numbers[at + H_PERIOD] == 0.0)
            if is_free:
                self._places[at] = counted.place
                counted.at = at
                return at
        return -1
