"""Which tools are offered: deferred ones from the point at which a search has found them."""

import pytest
from attrs import evolve

from gateway.wire.neutral import Request, Role, Text, Tool, ToolCall, ToolChoice, ToolResult, Turn
from gateway.wire.profile import Profile
from gateway.wire.translation.tokens import countable
from gateway.wire.translation.tool_search import at_hand, settled

PLAIN = Tool("search")
A, B = Tool("a", is_deferred=True), Tool("b", is_deferred=True)
HOSTED = Tool("tool_search", "tool_search")


def found(*names: str) -> Turn:
    return Turn(Role.USER, (ToolResult("c", (Text("x", tools=tuple((name, None) for name in names)),)),))


def offered(*turns: Turn, tools: tuple[Tool, ...] = (A, PLAIN, B), choice: ToolChoice | None = None) -> list[str]:
    return [tool.name for tool in settled(tools, turns, choice) if not tool.is_deferred]


def test_a_deferred_tool_waits_for_the_search() -> None:
    """Only what is not deferred is offered, and nothing is lost of the rest."""
    assert offered() == ["search"]
    assert [tool.name for tool in settled((A, PLAIN, B), (), None)] == ["search", "a", "b"]


@pytest.mark.parametrize(
    ("turns", "names"),
    [
        ([found("b")], ["search", "b"]),
        ([found("b", "a")], ["search", "b", "a"]),
        ([found("b"), found("a", "b")], ["search", "b", "a"]),
        ([found("nobody")], ["search"]),
        ([Turn(Role.ASSISTANT, (Text("x", tools=(("a", None),)),))], ["search", "a"]),
        ([Turn(Role.ASSISTANT, (ToolCall("c", "b", "{}"),))], ["search", "b"]),
    ],
)
def test_found_tools_stand_behind_the_others(turns: list[Turn], names: list[str]) -> None:
    """A tool that was found or called is offered, in the order in which that happened, so that caches match."""
    assert offered(*turns) == names


def test_namespaces_are_told_apart() -> None:
    """A tool of a namespace is found with its namespace only."""
    tools = (PLAIN, evolve(A, namespace="n"), A)
    turn = Turn(Role.USER, (Text("x", tools=(("a", "n"),)),))
    assert [(tool.name, tool.namespace) for tool in settled(tools, [turn], None) if not tool.is_deferred] == [
        ("search", None),
        ("a", "n"),
    ]


def test_a_forced_tool_is_offered() -> None:
    """A choice that names a deferred tool brings it out."""
    assert offered(choice=ToolChoice("named", "b")) == ["search", "b"]


def test_where_all_are_deferred_all_are_offered() -> None:
    """Nothing could find one, and Anthropic refuses such a request."""
    assert offered(tools=(A, B)) == ["a", "b"]
    assert offered(tools=(HOSTED, A)) == ["tool_search"]


@pytest.mark.parametrize("is_deferred", [False, True])
@pytest.mark.parametrize("name", ["DeferredToolPlaceholder", "__pi_deferred_placeholder__"])
def test_a_placeholder_is_never_offered(name: str, is_deferred: bool) -> None:
    """Not even where a result names it, nor where it is the only tool."""
    placeholder = Tool(name, is_deferred=is_deferred)
    assert offered(found(name), tools=(placeholder, PLAIN)) == ["search"]
    assert offered(tools=(placeholder,)) == [] and offered(tools=(placeholder, A)) == ["a"]


def test_a_provider_that_searches_gets_them_all() -> None:
    """All tools are sent where the provider runs the search that the client has sent, otherwise those at hand."""
    request = Request("x", "m", tools=[HOSTED, A, B])
    assert at_hand(request, Profile(hosted_tools=("tool_search",))) == [HOSTED, A, B]
    assert at_hand(request, Profile()) == [HOSTED]
    assert at_hand(Request("x", "m", tools=[PLAIN, A]), Profile(hosted_tools=("tool_search",))) == [PLAIN]


def test_deferred_tools_cost_no_tokens() -> None:
    """The estimate of a prompt leaves out what the model does not see."""
    one, two = Request("x", "m", tools=[PLAIN]), Request("x", "m", tools=[PLAIN, A, B])
    assert countable(one) == countable(two)
