"""Calls of a Chat provider whose arguments begin with an empty object, before the real ones come."""

import pytest

from tests.wire.crossings import chunk, cross, memo_of
from tests.wire.grammar import read_messages, read_responses
from tests.wire.streams import DONE, fragment, tools

REAL = '{"x":1}'


@pytest.mark.parametrize(
    ("pieces", "arguments"),
    [
        (["{}", REAL], {"x": 1}),
        (["{}", '{"x"', ":1}"], {"x": 1}),
        ([" {} ", "", REAL], {"x": 1}),
        (["{}", "{}", REAL], {"x": 1}),
        (["{}", REAL, REAL], {"x": 1}),
        (["{}"], {}),
        (["{}", "{}"], {}),
        (["{}", " "], {}),
        (["", REAL], {"x": 1}),
    ],
)
def test_the_real_arguments_count(pieces: list[str], arguments: dict[str, int]) -> None:
    """`{}` before the pieces of the real object stands for nothing; alone it is the object."""
    frames = [tools(fragment(pieces[0], index=0, id="c", name="f"))]
    frames += [tools(fragment(piece, index=0)) for piece in pieces[1:]]
    stream = b"".join(frames) + chunk("tool_calls") + DONE
    assert [call[2] for call in read_messages(cross("anthropic_messages", stream)).calls] == [_text(arguments)]
    memo = memo_of("openai_responses", {"model": "m", "input": "Hi", "stream": True})
    (item,) = read_responses(cross("openai_responses", stream, memo, "openai_chat"))[1]["output"]
    assert item["arguments"].strip() in (REAL if arguments else "{}") and item["status"] == "completed"


def test_two_calls_of_nothing_stay_two() -> None:
    """Without ids and indices a name behind a complete empty object opens a new call."""
    stream = tools(fragment("{}", name="f")) + tools(fragment("{}", name="g")) + tools(fragment(REAL, name="f"))
    told = read_messages(cross("anthropic_messages", stream + chunk("tool_calls") + DONE))
    assert [call[1:] for call in told.calls] == [("f", "{}"), ("g", "{}"), ("f", _text({"x": 1}))]


def _text(arguments: dict[str, int]) -> str:
    return '{"x": 1}' if arguments else "{}"
