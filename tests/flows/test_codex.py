"""Codex itself, under a real name of OpenAI's, on providers of the other dialects."""

import asyncio
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Provider, Running, Start
from tests.flows.responses import CONFIG

Providers = Callable[[str], Provider]
CODEX = shutil.which("codex")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CODEX is None, reason="codex is not installed (npm install -g @openai/codex)"),
]
MODEL = "gpt-5.6-sol"
ROUTES = CONFIG.replace("routes: {", f'routes: {{"{MODEL}": [res:m, SECOND:m], ')
SETTINGS = """
model = "{model}"
model_provider = "gateway"
[model_providers.gateway]
name = "gateway"
base_url = "{url}/v1"
wire_api = "responses"
env_key = "GATEWAY_KEY"
"""
# What the model writes as the input of Codex's freeform tool: JavaScript that runs a command.
SCRIPT = 'const made = await tools.exec_command({cmd: "echo made > made.txt; cat made.txt"}); text(made);'


def reply_of(dialect: str) -> dict[str, Any]:
    """A stream in which the model calls Codex's tool `exec` by the name under which it was offered."""
    arguments = json.dumps({"input": SCRIPT})
    if dialect == "oai":
        function = {"name": "functions__exec", "arguments": arguments}
        call = {"index": 0, "id": "call_1", "type": "function", "function": function}
        said: list[dict[str, Any]] = [
            {"delta": {"role": "assistant", "tool_calls": [call]}},
            {"delta": {}, "finish_reason": "tool_calls"},
        ]
        frames = [{"id": "c", "model": "m", "choices": [{"index": 0, **one}]} for one in said]
        return {"frames": [f"data: {json.dumps(one)}\n\n".encode() for one in frames] + [b"data: [DONE]\n\n"]}
    use = {"type": "tool_use", "id": "toolu_1", "name": "functions__exec", "input": {}}
    usage = {"input_tokens": 1, "output_tokens": 1}
    message = {"id": "m", "type": "message", "role": "assistant", "model": "m", "content": [], "usage": usage}
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": message},
        {"type": "content_block_start", "index": 0, "content_block": use},
        {
            "type": "content_block_delta",
            "index": 0,
            "delta": {"type": "input_json_delta", "partial_json": arguments},
        },
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": usage},
        {"type": "message_stop"},
    ]
    return {"frames": [f"event: {one['type']}\ndata: {json.dumps(one)}\n\n".encode() for one in events]}


async def run_codex(running: Running, folder: Path) -> str:
    """Run one session of Codex in `folder`, and return what it printed."""
    home = folder / "home"
    home.mkdir()
    (home / "config.toml").write_text(SETTINGS.format(model=MODEL, url=running.url))
    assert CODEX is not None
    process = await asyncio.create_subprocess_exec(
        CODEX, "exec", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox", "Make a file",
        cwd=folder,
        env={**os.environ, "CODEX_HOME": str(home), "GATEWAY_KEY": "k"},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    async with asyncio.timeout(60):
        out, _ = await process.communicate()
    return out.decode()


@pytest.mark.parametrize("second", ["oai", "ant"])
async def test_codex_keeps_its_tools_when_openai_fails(
    start: Start, provider: Providers, tmp_path: Path, second: str
) -> None:
    """The first target is dead; on the second the model calls Codex's own tool, and the file is made."""
    running = await start(ROUTES.replace("SECOND", second))
    provider("res").will(status=500)
    provider(second).will(**reply_of(second), times=1)
    provider(second).will(text="It is done.")
    out = await run_codex(running, tmp_path)
    assert "unsupported" not in out and "It is done." in out, out
    assert (tmp_path / "made.txt").read_text() == "made\n", out
    first, last = provider(second).seen[0].json, provider(second).seen[-1].json
    names = [tool.get("function", tool)["name"] for tool in first["tools"]]
    assert "functions__exec" in names and len(names) >= 9
    assert first["tools"] == last["tools"] and "made" in json.dumps(last["messages"][-1])
