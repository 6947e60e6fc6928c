"""Who wrote the last reply of a conversation, as one text and back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.policy.affinity import NO_AFFINITY, Affinity

LETTERS = st.characters(exclude_categories=["Cs"])


@given(st.text(LETTERS, min_size=1), st.text(LETTERS).filter(lambda text: " " not in text))
def test_what_is_written_is_read(target: str, credential: str) -> None:
    """Any target and credential come back from their text, also if the model's name has spaces."""
    affinity = Affinity(target, credential)
    assert Affinity.decode(affinity.encode()) == affinity


@pytest.mark.parametrize(
    ("affinity", "text"),
    [
        (Affinity("one:m", "one#1"), "one:m one#1"),
        (Affinity("one:my model", "one#1"), "one:my model one#1"),
        (Affinity("one:m"), "one:m "),
        (NO_AFFINITY, ""),
        (Affinity("", "one#1"), ""),
    ],
)
def test_how_it_is_written(affinity: Affinity, text: str) -> None:
    """The text is what older rows of a store hold, so it stays the same; without a target it is empty."""
    assert affinity.encode() == text


@pytest.mark.parametrize(("target", "name"), [("one:m", "one"), ("one:a:b", "one"), ("one", "one"), ("", "")])
def test_the_provider_is_the_targets(target: str, name: str) -> None:
    """The provider is what stands before the first colon; a model's name may have more of them."""
    assert Affinity(target).provider == name


def test_nobody_is_no_affinity() -> None:
    """An affinity without a target is false, and an empty text is read as none."""
    assert not NO_AFFINITY and Affinity("one:m")
    assert Affinity.decode("") == NO_AFFINITY
