"""A Chat upstream with calls that share ids or indices, late names, or arguments that come twice."""

import json
from typing import Any

import pytest

from gateway.wire import DIALECTS
from gateway.wire.neutral import Reply, ToolCall
from gateway.wire.translated_lane import read_whole
from gateway.wire.translation.memo import Memo
from gateway.wire.translation.names import Named
from tests.wire.crossings import chat_request, chunk, cross, memo_of, messages_request
from tests.wire.cuts import pieces
from tests.wire.grammar import Told, read_messages, read_responses
from tests.wire.streams import DONE, STOP, fragment, tools

Calls = list[tuple[str, Any]]
NO_IDS: list[dict[str, Any]] = [{}, {"id": ""}, {"id": None}]
PLACES: list[dict[str, Any]] = [{}, {"index": 0}, {"index": None}]
TWO: Calls = [("f", {"a": 1}), ("g", {"b": 2})]


def both(*frames: bytes) -> tuple[Told, Told]:
    """Return what a Messages client and a Responses client get of a Chat stream."""
    stream = b"".join(frames)
    claude = read_messages(cross("anthropic_messages", stream))
    codex, _ = read_responses(cross("openai_responses", stream, responses_memo(), "openai_chat"))
    return claude, codex


def responses_memo() -> Memo:
    return memo_of("openai_responses", {"model": "m", "input": "Hi", "stream": True})


def whole(*calls: Any, **more: Any) -> Reply:
    """Return a whole reply with these entries of `tool_calls`, as the gateway reads it."""
    message = {"role": "assistant", "content": None, "tool_calls": list(calls), **more}
    said = {"id": "c1", "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]}
    reads = DIALECTS["openai_chat"].upstream
    assert reads is not None
    return read_whole(reads, json.dumps(said).encode(), False, memo_of("anthropic_messages"))


def calls_of(told: Told) -> Calls:
    assert len({call_id for call_id, _, _ in told.calls}) == len(told.calls), "ids are unique"
    return [(name, json.loads(arguments)) for _, name, arguments in told.calls]


def calls_in(reply: Reply) -> Calls:
    found = [block for block in reply.blocks if isinstance(block, ToolCall)]
    assert len({call.id for call in found}) == len(found), "ids are unique"
    return [(call.name, json.loads(call.arguments)) for call in found]


def check(*frames: bytes, wanted: Calls) -> None:
    """Assert that clients of both other dialects get these calls."""
    for told in both(*frames):
        assert calls_of(told) == wanted
    reads = DIALECTS["openai_chat"].upstream
    assert reads is not None
    assert calls_in(read_whole(reads, b"".join(frames), True, memo_of("anthropic_messages"))) == wanted


@pytest.mark.parametrize(
    "more", [*NO_IDS, {"id": "same"}, {"index": 0}, {"index": 0, "id": "same"}, {"id": 0}, {"index": "0"}], ids=str
)
@pytest.mark.parametrize("second", [("g", {"b": 2}), ("f", {"b": 2}), ("f", {"a": 1})], ids=str)
def test_each_entry_of_a_whole_reply_is_a_call(more: dict[str, Any], second: tuple[str, Any]) -> None:
    """Whatever entries share, a whole reply has as many calls as entries."""
    wanted = [("f", {"a": 1}), second]
    assert calls_in(whole(*(fragment(json.dumps(given), name=name, **more) for name, given in wanted))) == wanted


def test_a_whole_reply_that_repeats_its_call_in_the_old_member() -> None:
    """`function_call` beside `tool_calls` is the same call in its older form."""
    call = {"name": "f", "arguments": '{"a":1}'}
    assert calls_in(whole({"id": "c", "function": call}, function_call=call)) == TWO[:1]
    assert calls_in(whole(function_call=call)) == TWO[:1]


@pytest.mark.parametrize("place", PLACES, ids=str)
@pytest.mark.parametrize("named", [*NO_IDS, {"id": "same"}], ids=str)
class TestCallsWithoutAnIndexOrAnId:
    """Calls of a stream that only their names tell apart."""

    def test_a_new_name_opens_a_new_call(self, named: dict[str, Any], place: dict[str, Any]) -> None:
        """Two calls in two deltas, whole or in pieces, stay two."""
        same = named | place
        frames = [tools(fragment(json.dumps(given), name=name, **same)) for name, given in TWO]
        check(*frames, STOP, wanted=TWO)
        cut = [
            tools(fragment(piece, **same, **({"name": name} if not number else {})))
            for name, given in TWO
            for number, piece in enumerate(pieces(json.dumps(given), [3, 5]))
        ]
        check(*cut, STOP, wanted=TWO)

    def test_one_delta_with_all_calls(self, named: dict[str, Any], place: dict[str, Any]) -> None:
        """Entries of one delta are calls of their own, even of one tool."""
        if named.get("id"):
            pytest.skip("an id that is repeated in one delta may be a fragment")
        cases: list[Calls] = [TWO, [("f", {}), ("f", {})], [("f", {"a": 1}), ("f", {"a": 2}), ("g", {})]]
        for wanted in cases:
            entries = [fragment(json.dumps(given), name=name, **named, **place) for name, given in wanted]
            check(tools(*entries), STOP, wanted=wanted)

    def test_names_before_arguments(self, named: dict[str, Any], place: dict[str, Any]) -> None:
        """A name in a delta of its own, then arguments, then the next name."""
        same = named | place
        frames = [
            frame
            for name, given in TWO
            for frame in (tools(fragment("", name=name, **same)), tools(fragment(json.dumps(given), **same)))
        ]
        check(*frames, STOP, wanted=TWO)

    def test_a_name_that_every_fragment_repeats(self, named: dict[str, Any], place: dict[str, Any]) -> None:
        """A repeated name goes on with the call while its arguments are incomplete."""
        frames = [tools(fragment(piece, name="f", **named, **place)) for piece in ('{"a"', ":1", "}")]
        check(*frames, STOP, wanted=TWO[:1])


@pytest.mark.parametrize("named", NO_IDS, ids=str)
def test_two_calls_of_one_tool(named: dict[str, Any]) -> None:
    """With neither index nor id, a name behind complete arguments opens another call of the same tool."""
    frames = [tools(fragment(json.dumps({"a": number}), name="f", **named)) for number in range(3)]
    check(*frames, STOP, wanted=[("f", {"a": number}) for number in range(3)])


def test_calls_without_arguments_are_told_apart_by_the_tools_of_the_request() -> None:
    """Two names without arguments are two calls if both are tools, and pieces of one name if they make one."""
    offered = [{"name": name, "input_schema": {"type": "object"}} for name in ("get", "put", "get_weather")]
    for first, second, wanted in (("get", "put", ["get", "put"]), ("get", "_weather", ["get_weather"])):
        memo = memo_of("anthropic_messages", messages_request(stream=True, tools=offered))
        upstream = DIALECTS["openai_chat"].upstream
        assert upstream is not None
        from_names = [tools(fragment(None, index=0, name=name)) for name in (first, second)]
        memo.names.learn([Named(name) for name in ("get", "put", "get_weather")])
        told = read_messages(cross("anthropic_messages", b"".join([*from_names, STOP]), memo))
        assert [name for _, name, _ in told.calls] == wanted


@pytest.mark.parametrize("place", [*PLACES, {"index": 3}, {"id": "c"}, {"index": 0, "id": "c"}], ids=str)
@pytest.mark.parametrize("empty", [{"name": ""}, {"name": None}, {}], ids=str)
@pytest.mark.parametrize("cuts", [[], [3], [1, 3, 5]], ids=str)
def test_a_name_behind_the_first_arguments(cuts: list[int], empty: dict[str, Any], place: dict[str, Any]) -> None:
    """A call whose name comes as "" first, and in a later delta for good, is one whole call."""
    first, *rest = pieces('{"a":1}', cuts)
    frames = [tools(fragment(first, **place, **empty)), tools(fragment(None, name="f", **place))]
    check(*frames, *(tools(fragment(one, **place)) for one in rest), STOP, wanted=TWO[:1])
    with_rest = [tools(fragment(first, **place, **empty)), tools(fragment("".join(rest), name="f", **place))]
    check(*with_rest, STOP, wanted=TWO[:1])
    late = [tools(fragment(one, **place, **empty)) for one in (first, *rest)]
    check(*late, tools(fragment("", name="f", **place)), STOP, wanted=TWO[:1])


def test_a_late_name_in_pieces() -> None:
    """A name that comes in pieces behind held arguments is joined."""
    frames = [
        tools(fragment('{"a":1}', index=0)),
        *(tools(fragment(None, index=0, name=one)) for one in ("get_", "it")),
    ]
    check(*frames, STOP, wanted=[("get_it", {"a": 1})])


@pytest.mark.parametrize("late", [0, 1])
def test_a_late_name_beside_another_call(late: int) -> None:
    """The other call is not lost while one waits for its name."""
    frames = [
        tools(fragment(json.dumps(given), index=index, id=f"c{index}", name="" if index == late else name))
        for index, (name, given) in enumerate(TWO)
    ]
    told = both(*frames, tools(fragment(None, index=late, name=TWO[late][0])), STOP)
    for one in told:
        assert sorted(calls_of(one), key=repr) == TWO


WHOLE = '{"city":"Paris","n":[1,{"}{":2}]}'
PARIS: Calls = [("f", json.loads(WHOLE))]


@pytest.mark.parametrize("repeat", [WHOLE, json.dumps(json.loads(WHOLE)), f"\n{WHOLE}\n", WHOLE * 2, json.loads(WHOLE)])
@pytest.mark.parametrize("cuts", [[], [8], [1, 2, 20], range(40)], ids=str)
@pytest.mark.parametrize("place", [{"index": 0}, {"index": 0, "id": "c", "name": "f"}, {}, {"id": "c"}], ids=str)
def test_arguments_that_are_repeated(place: dict[str, Any], cuts: Any, repeat: Any) -> None:
    """Arguments whose last delta is the whole object again come once, for every client."""
    start = {"index": 0} if "index" in place else {}
    parts = pieces(WHOLE, cuts)
    frames = [tools(fragment("", **start, id="c", name="f")), *(tools(fragment(one, **start)) for one in parts)]
    check(*frames, tools(fragment(repeat, **place)), STOP, wanted=PARIS)
    check(*frames, chunk("tool_calls", tool_calls=[fragment(repeat, **place)]), DONE, wanted=PARIS)


@pytest.mark.parametrize("cuts", [[1], [5, 12], range(40)], ids=str)
def test_arguments_that_are_repeated_in_pieces(cuts: Any) -> None:
    """A repeat is recognised however it is cut, in a stream or in a whole reply."""
    frames = [tools(fragment(one, index=0)) for _ in range(2) for one in pieces(WHOLE, cuts)]
    check(tools(fragment("", index=0, id="c", name="f")), *frames, STOP, wanted=PARIS)
    doubled = [tools(fragment(one, index=0)) for one in pieces(WHOLE * 2, cuts)]
    check(tools(fragment("", index=0, id="c", name="f")), *doubled, STOP, wanted=PARIS)
    assert calls_in(whole(fragment(WHOLE * 2, id="c", name="f"))) == PARIS


def test_repeats_of_parallel_calls() -> None:
    """Each of two interleaved calls is told once when both are repeated."""
    frames = [
        tools(fragment(one, index=index, **({"id": f"c{index}", "name": name} if not number else {})))
        for index, (name, given) in enumerate(TWO)
        for number, one in enumerate([*pieces(json.dumps(given), [3]), json.dumps(given)])
    ]
    check(*frames[::3], *frames[1::3], *frames[2::3], STOP, wanted=TWO)


def test_what_only_looks_repeated() -> None:
    """Objects inside a string, and raw text of a freeform tool, are kept."""
    inside = json.dumps({"a": '{"b":1}{"b":1}'})
    for cuts in ([], [8], range(40)):
        frames = [tools(fragment(one, index=0)) for one in pieces(inside, cuts)]
        check(tools(fragment("", index=0, id="c", name="f")), *frames, STOP, wanted=[("f", json.loads(inside))])
    raw = {"index": 0, "id": "c", "type": "custom", "custom": {"name": "p", "input": "{}{}"}}
    reads = DIALECTS["openai_chat"].upstream
    assert reads is not None
    reply = read_whole(reads, tools(raw) + STOP, True, memo_of("openai_chat", chat_request()))
    assert [block.arguments for block in reply.blocks if isinstance(block, ToolCall)] == ["{}{}"]
