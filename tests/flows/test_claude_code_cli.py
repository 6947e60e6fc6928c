"""Claude Code itself, under a real name of Anthropic's, whose search for tools works on the other dialects."""

import asyncio
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Provider, Start
from tests.flows.responses import CONFIG

Providers = Callable[[str], Provider]
CLAUDE = shutil.which("claude")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CLAUDE is None, reason="claude is not installed (npm install -g @anthropic-ai/claude-code)"),
]
MODEL = "claude-opus-5-5"
SEARCH = json.dumps({"query": "select:CronList"})


def chat_call() -> list[bytes]:
    """A Chat stream in which the model searches for a deferred tool."""
    call = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "ToolSearch", "arguments": SEARCH}}
    said: list[dict[str, Any]] = [{"delta": {"tool_calls": [call]}}, {"delta": {}, "finish_reason": "tool_calls"}]
    frames = [{"id": "c", "model": "m", "choices": [{"index": 0, **one}]} for one in said]
    return [f"data: {json.dumps(one)}\n\n".encode() for one in frames] + [b"data: [DONE]\n\n"]


def responses_call() -> list[bytes]:
    """A Responses stream in which the model searches for a deferred tool."""
    item = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "ToolSearch", "arguments": SEARCH}
    response: dict[str, Any] = {"id": "resp_1", "object": "response", "model": "m", "status": "completed", "output": []}
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": response | {"status": "in_progress"}},
        {"type": "response.output_item.added", "output_index": 0, "item": item | {"arguments": ""}},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": response | {"output": [item]}},
    ]
    return [f"event: {one['type']}\ndata: {json.dumps(one)}\n\n".encode() for one in events]


@pytest.mark.parametrize(("upstream", "frames"), [("oai", chat_call()), ("res", responses_call())])
async def test_a_deferred_tool_is_found(
    start: Start, provider: Providers, tmp_path: Path, upstream: str, frames: list[bytes]
) -> None:
    """Anthropic is dead: the next model searches, reads the name, and is offered the tool; no placeholder ever."""
    running = await start(CONFIG.replace("routes: {", f'routes: {{"{MODEL}": [ant:m, {upstream}:m], '))
    provider("ant").will(status=500)
    provider(upstream).will(frames=frames, times=1)
    provider(upstream).will(text="It is done.")
    assert CLAUDE is not None
    settings = {"ANTHROPIC_BASE_URL": running.url, "ANTHROPIC_API_KEY": "k", "HOME": str(tmp_path)}
    process = await asyncio.create_subprocess_exec(
        CLAUDE, "-p", "Say hi", "--model", MODEL,
        cwd=tmp_path,
        env={**os.environ, **settings, "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1"},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    async with asyncio.timeout(60):
        out, _ = await process.communicate()
    assert "It is done." in out.decode()
    first, last = provider(upstream).seen[0].json, provider(upstream).seen[-1].json
    offered = [[tool.get("function", tool)["name"] for tool in one["tools"]] for one in (first, last)]
    assert "CronList" not in offered[0] and offered[1] == [*offered[0], "CronList"]
    assert "ToolSearch" in offered[0] and "DeferredToolPlaceholder" not in offered[0]
    said = json.dumps(last.get("messages") or last["input"])
    assert "[tool_reference]" not in said and "CronList" in said
