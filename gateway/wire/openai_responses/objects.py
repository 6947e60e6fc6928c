"""Makes objects that Responses clients receive: the response, ids of our own, calls of built-in tools."""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from gateway.wire.neutral import Image, Opaque, Tool, ToolCall
from gateway.wire.openai_responses.read_items import EMULATED
from gateway.wire.openai_responses.write_items import NAME
from gateway.wire.translation.memo import Memo
from gateway.wire.translation.tool_search import SEARCH

# Letters of `instructions` or of `metadata`. Each of three events of a stream repeats them, and so does what is stored.
MAX_ECHO = 256 * 1024
# What a response says of a number that the request has left to the model. Clients' types take no null here.
_NUMBERS = {"temperature": 1.0, "top_p": 1.0, "top_logprobs": 0, "presence_penalty": 0.0, "frequency_penalty": 0.0}
_PICTURES = frozenset({"png", "webp", "jpeg", "gif", "svg"})  # SDK type ImageGenerationCall
_BUILTIN = {name: kind for kind, name in EMULATED.items()} | {SEARCH: "tool_search_call"}
_PREFIXES = {"local_shell_call": "lsh_", "shell_call": "sh_", "apply_patch_call": "apc_", "tool_search_call": "tsc_"}


def make_id(prefix: str, *parts: object) -> str:
    """Return an id of our own: `prefix` and 40 hexadecimal digits. The same parts give the same id."""
    return prefix + hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()[:40]


def new_response(memo: Memo) -> dict[str, Any]:
    """Return the response object with which a stream begins.

    It echoes the members of the request except those that were dropped on the way upstream; `metadata`, which is the
    client's own, is always echoed.
    """
    lost = memo.drops.names
    echo = {name: value for name, value in memo.request.echo.items() if name not in lost or name == "metadata"}
    if isinstance(text := echo.get("text"), dict):
        echo["text"] = {name: value for name, value in text.items() if name not in lost}
    return response_object(echo, make_id("resp_", memo.seed), memo.now, memo.request.model)


def response_object(echo: Mapping[str, Any], name: str, now: int, model: str) -> dict[str, Any]:
    """Return a response object in progress, without output (SDK type Response).

    `echo` are the members of its request, `name` is its id, `now` the Unix time at which it was created. `store` is
    false; the recorder of a stored response sets it to true.
    """
    reasoning, text = (_mapping(echo.get(name)) for name in ("reasoning", "text"))
    return {
        "id": name,
        "object": "response",
        "created_at": now,
        "completed_at": None,
        "status": "in_progress",
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": _bounded(echo.get("instructions"), None),
        "max_output_tokens": echo.get("max_output_tokens"),
        "model": model,
        "output": [],
        "parallel_tool_calls": echo.get("parallel_tool_calls", True) is not False,
        "previous_response_id": None,
        "reasoning": {"effort": reasoning.get("effort"), "summary": reasoning.get("summary")},
        "service_tier": echo.get("service_tier") or "default",
        "store": False,
        **{name: default if echo.get(name) is None else echo[name] for name, default in _NUMBERS.items()},
        "text": {**text, "format": _filled_format(text.get("format"))},
        "tool_choice": echo.get("tool_choice") or "auto",
        "tools": [_filled_tool(tool) for tool in tools] if isinstance(tools := echo.get("tools"), list) else [],
        "max_tool_calls": echo.get("max_tool_calls"),
        "prompt_cache_key": echo.get("prompt_cache_key"),
        "prompt_cache_retention": echo.get("prompt_cache_retention"),
        "safety_identifier": echo.get("safety_identifier"),
        "truncation": echo.get("truncation") or "disabled",
        "usage": None,
        "user": echo.get("user"),
        "metadata": _bounded(echo.get("metadata"), {}) or {},
    }


def _filled_tool(tool: Any) -> Any:
    """Return a tool with the members that the API adds where a client has left them out.

    See docs/wire/replies.md#members-of-a-response.
    """
    match tool:
        case {"type": "function"}:
            return tool | {name: None for name in ("description", "parameters", "strict") if name not in tool}
        case {"type": "custom"}:
            return tool | {"description": tool.get("description"), "format": tool.get("format") or {"type": "text"}}
        case {"type": "namespace", "tools": [*inner]}:
            return tool | {"tools": [_filled_tool(one) for one in inner]}
    return tool


def _filled_format(form: Any) -> Any:
    """Return the format of the reply with the members that the API adds; text if the client named none."""
    if isinstance(form, dict) and form.get("type") == "json_schema":
        return form | {"description": form.get("description"), "strict": form.get("strict") is True}
    return form or {"type": "text"}


def _bounded(value: Any, instead: Any) -> Any:
    """Return what a response repeats of its request, or `instead` if it is too large to be sent three times."""
    parts = value.values() if isinstance(value, dict) else [value] if value is not None else []
    size = sum(len(one) if isinstance(one, str) else 0 for one in parts)
    return value if size <= MAX_ECHO else instead


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def is_builtin(name: str) -> bool:
    """Whether a function stands for one of OpenAI's built-in tools that the client runs."""
    return name in _BUILTIN


def means_builtin(call: ToolCall, tools: Iterable[Tool]) -> bool:
    """Whether a call means a built-in tool that its client runs: one of `tools`, and no function of the same name."""
    if not is_builtin(call.name) or call.namespace is not None:
        return False
    return any(tool.name == call.name and tool.kind == "function" and tool.raw for tool in tools)


def builtin_item(call: ToolCall, arguments: str) -> dict[str, Any] | None:
    """Return the item of a built-in tool's call, in progress; None if `arguments` is not valid for that tool."""
    kind = _BUILTIN[call.name]
    payload = _action(kind, arguments)
    if payload is None:
        return None
    return {
        "id": make_id(_PREFIXES[kind], call.id),
        "type": kind,
        "call_id": call.id,
        "status": "in_progress",
        **payload,
    }


def _action(kind: str, text: str) -> dict[str, Any] | None:
    """Return the members that say what a call does, from the function's JSON arguments; None if these are invalid."""
    try:
        given = msgspec.json.decode(text or "{}", type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    if kind == "apply_patch_call":
        operation = given.get("operation", given)
        return {"operation": operation} if isinstance(operation, dict) else None
    if kind == "tool_search_call":
        return {"execution": "client", "arguments": given}
    name = "command" if kind == "local_shell_call" else "commands"
    commands = given.get(name)
    if isinstance(commands, str):
        given[name] = commands = ["bash", "-lc", commands] if name == "command" else [commands]
    if not isinstance(commands, list) or not all(isinstance(one, str) for one in commands):
        return None
    return {"action": {"type": "exec", "env": {}, **given} if kind == "local_shell_call" else given}


def hosted_item(block: Image | Opaque, seed: str, index: int) -> tuple[dict[str, Any] | None, tuple[str, ...]]:
    """Return the item of what a provider's own tool has made, and the steps that its stream shows on the way.

    OpenAI's items stay as they came; a picture becomes that of OpenAI's tool, and a web search of Anthropic OpenAI's.
    None for a picture without bytes, and for tools that OpenAI does not have.
    """
    if isinstance(block, Image):
        if block.source.data is None:
            return None, ()
        kind = block.source.media_type.removeprefix("image/")
        item: dict[str, Any] = {"id": make_id("ig_", seed, index), "type": "image_generation_call"}
        item |= {"status": "completed", "result": block.source.data}
        return item | ({"output_format": kind} if kind in _PICTURES else {}), ("in_progress", "generating", "completed")
    payload = msgspec.json.decode(block.raw)
    if block.origin == NAME:
        return payload, ()
    if block.kind != "server_tool_use" or payload.get("name") != "web_search":
        return None, ()
    given = payload.get("input")
    query = given.get("query") if isinstance(given, dict) else None
    action = {"type": "search", "query": query or "", "queries": [query] if query else []}
    item = {"id": make_id("ws_", seed, index), "type": "web_search_call", "status": "completed", "action": action}
    return item, ("in_progress", "searching", "completed")
