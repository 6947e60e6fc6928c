"""Arguments of calls become the form that the other dialect takes, and freeform text survives its JSON coat."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.neutral import Tool
from gateway.wire.translation.arguments import (
    FREEFORM_PARAMETERS,
    FreeformDecoder,
    as_object,
    describe_freeform,
    wrap_freeform,
)
from gateway.wire.translation.memo import Drops
from tests.wire.cuts import pieces

WORDS = st.text(st.characters(codec="utf-8"), max_size=30) | st.text(alphabet='"\\/\n\té😀u0', max_size=20)
CUTS = st.lists(st.integers(0, 200), max_size=6)


def decoded(parts: list[str]) -> tuple[str, str]:
    """Return (what was streamed, what was held back to the end)."""
    decoder = FreeformDecoder()
    return "".join(map(decoder.feed, parts)), decoder.end()


@pytest.mark.parametrize(
    "text", ['{"a": 1}', '{"id":12345678901234567890,"x":1e400}', '{"b":1, "a":2, "a":3}', ' {"é":"\\u00e9"}\n']
)
def test_an_object_is_kept_to_the_letter(text: str) -> None:
    """Large numbers, order, repeated members and white space of an object are sent as the model wrote them."""
    drops = Drops()
    assert bytes(as_object(text, drops)) == text.encode()
    assert drops.names == []


@pytest.mark.parametrize(
    ("text", "wanted", "lost"),
    [
        ("", "{}", []),
        (" \n", "{}", []),
        ("[1,2]", '{"value":[1,2]}', ["arguments"]),
        ("null", '{"value":null}', ["arguments"]),
        ('"text"', '{"value":"text"}', ["arguments"]),
        ('"{\\"a\\":1}"', '{"a":1}', ["arguments"]),
        ('{"a":', '{"__invalid_json":"{\\"a\\":"}', ["arguments"]),
        ("ls -l", '{"__invalid_json":"ls -l"}', ["arguments"]),
    ],
)
def test_what_is_not_an_object_is_wrapped(text: str, wanted: str, lost: list[str]) -> None:
    """Nothing is an empty object; any other JSON, and text that is none, is wrapped and noted as a loss."""
    drops = Drops()
    assert bytes(as_object(text, drops)).decode() == wanted
    assert drops.names == lost


@pytest.mark.parametrize(
    ("tool", "wanted"),
    [
        (Tool("t", "custom"), "Pass the complete raw text in `input`."),
        (Tool("t", "custom", "Runs."), "Runs.\n\nPass the complete raw text in `input`."),
        (Tool("t", grammar={"type": "text"}), "Pass the complete raw text in `input`."),
        (
            Tool("t", grammar={"syntax": "lark", "definition": "start: A"}),
            "Pass the complete raw text in `input`. It must match this grammar:\n\n```lark\nstart: A\n```",
        ),
    ],
)
def test_the_stand_in_tells_what_it_wants(tool: Tool, wanted: str) -> None:
    """The function that stands in for a freeform tool says where the text goes, and the grammar if there is one."""
    assert describe_freeform(tool) == wanted


@given(WORDS, CUTS, st.sampled_from([None, 1]), st.booleans())
def test_a_wrapped_text_comes_out_again(text: str, cuts: list[int], indent: int | None, is_ascii: bool) -> None:
    """However the JSON is written and cut, even inside an escape, the raw text is streamed and nothing held back."""
    written = json.dumps({"input": text}, indent=indent, ensure_ascii=is_ascii)
    assert decoded(pieces(written, cuts)) == (text, "")


@given(WORDS)
def test_writing_and_reading_are_inverses(text: str) -> None:
    """What `wrap_freeform` writes is the object that the stand-in's parameters describe, and reads back the same."""
    written = wrap_freeform(text)
    assert list(msgspec.json.decode(written)) == FREEFORM_PARAMETERS["required"]
    assert decoded([bytes(written).decode()]) == (text, "")


@given(CUTS)
@pytest.mark.parametrize(
    ("written", "held"),
    [
        ('{"x": 1, "input": "a\\nb"}', "a\nb"),
        ('{"inputs":"a"}', "a"),
        ('{"input":1}', '{"input":1}'),
        ("*** Begin Patch", "*** Begin Patch"),
        ('"text"', "text"),
        ('{"in put":"a"}', "a"),
        ('{"patch":"*** Begin Patch\\n"}', "*** Begin Patch\n"),
        ('{"patch":"p","input":"i"}', "i"),
        ('{"workdir":"/x","patch":"p"}', "p"),
        ('{"input":{"patch":"p"}}', "p"),
        ('{"apply_patch":{"patch":"p","n":1}}', "p"),
        ('{"any name":"p"}', "p"),
        ('{"a":"p","b":"q"}', '{"a":"p","b":"q"}'),
        ('{"patch":["p"]}', '{"patch":["p"]}'),
        ('"{\\"input\\":\\"a\\\\nb\\"}"', "a\nb"),
        ('"use strict"; f()', '"use strict"; f()'),
        ('{"\\u0069nput":"a"}', "a"),
        ("null", "null"),
        ('{"a":' * 9 + '"x"' + "}" * 9, '{"a":' * 9 + '"x"' + "}" * 9),
        ("{}", "{}"),
        ('{"inp', '{"inp'),
        ("", ""),
    ],
)
def test_another_form_is_held_back_to_the_end(written: str, held: str, cuts: list[int]) -> None:
    """Arguments that do not begin with `input` come at the end: its string if there is one, else all of the text."""
    assert decoded(pieces(written, cuts)) == ("", held)


def test_what_is_certain_comes_at_once() -> None:
    """Text is passed on as it comes, without waiting for the end of the string; an escape waits for its rest."""
    decoder = FreeformDecoder()
    parts = ['{"in', 'put": "a', "b\\", "n", "\\u00", "e9\\ud83d", "\\ude00", '"', "} x"]
    assert [decoder.feed(part) for part in parts] == ["", "a", "b", "\n", "", "é", "😀", "", ""]


@pytest.mark.parametrize(
    ("inside", "wanted"),
    [
        ("\\ude00", "\ufffd"),
        ("\\ud83dx\\ude00", "\ufffdx\ufffd"),
        ("\\ud83d\\n", "\ufffd\n"),
        ("\\ud83d\\ud83d\\ude00", "\ufffd😀"),
        ("\\\\ud83d\\ude00", "\\ud83d\ufffd"),
        ("\\ud83d", "\ufffd"),
        ("\\uzzzz!", "\ufffd!"),
        ("\\q", "q"),
        ("a\nb", "a\nb"),
    ],
)
def test_bad_json_inside_the_string_raises_nothing(inside: str, wanted: str) -> None:
    """Half a pair, an odd escape and a bare line end come out as well as they can, also letter by letter."""
    written = f'{{"input":"{inside}"}}'
    assert decoded([written]) == decoded(list(written)) == (wanted, "")


def test_a_cut_in_half_a_pair_is_told() -> None:
    """If the arguments end in the middle of a pair, its half is told as a character that cannot be read."""
    assert decoded(['{"input":"a\\ud83d']) == ("a", "\ufffd")
    assert decoded(['{"input":"a\\ud8']) == ("a", "")


def test_white_space_before_the_text() -> None:
    """However much white space comes before the text, the text is streamed."""
    assert decoded(["{", *[" "] * 100_000, '"input":"a"}']) == ("a", "")


@pytest.mark.slow
def test_long_texts_are_read_once() -> None:
    """Thousands of escapes, in one piece or letter by letter, is decoded in linear time."""
    text = 'é\n"😀' * 50_000
    written = json.dumps({"input": text})
    assert decoded([written]) == decoded(list(written)) == (text, "")
