"""Values and members are counted before they are made, as a real parser would count them."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import BadRequest
from gateway.wire.codec.bounds import MAX_MEMBERS, MAX_TEXT, MAX_VALUES, _string_end, check_bounds, count, has_long_text

STRINGS = st.text(st.sampled_from('a"\\,[]{}:ü\n'), max_size=6)
VALUES = st.recursive(
    st.integers() | STRINGS | st.none(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(STRINGS, inner, max_size=4),
    max_leaves=20,
)


def commas_and_brackets(value: object) -> int:
    """Count the commas and the opening brackets of a value's JSON."""
    if isinstance(value, dict):
        return 1 + max(0, len(value) - 1) + sum(map(commas_and_brackets, value.values()))
    if isinstance(value, list):
        return 1 + max(0, len(value) - 1) + sum(map(commas_and_brackets, value))
    return 0


@given(st.dictionaries(STRINGS, VALUES, max_size=6), st.booleans(), st.sampled_from([None, 1]))
def test_the_count_is_that_of_a_parser(value: dict[str, object], is_ascii: bool, indent: int | None) -> None:
    """The count is exact, whatever stands inside strings."""
    text = json.dumps(value, ensure_ascii=is_ascii, indent=indent).encode()
    assert count(text, None, MAX_MEMBERS) == (1 + commas_and_brackets(value), max(1, len(value)))


@pytest.mark.parametrize(
    "data",
    [
        b'{"input":[' + b"{}," * MAX_VALUES + b"{}]}",
        b'{"input":[' + b'"a",' * MAX_VALUES + b'"a"]}',
        b'{"input":' + b"[" * (MAX_VALUES + 1),
        b"{" + b",".join(b'"%d":1' % number for number in range(MAX_MEMBERS + 1)) + b"}",
    ],
    ids=["objects", "strings", "nested", "members"],
)
def test_too_many_are_refused(data: bytes) -> None:
    """More values or members than a request can have are refused."""
    with pytest.raises(BadRequest, match="more than"):
        check_bounds(data)


@pytest.mark.parametrize(
    "data",
    [
        b'{"input":"' + b'[{,\\\\\\"' * MAX_VALUES + b'"}',
        b'{"input":[' + b"{}," * (MAX_VALUES // 2 - 10) + b"{}]}",
        b"\\" * 100_000,
        b'"' * 100_001,
        b"]" * 300_000 + b"}," * 10,
    ],
    ids=["text", "values", "backslashes", "quotes", "closed"],
)
def test_what_stands_in_a_string_is_no_value(data: bytes) -> None:
    """Text may hold any number of commas and brackets; what is no JSON is for the parser to refuse."""
    check_bounds(data)


def test_a_body_that_is_not_translated_may_have_any_number_of_values() -> None:
    """An embeddings request may hold a million tokens."""
    check_bounds(b'{"input":[' + b"1," * 1_000_000 + b"1]}", None)


@pytest.mark.parametrize(
    "data",
    [b'{"input":[' + b'{"a":1},' * MAX_VALUES + b"{}]}", b'{"input":[' + b'"\\\\",' * 3 * MAX_VALUES + b'{"a":1}]}'],
    ids=["objects", "strings"],
)
def test_a_body_that_is_not_translated_is_walked_over_within_bounds(data: bytes) -> None:
    """Its strings and objects are walked over one by one, so there may not be any number of them."""
    data += b":" * MAX_MEMBERS  # no JSON any more: the bounds come first
    with pytest.raises(BadRequest, match="more than"):
        check_bounds(data, None)


LONG = MAX_TEXT + 1


@pytest.mark.parametrize(
    ("data", "is_long"),
    [
        (b'{"a":"%b"}' % (b"a" * LONG), False),
        (b'{"a":"%b"}' % (b"a" * 1000 + b"\\/" + b"b" * LONG), False),
        (b'{"a":"%b"}' % ("é" + "a" * LONG).encode(), True),
        (b'{"a":"%b"}' % ("a" * LONG + "😀").encode(), True),
        (b'{"a":"%b"}' % (b"\\n" * (LONG // 2 + 1)), True),
        (b'{"a":"%b"}' % (b'\\"' * (LONG // 2 + 1)), True),
        (b'{"a":"\xc3\xa9","b":"%b"}' % (b"a" * LONG), False),
        (b'{"a":["x\\\\",{"b":"\\"%b"}]}' % ("a" * LONG + "é").encode(), True),
        (b'{"a":"%b","b":"\xc3\xa9"}' % (b"a" * LONG), False),
        (b'{"a":"' + b"\\" * LONG, True),
        (b'{"a":"\xc3\xa9' + b"a" * LONG, True),
        (b'{"a":"\xc3\xa9"}' + b" " * LONG, False),
    ],
)
@pytest.mark.slow
def test_long_texts_are_plain(data: bytes, is_long: bool) -> None:
    """A picture may be as long as the body; a text of other characters costs four times as much to read."""
    assert has_long_text(data) is is_long
    if is_long:
        with pytest.raises(BadRequest, match="plain ASCII"):
            check_bounds(data)


@given(st.lists(st.text(st.sampled_from('a"\\é'), max_size=5), min_size=1, max_size=8), st.booleans())
def test_strings_end_where_a_parser_ends_them(texts: list[str], is_ascii: bool) -> None:
    """With the quote that is not escaped."""
    data, at = json.dumps(texts, ensure_ascii=is_ascii).encode(), 0
    for text in texts:
        end = _string_end(data, data.index(b'"', at) + 1)
        assert json.loads(data[data.index(b'"', at) : end]) == text
        at = end
