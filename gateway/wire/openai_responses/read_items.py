"""Reads the items of a Responses request as a neutral conversation.

See docs/wire/conversation.md, docs/wire/tools.md#codex-built-ins, docs/wire/responses.md#input-normalisation.
"""

from collections.abc import Callable, Iterator
from functools import partial

import msgspec
from attrs import define, evolve, field

from gateway.errors import BadRequest, CannotSay
from gateway.wire.codec.node import Node, decode
from gateway.wire.neutral import (
    Audio,
    Block,
    CacheMark,
    Compacted,
    Document,
    Image,
    Opaque,
    Reasoning,
    Refusal,
    Role,
    Source,
    Text,
    Tool,
    ToolCall,
    ToolResult,
    Turn,
)
from gateway.wire.openai_responses.read_tools import is_in_container, read_tools
from gateway.wire.openai_responses.write_items import NAME
from gateway.wire.translation import media
from gateway.wire.translation.compaction import LOST, UNREADABLE
from gateway.wire.translation.envelope import is_envelope
from gateway.wire.translation.names import Named
from gateway.wire.translation.tool_search import NOTHING_FOUND, SEARCH
from gateway.wire.translation.tools import CLIENT_KINDS
from gateway.wire.translation.turn_order import ERROR_MARK

# The last item of a request that asks for a compaction in place of a reply (SDK type CompactionTrigger).
TRIGGER = "compaction_trigger"
# OpenAI's built-in tools that the client runs; other models get them as functions. Type of the call -> function name.
EMULATED = {"local_shell_call": "local_shell", "shell_call": "shell", "apply_patch_call": "apply_patch"}
_OUTPUTS = frozenset(
    {
        "function_call_output",
        "custom_tool_call_output",
        "local_shell_call_output",
        "shell_call_output",
        "apply_patch_call_output",
    }
)
COMPACTIONS = frozenset({"compaction", "context_compaction", "compaction_summary"})
# Results of tools that have no function in their place, and who brings them.
_RESULTS = {"computer_call_output": Role.USER, "program": Role.ASSISTANT, "program_output": Role.ASSISTANT}
_ROLES = {"user": Role.USER, "assistant": Role.ASSISTANT, "system": Role.SYSTEM, "developer": Role.DEVELOPER}


@define
class Conversation:
    """The items read so far, as system texts, turns and the tools that they bring.

    `lost` names what cannot be sent in another dialect.
    """

    system: list[Text] = field(factory=list)
    lost: list[str] = field(factory=list)
    tools: list[Tool] = field(factory=list)
    own_tools: Callable[[], Iterator[Node]] = lambda: iter(())  # those of the request itself
    is_triggered: bool = field(default=False, init=False)  # the last item asks for a compaction
    _hosted: set[str] = field(factory=set, init=False)  # ids of the calls that the provider has run
    _sides: list[tuple[Role, list[Block]]] = field(factory=list, init=False)

    @property
    def turns(self) -> list[Turn]:
        """The turns so far; consecutive items of one role are one turn (docs/wire/tools.md#calls-in-history)."""
        return [Turn(role, tuple(blocks)) for role, blocks in self._sides]

    def read(self, item: Node, raw: msgspec.Raw) -> None:
        """Add the next item; `raw` is its JSON. Raises BadRequest with the place."""
        kind = item.text("type") or ("message" if item.has("role") else "")
        was_triggered, self.is_triggered = self.is_triggered, kind == TRIGGER
        match kind:
            case "message":
                self._read_message(item)
            case "function_call" | "custom_tool_call":
                self.add(Role.ASSISTANT, _call(item, kind))
            case "reasoning":
                self.add(Role.ASSISTANT, _thought(item))
            case "additional_tools":
                item.take("role")
                self.tools += read_tools(item)
            case "tool_search_call":
                if item.has("call_id"):  # without it OpenAI has run the search: its output says what it found
                    self.add(Role.ASSISTANT, _search(item))
                item.take()
            case "tool_search_output":
                self._read_found(item)
                item.take()
            case "agent_message":
                self.add(Role.ASSISTANT, *_content(item, "content"))
            case "item_reference":
                name = item.text("id") or ""
                raise BadRequest(
                    f"Item with id '{name[:100]}' not found. Items are not persisted when store is set to false.",
                    param=item.at("id"),
                )
            case _ if kind in _RESULTS or self._is_hosted(item, kind):
                item.take()
                self.add(_RESULTS.get(kind, Role.ASSISTANT), Opaque(NAME, kind, raw), *_screenshot(item))
            case _ if kind in EMULATED:
                self.add(Role.ASSISTANT, _emulated(item, kind))
            case _ if kind in _OUTPUTS:
                self.add(Role.USER, _output(item, kind))
            case _ if kind in COMPACTIONS:
                self._read_compaction(item.text("encrypted_content"), was_triggered=was_triggered)
            case _ if kind == TRIGGER:
                pass  # one that is not the last item has had its answer
            case _ if kind.endswith("_call"):
                item.take()
                self.add(Role.ASSISTANT, Opaque(NAME, kind, raw))
            case "":
                raise item.refuse("type", f"'{item.at('type')}' is missing", "missing_required_parameter")
            case _:
                item.take()
                self.lost.append(f"input.{kind}")

    def _read_compaction(self, sealed: str | None, *, was_triggered: bool) -> None:
        """Read what stands for the turns before it. Behind its trigger everything that it stands for is still there."""
        if is_envelope(sealed):
            self.add(Role.USER, Compacted(sealed=sealed, is_whole=was_triggered))
        elif sealed and not was_triggered:
            self.lost.append(LOST)
            self.add(Role.USER, Text(UNREADABLE))

    def _is_hosted(self, item: Node, kind: str) -> bool:
        """Whether a shell call, or its output, is of a container of the provider: no client may run it."""
        if kind == "shell_call_output":
            return item.text("call_id") in self._hosted
        if kind != "shell_call":
            return False
        if not item.has("environment"):
            is_hosted = any(is_in_container(tool) for tool in self.own_tools() if tool.text("type") == "shell")
        else:
            is_hosted = is_in_container(item)
        if is_hosted:
            self._hosted.add(item.needed_text("call_id"))
        return is_hosted

    def _read_message(self, item: Node) -> None:
        name = item.needed_text("role")
        if name not in _ROLES:
            raise item.refuse("role", f"'{item.at('role')}' must be a known role, not '{name[:50]}'")
        if name != "assistant" or item.kind("content") == "null":
            item.check_filled("content")
        blocks = list(_content(item, "content", item.text("phase")))
        role = _ROLES[name]
        is_leading = role in (Role.SYSTEM, Role.DEVELOPER) and not self._sides
        if is_leading and all(isinstance(block, Text) for block in blocks):
            self.system += [block for block in blocks if isinstance(block, Text) and block.text]
        else:
            self.add(role, *blocks)

    def _read_found(self, item: Node) -> None:
        """Take what a search for tools has found: the model gets the names, and the tools are offered from here on."""
        found = read_tools(item)
        self.tools += [evolve(tool, is_deferred=tool.kind in CLIENT_KINDS) for tool in found]
        names = [Named(tool.name, tool.namespace).qualified for tool in found]
        places = tuple((tool.name, tool.namespace) for tool in found)
        if (call_id := item.text("call_id")) is not None:
            said = Text("\n".join(names) or NOTHING_FOUND, tools=places)
            self.add(Role.USER, ToolResult(call_id, (said,)))
        elif found:
            self.add(Role.ASSISTANT, Text(f"[tools found: {', '.join(names)}]", tools=places))

    def add(self, role: Role, *blocks: Block) -> None:
        """Add blocks: to the last turn if it has this role, otherwise as a new turn."""
        if self._sides and self._sides[-1][0] is role:
            self._sides[-1][1].extend(blocks)
        else:
            self._sides.append((role, list(blocks)))


def read_input(body: Node) -> Conversation:
    """Read `instructions` and `input`. Raises BadRequest with the place."""
    found = Conversation(own_tools=partial(body.nodes, "tools"))
    if instructions := body.text("instructions"):
        found.system.append(Text(instructions))
    if body.kind("input") == "a string":
        found.add(Role.USER, Text(body.needed_text("input")))
        return found
    if body.flag("generate") is not False:  # a request that only warms a cache may have nothing to say yet
        body.check_filled("input")
    for raw, path in body.items("input"):
        found.read(body.child(raw, path), raw)
    return found


def _screenshot(item: Node) -> Iterator[Image]:
    """Yield the picture of the screen that a computer call has brought."""
    shown = item.node("output") if item.kind("output") == "an object" else None
    if shown is not None and shown.text("image_url"):
        yield Image(_source(shown, "image_url"))


def _content(node: Node, name: str, phase: str | None = None) -> Iterator[Block]:
    kind = node.kind(name)
    if kind == "a string":
        if text := node.text(name):
            yield Text(text, phase=phase)
    elif kind != "null":
        for raw, path in node.items(name):
            yield _part(node.child(raw, path), raw, phase)


def _part(part: Node, raw: msgspec.Raw, phase: str | None) -> Block:
    kind = part.needed_text("type")
    match kind:
        case "input_text" | "output_text" | "text" | "summary_text" | "reasoning_text":
            return Text(part.text("text") or "", cache=_mark(part), phase=phase)
        case "refusal":
            return Refusal(part.text("refusal") or "")
        case "input_image":
            return Image(_source(part, "image_url"), part.text("detail"), _mark(part))
        case "input_file":
            name = "file_url" if part.has("file_url") else "file_data"
            return Document(_source(part, name), part.text("filename"), cache=_mark(part))
        case "input_audio":
            inner = part.node("input_audio") or part
            return Audio(inner.needed_text("data"), inner.text("format") or "wav")
        case _:
            part.take()
            return Opaque(NAME, kind, raw)


def _mark(part: Node) -> CacheMark | None:
    mark = part.node("prompt_cache_breakpoint")
    if mark is None:
        return None
    mark.take("mode")  # always explicit
    return CacheMark(mark.text("ttl"))


def _source(part: Node, name: str) -> Source:
    if (file_id := part.text("file_id")) is not None:
        return Source(file_id=file_id)
    try:
        return media.read_url(part.needed_text(name))
    except ValueError as error:
        raise part.refuse(name, f"'{part.at(name)}' is {error}") from None


def _call(item: Node, kind: str) -> ToolCall:
    is_custom = kind == "custom_tool_call"
    return ToolCall(
        item.needed_text("call_id"),
        item.needed_text("name"),
        item.text("input" if is_custom else "arguments") or "",
        "custom" if is_custom else "function",
        item.text("namespace"),
    )


def _search(item: Node) -> ToolCall:
    """Read the call of a search for tools that the client has run."""
    given = item.raw("arguments")
    is_text = item.kind("arguments") == "a string"
    arguments = item.text("arguments") if is_text else bytes(given).decode() if given is not None else None
    return ToolCall(item.needed_text("call_id"), SEARCH, arguments or "{}")


def _emulated(item: Node, kind: str) -> ToolCall:
    """Read a call of a built-in tool as a call of the function that other models get for it.

    See docs/wire/tools.md#codex-built-ins.
    """
    name = "operation" if kind == "apply_patch_call" else "action"
    given = item.mapping(name) or {}
    arguments = {"operation": given} if name == "operation" else {k: v for k, v in given.items() if k != "type"}
    return ToolCall(item.needed_text("call_id"), EMULATED[kind], msgspec.json.encode(arguments).decode())


def _output(item: Node, kind: str) -> ToolResult:
    call_id = item.text("call_id") or item.needed_text("id")
    is_error = bytes(item.members.get("status", b"")) == b'"failed"'
    if is_error:
        item.take("status")  # the mark before the text says it
    if kind == "shell_call_output" and item.kind("output") == "an array":
        runs = decode(item.members["output"], list[object], item.at("output"), "an array")
        blocks: tuple[Block, ...] = (Text(msgspec.json.encode(runs).decode()),)
    else:
        blocks = tuple(_content(item, "output"))
    first = blocks[0] if blocks else None
    if isinstance(first, Text) and first.text.startswith(ERROR_MARK):
        blocks, is_error = (Text(first.text.removeprefix(ERROR_MARK)), *blocks[1:]), True
    return ToolResult(call_id, blocks, is_error, "custom" if kind.startswith("custom") else "function")


def _thought(item: Node) -> Reasoning:
    summary = [node.text("text") or "" for node in item.nodes("summary")]
    content = [node.text("text") or "" for node in item.nodes("content")]
    shown = tuple(filter(None, summary))
    parts = shown or tuple(filter(None, content))
    return Reasoning(parts, bool(shown), sealed=item.text("encrypted_content"), origin=NAME, id=item.text("id"))


def no_storage(body: Node) -> None:
    """Refuse members that need stored responses or prompt templates.

    Where the gateway stores responses, it has already joined the stored conversation and removed
    `previous_response_id` and `background`. Raises BadRequest in the words of the real API, CannotSay for `prompt`.
    """
    if (previous := body.text("previous_response_id")) is not None:
        if not previous.startswith("resp"):
            raise BadRequest(
                f"Invalid 'previous_response_id': '{previous[:100]}'. Expected an ID that begins with 'resp'.",
                param="previous_response_id",
                code="invalid_value",
            )
        raise BadRequest(
            f"Previous response with id '{previous[:100]}' not found.",
            param="previous_response_id",
            code="previous_response_not_found",
        )
    if body.has("conversation"):
        raise BadRequest("Conversations are not kept on this path: send the items", param="conversation")
    if body.flag("background"):
        raise BadRequest("Background responses need storage", param="background", code="background_not_supported")
    if body.has("prompt"):
        raise CannotSay("Prompt templates are known to OpenAI only: send the items", param="prompt")
