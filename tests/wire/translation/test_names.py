"""Names and ids that the other dialect refuses are rewritten, the same way every time, and found again."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.translation.names import SAFE_ID, Named, ToolNames, mint, nine, safe_id

LETTERS = st.text(alphabet="ab_-.: ü", max_size=8)
NAMES = LETTERS | LETTERS.map(lambda text: text + "x" * 70)
TOOLS = st.lists(
    st.builds(Named, NAMES, st.none() | st.sampled_from(["ns", "n.s"])),
    max_size=12,
    unique_by=lambda one: (one.name, one.namespace),
)


@given(TOOLS, st.sampled_from([24, 64]))
def test_every_name_is_safe_and_found_again(tools: list[Named], longest: int) -> None:
    """Whatever tools are called, each gets its own safe name, and that name leads back to the tool."""
    names = ToolNames(longest)
    names.learn(tools)
    sent = [names.safe(tool.name, tool.namespace) for tool in tools]
    assert len(set(sent)) == len(tools)
    assert all(re.fullmatch(rf"[A-Za-z0-9_-]{{1,{longest}}}", name) for name in sent)
    assert [names.original(name) for name in sent] == tools


@given(TOOLS)
def test_names_depend_on_the_input_alone(tools: list[Named]) -> None:
    """The same tools get the same names, and a tool that comes later changes none of them."""
    first, second = ToolNames(), ToolNames()
    first.learn(tools)
    second.learn(tools)
    second.learn([Named("late"), Named("l.a"), Named("a_b")])
    assert [first.safe(one.name, one.namespace) for one in tools] == [
        second.safe(one.name, one.namespace) for one in tools
    ]


def test_a_safe_name_is_kept_whatever_comes_before_it() -> None:
    """A name that is safe already keeps itself; the one that would become the same gets a number."""
    names = ToolNames()
    names.learn([Named("a.b"), Named("a:b"), Named("a_b")])
    assert [names.safe("a_b"), names.safe("a.b"), names.safe("a:b")] == ["a_b", "a_b_2", "a_b_3"]


def test_a_namespace_comes_before_the_name() -> None:
    """A tool of a namespace is sent as `ns__tool`, and does not collide with a tool of that name."""
    names = ToolNames()
    inner, outer = Named("tool", "ns", "custom"), Named("ns__tool")
    names.learn([inner, outer])
    assert (names.safe("tool", "ns"), names.safe("ns__tool")) == ("ns__tool", "ns__tool_2")
    assert (names.original("ns__tool"), names.original("ns__tool_2")) == (inner, outer)


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("", "tool"),
        ("x" * 64, "x" * 64),
        ("x" * 65, "x" * 55 + "_9537c5fd"),
        ("functions.read:0", "functions_read_0"),
    ],
)
def test_how_a_name_is_tidied(name: str, safe: str) -> None:
    """Bad characters become `_`, an empty name `tool`, and a long name ends in a hash of the whole."""
    assert ToolNames().safe(name) == safe


def test_a_number_fits_into_the_length() -> None:
    """A name of full length is shortened for its number."""
    names = ToolNames(8)
    names.learn([Named("abcdefgh"), Named("abcdefg.")])
    names.learn([Named("abcdefg_"), Named("abcdefg:")])
    assert [names.safe(f"abcdefg{last}") for last in "h._:"] == ["abcdefgh", "abcdefg_", "abcdef_2", "abcdef_3"]


def test_a_name_never_sent_is_its_own_original() -> None:
    """A model that invents a tool is quoted as it is."""
    assert ToolNames().original("made.up") == Named("made.up")


def test_names_are_asked_for_without_being_learnt() -> None:
    """A call in the history may name a tool that the request no longer has."""
    names = ToolNames()
    assert names.safe("old.tool") == "old_tool"
    assert names.original("old_tool") == Named("old.tool")


def test_many_equal_names() -> None:
    """Ten thousand names that become the same one get ten thousand numbers, in order."""
    letters = [chr(0x4E00 + number) for number in range(10_000)]
    names = ToolNames()
    names.learn(map(Named, letters))
    assert [names.safe(letter) for letter in letters] == ["_", *(f"__{number}" for number in range(2, 10_001))]


@given(st.text(max_size=80))
def test_ids_are_safe_and_stable(text: str) -> None:
    """Any id becomes one that Anthropic, OpenAI and Mistral take; a good one stays, and the function is stable."""
    found = safe_id(text)
    assert SAFE_ID.fullmatch(found) and safe_id(found) == found and found == safe_id(text)
    assert (found == text) is (SAFE_ID.fullmatch(text) is not None)
    short = nine(text)
    assert re.fullmatch(r"[A-Za-z0-9]{9}", short) and nine(short) == short


def test_different_ids_stay_different() -> None:
    """Two bad ids that look alike once tidied, and two long ids with one beginning, do not become one."""
    for rewrite in (safe_id, nine):
        found = {rewrite(text) for text in ("a.b", "a:b", "a b", "x" * 70, "x" * 71, "", "\ud83d", "\ud83e!")}
        assert len(found) == 8


def test_minted_ids() -> None:
    """A minted id has its prefix and 24 letters and digits, and changes with any part of its seed."""
    assert re.fullmatch(r"call_[A-Za-z0-9]{24}", mint("call_", "req_1", 0))
    assert mint("call_", "req_1", 0) == mint("call_", "req_1", 0)
    assert len({mint("", *parts) for parts in [("a", 0), ("a", 1), ("b", 0), ("a0",), ("a", 0, "")]}) == 5
