"""Replies that providers bend reach every client whole: nothing is lost or doubled, or the error is honest.

`bent/cases.py` makes them from seeds, a writer for each dialect bends ids, indices, order, repeats, finish words,
encodings and cuts, and `bent/plain.py` reads what came of them in the plainest way.
"""

import pytest

from tests.wire.bent.lanes import WRITERS, case_of, cases_with, faults, told

pytestmark = pytest.mark.exhaustive

FEW, MANY, SHOWN = 40, 2_000, 5
ONE_BEND = [
    (dialect, axis, word)
    for dialect, writer in WRITERS.items()
    for axis, words in writer.AXES.items()
    for word in words[1:]
]


def failures(dialect: str, seeds: range) -> str:
    bad = [case for case in (case_of(dialect, seed) for seed in seeds) if any(faults(case))]
    return "\n".join([f"{len(bad)} of {len(seeds)}", *map(told, bad[:SHOWN])]) if bad else ""


@pytest.mark.slow
@pytest.mark.parametrize(("dialect", "axis", "word"), ONE_BEND)
def test_each_bend_alone(dialect: str, axis: str, word: str) -> None:
    """Small replies with one bend are told whole in all lanes: raw and crossed, whole and streamed."""
    cases = list(cases_with(dialect, axis, word))
    bad = [case for case in cases if any(faults(case))]
    assert cases
    assert not bad, told(bad[0])


@pytest.mark.parametrize("dialect", WRITERS)
def test_some_bends_together(dialect: str) -> None:
    """Replies with up to three bends are told whole in all lanes."""
    found = failures(dialect, range(FEW))
    assert not found, found


@pytest.mark.slow
@pytest.mark.parametrize("dialect", WRITERS)
def test_thousands_of_bends_together(dialect: str) -> None:
    """Two thousand replies are told whole in all lanes, always the same ones."""
    found = failures(dialect, range(FEW, FEW + MANY))
    assert not found, found
