"""Reasoning that a model writes into its text is taken out again, however the text was cut."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.translation.think_tags import CLOSING, MAX_UNOPENED, OPENING, ThinkFilter, overlap
from tests.wire.cuts import pieces

# Whole tags, parts of tags and what may stand between them.
TEXTS = st.lists(
    st.sampled_from([OPENING, CLOSING, "<think", "</", ">", "<", "think", "\n", " ", "a", "b<c"]), max_size=10
).map("".join)
CUTS = st.lists(st.integers(0, 90), max_size=10)


def split(parts: list[str]) -> tuple[str, str]:
    """Return (reasoning, text) of a reply; all reasoning has to come before all text."""
    think_filter = ThinkFilter()
    found = [one for part in parts for one in think_filter.feed(part)] + list(think_filter.end())
    assert all(text for _, text in found)
    kinds = [kind for kind, _ in itertools.groupby(is_reasoning for is_reasoning, _ in found)]
    assert kinds == sorted(kinds, reverse=True)
    return tuple("".join(text for kind, text in found if kind is wanted) for wanted in (True, False))  # type: ignore[return-value]


def in_whole(text: str) -> tuple[str, str]:
    """Split the whole text by its tags."""
    if not text.lstrip().startswith(OPENING):
        before, found, rest = text.partition(CLOSING)
        return (before.lstrip("\n"), rest.lstrip("\n")) if found and OPENING not in before else ("", text)
    thought, _, rest = text.lstrip().removeprefix(OPENING).lstrip("\n").partition(CLOSING)
    return thought, rest.lstrip("\n")


@given(TEXTS | TEXTS.map(lambda text: OPENING + text), CUTS)
def test_the_cut_of_the_text_does_not_matter(text: str, cuts: list[int]) -> None:
    """A reply cut into any pieces is split as the whole text is."""
    assert split(pieces(text, cuts)) == split(list(text)) == in_whole(text)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("<think>\nhm\n</think>\n\nHello", ("hm\n", "Hello")),
        (" \n<think>hm</think>Hello", ("hm", "Hello")),
        ("<think></think>Hello", ("", "Hello")),
        ("<think>a<think>b</think>c</think>", ("a<think>b", "c</think>")),
        ("<think>hm</think>a<think>b</think>", ("hm", "a<think>b</think>")),
        ("Hello <think>hm</think>", ("", "Hello <think>hm</think>")),
        ("hm</think>Hello", ("hm", "Hello")),
        ("\n\nhm\n</think>\n\nHello", ("hm\n", "Hello")),
        ("</think>Hello", ("", "Hello")),
        ("\n</think>\nHello", ("", "Hello")),
        ("hm</think>a</think>b", ("hm", "a</think>b")),
        ("hm</think>a<think>b</think>", ("hm", "a<think>b</think>")),
        ("hm</thin", ("", "hm</thin")),
        ("hm</think>", ("hm", "")),
        ("<THINK>hm</THINK>", ("", "<THINK>hm</THINK>")),
        ("<thin", ("", "<thin")),
        ("  <think>hm</th", ("hm</th", "")),
        ("  ", ("", "  ")),
        ("  <b>", ("", "  <b>")),
        ("<think>\n", ("", "")),
        ("", ("", "")),
    ],
)
def test_what_counts_as_reasoning(text: str, wanted: tuple[str, str]) -> None:
    """Only a tag at the very beginning opens, the first closing tag closes, and half a tag at the end is content."""
    assert split([text]) == wanted


@pytest.mark.parametrize("text", ["hm</think>Hello", "Hello", "</think>Hello", " <think>hm</think>Hello"])
def test_no_closing_tag_is_awaited_where_none_can_come(text: str) -> None:
    """Text without an opening tag passes at once, whatever follows, if the model was not asked to think."""
    think_filter = ThinkFilter(is_opened_unseen=False)
    told = [[*think_filter.feed(letter)] for letter in text]
    said = "".join(part for one in told for is_thought, part in one if not is_thought)
    assert said == text.removeprefix(" <think>hm</think>")
    assert not text[0].isalpha() or told[0] == [(False, text[0])]


@given(CUTS, st.integers(-12, 3))
def test_text_is_held_back_up_to_a_bound(cuts: list[int], more: int) -> None:
    """Beyond the bound it is text, and a tag that would end behind it is text as well, however it is cut."""
    before = "a" * (MAX_UNOPENED + more)
    text = f"{before}{CLOSING}b"
    wanted = (before, "b") if len(before + CLOSING) <= MAX_UNOPENED else ("", text)
    assert split([before[:-20], *pieces(text[len(before) - 20 :], cuts)]) == split([text]) == wanted


def test_the_end_of_a_block_tells_what_was_held_back() -> None:
    """What was told as text at the end of a block stays text, and a tag behind it is text, too."""
    think_filter = ThinkFilter()
    told = [*think_filter.feed("a"), *think_filter.end(), *think_filter.feed("b</think>")]
    assert told == [(False, "a"), (False, "b</think>")]


def test_content_is_passed_on_at_once() -> None:
    """Only an end that may be the beginning of a tag waits for the next piece."""
    think_filter = ThinkFilter()
    told = [
        list(think_filter.feed(part)) for part in ("<th", "ink>hm", " a<", "b </thi", "nk>", "\n", "c<", "</think>")
    ]
    assert told == [
        [],
        [(True, "hm")],
        [(True, " a")],
        [(True, "<b ")],
        [],
        [],
        [(False, "c<")],
        [(False, "</think>")],
    ]
    assert list(think_filter.end()) == []


def test_long_replies() -> None:
    """A hundred thousand blanks, then as many half tags, split as short ones do."""
    blanks, halves = " " * 100_000, "</thin" * 100_000
    assert split([*blanks, OPENING, *[halves[:6]] * 100_000, CLOSING, "x"]) == (halves, "x")
    assert split([*blanks, "x"]) == ("", blanks + "x")
    assert split([OPENING, *("\n" * 100_000), "x"]) == ("x", "")


@given(st.text(alphabet="</think>x", max_size=12))
def test_overlap_is_the_longest_beginning(text: str) -> None:
    """As much of the end overlaps as is the longest proper beginning of the tag."""
    found = overlap(text, CLOSING)
    assert text.endswith(CLOSING[:found]) and found < len(CLOSING)
    assert not any(text.endswith(CLOSING[:length]) for length in range(found + 1, len(CLOSING)))
