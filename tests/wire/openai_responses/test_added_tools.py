"""Tools that come inside the input: lifted into the tools of the call, their namespaces turned back in the reply."""

import json
from typing import Any

import pytest

from gateway.errors import BadRequest
from gateway.wire.openai_responses.raw import add_members
from gateway.wire.profile import Profile
from gateway.wire.translation.memo import Drops
from tests.wire.crossings import body, chunk, cross, memo_of, message, write
from tests.wire.grammar import read_responses
from tests.wire.responses_to_others import responses_request, sent

USER = {"role": "user", "content": "Hi"}
EXEC = {"type": "custom", "name": "exec", "description": "Runs code", "format": {"type": "text"}}
WAIT = {"type": "function", "name": "wait", "parameters": {"type": "object", "properties": {}}, "strict": False}
TOP = {**WAIT, "name": "top"}
FUNCTIONS = {"type": "namespace", "name": "functions", "description": "", "tools": [EXEC, WAIT]}
OTHERS = ["openai_chat", "anthropic_messages"]


def added(*tools: Any) -> dict[str, Any]:
    return {"type": "additional_tools", "role": "developer", "id": "at_1", "tools": list(tools)}


def names(out: dict[str, Any]) -> list[str]:
    return [tool.get("function", tool)["name"] for tool in out.get("tools", [])]


@pytest.mark.parametrize("upstream", OTHERS)
def test_tools_inside_the_input_are_offered(upstream: str) -> None:
    """Codex sends all its tools so (docs/wire/clients.md); none of them is lost, and no turn is made of the item."""
    out, drops = sent(upstream, input=[added(FUNCTIONS), USER])
    assert names(out) == ["functions__exec", "functions__wait"] and drops == []
    assert [turn["role"] for turn in out["messages"]] == ["user"]


@pytest.mark.parametrize("upstream", OTHERS)
def test_tools_come_in_order_and_once(upstream: str) -> None:
    """Those of the request first, then those of the items, in the middle too; the later of two with one name counts."""
    items = [added(FUNCTIONS), USER, {"role": "assistant", "content": "x"}, added({**TOP, "description": "n"}), USER]
    out, _ = sent(upstream, input=[*items, added(FUNCTIONS, {**WAIT, "name": "more"})], tools=[TOP])
    assert names(out) == ["top", "functions__exec", "functions__wait", "more"]
    assert out["tools"][0].get("function", out["tools"][0])["description"] == "n"


@pytest.mark.parametrize("choice", ["required", {"type": "function", "name": "wait"}])
def test_a_choice_reaches_them(choice: Any) -> None:
    """The model can be made to call a tool that came inside the input."""
    out, _ = sent("anthropic_messages", input=[added(WAIT), USER], tool_choice=choice)
    assert out["tool_choice"]["type"] in ("any", "tool")


@pytest.mark.parametrize(
    ("items", "place"),
    [
        ([added({"type": "function"})], "input[0].tools[0].name"),
        ([USER, added("x")], "input[1].tools[0]"),
        ([{"type": "additional_tools", "tools": {}}], "input[0].tools"),
    ],
)
def test_a_bad_tool_is_refused_with_its_place(items: list[Any], place: str) -> None:
    """The error names the tool inside the item."""
    with pytest.raises(BadRequest) as refused:
        sent(input=items)
    assert refused.value.param == place


@pytest.mark.parametrize("is_stream", [True, False])
@pytest.mark.parametrize("upstream", OTHERS)
def test_calls_come_back_with_their_namespace(upstream: str, is_stream: bool) -> None:
    """A freeform call has its namespace too: without it Codex answers "unsupported call"."""
    memo = memo_of("openai_responses", responses_request(input=[added(FUNCTIONS), USER], stream=is_stream))
    write(memo, upstream=upstream)
    calls = [("functions__exec", {"input": "ls()"}), ("functions__wait", {"n": 1})]
    if upstream == "openai_chat":
        given = [
            {"index": index, "id": f"c{index}", "function": {"name": name, "arguments": json.dumps(arguments)}}
            for index, (name, arguments) in enumerate(calls)
        ]
        stream = chunk(tool_calls=given) + chunk("tool_calls") + b"data: [DONE]\n\n"
    else:
        uses = [{"type": "tool_use", "id": f"c{n}", "name": name, "input": i} for n, (name, i) in enumerate(calls)]
        stream = message(*uses, stop="tool_use")
    _, final = read_responses(cross("openai_responses", stream, memo, upstream))
    custom, function = final["output"]
    assert (custom["type"], custom["namespace"], custom["name"]) == ("custom_tool_call", "functions", "exec")
    assert custom["input"] == "ls()"
    assert (function["type"], function["namespace"], function["name"]) == ("function_call", "functions", "wait")


@pytest.mark.parametrize("upstream", OTHERS)
def test_past_calls_keep_the_name_under_which_they_were_offered(upstream: str) -> None:
    """The history names the tool as the list of tools does."""
    call = {"type": "custom_tool_call", "call_id": "c1", "namespace": "functions", "name": "exec", "input": "ls()"}
    result = {"type": "custom_tool_call_output", "call_id": "c1", "output": "a"}
    out, drops = sent(upstream, input=[added(FUNCTIONS), USER, call, result])
    assert "functions__exec" in json.dumps(out["messages"]) and drops == []


@pytest.mark.parametrize("upstream", OTHERS)
def test_built_in_tools_inside_the_input_come_back_as_such(upstream: str) -> None:
    """A call of a built-in tool is an item of its own kind, wherever the tool was sent."""
    memo = memo_of("openai_responses", responses_request(input=[added({"type": "local_shell"}), USER], stream=True))
    write(memo, upstream=upstream)
    use = {"type": "tool_use", "id": "c", "name": "local_shell", "input": {"command": ["ls"]}}
    call = {"index": 0, "id": "c", "function": {"name": "local_shell", "arguments": '{"command":["ls"]}'}}
    chat = chunk(tool_calls=[call]) + chunk("tool_calls") + b"data: [DONE]\n\n"
    stream = chat if upstream == "openai_chat" else message(use, stop="tool_use")
    _, final = read_responses(cross("openai_responses", stream, memo, upstream))
    assert [item["type"] for item in final["output"]] == ["local_shell_call"]


def raw(profile: Profile | None = None, **more: Any) -> dict[str, Any]:
    """Return the members that the raw lane puts into a request."""
    found = add_members(body(responses_request(**more)), profile or Profile(), Drops())
    return {name: json.loads(value) for name, value in found.items()}


def test_a_server_without_the_item_gets_the_tools() -> None:
    """On the raw lane the item's tools become the request's, with their namespaces, in order and each once."""
    lifted = raw(input=[added(FUNCTIONS), USER, added(TOP)], tools=[TOP])
    assert lifted == {"input": [USER], "tools": [TOP, FUNCTIONS]}
    assert raw(input=[added(FUNCTIONS), USER]) == {"input": [USER], "tools": [FUNCTIONS]}


def test_two_parts_of_a_namespace_become_one() -> None:
    """A namespace that grows in the middle of a conversation is sent once, with the tools of both parts."""
    more = {**FUNCTIONS, "tools": [{**WAIT, "description": "n"}, TOP]}
    tools = raw(input=[added(FUNCTIONS), USER, added(more)])["tools"]
    assert [tool["name"] for tool in tools] == ["functions"]
    assert tools[0]["tools"] == [EXEC, {**WAIT, "description": "n"}, TOP]


@pytest.mark.parametrize(
    ("profile", "items"),
    [
        (Profile(additional_tools=True), [added(FUNCTIONS), USER]),
        (Profile(), [USER]),
        (Profile(), [{"role": "user", "content": 'say "additional_tools"'}]),
        (Profile(), [{"role": "user", "content": "additional_tools"}]),
        (Profile(), [{"type": "additional_tools", "tools": None}]),
    ],
)
def test_other_requests_stay_as_they_are(profile: Profile, items: list[Any]) -> None:
    """A server that knows the item gets it; a text that only speaks of it changes nothing."""
    assert raw(profile, input=items) == {}


@pytest.mark.parametrize("tool", [5, None, {}, {"type": 5, "name": []}, {"type": "mcp", "server_label": {}}])
def test_odd_tools_are_passed_on(tool: Any) -> None:
    """What the gateway cannot read is left to the server."""
    assert raw(input=[added(tool, tool), USER])["tools"] in ([tool, tool], [tool])
