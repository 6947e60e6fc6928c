"""Which tools are offered, under which names, and which requests cannot be said without them."""

from typing import Any

import pytest

from gateway.errors import BadRequest, CannotSay
from gateway.wire.neutral import Request, Role, Tool, ToolCall, ToolChoice, Turn
from gateway.wire.profile import Profile
from gateway.wire.translation.memo import Memo
from gateway.wire.translation.names import Named
from gateway.wire.translation.tools import (
    MAX_TOOLS,
    check_forced,
    check_number,
    chosen_name,
    distinct,
    is_named,
    is_offered,
    learn,
    offered,
)
from tests.wire.crossings import SEALER

ONE, TWO, SEARCH = Tool("one"), Tool("two.x"), Tool("web_search", "web_search")


def ask(*tools: Tool, choice: ToolChoice | None = None, **more: Any) -> Request:
    return Request("openai_responses", "m", tools=list(tools), choice=choice, **more)


def memo_of(request: Request) -> Memo:
    return Memo(request, "req_1", 1_700_000_000, SEALER)


@pytest.mark.parametrize(
    ("tools", "kept"),
    [
        ([Tool("a", description="1"), ONE, Tool("a", description="2")], [Tool("a", description="2"), ONE]),
        ([Tool("a"), Tool("a", "custom")], [Tool("a", "custom")]),
        ([Tool("a"), Tool("a", namespace="n")], [Tool("a"), Tool("a", namespace="n")]),
        ([Tool("web_search"), SEARCH], [Tool("web_search"), SEARCH]),
        (
            [Tool("mcp", "mcp", raw={"server_label": "x"}), Tool("mcp", "mcp", raw={"server_label": "y"})],
            [Tool("mcp", "mcp", raw={"server_label": "x"}), Tool("mcp", "mcp", raw={"server_label": "y"})],
        ),
    ],
)
def test_the_later_of_two_tools_counts(tools: list[Tool], kept: list[Tool]) -> None:
    """Of two client tools with one name the later is kept; namespaces, servers and hosted tools are told apart."""
    assert distinct(tools) == kept


def test_all_tools_are_offered_without_a_narrow_choice() -> None:
    """Without allowed tools all are offered, and nothing is lost."""
    request = ask(ONE, TWO, choice=ToolChoice("required"))
    memo = memo_of(request)
    assert list(offered(request, memo)) == [ONE, TWO]
    assert memo.drops.names == []
    assert memo.names.original("two_x").name == "two.x"


def test_allowed_tools_narrow_the_list() -> None:
    """Only allowed tools are offered, which is a loss; the names of the others are known all the same."""
    request = ask(ONE, TWO, choice=ToolChoice("auto", allowed=("one",)))
    memo = memo_of(request)
    assert list(offered(request, memo)) == [ONE]
    assert memo.drops.names == ["tool_choice.allowed_tools"]
    assert memo.names.original("two_x").name == "two.x"


def test_names_in_the_history_are_known() -> None:
    """A call in the history makes its tool's name known, with namespace and kind."""
    call = ToolCall("c", "old.tool", "{}", "custom", "ns")
    request = ask(ONE, turns=[Turn(Role.ASSISTANT, (call,))])
    memo = memo_of(request)
    learn(request, memo)
    assert memo.names.original("ns__old_tool") == Named("old.tool", "ns", "custom")


def test_a_hosted_tool_that_the_provider_runs() -> None:
    """A hosted tool is offered if the profile has it; else it is left out and noted as a loss."""
    request = ask(SEARCH)
    memo = memo_of(request)
    assert is_offered(SEARCH, request, memo, Profile(hosted_tools=("web_search",)))
    assert memo.drops.names == []
    assert not is_offered(SEARCH, request, memo, Profile())
    assert memo.drops.names == ["tools.web_search"]


@pytest.mark.parametrize(
    ("choice", "is_forced"),
    [
        (ToolChoice("named", "web_search"), True),
        (ToolChoice("named", "one"), False),
        (ToolChoice("required"), False),
        (ToolChoice("auto", "web_search"), False),
    ],
)
def test_a_forced_hosted_tool_cannot_be_left_out(choice: ToolChoice, is_forced: bool) -> None:
    """If the choice forces the very tool that the provider does not run, the request cannot be said."""
    request = ask(ONE, SEARCH, choice=choice)
    memo = memo_of(request)
    if is_forced:
        with pytest.raises(CannotSay) as caught:
            is_offered(SEARCH, request, memo, Profile())
        assert caught.value.param == "tool_choice"
    else:
        assert not is_offered(SEARCH, request, memo, Profile())


def test_the_chosen_tool_is_named_as_it_is_sent() -> None:
    """The choice carries the safe name, with the namespace, of the first tool that it means."""
    request = ask(ONE, Tool("t.x", namespace="ns"), choice=ToolChoice("named", "t.x"))
    assert chosen_name(request, memo_of(request)) == "ns__t_x"


def test_a_choice_of_no_tool_is_refused() -> None:
    """A choice that names no tool is a bad request, and quotes a hundred characters of the name at most."""
    request = ask(ONE, choice=ToolChoice("named", "y" * 300))
    with pytest.raises(BadRequest) as caught:
        chosen_name(request, memo_of(request))
    assert caught.value.param == "tool_choice" and caught.value.message.count("y") == 100


@pytest.mark.parametrize(
    ("tool", "wanted", "is_meant"),
    [
        (ONE, "one", True),
        (ONE, "function", False),
        (Tool("a", "custom"), "custom", False),
        (Tool("search", "web_search_20250305"), "web_search_20250305", True),
        (Tool("search", "web_search_20250305"), "search", True),
        (ONE, None, False),
    ],
)
def test_a_hosted_tool_is_meant_by_its_kind(tool: Tool, wanted: str | None, is_meant: bool) -> None:
    """A choice means a tool by its name, and a hosted tool also by its kind."""
    assert is_named(tool, wanted) is is_meant


def test_more_tools_than_are_taken() -> None:
    """As many tools as OpenAI takes pass; one more is refused with both numbers."""
    check_number([ONE] * MAX_TOOLS)
    with pytest.raises(CannotSay, match="129 tools are more than the 128") as caught:
        check_number([ONE] * (MAX_TOOLS + 1))
    assert caught.value.param == "tools"


@pytest.mark.parametrize(
    ("request_", "has_any", "is_refused"),
    [
        (ask(SEARCH, choice=ToolChoice("required")), False, True),
        (ask(SEARCH, choice=ToolChoice("named", "web_search")), False, True),
        (ask(SEARCH, choice=ToolChoice("required")), True, False),
        (ask(SEARCH, choice=ToolChoice("auto")), False, False),
        (ask(choice=ToolChoice("required")), False, False),
        (ask(SEARCH), False, False),
    ],
)
def test_a_forced_call_needs_a_tool(request_: Request, has_any: bool, is_refused: bool) -> None:
    """A request that forces a call cannot be said once none of its tools could be offered."""
    if is_refused:
        with pytest.raises(CannotSay, match="None of the tools"):
            check_forced(request_, has_any)
    else:
        check_forced(request_, has_any)
