"""Conversations in any order become ones that upstreams accept, and grow without changing their beginning."""

import itertools

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.neutral import Block, Image, Reasoning, Role, Source, Text, ToolCall, ToolResult, Turn
from gateway.wire.translation.memo import Drops
from gateway.wire.translation.turn_order import INTERRUPTED, SYSTEM_MARK, SYSTEM_ROLES, shape, system_as_user, text_of

pytestmark = pytest.mark.slow

HI, WELL, RULE = Text("Hi"), Text("Well"), Text("Be brief")
PICTURE = Image(Source(url="https://x.example"))


def user(*blocks: Block) -> Turn:
    return Turn(Role.USER, blocks)


def model(*blocks: Block) -> Turn:
    return Turn(Role.ASSISTANT, blocks)


def system(*blocks: Block, role: Role = Role.SYSTEM) -> Turn:
    return Turn(role, blocks)


def call(name: str) -> ToolCall:
    return ToolCall(name, "f", "{}")


def result(name: str, text: str = "ok") -> ToolResult:
    return ToolResult(name, (Text(text),))


def interrupted(name: str) -> ToolResult:
    return evolve(INTERRUPTED, call_id=name)


@pytest.mark.parametrize(
    ("turns", "wanted"),
    [
        ([user(HI), user(WELL)], [user(HI, WELL)]),
        ([user(HI), model(), user(WELL)], [user(HI, WELL)]),
        ([model(call("a")), model(WELL), user(result("a"))], [model(call("a"), WELL), user(result("a"))]),
        ([model(call("a")), user(HI, result("a"))], [model(call("a")), user(result("a"), HI)]),
        (
            [model(call("a"), call("b")), user(result("b")), user(result("a"))],
            [model(call("a"), call("b")), user(result("a"), result("b"))],
        ),
        ([model(call("a")), user(HI)], [model(call("a")), user(interrupted("a"), HI)]),
        ([model(call("a"))], [model(call("a")), user(interrupted("a"))]),
        (
            [model(call("a")), system(RULE), model(WELL)],
            [model(call("a")), user(interrupted("a")), system(RULE), model(WELL)],
        ),
        (
            [model(call("a")), system(RULE), user(result("a"), HI)],
            [model(call("a")), user(result("a"), HI), system(RULE)],
        ),
    ],
)
def test_each_call_is_answered_in_the_next_turn(turns: list[Turn], wanted: list[Turn]) -> None:
    """Turns alternate, results come first and in the order of the calls, and a missing result is filled in."""
    drops = Drops()
    assert shape(turns, drops) == wanted
    assert drops.names == []


@pytest.mark.parametrize("number", [1, 2])
def test_repeated_results_of_one_call_are_noted(number: int) -> None:
    """The last result of a call counts; that others were dropped is told, also where several calls have one id."""
    calls = model(*[call("a")] * number)
    drops = Drops()
    answers = [result("a", str(place)) for place in range(number + 1)]
    shaped = shape([calls, user(*answers)], drops)
    assert [text_of(one.blocks) for one in shaped[1].blocks if isinstance(one, ToolResult)][-1] == str(number)
    assert drops.names == ["tool_result"]
    shape([calls, user(*answers[:number])], quiet := Drops())
    assert quiet.names == []


def test_a_result_without_its_call_becomes_text() -> None:
    """What the user said is never dropped: an orphaned result becomes text, its pictures stay, and it is noted."""
    drops = Drops()
    turns = [model(call("a")), user(result("a"), ToolResult("b", (HI, PICTURE, WELL)), ToolResult("c"))]
    wanted: list[Block] = [result("a"), Text("[tool result b] Hi\nWell"), PICTURE, Text("[tool result c]")]
    assert shape(turns, drops) == [model(call("a")), user(*wanted)]
    assert drops.names == ["tool_result"]


def test_a_result_that_comes_too_late_is_an_orphan() -> None:
    """A result behind another assistant turn answers nothing any more."""
    turns = [model(call("a")), user(HI), model(WELL), user(result("a", "late"))]
    wanted = [model(call("a")), user(interrupted("a"), HI), model(WELL), user(Text("[tool result a] late"))]
    assert shape(turns, Drops()) == wanted


def test_calls_with_one_id_are_told_apart() -> None:
    """Each later call with a used id gets a number that nobody has, and its own result with it."""
    turns = [
        model(call("a"), call("a"), call("a_2")),
        user(result("a", "1"), result("a", "2"), result("a_2", "3")),
        model(call("a")),
        user(result("a", "4")),
    ]
    assert shape(turns, Drops()) == [
        model(call("a"), call("a_2"), call("a_2_2")),
        user(result("a", "1"), result("a_2", "2"), result("a_2_2", "3")),
        model(call("a_3")),
        user(result("a_3", "4")),
    ]


IDS = st.sampled_from("abc")
BLOCKS = {
    Role.ASSISTANT: st.sampled_from([WELL, Reasoning(("hm",))]) | IDS.map(call),
    Role.USER: st.sampled_from([HI, PICTURE]) | st.builds(result, IDS, st.sampled_from("12")),
    Role.SYSTEM: st.just(RULE),
    Role.DEVELOPER: st.just(RULE),
}
TURNS = st.lists(
    st.sampled_from(list(Role)).flatmap(
        lambda role: st.builds(Turn, st.just(role), st.lists(BLOCKS[role], max_size=3).map(tuple))
    ),
    max_size=9,
)


@given(TURNS)
def test_any_conversation_becomes_acceptable(turns: list[Turn]) -> None:
    """Whatever a client sends, roles change from turn to turn, call ids are unique, and every call is answered."""
    out = shape(turns, Drops())
    assert all(one.role is not two.role for one, two in itertools.pairwise(out))
    assert all(turn.blocks for turn in out)
    ids = [block.id for turn in out for block in turn.blocks if isinstance(block, ToolCall)]
    assert len(set(ids)) == len(ids)
    for turn, following in zip(out, [*out, user()][1:], strict=True):
        calls = [block.id for block in turn.blocks if isinstance(block, ToolCall)]
        answers = [block.call_id for block in following.blocks if isinstance(block, ToolResult)]
        if turn.role is Role.ASSISTANT:
            assert answers == calls
            assert all(isinstance(block, ToolResult) for block in following.blocks[: len(calls)])
    assert shape(out, Drops()) == out


@given(TURNS)
def test_a_conversation_grows_at_its_end_only(turns: list[Turn]) -> None:
    """What was sent before an answer of the model stays the beginning of what is sent after it."""
    said = [turn for turn in turns if turn.blocks]
    whole = shape(said, Drops())
    for number, turn in enumerate(said):
        if number and turn.role is Role.ASSISTANT and said[number - 1].role is Role.USER:
            beginning = shape(said[:number], Drops())
            assert whole[: len(beginning)] == beginning


MARKED = Text(SYSTEM_MARK + RULE.text)


@pytest.mark.parametrize(
    ("turns", "may_stay", "wanted"),
    [
        ([user(HI), system(RULE), model(WELL)], True, [user(HI), system(RULE), model(WELL)]),
        ([user(HI), system(RULE)], True, [user(HI), system(RULE)]),
        ([user(HI), system(RULE), model(WELL)], False, [user(HI, MARKED), model(WELL)]),
        ([system(RULE), model(WELL)], True, [user(MARKED), model(WELL)]),
        ([model(WELL), system(RULE), user(HI)], True, [model(WELL), user(MARKED, HI)]),
        ([user(HI), system(RULE), user(WELL)], True, [user(HI, MARKED, WELL)]),
        ([user(HI), system(RULE, PICTURE)], True, [user(HI, MARKED, PICTURE)]),
        (
            [user(HI), system(RULE), system(RULE, role=Role.DEVELOPER)],
            True,
            [user(HI, MARKED), system(RULE, role=Role.DEVELOPER)],
        ),
    ],
)
def test_where_a_system_turn_may_stay(turns: list[Turn], may_stay: bool, wanted: list[Turn]) -> None:
    """Messages takes a plain system turn between a user's and the model's; any other becomes a marked user turn."""
    assert system_as_user(turns, may_stay) == wanted
    assert {turn.role for turn in system_as_user(turns, False)} <= set(Role) - set(SYSTEM_ROLES)


def test_texts_are_joined() -> None:
    """Only texts are joined, with a line end between them unless told otherwise."""
    assert text_of([HI, PICTURE, WELL]) == "Hi\nWell"
    assert text_of([HI, WELL], "") == "HiWell"
