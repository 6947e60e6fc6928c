"""Searches for tools across the dialects: deferred tools, what a search has found, and who runs the search."""

import json
from typing import Any

import pytest

from gateway.wire.profile import Profile
from tests.wire.crossings import chunk, cross, memo_of, message, messages_request, write
from tests.wire.grammar import read_responses
from tests.wire.responses_to_others import responses_request, sent

SCHEMA: dict[str, Any] = {"type": "object", "properties": {}}
HOSTING = Profile(hosted_tools=("tool_search",))
BM25 = {"type": "tool_search_tool_bm25_20251119", "name": "tool_search_tool_bm25"}
CLIENT_RUN = {"type": "tool_search", "execution": "client", "description": "Finds tools", "parameters": SCHEMA}
USER = {"role": "user", "content": "Hi"}


def claude(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "description": "d", "input_schema": SCHEMA, **more}


def openai(name: str, **more: Any) -> dict[str, Any]:
    return {"type": "function", "name": name, "parameters": SCHEMA, **more}


def put(client: str, upstream: str, profile: Profile | None = None, **more: Any) -> tuple[dict[str, Any], list[str]]:
    """Return (what goes upstream, what was noted as lost)."""
    said = messages_request(**more) if client == "anthropic_messages" else responses_request(**more)
    memo = memo_of(client, said, profile)
    return write(memo, upstream=upstream), memo.drops.names


def names(out: dict[str, Any]) -> list[str]:
    return [tool.get("function", tool).get("name", tool.get("type")) for tool in out.get("tools", [])]


CROSSINGS = [
    ("anthropic_messages", "openai_chat", claude),
    ("anthropic_messages", "openai_responses", claude),
    ("openai_responses", "openai_chat", openai),
    ("openai_responses", "anthropic_messages", openai),
]


@pytest.mark.parametrize(("client", "upstream", "tool"), CROSSINGS)
def test_two_hundred_deferred_tools_are_no_error(client: str, upstream: str, tool: Any) -> None:
    """Only what is not deferred counts for the bound of 128 tools, and is offered."""
    tools = [tool("search"), *(tool(f"t{number}", defer_loading=True) for number in range(200))]
    out, drops = put(client, upstream, tools=tools)
    assert names(out) == ["search"] and drops == []
    assert "defer_loading" not in json.dumps(out)


def referenced(*found: str) -> list[dict[str, Any]]:
    """A conversation of Claude Code, whose own tool has searched."""
    call = {"type": "tool_use", "id": "toolu_1", "name": "ToolSearch", "input": {"query": "x"}}
    content = [{"type": "tool_reference", "tool_name": name} for name in found]
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": content}
    return [USER, {"role": "assistant", "content": [call]}, {"role": "user", "content": [result]}]


@pytest.mark.parametrize("upstream", ["openai_chat", "openai_responses"])
def test_references_are_names_and_offer_their_tools(upstream: str) -> None:
    """The model reads the names that were found, and can call these tools from then on; the placeholder is no tool."""
    deferred = [claude(name, defer_loading=True) for name in ("a", "b", "c")]
    tools = [*deferred, claude("ToolSearch"), claude("DeferredToolPlaceholder", defer_loading=True)]
    out, drops = put("anthropic_messages", upstream, tools=tools, messages=referenced("c", "a"))
    assert names(out) == ["ToolSearch", "c", "a"] and drops == []
    if upstream == "openai_chat":
        assert out["messages"][-1] == {"role": "tool", "tool_call_id": "toolu_1", "content": "c\na"}
    else:
        assert out["input"][-1]["output"] == "c\na"


def test_a_placeholder_that_is_alone_leaves_no_tools() -> None:
    """A request whose only tool is the placeholder has none, with whatever choice."""
    out, drops = put("anthropic_messages", "openai_chat", tools=[claude("DeferredToolPlaceholder", defer_loading=True)])
    assert "tools" not in out and drops == []


@pytest.mark.parametrize("upstream", ["openai_chat", "openai_responses"])
def test_what_anthropic_has_found_stays_found(upstream: str) -> None:
    """A conversation in which Anthropic has searched goes on elsewhere: its references are names, its tools offered."""
    use = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "tool_search_tool_bm25", "input": {"query": "x"}}
    inner = {
        "type": "tool_search_tool_search_result",
        "tool_references": [{"type": "tool_reference", "tool_name": "b"}],
    }
    result = {"type": "tool_search_tool_result", "tool_use_id": "srvtoolu_1", "content": inner}
    turns = [USER, {"role": "assistant", "content": [use, result, {"type": "text", "text": "x"}]}, USER]
    tools = [BM25, *(claude(name, defer_loading=True) for name in ("a", "b"))]
    out, drops = put("anthropic_messages", upstream, tools=tools, messages=turns)
    assert names(out) == ["b"] and drops == ["tools.tool_search"]
    assert "[tools found: b]" in json.dumps(out)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"type": "tool_search_tool_search_result", "tool_references": []}, "(no tools found)"),
        ({"type": "tool_search_tool_result_error", "error_code": "unavailable"}, "[tool search failed: unavailable]"),
    ],
)
def test_a_search_without_a_finding_says_so(content: dict[str, Any], said: str) -> None:
    """The model of the other provider learns that there was nothing, or why."""
    result = {"type": "tool_search_tool_result", "tool_use_id": "srvtoolu_1", "content": content}
    out, _ = put("anthropic_messages", "openai_chat", messages=[USER, {"role": "assistant", "content": [result]}, USER])
    assert out["messages"][1]["content"] == said


@pytest.mark.parametrize(("client", "upstream", "tool"), CROSSINGS)
def test_a_search_that_nobody_can_run_is_named(client: str, upstream: str, tool: Any) -> None:
    """A search that the provider should run is told as lost where the other provider has none."""
    search = BM25 if client == "anthropic_messages" else {"type": "tool_search"}
    out, drops = put(client, upstream, tools=[search, tool("now"), tool("later", defer_loading=True)])
    assert names(out) == ["now"] and drops == ["tools.tool_search"]


def test_a_hosted_search_stays_one_where_the_provider_has_it() -> None:
    """Both providers search among deferred tools: each gets the other's search in its own words, and all tools."""
    tools = [BM25, *(claude(f"t{number}", defer_loading=True) for number in range(200))]
    out, drops = put("anthropic_messages", "openai_responses", HOSTING, tools=tools)
    assert out["tools"][0] == {"type": "tool_search"} and len(out["tools"]) == 201 and drops == []
    assert all(tool["defer_loading"] is True for tool in out["tools"][1:])
    custom = {"type": "custom", "name": "c", "defer_loading": True}
    out, drops = put(
        "openai_responses",
        "anthropic_messages",
        HOSTING,
        tools=[{"type": "tool_search"}, openai("a", defer_loading=True), custom],
    )
    assert out["tools"][0] == BM25 and drops == []
    assert [tool["defer_loading"] for tool in out["tools"][1:]] == [True, True]


@pytest.mark.parametrize("is_stream", [True, False])
@pytest.mark.parametrize("upstream", ["openai_chat", "anthropic_messages"])
def test_the_client_runs_its_search_with_any_model(upstream: str, is_stream: bool) -> None:
    """OpenAI's search that the client runs is a function upstream; its calls come back as `tool_search_call`."""
    tools = [CLIENT_RUN, openai("later", defer_loading=True)]
    memo = memo_of("openai_responses", responses_request(tools=tools, stream=is_stream))
    out = write(memo, upstream=upstream)
    assert names(out) == ["tool_search"] and memo.drops.names == []
    given = {"query": "calendar", "limit": 3}
    use = {"type": "tool_use", "id": "c1", "name": "tool_search", "input": given}
    call = {"index": 0, "id": "c1", "function": {"name": "tool_search", "arguments": json.dumps(given)}}
    chat = chunk(tool_calls=[call]) + chunk("tool_calls") + b"data: [DONE]\n\n"
    stream = chat if upstream == "openai_chat" else message(use, stop="tool_use")
    _, final = read_responses(cross("openai_responses", stream, memo, upstream))
    (item,) = final["output"]
    assert item == {
        "id": item["id"], "type": "tool_search_call", "call_id": "c1", "status": "completed", "execution": "client",
        "arguments": given,
    }  # fmt: skip


SEARCHED = {"type": "tool_search_call", "call_id": "c1", "execution": "client", "status": "completed"}
FOUND = {"type": "tool_search_output", "execution": "client", "status": "completed", "call_id": "c1"}
CALENDAR = {"type": "namespace", "name": "cal", "description": "d", "tools": [openai("add", defer_loading=True)]}


@pytest.mark.parametrize("arguments", [{"query": "x"}, '{"query": "x"}'])
@pytest.mark.parametrize("upstream", ["openai_chat", "anthropic_messages"])
def test_tools_in_a_searchs_output_are_offered(upstream: str, arguments: Any) -> None:
    """What the client has found is offered from then on, with its namespace, and the model reads the names."""
    history = [USER, {**SEARCHED, "arguments": arguments}, {**FOUND, "tools": [CALENDAR, openai("b")]}]
    tools = [openai("b", defer_loading=True), CLIENT_RUN, openai("c", defer_loading=True)]
    out, drops = put("openai_responses", upstream, input=history, tools=tools)
    assert names(out) == ["tool_search", "cal__add", "b"] and drops == []
    said = json.dumps(out["messages"][1:])
    assert "cal__add\\nb" in said and "tool_search" in said and "query" in said


@pytest.mark.parametrize("upstream", ["openai_chat", "anthropic_messages"])
def test_what_openai_has_found_stays_found(upstream: str) -> None:
    """Items of a search that OpenAI has run have no call id: the tools are offered, and named as text."""
    searched = {**SEARCHED, "execution": "server", "call_id": None, "arguments": {"paths": ["cal"]}}
    found = {**FOUND, "execution": "server", "call_id": None, "tools": [CALENDAR]}
    call = {"type": "function_call", "call_id": "c2", "namespace": "cal", "name": "add", "arguments": "{}"}
    history = [USER, searched, found, call, {"type": "function_call_output", "call_id": "c2", "output": "ok"}]
    out, _ = put("openai_responses", upstream, input=history, tools=[{"type": "tool_search"}, CALENDAR])
    assert names(out) == ["cal__add"] and "[tools found: cal__add]" in json.dumps(out)


def test_an_output_without_tools_says_so() -> None:
    """An empty finding is told in words."""
    history = [USER, {**SEARCHED, "arguments": {}}, {**FOUND, "tools": []}]
    out, _ = put("openai_responses", "openai_chat", input=history, tools=[CLIENT_RUN])
    assert out["messages"][-1]["content"] == "(no tools found)"


@pytest.mark.parametrize(
    ("search", "is_client_run"),
    [
        (CLIENT_RUN, True),
        ({"type": "tool_search", "execution": "client"}, True),
        ({"type": "tool_search", "parameters": SCHEMA}, True),
        ({"type": "tool_search"}, False),
        ({"type": "tool_search", "execution": "server"}, False),
    ],
)
def test_who_runs_a_search(search: dict[str, Any], is_client_run: bool) -> None:
    """The client runs a search that says so, or that describes its own parameters."""
    out, drops = sent(tools=[search, openai("f")])
    assert (names(out), drops) == ((["tool_search", "f"], []) if is_client_run else (["f"], ["tools.tool_search"]))


@pytest.mark.parametrize("upstream", ["openai_chat", "anthropic_messages"])
def test_a_forced_search_is_forced(upstream: str) -> None:
    """A choice of the search names the function that stands for it."""
    out, _ = put("openai_responses", upstream, tools=[CLIENT_RUN], tool_choice={"type": "tool_search"})
    assert "tool_search" in json.dumps(out["tool_choice"])


def test_a_function_called_tool_search_stays_a_function() -> None:
    """Only OpenAI's own tool makes a `tool_search_call` of a call."""
    memo = memo_of("openai_responses", responses_request(tools=[openai("tool_search")], stream=True))
    write(memo, upstream="openai_chat")
    call = {"index": 0, "id": "c1", "function": {"name": "tool_search", "arguments": "{}"}}
    stream = chunk(tool_calls=[call]) + chunk("tool_calls") + b"data: [DONE]\n\n"
    _, final = read_responses(cross("openai_responses", stream, memo, "openai_chat"))
    assert [item["type"] for item in final["output"]] == ["function_call"]


def test_a_namespace_is_described_where_it_is_seen() -> None:
    """A namespace's description stands at its first tool that is not deferred."""
    tools = [openai("a", defer_loading=True), openai("b")]
    out, _ = sent(tools=[{"type": "namespace", "name": "n", "description": "About.", "tools": tools}])
    assert [tool["function"]["description"] for tool in out["tools"]] == ["About all tools of n: About."]
