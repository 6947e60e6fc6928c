"""YAML with its places, and a problem for all that is not plain data."""

from datetime import date

import pytest

from gateway.config.problems import Path, write_path
from gateway.config.yaml_marks import parse

TEXT = """\
a: 1
b:
  - x
  - {c: 2, d: [3]}
"""


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ((), (1, 1)),
        (("a",), (1, 1)),
        (("b",), (2, 1)),
        (("b", 0), (3, 5)),
        (("b", 1), (4, 5)),
        (("b", 1, "d"), (4, 12)),
        (("b", 1, "d", 0), (4, 16)),
    ],
)
def test_every_path_has_a_place(path: Path, place: tuple[int, int]) -> None:
    """A member has the place of its key, an item of a list its own."""
    found = parse(TEXT)
    assert found.marks[path] == place and found.is_readable and not found.problems


@pytest.mark.parametrize(
    ("path", "text"),
    [((), ""), (("a",), "a"), (("routes", "fast", 1), "routes.fast[1]"), (("a", 0, "b", 1), "a[0].b[1]")],
)
def test_how_a_path_is_written(path: Path, text: str) -> None:
    """A path is written with dots and brackets."""
    assert write_path(path) == text


@pytest.mark.parametrize(
    ("path", "place"), [(("b", 1, "nope"), (4, 5)), (("b", 9), (2, 1)), (("nope", "x"), (1, 1)), (("a",), (1, 1))]
)
def test_a_missing_path_is_complained_of_at_the_nearest_above(path: Path, place: tuple[int, int]) -> None:
    """A problem of a path that is not in the text has the place of the nearest one above it."""
    found = parse(TEXT)
    found.complain(path, "wrong")
    (problem,) = found.problems
    assert (problem.line, problem.column, problem.path) == (*place, write_path(path))


def test_a_missing_key_of_the_whole_file_is_told_where_the_data_begin() -> None:
    """If nothing of a path is in the text, its problem has the place of the data, behind any comments."""
    found = parse("# a comment\n\n  a: 1\n")
    found.complain(("nope",), "wrong")
    assert (found.problems[0].line, found.problems[0].column) == (3, 3)


def test_plain_data_comes_out() -> None:
    """Anchors, merges and dates are plain data; a merged key keeps the mark of its anchor, an own key its own."""
    found = parse("a: &x {b: 1, c: 1}\nd:\n  <<: [*x, {e: 2}]\n  c: 3\nf: *x\ng: 2027-12-31\n")
    assert found.data == {
        "a": {"b": 1, "c": 1},
        "d": {"b": 1, "e": 2, "c": 3},
        "f": {"b": 1, "c": 1},
        "g": date(2027, 12, 31),
    }
    assert (found.marks["d", "b"], found.marks["d", "c"], found.marks["d", "e"]) == ((1, 8), (4, 3), (3, 13))


@pytest.mark.parametrize("text", ["", "# only a comment\n", "---\n"])
def test_an_empty_text_is_readable(text: str) -> None:
    """A text without data is valid."""
    found = parse(text)
    assert found.is_readable and found.data is None and not found.problems


def test_equal_keys_are_all_told() -> None:
    """Each repeated key is a problem at its own place, also deep inside; the text is read all the same."""
    found = parse("a: 1\nb: {c: 1, c: 2}\na: 2\na: 3\n")
    told = [(problem.line, problem.column, problem.path, problem.message) for problem in found.problems]
    assert told == [
        (2, 11, "b.c", "duplicate key"),
        (3, 1, "a", "duplicate key"),
        (4, 1, "a", "duplicate key"),
    ]
    assert found.is_readable


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("a: 1\nb: [", 3, "did not find expected node content"),
        ("a: 1\nb: *x", 2, "undefined alias"),
        ("a: 1\nb: &x [*x]", 2, "an alias inside its own anchor"),
        ("a: 1\n2: b", 2, "keys must be text: put '2' in quotes"),
        ("a: 1\n[b]: c", 2, "keys must be text"),
        ("a: 1\n---\nb: 2", 2, "but found another document"),
        ("a: 1\nb: !python/object:os.system x", 2, "could not determine a constructor"),
        ("a: 2024-13-45", 1, "not valid YAML: month must be in"),
        ("a: \x01", 1, "not valid YAML"),
        ("a: " + "[" * 5000 + "]" * 5000, 1, "nesting depth"),
    ],
)
def test_what_is_not_readable_has_a_problem(text: str, line: int, message: str) -> None:
    """A text that is no plain YAML gives one problem with its line, and nothing is raised."""
    found = parse(text)
    (problem,) = found.problems
    assert not found.is_readable and problem.line == line and message in problem.message
