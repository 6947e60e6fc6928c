"""Raw Chat streams with odd calls, as OpenAI's SDK puts them together."""

import json
from typing import Any

import pytest

from gateway.wire.dialect import Asked
from gateway.wire.openai_chat import raw
from gateway.wire.openai_chat.tidy import tidy
from tests.wire.crossings import CHAT, chunk
from tests.wire.streams import DONE, fragment, tools

LANES = pytest.mark.parametrize("make", [raw.watch, tidy], ids=["raw", "tidy"])
ONE, TWO = ("f", '{"a":1}'), ("g", '{"b":2}')


def joined(out: bytes) -> list[tuple[str, str]]:
    """Return (name, arguments) of each call, as openai-python joins the fragments of one index."""
    calls: dict[int, list[str]] = {}
    for frame in out.split(b"\n\n")[:-2]:
        for choice in json.loads(frame.removeprefix(b"data: "))["choices"]:
            for call in choice["delta"].get("tool_calls") or ():
                assert isinstance(call["index"], int) and call["index"] <= len(calls), "dense, or the SDK raises"
                known = calls.setdefault(call["index"], ["", ""])
                known[0] += call["function"].get("name") or ""
                known[1] += call["function"].get("arguments") or ""
    return [(name, arguments) for name, arguments in calls.values()]


def fed(make: Any, *frames: bytes) -> tuple[bytes, list[bool]]:
    """Return (what the client gets, which frames took the fast path)."""
    lane, out, passed = make(Asked()), [], []
    for frame in (*frames, chunk("tool_calls"), DONE):
        passed.append(lane.passes(frame))
        out.append(frame if passed[-1] else lane.feed(frame))
    return b"".join([*out, lane.end()]), passed


@LANES
@pytest.mark.parametrize(
    "same", [{}, {"index": 0}, {"index": 0, "id": ""}, {"id": None}, {"index": 0, "id": "x"}], ids=str
)
def test_calls_that_share_an_index(same: dict[str, Any], make: Any) -> None:
    """Calls that only their names tell apart get an index each."""
    whole = [tools(fragment(given, name=name, **same)) for name, given in (ONE, TWO)]
    assert joined(fed(make, *whole)[0]) == [ONE, TWO]
    cut = [
        tools(fragment(piece, **same, **({"name": name} if place == 0 else {})))
        for name, given in (ONE, TWO)
        for place, piece in enumerate((given[:3], given[3:]))
    ]
    assert joined(fed(make, *cut)[0]) == [ONE, TWO]
    if not same.get("id"):
        assert joined(fed(make, tools(*(fragment(given, name=name, **same) for name, given in (ONE, TWO))))[0]) == [
            ONE,
            TWO,
        ]


@LANES
def test_a_first_index_that_is_not_zero(make: Any) -> None:
    """Calls are numbered from 0. (EC-179)"""
    frames = [tools(fragment(given, index=n, id=f"c{n}", name=name)) for n, (name, given) in ((1, ONE), (3, TWO))]
    assert joined(fed(make, *frames)[0]) == [ONE, TWO]


@LANES
@pytest.mark.parametrize("more", [{}, {"id": "c"}], ids=str)
def test_arguments_that_are_repeated(more: dict[str, Any], make: Any) -> None:
    """A last delta that repeats the whole object adds nothing, also beside the finish."""
    frames = [tools(fragment('{"a"', index=0, id="c", name="f")), tools(fragment(":1}", index=0))]
    for repeat in ('{"a":1}', ' {"a": 1}\n'):
        assert joined(fed(make, *frames, tools(fragment(repeat, index=0, **more)))[0]) == [ONE]
        last = chunk("tool_calls", tool_calls=[fragment(repeat, index=0, **more)])
        assert joined(fed(make, *frames, last)[0]) == [ONE]


@LANES
def test_a_name_behind_the_first_arguments(make: Any) -> None:
    """A name that comes as "" first and later for good is joined whole."""
    frames = [tools(fragment('{"a"', index=0, id="c", name="")), tools(fragment(":1}", index=0, name="f"))]
    assert joined(fed(make, *frames)[0]) == [ONE]


def test_good_streams_are_not_touched() -> None:
    """Well numbered calls pass byte for byte, and text still takes the fast path."""
    frames = [chunk(role="assistant", content="a"), chunk(content="b")]
    frames += [tools(fragment(given[:3], index=n, id=f"c{n}", name=name)) for n, (name, given) in enumerate((ONE, TWO))]
    frames += [tools(fragment(given[3:], index=n)) for n, (_, given) in enumerate((ONE, TWO))]
    odd = b'data:  {"choices": [{"index":0, "delta":{"tool_calls":[{"index":0,"function":{"arguments":" "}}]}}]}\n\n'
    out, passed = fed(raw.watch, *frames, odd)
    assert out == b"".join([*frames, odd, chunk("tool_calls"), DONE]) and passed[1]


def test_choices_have_calls_of_their_own() -> None:
    """Calls of several choices do not mix."""

    def frame(place: int, *calls: dict[str, Any]) -> bytes:
        choice = {"index": place, "delta": {"tool_calls": list(calls)}, "finish_reason": None}
        return b"data: " + json.dumps({"id": "c1", "choices": [choice]}).encode() + b"\n\n"

    frames = [frame(place, fragment(given, index=0, name=name)) for place, (name, given) in enumerate((ONE, TWO))]
    lane = raw.watch(Asked())
    assert [lane.feed(one) for one in frames] == frames


@pytest.mark.parametrize("given", ['{"a":1}{"a":1}', '{"a":1}\n{"a": 1}', '{"a":1}{"a"'])
def test_a_whole_reply_tells_arguments_once(given: str) -> None:
    """What repeats the arguments is left out of a whole raw reply, too; all else stays."""
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": given}}
    body = {"id": "x", "choices": [{"message": {"content": "}{", "tool_calls": [call]}, "finish_reason": "tool_calls"}]}
    call_once = call | {"function": {"name": "f", "arguments": '{"a":1}'}}
    found = json.loads(CHAT.mend_whole(json.dumps(body).encode()).replace(b"\\n", b""))
    assert found["choices"][0]["message"] == {"content": "}{", "tool_calls": [call_once]}


@pytest.mark.parametrize("body", [b'{"tool_calls":"}{"}', b'"tool_calls" } {', b'["tool_calls","}{"]', b"{}", b""])
def test_other_bodies_keep_their_bytes(body: bytes) -> None:
    """Also those that are no reply."""
    assert CHAT.mend_whole(body) == body
