"""Reads Responses requests from clients (docs/wire/requests.md)."""

from typing import Any

from attrs import evolve

from gateway.wire.codec.json_body import JsonBody
from gateway.wire.codec.node import Node
from gateway.wire.neutral import Format, Request, Sampling, Thinking, Tool, ToolChoice
from gateway.wire.openai_responses.read_items import no_storage, read_input
from gateway.wire.openai_responses.write_items import NAME
from gateway.wire.translation.tools import CLIENT_KINDS, MODES, distinct

_READ = frozenset(
    {
        "model", "input", "instructions", "stream", "stream_options", "max_output_tokens", "temperature", "top_p",
        "top_logprobs", "tools", "tool_choice", "parallel_tool_calls", "text", "reasoning", "safety_identifier",
        "user", "prompt_cache_key", "service_tier", "metadata", "store", "include", "previous_response_id",
        "conversation", "background", "prompt", "client_metadata", "truncation",
        "generate",
    }
)  # fmt: skip
INCLUDABLE = frozenset(
    {
        "file_search_call.results", "web_search_call.results", "web_search_call.action.sources",
        "message.input_image.image_url", "computer_call_output.output.image_url",
        "code_interpreter_call.outputs", "reasoning.encrypted_content", "message.output_text.logprobs",
    }
)  # fmt: skip
_STRINGS = {"type": "array", "items": {"type": "string"}}
# Built-in tools that the client runs, as functions for models that do not know them
# (docs/wire/tools.md#codex-built-ins).
# Name -> (description, properties of the parameters, required ones).
_BUILTIN: dict[str, tuple[str, dict[str, Any], list[str]]] = {
    "local_shell": (
        "Run a command on the user's machine",
        {"command": _STRINGS, "working_directory": {"type": "string"}, "timeout_ms": {"type": "integer"}},
        ["command"],
    ),
    "shell": (
        "Run commands in a shell",
        {"commands": _STRINGS, "timeout_ms": {"type": "integer"}, "max_output_length": {"type": "integer"}},
        ["commands"],
    ),
    "apply_patch": (
        "Create, update or delete a file",
        {
            "operation": {
                "type": "object",
                "properties": {
                    "type": {"type": "string", "enum": ["create_file", "update_file", "delete_file"]},
                    "path": {"type": "string"},
                    "diff": {"type": "string"},
                },
                "required": ["type", "path"],
            }
        },
        ["operation"],
    ),
}


def read_request(body: JsonBody) -> Request:
    """Read a Responses request. Raises BadRequest with the place, CannotSay for what no other dialect has."""
    node = Node(body.members)
    no_storage(node)
    payload = read_input(node)
    text, reasoning = node.node("text"), node.node("reasoning")
    _check_include(node)
    if node.has("top_logprobs") or "message.output_text.logprobs" in (node.value("include") or ()):
        payload.lost.append("top_logprobs")
    if node.flag("store"):
        payload.lost.append("store")  # where the gateway stores the response, it has set this to false
    extra = {name: raw for name, raw in node.members.items() if name not in _READ and node.has(name)}
    if node.value("truncation") == "auto":
        payload.lost.append("truncation")
    return Request(
        origin=NAME,
        model=node.text("model") or "",
        system=payload.system,
        turns=payload.turns,
        tools=_read_tools(node),
        choice=_read_choice(node),
        parallel=node.flag("parallel_tool_calls"),
        max_output=node.whole("max_output_tokens"),
        is_warm_up=node.flag("generate") is False,
        sampling=Sampling(node.number("temperature"), node.number("top_p")),
        format=_read_format(text),
        thinking=_read_thinking(reasoning),
        is_stream=bool(node.flag("stream")),
        cache_key=node.text("prompt_cache_key"),
        user=node.text("safety_identifier") or node.text("user"),
        tier=node.text("service_tier"),
        verbosity=text.text("verbosity") if text is not None else None,
        metadata=node.mapping("metadata") or None,
        extra=extra | dict.fromkeys(payload.lost),
        echo={name: node.value(name) for name in node.members if name != "input"},
    )


def _check_include(node: Node) -> None:
    for index, (raw, _) in enumerate(node.items("include")):
        word = bytes(raw).decode().strip('"')
        if word not in INCLUDABLE:
            raise node.refuse(
                f"include[{index}]", f"Invalid value: '{word[:100]}'. Supported: {', '.join(sorted(INCLUDABLE))}"
            )


def _read_tools(node: Node) -> list[Tool]:
    tools = [tool for one in node.nodes("tools") for tool in _read_tool(one, None)]
    return distinct(tools)


def _read_tool(node: Node, namespace: str | None) -> list[Tool]:
    kind = node.needed_text("type")
    match kind:
        case "function":
            return [
                Tool(
                    node.needed_text("name"),
                    description=node.text("description"),
                    parameters=node.mapping("parameters"),
                    strict=node.flag("strict"),
                    namespace=namespace,
                )
            ]
        case "custom":
            form = node.mapping("format") or {}
            grammar: dict[str, Any] = {name: form[name] for name in ("syntax", "definition") if name in form}
            name, described = node.needed_text("name"), node.text("description")
            return [Tool(name, "custom", described, grammar=grammar or None, namespace=namespace)]
        case "namespace":
            inside = node.needed_text("name")
            tools = [tool for one in node.nodes("tools") for tool in _read_tool(one, inside)]
            about = node.text("description") if node.kind("description") == "a string" else None
            return _described(inside, about, tools) if about else tools
        case _ if kind in _BUILTIN:
            description, properties, required = _BUILTIN[kind]
            schema = {"type": "object", "properties": properties, "required": required}
            return [Tool(kind, description=description, parameters=schema)]
        case _:
            family = "web_search" if kind.startswith("web_search") else kind
            raw = {name: node.value(name) for name in node.members}
            return [Tool(node.text("name") or kind, family, origin=NAME, raw=raw)]


def _described(namespace: str, about: str, tools: list[Tool]) -> list[Tool]:
    """Put a namespace's description behind that of its first tool: no other dialect has a place for it."""
    place = next((number for number, tool in enumerate(tools) if tool.kind in CLIENT_KINDS), None)
    if place is None:
        return tools
    own = f"{tools[place].description}\n\n" if tools[place].description else ""
    tools[place] = evolve(tools[place], description=f"{own}About all tools of {namespace}: {about}")
    return tools


def _read_choice(node: Node) -> ToolChoice | None:
    if not node.has("tool_choice"):
        return None
    if node.kind("tool_choice") == "a string":
        mode = node.needed_text("tool_choice")
        if mode not in MODES:
            raise node.refuse(
                "tool_choice", f"'tool_choice' must be auto, none, required or an object, not '{mode[:50]}'"
            )
        return ToolChoice(MODES[mode])
    choice = node.node("tool_choice")
    assert choice is not None
    kind = choice.needed_text("type")
    if kind == "allowed_tools":
        names = tuple(one.text("name") or one.needed_text("type") for one in choice.nodes("tools"))
        return ToolChoice("required" if MODES.get(choice.text("mode") or "") == "required" else "auto", allowed=names)
    if kind in MODES:
        return ToolChoice(MODES[kind])
    return ToolChoice("named", choice.text("name") or kind, is_hosted=kind not in CLIENT_KINDS and kind not in _BUILTIN)


def _read_format(text: Node | None) -> Format:
    form = text.node("format") if text is not None else None
    if form is None:
        return Format()
    kind = form.needed_text("type")
    if kind not in ("text", "json_object", "json_schema"):
        raise form.refuse("type", f"'{form.at('type')}' must be text, json_object or json_schema")
    if kind != "json_schema":
        return Format(kind)
    name = form.text("name") or "output"
    return Format(kind, name, form.text("description"), form.mapping("schema") or {}, form.flag("strict"))


def _read_thinking(reasoning: Node | None) -> Thinking:
    if reasoning is None:
        return Thinking()
    effort = reasoning.text("effort")
    summary = reasoning.text("summary") or reasoning.text("generate_summary")
    return Thinking("off") if effort == "none" else Thinking(effort=effort, summary=summary)
