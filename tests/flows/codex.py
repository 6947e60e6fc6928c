"""What tests with Codex share: a home with its settings, and what a model says to it in each dialect."""

import asyncio
import json
import os
import shutil
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from attrs import define

from tests.conftest import Provider
from tests.flows.responses import CONFIG

Providers = Callable[[str], Provider]
CODEX = shutil.which("codex")
NEEDS_CODEX = pytest.mark.skipif(CODEX is None, reason="codex is not installed (npm install -g @openai/codex)")
MODEL = "gpt-5.6-sol"
# The first target is as the preset `openai`: it knows the item `additional_tools`, and makes compactions itself.
CODEX_ROUTES = CONFIG.replace("routes: {", f'routes: {{"{MODEL}": [res:m, SECOND:m], ').replace(
    "speaks: [openai_responses]}",
    'speaks: [openai_responses, openai_compact], models: {"*": {additional_tools: true}}}',
)
SETTINGS = """
model = "{model}"
model_provider = "gateway"
model_auto_compact_token_limit = {limit}
[model_providers.gateway]
name = "{name}"
base_url = "{url}/v1"
wire_api = "responses"
env_key = "GATEWAY_KEY"
"""
LIMIT = 50_000  # tokens from which Codex has its session compacted
TIMEOUT = 35.0  # seconds for one run of Codex: a healthy one needs two
GRANTED = ("--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox")


@define
class Codex:
    """A home of Codex in a folder that it works in; its provider is the gateway at `url`."""

    folder: Path
    url: str
    settings: str = ""  # lines of config.toml, put before all others
    model: str = MODEL
    name: str = "OpenAI"  # of the provider: under this one Codex has its sessions compacted by the server

    async def run(self, *arguments: str) -> str:
        """Run `codex exec` to its end, and return all that it printed."""
        async with self._process("exec", *GRANTED, *arguments, stdin=asyncio.subprocess.DEVNULL) as process:
            out, _ = await process.communicate()
        return out.decode()

    @asynccontextmanager
    async def serve(self) -> AsyncIterator["AppServer"]:
        """Run Codex as the server that editors talk to, with one session."""
        async with self._process("app-server", stdin=asyncio.subprocess.PIPE) as process:
            server = AppServer(process)
            await server.ask("initialize", clientInfo={"name": "test", "version": "1"})
            allowed = {"approvalPolicy": "never", "sandbox": "danger-full-access"}
            said = await server.ask("thread/start", cwd=str(self.folder), **allowed)
            server.thread = said["thread"]["id"]
            yield server

    @asynccontextmanager
    async def _process(self, *arguments: str, stdin: int) -> AsyncIterator[asyncio.subprocess.Process]:
        home = self.folder / "home"
        home.mkdir(exist_ok=True)
        settings = SETTINGS.format(model=self.model, url=self.url, limit=LIMIT, name=self.name)
        (home / "config.toml").write_text(self.settings + settings)
        assert CODEX is not None
        process = await asyncio.create_subprocess_exec(
            CODEX, *arguments,
            cwd=self.folder,
            env={**os.environ, "CODEX_HOME": str(home), "GATEWAY_KEY": "k"},
            stdin=stdin,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            limit=2**24,
            start_new_session=True,
        )  # fmt: skip
        try:
            async with asyncio.timeout(TIMEOUT):
                yield process
        finally:
            with suppress(ProcessLookupError):  # npm's `codex` starts others, which hold its output open
                os.killpg(process.pid, signal.SIGKILL)
            if process.stdin is not None:
                process.stdin.close()
            await process.communicate()


@define
class AppServer:
    """Codex's own server (JSON-RPC by lines), with one session."""

    process: asyncio.subprocess.Process
    thread: str = ""
    _asked: int = 0

    async def ask(self, method: str, **params: Any) -> Any:
        """Send a request, and return its result."""
        self._asked += 1
        asked = {"id": self._asked, "method": method, "params": params}
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(asked).encode() + b"\n")
        return (await self._read(lambda said: said.get("id") == self._asked and "result" in said))["result"]

    async def turn(self, text: str) -> None:
        """Have one turn, and wait for its end."""
        await self.ask("turn/start", threadId=self.thread, input=[{"type": "text", "text": text}])
        await self._end()

    async def compact(self) -> None:
        """Do what `/compact` does in the terminal."""
        await self.ask("thread/compact/start", threadId=self.thread)
        await self._end()

    async def _end(self) -> None:
        said = await self._read(lambda said: said.get("method") == "turn/completed")
        assert said["params"]["turn"]["status"] == "completed", said

    async def _read(self, is_wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            said: dict[str, Any] = json.loads(line) if line.startswith(b"{") else {}
            if is_wanted(said):
                return said
        raise AssertionError("Codex has gone")


def command(line: str) -> str:
    """Return the input of the freeform tool `exec` that runs a command: JavaScript."""
    return f"text(await tools.exec_command({json.dumps({'cmd': line})}));"


def patch(*lines: str) -> str:
    """Return the input of the freeform tool `exec` that edits files."""
    return f"text(await tools.apply_patch({json.dumps(chr(10).join(('*** Begin Patch', *lines, '*** End Patch')))}));"


def call(dialect: str, script: str, tokens: int = 100) -> dict[str, Any]:
    """Return a stream in which the model calls Codex's tool `exec`, in its own dialect, and counts its input."""
    return {"frames": {"oai": _chat_call, "ant": _messages_call, "res": _openais_call}[dialect](script, tokens)}


def _chat_call(script: str, tokens: int) -> list[bytes]:
    function = {"name": "functions__exec", "arguments": json.dumps({"input": script})}
    made = {"index": 0, "id": f"call_{tokens}_{len(script)}", "type": "function", "function": function}
    said: list[dict[str, Any]] = [
        {"choices": [{"index": 0, "delta": {"role": "assistant", "tool_calls": [made]}}]},
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]},
        {"choices": [], "usage": {"prompt_tokens": tokens, "completion_tokens": 5, "total_tokens": tokens + 5}},
    ]
    frames = [{"id": "c", "model": "m", "object": "chat.completion.chunk", **one} for one in said]
    return [f"data: {json.dumps(one)}\n\n".encode() for one in frames] + [b"data: [DONE]\n\n"]


def _messages_call(script: str, tokens: int) -> list[bytes]:
    use = {"type": "tool_use", "id": f"toolu_{tokens}_{len(script)}", "name": "functions__exec", "input": {}}
    usage = {"input_tokens": tokens, "output_tokens": 5}
    message = {"id": "m", "type": "message", "role": "assistant", "model": "m", "content": [], "usage": usage}
    delta = {"type": "input_json_delta", "partial_json": json.dumps({"input": script})}
    return _named(
        {"type": "message_start", "message": message},
        {"type": "content_block_start", "index": 0, "content_block": use},
        {"type": "content_block_delta", "index": 0, "delta": delta},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": usage},
        {"type": "message_stop"},
    )


def _openais_call(script: str, tokens: int) -> list[bytes]:
    """As OpenAI itself says it: sealed reasoning, and a call of the tool in its namespace."""
    thought = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAAA-thought"}
    made = {
        "type": "custom_tool_call", "id": "ctc_1", "call_id": f"call_{tokens}_{len(script)}", "status": "completed",
        "namespace": "functions", "name": "exec", "input": script,
    }  # fmt: skip
    usage = {"input_tokens": tokens, "output_tokens": 5, "total_tokens": tokens + 5}
    return response([thought, made], usage)


def response(items: list[dict[str, Any]], usage: dict[str, Any]) -> list[bytes]:
    """Return a stream of Responses with these items, each whole at once."""
    whole = {"id": "resp_1", "object": "response", "model": "m", "status": "completed", "output": items, "usage": usage}
    added = [
        {"type": f"response.output_item.{event}", "output_index": index, "item": item}
        for index, item in enumerate(items)
        for event in ("added", "done")
    ]
    begun = {"type": "response.created", "response": whole | {"status": "in_progress", "output": []}}
    return _named(begun, *added, {"type": "response.completed", "response": whole})


def _named(*events: dict[str, Any]) -> list[bytes]:
    return [f"event: {one['type']}\ndata: {json.dumps(one)}\n\n".encode() for one in events]
