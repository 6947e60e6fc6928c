"""Reasoning travels through a foreign client and comes back whole, for its owner alone."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.neutral import Block, Reasoning, Request, Role, Text, Turn
from gateway.wire.translation.envelope import PREFIX, QUOTED, Sealer, is_envelope, unseal

SEALER = Sealer(b"a secret", "owner")
PLAIN = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)
REASONING = st.builds(
    Reasoning,
    parts=st.lists(PLAIN, max_size=3).map(tuple),
    is_summary=st.booleans(),
    signature=st.none() | PLAIN,
    sealed=st.none() | PLAIN,
    origin=st.sampled_from(["", "openai_responses"]),
    id=st.none() | PLAIN,
)
BLOCK = Reasoning(("one", "two"), True, "sig", "sealed", "openai_responses", "rs_1")


@given(REASONING)
def test_what_was_sealed_is_opened(block: Reasoning) -> None:
    """A block comes back equal when its text comes back beside the envelope, whatever it holds."""
    text = SEALER.seal(block)
    assert is_envelope(text) and set(text.removeprefix(PREFIX)) <= set(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    )
    assert SEALER.open(text, block.text) == block


def test_an_envelope_depends_on_the_block_alone() -> None:
    """The same block gives the same text, so that a prompt cache matches; another block gives another text."""
    assert SEALER.seal(BLOCK) == Sealer(b"a secret", "owner").seal(BLOCK)
    assert SEALER.seal(BLOCK) != SEALER.seal(Reasoning(("one",)))


def test_a_single_part_is_not_carried_twice() -> None:
    """A single part is not in the envelope: the text beside it counts, also one that the client has changed."""
    text = SEALER.seal(Reasoning(("x" * 1000,), signature="sig"))
    assert text == SEALER.seal(Reasoning(("y" * 500,), signature="sig"))
    assert SEALER.open(text, "other") == Reasoning(("other",), signature="sig")
    assert SEALER.open(text, "") == Reasoning((), signature="sig")


@pytest.mark.parametrize(
    "other",
    [Sealer(b"a secret", "other"), Sealer(b"another", "owner"), Sealer(b"a secret", ""), Sealer(b"a secret", "ownerx")],
)
def test_nobody_else_opens_it(other: Sealer) -> None:
    """Another owner, or another secret, opens nothing."""
    assert other.open(SEALER.seal(BLOCK), "") is None


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_a_changed_bit_is_noticed(place: int, change: int) -> None:
    """An envelope with any byte changed does not open."""
    data = bytearray(base64.urlsafe_b64decode(SEALER.seal(BLOCK).removeprefix(PREFIX) + "=="))
    data[place % len(data)] ^= change
    assert SEALER.open(PREFIX + base64.urlsafe_b64encode(data).decode().rstrip("="), "") is None


@pytest.mark.parametrize("text", [PREFIX, "gw0.abc", "gw1.a", "gw1.ä", "gw1." + "A" * 40, "EqQBCkYIBBgC"])
def test_other_texts_do_not_open(text: str) -> None:
    """A damaged, empty or foreign text opens nothing and raises nothing."""
    assert SEALER.open(text, "visible") is None


@pytest.mark.parametrize(
    ("text", "is_one"), [(None, False), ("", False), ("gw1.x", True), ("gw0.x", True), ("gw2.x", False), ("sig", False)]
)
def test_envelopes_are_known_by_their_beginning(text: str | None, is_one: bool) -> None:
    """An envelope is told from a provider's own signature by its prefix, in JSON too."""
    assert is_envelope(text) is is_one
    assert QUOTED == (b'"gw1.', b'"gw0.')


def history(*blocks: Block) -> Request:
    return Request("openai_chat", "m", turns=[Turn(Role.USER, (Text("Hi"),)), Turn(Role.ASSISTANT, blocks)])


def test_a_history_is_opened_in_place() -> None:
    """Envelopes in either slot are opened, and a provider's own reasoning stays as it is."""
    text, own = SEALER.seal(BLOCK), Reasoning(("own",), signature="EqQB")
    request = history(Reasoning(("one",), signature=text), Reasoning(sealed=text), own, Text("Hello"))
    assert unseal(request, SEALER) is False
    assert request.turns == history(BLOCK, BLOCK, own, Text("Hello")).turns


def test_what_does_not_open_is_removed_and_told() -> None:
    """A block whose envelope does not open is left out, the rest stays, and the caller hears of it."""
    request = history(Reasoning(("x",), signature=Sealer(b"a secret", "other").seal(BLOCK)), Text("Hello"))
    request.turns.append(Turn(Role.ASSISTANT, (Reasoning(signature=SEALER.seal(BLOCK)),)))
    assert unseal(request, SEALER) is True
    assert request.turns[1] == Turn(Role.ASSISTANT, (Text("Hello"),))
    assert request.turns[2] == Turn(Role.ASSISTANT, (BLOCK,))
