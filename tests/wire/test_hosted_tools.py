"""Tools that a provider runs, asked for in another dialect: what is kept, what is told, what they are called."""

from typing import Any

import pytest

from gateway.wire.profile import Profile
from tests.wire.crossings import chat_request, cross, memo_of, message, messages_request, write, written
from tests.wire.responses_to_others import responses_request, sent

SEARCHES = Profile(hosted_tools=("web_search",))


@pytest.mark.parametrize(
    ("options", "kept", "lost"),
    [
        ({}, {}, []),
        ({"search_context_size": "medium"}, {}, []),
        ({"search_context_size": "high"}, {}, ["tools.search_context_size"]),
        ({"search_context_size": "low", "user_location": None}, {}, ["tools.search_context_size"]),
        ({"external_web_access": True}, {}, []),
        ({"external_web_access": False}, {}, ["tools.external_web_access"]),
        ({"filters": {"allowed_domains": ["a.example"]}}, {"allowed_domains": ["a.example"]}, []),
        ({"filters": {"blocked_domains": ["a.example"]}}, {"blocked_domains": ["a.example"]}, []),
        (
            {"filters": {"allowed_domains": ["a.example"], "blocked_domains": ["b.example"]}},
            {"allowed_domains": ["a.example"]},
            ["tools.blocked_domains"],
        ),
        ({"filters": {"allowed_domains": []}}, {}, []),
        ({"search_content_types": ["image"]}, {}, ["tools.search_content_types"]),
    ],
)
def test_options_of_a_search(options: dict[str, Any], kept: dict[str, Any], lost: list[str]) -> None:
    """What Anthropic's search has no member for is told, unless it is the default; domains cross."""
    search = {"type": "web_search_20250305", "name": "web_search", **kept}
    out, drops = sent("anthropic_messages", SEARCHES, tools=[{"type": "web_search", **options}])
    assert (out["tools"], drops) == ([search], lost)


def test_options_of_a_chat_search() -> None:
    """The same members of Chat's `web_search_options` are told, too."""
    said = chat_request(web_search_options={"search_context_size": "high"})
    _, memo = written("openai_chat", said, SEARCHES)
    assert memo.drops.names == ["tools.search_context_size"]


MINE: dict[str, Any] = {"type": "function", "name": "web_search", "parameters": {"type": "object"}}
BOTH = [MINE, {"type": "web_search"}]


@pytest.mark.parametrize("tools", [BOTH, BOTH[::-1]])
@pytest.mark.parametrize(
    ("choice", "name"),
    [({"type": "function", "name": "web_search"}, "web_search_2"), ({"type": "web_search"}, "web_search")],
)
def test_a_function_named_like_a_hosted_tool(tools: list[Any], choice: dict[str, Any], name: str) -> None:
    """Both are offered, the function under another name; the choice means the one whose type it says."""
    out, drops = sent("anthropic_messages", SEARCHES, tools=tools, tool_choice=choice)
    assert sorted(tool["name"] for tool in out["tools"]) == ["web_search", "web_search_2"] and drops == []
    assert out["tool_choice"] == {"type": "tool", "name": name}


@pytest.mark.parametrize("tools", [BOTH, BOTH[::-1]])
def test_a_call_of_the_function_comes_back_under_its_own_name(tools: list[Any]) -> None:
    """The client reads a call of its function, whichever of the two tools stands first."""
    memo = memo_of("openai_responses", responses_request(tools=tools, stream=True), SEARCHES)
    write(memo)
    stream = message({"type": "tool_use", "id": "c", "name": "web_search_2", "input": {}}, stop="tool_use")
    out = cross("openai_responses", stream, memo, "anthropic_messages")
    assert b'"type":"function_call"' in out and b'"name":"web_search"' in out and b"web_search_2" not in out


@pytest.mark.parametrize("tools", [BOTH, BOTH[::-1]])
def test_without_the_hosted_tool_the_function_keeps_its_name(tools: list[Any]) -> None:
    """Where the provider runs no search, the function is sent as it is called, and stays a function."""
    memo = memo_of("openai_responses", responses_request(tools=tools), Profile())
    out = write(memo, upstream="openai_chat")
    assert [tool["function"]["name"] for tool in out["tools"]] == ["web_search"]
    assert memo.names.original("web_search").kind == "function"


@pytest.mark.parametrize("tools", [BOTH, BOTH[::-1]])
def test_a_responses_provider_tells_them_apart_by_type(tools: list[Any]) -> None:
    """A Messages client's choice by name means its own tool there, as a hosted one has no name."""
    mine = {"name": "web_search", "input_schema": {"type": "object"}}
    hosted = {"type": "web_search_20250305", "name": "search"}
    said = messages_request(tools=[hosted, mine], tool_choice={"type": "tool", "name": "web_search"})
    out, _ = written("anthropic_messages", said, SEARCHES, upstream="openai_responses")
    assert [tool["type"] for tool in out["tools"]] == ["web_search", "function"]
