"""Who wrote the last reply of a conversation, as one text and back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.policy.affinity import NO_AFFINITY, NO_TRAIL, Affinity, Trail, Trails

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


def test_a_trail_has_the_last_one_first() -> None:
    """A trail remembers a few targets, each with its newest credential."""
    trail = NO_TRAIL
    for number in range(6):
        trail = trail.after(Affinity(f"t:{number}", "k#1"))
    trail = trail.after(Affinity("t:4", "k#2"))
    assert [step.target for step in trail.steps] == ["t:4", "t:5", "t:3", "t:2"]
    assert trail.last == Affinity("t:4", "k#2")
    assert trail.credential_at("t:4") == "k#2" and trail.credential_at("t:0") == ""
    assert Trail.decode(trail.encode()) == trail and Trail.decode("") == NO_TRAIL
    assert not NO_TRAIL.last


def test_trails_end_and_are_bounded() -> None:
    """A trail is forgotten after its time; when there are too many, the one served longest ago goes."""
    trails, trail = Trails(most=2), NO_TRAIL.after(Affinity("t:m", "k#1"))
    trails.keep("a", trail, until=10.0)
    assert trails.find("a", 9.9) == trail and trails.find("a", 10.0) == NO_TRAIL
    trails.keep("b", trail, until=10.0)
    trails.keep("a", trail, until=10.0)
    trails.keep("c", trail, until=10.0)
    assert [trails.find(name, 0.0) == trail for name in "abc"] == [True, False, True] and len(trails) == 2


def test_who_serves_one_call_stands_beside_the_last_one() -> None:
    """A target that has served one call of a conversation is remembered, and the conversation stays."""
    home, other = Affinity("t:m", "k#1"), Affinity("o:m", "k#2")
    trail = NO_TRAIL.after(Affinity("x:m", "k#3")).after(home)
    assert [step.target for step in trail.beside(other).steps] == ["t:m", "o:m", "x:m"]
    assert trail.beside(other).beside(other) == trail.beside(other) and trail.beside(other).last == home
