"""Writes a neutral conversation as Responses items (docs/wire/conversation.md, docs/wire/tools.md#calls-in-history)."""

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from attrs import define, field

from gateway.errors import CannotSay
from gateway.wire.neutral import (
    Audio,
    Block,
    CacheMark,
    Document,
    Image,
    Opaque,
    Reasoning,
    Refusal,
    Request,
    Role,
    Text,
    ToolCall,
    ToolResult,
    Turn,
)
from gateway.wire.profile import Profile
from gateway.wire.translation import media
from gateway.wire.translation.hosted_text import foreign_as_text
from gateway.wire.translation.memo import Memo
from gateway.wire.translation.names import mint, safe_id
from gateway.wire.translation.turn_order import ATTRIBUTION, ERROR_MARK, SYSTEM_ROLES, shape
from gateway.wire.translation.unwritten import note_unwritten

NAME = "openai_responses"
# Attributes of blocks that Responses has no member for.
_UNWRITTEN = {"citations": "citations", "has_citations": "citations"}
_MAX_BREAKPOINTS = 4  # OpenAI takes no more of them in a request; the latest stay


def write_input(request: Request, memo: Memo, profile: Profile) -> tuple[str | None, list[dict[str, Any]]]:
    """Return (`instructions`, `input`). Raises CannotSay for content that the upstream cannot take.

    A single system text becomes `instructions`. Several, or one with a cache mark, become a developer message.
    """
    writer = _Writer(memo, profile)
    system = [block for block in request.system if block.text and not block.text.startswith(ATTRIBUTION)]
    instructions = None
    if len(system) == 1 and system[0].cache is None:
        instructions = system[0].text
    elif system:
        writer.write_message("developer", system)
    note_unwritten(request, memo, _UNWRITTEN)
    turns = shape(foreign_as_text(request.turns, NAME, memo.drops), memo.drops)
    calls = (block for turn in turns for block in turn.blocks if isinstance(block, ToolCall))
    writer.custom |= {call.id for call in calls if call.kind == "custom"}
    for turn in turns:
        writer.write(turn)
    if (
        not writer.items
    ):  # no messages: the instructions become the question (docs/wire/conversation.md#system-and-developer-text)
        writer.write_message("user", [Text(instructions or "(empty)")])
        instructions = None
    for part in writer.marked[:-_MAX_BREAKPOINTS]:
        del part["prompt_cache_breakpoint"]
    return instructions, writer.items


@define
class _Writer:
    """Collects the items. `marked` are the parts that carry a cache breakpoint."""

    memo: Memo
    profile: Profile
    items: list[dict[str, Any]] = field(factory=list)
    marked: list[dict[str, Any]] = field(factory=list)
    custom: set[str] = field(factory=set)  # ids of freeform calls

    def write(self, turn: Turn) -> None:
        if turn.role in SYSTEM_ROLES:
            self.write_message("developer", turn.blocks)
        elif turn.role is Role.ASSISTANT:
            self._write_assistant(turn.blocks)
        else:
            results = [block for block in turn.blocks if isinstance(block, ToolResult)]
            for result in results:
                self._write_result(result)
            self.write_message("user", [block for block in turn.blocks if not isinstance(block, ToolResult)])

    def write_message(self, role: str, blocks: Sequence[Block]) -> None:
        content = [part for block in blocks for part in self._part(block)]
        if content:
            self.items.append({"type": "message", "role": role, "content": content})

    def _write_assistant(self, blocks: Sequence[Block]) -> None:
        """Write items in the order of the blocks; consecutive texts become one message.

        Its items have an `id` and a `status`: OpenAI's types for past output require them, and strict servers too.
        """
        message: dict[str, Any] | None = None
        for number, block in enumerate(blocks):
            if isinstance(block, Text | Refusal):
                if not block.text:
                    continue
                if message is None:
                    named = {"id": mint("msg_", len(self.items), block.text), "type": "message", "role": "assistant"}
                    message = {**named, "status": "completed", "content": []}
                    if isinstance(block, Text) and block.phase:
                        message["phase"] = block.phase
                    self.items.append(message)
                message["content"].append(_said(block))
                continue
            message = None
            match block:
                case ToolCall():
                    self.items.append(self._call(block))
                case Reasoning() if block.origin == NAME and block.sealed and _says_more(blocks[number + 1 :]):
                    self.items.append(_thought(block))
                case Reasoning():
                    self.memo.drops.add("reasoning")
                case Opaque() if block.origin == NAME:
                    self.items.append(_own(block))
                case _:
                    self._drop(block)

    def _call(self, call: ToolCall) -> dict[str, Any]:
        name = self.memo.names.safe(call.name, call.namespace)
        named = {"call_id": safe_id(call.id), "name": name}
        if call.cache is not None:
            self.memo.drops.add("cache_control")
        if call.kind == "custom":
            return {"id": mint("ctc_", call.id), "type": "custom_tool_call", **named, "input": call.arguments}
        arguments = call.arguments.strip() or "{}"
        return {
            "id": mint("fc_", call.id), "type": "function_call", **named, "arguments": arguments, "status": "completed",
        }  # fmt: skip

    def _write_result(self, result: ToolResult) -> None:
        if result.cache is not None:
            self.memo.drops.add("cache_control")
        kind = "custom_tool_call_output" if result.call_id in self.custom else "function_call_output"
        parts = [part for block in result.blocks for part in self._part(block)]
        output: str | list[dict[str, Any]] = parts
        if all(part["type"] == "input_text" for part in parts):
            output = (ERROR_MARK if result.is_error else "") + "\n".join(part["text"] for part in parts)
        elif result.is_error:
            output = [{"type": "input_text", "text": ERROR_MARK.strip()}, *parts]
        self.items.append({"type": kind, "call_id": safe_id(result.call_id), "output": output})

    def _part(self, block: Block) -> Iterator[dict[str, Any]]:
        match block:
            case Text() if block.text:
                yield self._mark({"type": "input_text", "text": block.text}, block.cache)
            case Image():
                yield self._mark(self._image(block), block.cache)
            case Document():
                yield self._mark(self._file(block), block.cache)
            case Audio():  # no content part of this API (SDK type ResponseInputContent)
                raise CannotSay("This model takes no sound", param="input")
            case Opaque():
                self._drop(block)
                yield {"type": "input_text", "text": f"[{block.kind}]"}
            case Refusal() | ToolCall() | Reasoning():
                self._drop(block)

    def _mark(self, part: dict[str, Any], cache: CacheMark | None) -> dict[str, Any]:
        if cache is not None and self.profile.cache_breakpoints:
            part["prompt_cache_breakpoint"] = {"mode": "explicit"}
            self.marked.append(part)
        elif cache is not None:
            self.memo.drops.add("cache_control")
        return part

    def _image(self, image: Image) -> dict[str, Any]:
        if not self.profile.image:
            raise CannotSay("This model takes no pictures", param="input")
        if image.source.file_id is not None:
            raise _foreign_file(image.source.file_id)
        return {
            "type": "input_image",
            "image_url": media.write_url(image.source),
            "detail": image.detail or "auto",
        }

    def _file(self, document: Document) -> dict[str, Any]:
        source = document.source
        if source.file_id is not None:
            raise _foreign_file(source.file_id)
        if (text := media.text_in(source)) is not None:
            heads = [head for head in (document.name, document.context) if head]
            return {"type": "input_text", "text": f"[document{': ' if heads else ''}{' — '.join(heads)}]\n{text}"}
        if document.context:
            self.memo.drops.add("messages.context")
        if not self.profile.pdf:
            raise CannotSay("This model takes no files", param="input")
        if source.url is not None:
            return {"type": "input_file", "file_url": source.url}
        name = document.name or "document.pdf"
        return {"type": "input_file", "filename": name, "file_data": media.write_url(source)}

    def _drop(self, block: Block) -> None:
        kind = block.kind if isinstance(block, Opaque) else type(block).__name__.lower()
        self.memo.drops.add(f"messages.{kind}")


def _says_more(blocks: Sequence[Block]) -> bool:
    """Whether a text or a call follows: OpenAI refuses a reasoning item that nothing follows."""
    return any(isinstance(block, ToolCall) or (isinstance(block, Text | Refusal) and block.text) for block in blocks)


def _said(block: Text | Refusal) -> dict[str, Any]:
    if isinstance(block, Refusal):
        return {"type": "refusal", "refusal": block.text}
    return {"type": "output_text", "text": block.text, "annotations": []}


def _thought(block: Reasoning) -> dict[str, Any]:
    """Write a reasoning item, with its `id` only if OpenAI gave it one.

    See docs/wire/conversation.md#reasoning-round-trip.
    """
    item: dict[str, Any] = {"type": "reasoning"}
    if block.id and block.id.startswith("rs_"):
        item["id"] = block.id
    item["summary"] = [{"type": "summary_text", "text": part} for part in block.parts if block.is_summary]
    return {**item, "encrypted_content": block.sealed}


def _own(block: Opaque) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(block.raw)
    return found


def _foreign_file(file_id: str) -> CannotSay:
    return CannotSay(f"The file '{file_id}' is known to another provider only: send its content", param="input")
