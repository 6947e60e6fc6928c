"""The automaton agrees with a real JSON parser, wherever the text is cut."""

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.codec.json_prefix import JsonPrefix, Mender, is_object

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=10,
)
OBJECTS = st.builds(
    lambda value, is_ascii, indent: json.dumps(value, ensure_ascii=is_ascii, indent=indent),
    st.dictionaries(st.text(max_size=5), VALUES, max_size=4),
    st.booleans(),
    st.sampled_from([None, 1]),
)


@given(OBJECTS, st.integers(0, 300))
def test_every_prefix_can_be_closed(text: str, cut: int) -> None:
    """Any prefix of an object plus its `closing` is a JSON object."""
    prefix = JsonPrefix()
    part = text[: cut % (len(text) + 1)]
    assert prefix.feed(part) == len(part)
    assert isinstance(json.loads(part + prefix.closing() if not prefix.is_complete else part), dict)


@given(OBJECTS, st.lists(st.integers(0, 300), max_size=5))
def test_an_object_is_complete_at_its_last_character(text: str, cuts: list[int]) -> None:
    """An object is complete at its last character and not before, however it is cut."""
    prefix = JsonPrefix()
    for index, letter in enumerate(text):
        assert not prefix.is_complete
        assert prefix.feed(letter) == 1, (text, index)
    assert prefix.is_complete
    assert is_object(text)


@given(st.text(alphabet='{}[]":,0123456789.eE+-truefalsn\\ u\n\x01x', max_size=30))
def test_it_takes_what_a_parser_takes(text: str) -> None:
    """The automaton takes exactly the texts that Python's parser reads as an object."""
    try:
        parsed = isinstance(json.loads(text), dict)
    except ValueError:
        parsed = False
    assert is_object(text) is parsed


@pytest.mark.parametrize(
    "text",
    ["", " ", "[1]", "null", "1", '{"a" 1}', "{a:1}", '{"a":01}', '{"a":1,}', '{"a":tru}', '{"a":"\x01"}', '{"a":1}x'],
)
def test_what_is_no_object_is_none(text: str) -> None:
    """A text that is not a JSON object, or has more behind it, is not taken."""
    assert not is_object(text)


@given(st.text(max_size=40), st.lists(st.integers(0, 40), max_size=4))
def test_a_mended_stream_is_always_an_object(text: str, cuts: list[int]) -> None:
    """Whatever the model wrote and however it is cut, the mended text is a JSON object or blank. (EC-206)"""
    mender = Mender()
    places = sorted({cut % (len(text) + 1) for cut in cuts} | {0, len(text)})
    out = "".join(mender.feed(text[start:stop]) for start, stop in itertools.pairwise(places)) + mender.end()
    assert out.strip() == "" or isinstance(json.loads(out), dict)


@given(OBJECTS)
def test_a_good_object_is_not_touched(text: str) -> None:
    """A valid object comes out character for character."""
    mender = Mender()
    assert "".join(map(mender.feed, text)) + mender.end() == text
    assert not mender.has_mended


def test_what_is_no_object_is_held_back_and_wrapped() -> None:
    """Twice-encoded JSON is unwrapped; any other text comes out inside an object.

    See docs/wire/tools.md#calls-in-history.
    """
    cases = {
        '"{\\"a\\":1}"': '{"a":1}',
        '"broken': '{"__invalid_json":"\\"broken"}',
        '"text"': '{"value":"text"}',
        " [1, 2]": '{"value": [1, 2]}',
        "nonsense": '{"__invalid_json":"nonsense"}',
    }
    for text, wanted in cases.items():
        mender = Mender()
        assert "".join(map(mender.feed, text)).strip() == ""
        assert json.loads(mender.end()) == json.loads(wanted) and mender.has_mended


def test_what_follows_the_object_is_dropped() -> None:
    """Of two objects in one call the first counts."""
    mender = Mender()
    assert mender.feed('{"a":1}{"b":2}') == '{"a":1}'
    assert mender.end() == "" and mender.has_mended


@pytest.mark.slow
def test_deep_and_long_arguments() -> None:
    """Hundreds of levels, or a hundred thousand members or escapes, end at one place, at once or letter by letter."""
    deep = '{"a":' * 400 + "1" + "}" * 400
    wide = "{" + ",".join(f'"{number}":[]' for number in range(100_000)) + "}"
    for text in (deep, wide, '{"a":"' + "\\n" * 100_000 + '"}'):
        whole, cut = JsonPrefix(), JsonPrefix()
        assert whole.feed(text) == len(text) == sum(map(cut.feed, text))
        assert whole.is_complete and cut.is_complete
        half = JsonPrefix()
        half.feed(text[: len(text) // 2])
        assert half.feed(half.closing()) and half.is_complete
