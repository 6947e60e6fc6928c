"""What a provider's own tools did in a history: other models read it as text, and no client runs it again."""

from typing import Any

import pytest

from gateway.errors import CannotSay
from tests.wire.crossings import PIXEL, messages_request, written
from tests.wire.responses_to_others import sent

HI = {"type": "message", "role": "user", "content": "Hi"}
IN_CONTAINER = {"environment": {"type": "container_reference", "container_id": "cntr_1"}}
SHELL_CALL = {"type": "shell_call", "call_id": "c1", "action": {"commands": ["ls /secret"]}}
SHELL_OUTPUT: dict[str, Any] = {
    "type": "shell_call_output",
    "call_id": "c1",
    "output": [{"stdout": "a.txt", "stderr": "", "outcome": {"type": "exit", "exit_code": 0}}],
}
ITEMS: list[tuple[dict[str, Any], list[str]]] = [
    ({"type": "mcp_call", "id": "m", "server_label": "gh", "name": "find", "arguments": '{"q":1}', "output": "42 stars"},
     ["gh find", '{"q":1}', "42 stars"]),
    ({"type": "mcp_call", "id": "m", "server_label": "gh", "name": "find", "arguments": "{}",
      "error": {"type": "http_error", "code": 500, "message": "no server"}}, ["no server"]),
    ({"type": "web_search_call", "id": "w", "status": "completed",
      "action": {"type": "search", "query": "tea", "sources": [{"type": "url", "url": "https://a.example"}]}},
     ["tea", "https://a.example"]),
    ({"type": "file_search_call", "id": "f", "queries": ["tea"], "status": "completed",
      "results": [{"filename": "t.md", "text": "Green tea"}]}, ["tea", "t.md", "Green tea"]),
    ({"type": "code_interpreter_call", "id": "i", "code": "print(7)", "container_id": "k", "status": "completed",
      "outputs": [{"type": "logs", "logs": "7 printed"}]}, ["print(7)", "7 printed"]),
    ({"type": "computer_call", "id": "p", "call_id": "c", "action": {"type": "click", "x": 33, "y": 44},
      "pending_safety_checks": [], "status": "completed"}, ["click", "33"]),
    ({"type": "program_output", "id": "o", "call_id": "c", "result": "done it", "status": "completed"}, ["done it"]),
]  # fmt: skip
BLOCKS: list[tuple[dict[str, Any], list[str]]] = [
    ({"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "tea"}},
     ["web_search", "tea"]),
    ({"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": [
        {"type": "web_search_result", "title": "Tea", "url": "https://a.example", "encrypted_content": "zzz"}]},
     ["Tea — https://a.example"]),
    ({"type": "mcp_tool_use", "id": "m", "name": "find", "server_name": "gh", "input": {"q": 1}}, ["gh find"]),
    ({"type": "mcp_tool_result", "tool_use_id": "m", "content": [{"type": "text", "text": "42 stars"}]}, ["42 stars"]),
    ({"type": "code_execution_tool_result", "tool_use_id": "x", "content": {
        "type": "code_execution_result", "stdout": "7 printed", "stderr": "a warning", "return_code": 1, "content": []}},
     ["7 printed", "a warning", "return_code: 1"]),
    ({"type": "bash_code_execution_tool_result", "tool_use_id": "x", "content": {
        "type": "bash_code_execution_result", "stdout": "a.txt", "stderr": "", "return_code": 0, "content": []}},
     ["a.txt"]),
    ({"type": "web_fetch_tool_result", "tool_use_id": "x", "content": {
        "type": "web_fetch_result", "url": "https://a.example", "content": {"type": "document", "title": "Tea",
        "source": {"type": "text", "media_type": "text/plain", "data": "Green tea"}}}}, ["Tea", "Green tea"]),
]  # fmt: skip


@pytest.mark.parametrize("upstream", ["openai_chat", "anthropic_messages"])
@pytest.mark.parametrize(("item", "texts"), ITEMS, ids=lambda one: one.get("type") if isinstance(one, dict) else "")
def test_items_of_hosted_tools_are_read_as_text(item: dict[str, Any], texts: list[str], upstream: str) -> None:
    """What OpenAI's tools did and found reaches the next model, in the model's own turn, and the kind is named."""
    out, drops = sent(upstream, input=[HI, item, {**HI, "content": "Go on"}])
    said = next(one["content"] for one in out["messages"] if one["role"] == "assistant")
    said = said if isinstance(said, str) else said[0]["text"]
    assert said.startswith(f"[{item['type']}") and all(text in said for text in texts)
    assert drops == [f"messages.{item['type']}"]


@pytest.mark.parametrize("upstream", ["openai_chat", "openai_responses"])
@pytest.mark.parametrize(("block", "texts"), BLOCKS, ids=lambda one: one.get("type") if isinstance(one, dict) else "")
def test_blocks_of_hosted_tools_are_read_as_text(block: dict[str, Any], texts: list[str], upstream: str) -> None:
    """What Anthropic's tools did and found reaches the next model as text; what is encrypted does not."""
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": [block]}]
    more = [*turns, {"role": "user", "content": "Go on"}]
    out, memo = written("anthropic_messages", messages_request(messages=more), upstream=upstream)
    said = f"{out.get('messages') or out.get('input')}"
    assert all(text in said for text in texts) and "zzz" not in said
    assert memo.drops.names == [f"messages.{block['type']}"] and memo.drops.losses == []


@pytest.mark.parametrize("upstream", ["openai_chat", "anthropic_messages"])
def test_the_picture_of_a_screen_crosses_as_a_picture(upstream: str) -> None:
    """A computer call's screenshot is a picture of the user's turn, so that the next model sees the screen."""
    shown = {"type": "computer_screenshot", "image_url": f"data:image/png;base64,{PIXEL}"}
    out, _ = sent(upstream, input=[HI, {"type": "computer_call_output", "call_id": "c", "output": shown}])
    assert PIXEL in f"{out['messages'][-1]}" and out["messages"][-1]["role"] == "user"


@pytest.mark.parametrize("upstream", ["openai_chat", "anthropic_messages"])
@pytest.mark.parametrize("environment", ["container_auto", "container_reference"])
def test_a_containers_shell_is_not_offered(upstream: str, environment: str) -> None:
    """The shell of a provider's container is named as lost; offered as a function, the client would run it at home."""
    out, drops = sent(upstream, tools=[{"type": "shell", "environment": {"type": environment}}])
    assert "tools" not in out and drops == ["tools.shell"]
    with pytest.raises(CannotSay):
        sent(upstream, tools=[{"type": "shell", "environment": {"type": environment}}], tool_choice={"type": "shell"})


@pytest.mark.parametrize("tool", [{"type": "shell"}, {"type": "shell", "environment": {"type": "local"}}])
def test_a_local_shell_is_offered(tool: dict[str, Any]) -> None:
    """A shell on the client's machine stays a function that the client runs."""
    out, drops = sent(tools=[tool], tool_choice={"type": "shell"})
    assert [one["function"]["name"] for one in out["tools"]] == ["shell"] and drops == []


@pytest.mark.parametrize("upstream", ["openai_chat", "anthropic_messages"])
@pytest.mark.parametrize(
    ("call", "more"),
    [
        ({**SHELL_CALL, **IN_CONTAINER}, {}),
        (SHELL_CALL, {"tools": [{"type": "shell", "environment": {"type": "container_auto"}}]}),
    ],
)
def test_a_containers_shell_in_the_history_is_text(upstream: str, call: dict[str, Any], more: dict[str, Any]) -> None:
    """Its calls and their output are text, not calls of a function, whether the item or the tool says where it ran."""
    out, _ = sent(upstream, input=[HI, call, SHELL_OUTPUT, {**HI, "content": "Go on"}], **more)
    said = f"{out['messages']}"
    assert "ls /secret" in said and "a.txt" in said
    assert "tool_calls" not in said and "tool_use" not in said and "[no result" not in said


def test_a_local_shell_in_the_history_stays_a_call() -> None:
    """A call that the client has run itself is a call of the function that stands for the shell."""
    call = {**SHELL_CALL, "environment": {"type": "local"}}
    out, drops = sent(input=[HI, call, SHELL_OUTPUT], tools=[{"type": "shell"}])
    assert out["messages"][1]["tool_calls"][0]["function"]["name"] == "shell" and drops == []
