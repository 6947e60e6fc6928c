"""Every input that ever broke a reader, and some new ones: a short run of what `make fuzz` does for long."""

import random

import pytest

from tests.security.fuzz import attempt, corpus_of, mutated
from tests.security.readers import READERS, Reader

pytestmark = pytest.mark.slow

BY_NAME = pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)


@BY_NAME
def test_what_broke_a_reader_before_does_not_again(reader: Reader) -> None:
    """The seeds and the saved corpus break no promise."""
    for data in corpus_of(reader):
        attempt(reader, data)


@BY_NAME
def test_mutated_input_breaks_no_promise(reader: Reader) -> None:
    """Three hundred mutations, always the same ones, raise nothing but our own errors."""
    dice, pool = random.Random(7), corpus_of(reader)
    for _ in range(300):
        attempt(reader, mutated(dice.choice(pool), dice, pool))
