"""Writes a neutral conversation as `system` and `messages`.

See docs/wire/conversation.md#system-and-developer-text, docs/wire/conversation.md#turn-order.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from attrs import define, evolve, field

from gateway.errors import CannotSay
from gateway.wire.anthropic_messages.read_messages import NAME
from gateway.wire.anthropic_messages.tools import write_cache
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
from gateway.wire.translation.arguments import as_object, wrap_freeform
from gateway.wire.translation.hosted_text import foreign_as_text
from gateway.wire.translation.memo import Memo
from gateway.wire.translation.names import safe_id
from gateway.wire.translation.turn_order import SYSTEM_ROLES, shape, system_as_user
from gateway.wire.translation.unwritten import note_unwritten

# Texts that are put in where Anthropic requires a user turn, or a text in one, and the client sent none.
RESUMED = "(conversation resumed)"
CONTINUE = "Continue."
EMPTY = "(empty)"


@define
class Conversation:
    """The written `system` and `messages`, and in `marked` every block with a cache breakpoint, in order."""

    system: list[dict[str, Any]] = field(factory=list)
    messages: list[dict[str, Any]] = field(factory=list)
    marked: list[dict[str, Any]] = field(factory=list)


def write_conversation(request: Request, memo: Memo, profile: Profile, *, with_thoughts: bool) -> Conversation:
    """Write `system` and `messages`. Raises CannotSay for content that Messages has no block for."""
    writer = _Writer(memo, profile, with_thoughts)
    for block in request.system:
        if block.text:
            writer.out.system.append(writer.marked({"type": "text", "text": block.text}, block.cache))
    spoken = foreign_as_text(request.turns, NAME, memo.drops)
    note_unwritten(request, memo, {"phase": "phase"})
    turns = system_as_user(shape(spoken, memo.drops), profile.mid_system)
    for turn in _movable(_prefillable(_begun(turns), memo, profile)):
        writer.write(turn)
    _join_neighbours(writer.out.messages)
    if not writer.out.messages:
        _ask_with_system(writer.out, memo)
    return writer.out


def has_open_call(request: Request) -> bool:
    """Whether the model is in the middle of its calls: the last turn brings the results of what it called last."""
    last = next((turn for turn in reversed(request.turns) if turn.role is Role.ASSISTANT), None)
    tail = request.turns[-1] if request.turns else None
    answers = tail is not None and any(isinstance(block, ToolResult) for block in tail.blocks)
    return last is not None and answers and any(isinstance(block, ToolCall) for block in last.blocks)


def is_replayable(block: Block) -> bool:
    """Whether a block is a thought of Anthropic's own, with its signature or sealed state."""
    return isinstance(block, Reasoning) and block.origin == NAME and block.has_state


def thinks_before_open_call(request: Request) -> bool:
    """Whether the last assistant turn has a thought that can be sent back."""
    last = next((turn for turn in reversed(request.turns) if turn.role is Role.ASSISTANT), None)
    return last is not None and bool(last.blocks) and any(map(is_replayable, last.blocks))


def _begun(turns: Sequence[Turn]) -> list[Turn]:
    """Put a user turn first if the model's turn is first, which Anthropic refuses."""
    if turns and turns[0].role is Role.ASSISTANT:
        return [Turn(Role.USER, (Text(RESUMED),)), *turns]
    return list(turns)


def _prefillable(turns: list[Turn], memo: Memo, profile: Profile) -> list[Turn]:
    """Add a user turn if the last turn is the model's, and the model cannot continue its own text."""
    if turns and turns[-1].role is Role.ASSISTANT and not profile.prefill:
        memo.drops.add("prefill")
        turns.append(Turn(Role.USER, (Text(CONTINUE),)))
    return turns


def _movable(turns: Sequence[Turn]) -> Iterator[Turn]:
    """Move documents and pictures from assistant turns to the next user turn, behind its tool results."""
    carried: list[Block] = []
    for turn in turns:
        if turn.role is Role.ASSISTANT:
            carried += [block for block in turn.blocks if isinstance(block, Document | Image)]
            yield evolve(turn, blocks=tuple(block for block in turn.blocks if not isinstance(block, Document | Image)))
        elif carried and turn.role is Role.USER:
            results = [block for block in turn.blocks if isinstance(block, ToolResult)]
            rest = [block for block in turn.blocks if not isinstance(block, ToolResult)]
            yield evolve(turn, blocks=(*results, *carried, *rest))
            carried = []
        else:
            yield turn
    if carried:
        yield Turn(Role.USER, tuple(carried))


def _join_neighbours(messages: list[dict[str, Any]]) -> None:
    """Merge neighbouring messages of one role, and trim a prefill at the end.

    Messages of one role become neighbours if the turn between them was written without any block.
    """
    index = 1
    while index < len(messages):
        if messages[index]["role"] == messages[index - 1]["role"]:
            messages[index - 1]["content"] += messages.pop(index)["content"]
        else:
            index += 1
    if messages and messages[-1]["role"] == "assistant":
        _trim_prefill(messages)


def _trim_prefill(messages: list[dict[str, Any]]) -> None:
    """Strip white space from the end of a prefill, as Anthropic refuses it there."""
    block = messages[-1]["content"][-1]
    if block["type"] == "text":
        block["text"] = block["text"].rstrip()
        if not block["text"]:
            messages[-1]["content"].pop()
            if not messages[-1]["content"]:
                messages.pop()


def _ask_with_system(out: Conversation, memo: Memo) -> None:
    """Make a user message of the last system text. For a conversation that has no turns: Anthropic requires one."""
    asked = {"type": "text", "text": EMPTY}
    if out.system:
        asked = out.system.pop()
        memo.drops.add("system")
    out.messages.append({"role": "user", "content": [asked]})


@define
class _Writer:
    memo: Memo
    profile: Profile
    with_thoughts: bool
    out: Conversation = field(factory=Conversation)

    def write(self, turn: Turn) -> None:
        role = "system" if turn.role in SYSTEM_ROLES else turn.role.value
        content = [written for block in turn.blocks for written in self._block(block, turn.role)]
        content = _without_blanks(content)
        if not content and turn.role is Role.USER:
            content = [{"type": "text", "text": EMPTY}]
        if content:
            self.out.messages.append({"role": role, "content": content})

    def marked(self, block: dict[str, Any], cache: CacheMark | None) -> dict[str, Any]:
        if cache is not None:
            block["cache_control"] = write_cache(cache.ttl)
            self.out.marked.append(block)
        return block

    def _block(self, block: Block, role: Role) -> Iterator[dict[str, Any]]:
        match block:
            case Text():
                if block.text:
                    yield self.marked(self._text(block, role), block.cache)
            case Refusal():
                yield {"type": "text", "text": block.text}
            case Image():
                yield self.marked(self._image(block), block.cache)
            case Document():
                yield self.marked(self._document(block), block.cache)
            case Audio():
                raise CannotSay("This model takes no sound", param="messages")
            case ToolCall():
                yield self.marked(self._call(block), block.cache)
            case ToolResult():
                yield self.marked(self._result(block), block.cache)
            case Reasoning():
                yield from self._thought(block)
            case Opaque() if block.origin == NAME:
                yield _decoded(block)
            case Opaque():
                self.memo.drops.add(f"messages.{block.kind}")
                yield {"type": "text", "text": f"[{block.kind}]"}

    def _text(self, block: Text, role: Role) -> dict[str, Any]:
        own = [cited.raw for cited in block.citations if cited.origin == NAME]
        has_citations = role is Role.ASSISTANT and bool(own)  # Anthropic refuses citations in a user turn
        return {"type": "text", "text": block.text} | ({"citations": own} if has_citations else {})

    def _thought(self, block: Reasoning) -> Iterator[dict[str, Any]]:
        if not self.with_thoughts or not is_replayable(block):
            self.memo.drops.add("reasoning")
        elif block.sealed:
            yield {"type": "redacted_thinking", "data": block.sealed}
        else:
            yield {"type": "thinking", "thinking": block.text, "signature": block.signature}

    def _call(self, call: ToolCall) -> dict[str, Any]:
        given = wrap_freeform(call.arguments) if call.kind == "custom" else as_object(call.arguments, self.memo.drops)
        name = self.memo.names.safe(call.name, call.namespace)
        return {"type": "tool_use", "id": safe_id(call.id), "name": name, "input": given}

    def _result(self, result: ToolResult) -> dict[str, Any]:
        written: dict[str, Any] = {"type": "tool_result", "tool_use_id": safe_id(result.call_id)}
        content = _without_blanks([one for block in result.blocks for one in self._inside(block)])
        if len(content) == 1 and content[0]["type"] == "text" and set(content[0]) == {"type", "text"}:
            written["content"] = content[0]["text"]
        elif content:
            written["content"] = content
        return written | ({"is_error": True} if result.is_error else {})

    def _inside(self, block: Block) -> Iterator[dict[str, Any]]:
        if isinstance(block, Text | Image | Document | Opaque):
            yield from self._block(block, Role.USER)
        else:
            self.memo.drops.add(f"messages.{type(block).__name__.lower()}")

    def _image(self, image: Image) -> dict[str, Any]:
        source = image.source
        if not self.profile.image:
            raise CannotSay("This model takes no pictures", param="messages")
        if image.detail not in (None, "auto"):
            self.memo.drops.add("messages.detail")
        if source.file_id is not None:
            raise _foreign_file(source.file_id)
        if source.url is not None:
            return {"type": "image", "source": {"type": "url", "url": source.url}}
        if source.media_type not in media.PICTURES:
            kind = source.media_type or "of an unknown kind"
            raise CannotSay(f"unsupported image media type: {kind}", param="messages", code="invalid_value")
        data = {"type": "base64", "media_type": source.media_type, "data": source.data}
        return {"type": "image", "source": data}

    def _document(self, document: Document) -> dict[str, Any]:
        source = document.source
        if source.file_id is not None:
            raise _foreign_file(source.file_id)
        if (text := media.text_in(source)) is not None:
            given = {"type": "text", "media_type": "text/plain", "data": text}
        elif source.url is not None:
            given = {"type": "url", "url": source.url}
        elif source.media_type == "application/pdf" and self.profile.pdf:
            given = {"type": "base64", "media_type": source.media_type, "data": source.data or ""}
        else:
            kind = source.media_type or "of an unknown kind"
            raise CannotSay(f"A file {kind} cannot be sent to this model", param="messages", code="invalid_value")
        written: dict[str, Any] = {"type": "document", "source": given}
        written |= {"title": document.name} if document.name else {}
        written |= {"context": document.context} if document.context else {}
        return written | ({"citations": {"enabled": True}} if document.has_citations else {})


def _without_blanks(content: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Take out the texts of white space only, which Anthropic refuses."""
    spoken = [block for block in content if block["type"] != "text" or block["text"].strip()]
    return spoken or content[:0]


def _foreign_file(file_id: str) -> CannotSay:
    return CannotSay(f"The file '{file_id}' is known to another provider only: send its content", param="messages")


def _decoded(block: Opaque) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(block.raw)
    return found
