"""Writes a neutral conversation as Chat messages (docs/wire/conversation.md)."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

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
from gateway.wire.openai_chat.read_messages import FORMATS
from gateway.wire.openai_chat.tools import NAME
from gateway.wire.profile import Profile
from gateway.wire.translation import media
from gateway.wire.translation.arguments import wrap_freeform
from gateway.wire.translation.hosted_text import foreign_as_text
from gateway.wire.translation.memo import Memo
from gateway.wire.translation.names import nine, safe_id
from gateway.wire.translation.turn_order import ATTRIBUTION, ERROR_MARK, SYSTEM_ROLES, shape, text_of
from gateway.wire.translation.unwritten import note_unwritten

_FORMAT_OF = {origin: name for name, origin in FORMATS.items()}
# Attributes of blocks that Chat has no member for.
_UNWRITTEN = {"phase": "phase", "citations": "citations", "has_citations": "citations"}
_MAX_BREAKPOINTS = 4
_LONGEST_ID = 40  # OpenAI refuses a longer id of a call on Chat, though not on Responses


def write_messages(request: Request, memo: Memo, profile: Profile) -> list[dict[str, Any]]:
    """Write `messages`. Raises CannotSay for content that the upstream cannot take."""
    writer = _Writer(memo, profile, has_tools=bool(request.tools))
    turns = foreign_as_text(request.turns, NAME, memo.drops)
    note_unwritten(request, memo, _UNWRITTEN)
    system = [block for block in request.system if block.text and not block.text.startswith(ATTRIBUTION)]
    if profile.single_system:
        later = [turn for turn in turns if turn.role in SYSTEM_ROLES]
        system += [block for turn in later for block in turn.blocks if isinstance(block, Text)]
        turns = [turn for turn in turns if turn.role not in SYSTEM_ROLES]
    if system:
        writer.write_system(Role.SYSTEM, system)
    for turn in shape(turns, memo.drops):
        writer.write(turn)
    if profile.cache_breakpoints:
        _keep_latest(writer.marked)
    elif not profile.cache_control and has_cache_marks(request):
        memo.drops.add("cache_control")
    return writer.messages


def has_cache_marks(request: Request) -> bool:
    """Whether the client has set a cache breakpoint anywhere in its conversation."""
    return _has_mark(request.system) or any(_has_mark(turn.blocks) for turn in request.turns)


def _has_mark(blocks: Iterable[Block]) -> bool:
    return any(
        getattr(block, "cache", None) is not None or (isinstance(block, ToolResult) and _has_mark(block.blocks))
        for block in blocks
    )


@define
class _Writer:
    memo: Memo
    profile: Profile
    has_tools: bool
    messages: list[dict[str, Any]] = field(factory=list)
    marked: list[dict[str, Any]] = field(factory=list)  # parts with a breakpoint

    def write(self, turn: Turn) -> None:
        match turn.role:
            case Role.SYSTEM | Role.DEVELOPER:
                self.write_system(turn.role, turn.blocks)
            case Role.ASSISTANT:
                self._write_assistant(turn.blocks)
            case Role.USER:
                self._write_user(turn.blocks)

    def write_system(self, role: Role, blocks: Sequence[Block]) -> None:
        name = "developer" if self.profile.developer_role else "system"
        texts = [block for block in blocks if isinstance(block, Text) and block.text]
        for block in blocks:
            if not isinstance(block, Text):
                self._drop(block)
        if texts:
            self.messages.append({"role": name, "content": self._content(texts, "\n\n")})

    def _write_assistant(self, blocks: Sequence[Block]) -> None:
        message: dict[str, Any] = {"role": "assistant"}
        texts = [Text(block.text) if isinstance(block, Refusal) else block for block in blocks]
        texts = [block for block in texts if isinstance(block, Text) and block.text]
        calls = [self._call(block) for block in blocks if isinstance(block, ToolCall)]
        for block in blocks:
            if isinstance(block, Opaque | Image | Document | Audio):
                self._drop(block)
        if not texts and not calls:
            texts = [Text("")] if any(isinstance(block, Reasoning) for block in blocks) else []
        if texts:
            message["content"] = self._content(texts, "")
        elif calls:
            message["content"] = None if self.profile.null_content else ""
        else:
            return
        message |= self._reasoning([block for block in blocks if isinstance(block, Reasoning)])
        if calls:
            message["tool_calls"] = calls
        self.messages.append(message)

    def _reasoning(self, blocks: Sequence[Reasoning]) -> dict[str, Any]:
        text = "\n\n".join(block.text for block in blocks if block.text)
        match self.profile.reasoning_replay:
            case "required" if self.has_tools:
                return {"reasoning_content": text or " "}
            case "required" | "allowed" if text:
                return {"reasoning_content": text}
            case "details" if blocks:
                return {"reasoning_details": [entry for k, block in enumerate(blocks) for entry in details(block, k)]}
            case _:
                if text or any(block.sealed for block in blocks):
                    self.memo.drops.add("reasoning")
                return {}

    def _call(self, call: ToolCall) -> dict[str, Any]:
        name = self.memo.names.safe(call.name, call.namespace)
        found: dict[str, Any] = {"id": self._id(call.id), "type": "function"}
        if call.kind == "custom" and name not in self.memo.freeform and self.profile.custom_tools:
            return {**found, "type": "custom", "custom": {"name": name, "input": call.arguments}}
        arguments = bytes(wrap_freeform(call.arguments)).decode() if call.kind == "custom" else call.arguments
        found["function"] = {"name": name, "arguments": arguments.strip() or "{}"}
        return found | ({"extra_content": call.extra} if call.extra else {})

    def _id(self, call_id: str) -> str:
        return nine(call_id) if self.profile.nine_character_ids else safe_id(call_id, _LONGEST_ID)

    def _write_user(self, blocks: Sequence[Block]) -> None:
        """Write each tool result as a message of its own, then one user message with everything else."""
        attached: list[Block] = []
        for block in blocks:
            if isinstance(block, ToolResult):
                content = self._result_text(block, attached)
                self.messages.append({"role": "tool", "tool_call_id": self._id(block.call_id), "content": content})
        rest = [*attached, *(block for block in blocks if not isinstance(block, ToolResult))]
        if rest:
            self.messages.append({"role": "user", "content": self._content(rest, "\n")})

    def _result_text(self, result: ToolResult, attached: list[Block]) -> str:
        """Return the text of a tool result; append its pictures, sounds and files to `attached`.

        Chat's tool messages take text only. `attached` goes into the user message behind the results, and a line
        in the text points to each picture, sound or file.
        """
        lines: list[str] = []
        for block in result.blocks:
            match block:
                case Text():
                    lines.append(block.text)
                case Image():
                    attached.append(block)
                    lines.append(f"[image #{len(attached)} attached below]")
                case Audio():
                    attached.append(block)
                    lines.append(f"[sound #{len(attached)} attached below]")
                case Document() if media.text_in(block.source) is None:
                    attached.append(block)
                    lines.append(f"[file #{len(attached)} attached below]")
                case Document():
                    lines.append(document_text(block))
                case Opaque():
                    self._drop(block)
                    lines.append(f"[{block.kind}]")
                case _:
                    self._drop(block)
        return (ERROR_MARK if result.is_error else "") + "\n".join(lines)

    def _content(self, blocks: Sequence[Block], between: str) -> str | list[dict[str, Any]]:
        """Return a string if there is only text without breakpoints, or if the server takes no parts; else parts."""
        keeps_marks = self.profile.cache_control or self.profile.cache_breakpoints
        has_mark = keeps_marks and any(getattr(block, "cache", None) for block in blocks)
        if self.profile.string_content or (all(isinstance(block, Text) for block in blocks) and not has_mark):
            if any(not isinstance(block, Text) for block in blocks):
                blocks = [block for part in blocks for block in self._as_text(part)]
            return text_of(blocks, between)
        return [part for block in blocks for part in self._part(block)]

    def _as_text(self, block: Block) -> Iterator[Text]:
        match block:
            case Text():
                yield block
            case Document() if (text := media.text_in(block.source)) is not None:
                yield Text(document_text(block, text))
            case Image():
                raise CannotSay("This model takes no pictures", param="messages")
            case Document() | Audio():
                raise CannotSay("This model takes text only", param="messages")
            case _:
                self._drop(block)

    def _part(self, block: Block) -> Iterator[dict[str, Any]]:
        match block:
            case Text() if block.text:
                yield self._marked({"type": "text", "text": block.text}, block.cache)
            case Image():
                yield self._marked({"type": "image_url", "image_url": self._image(block)}, block.cache)
            case Document():
                yield self._marked(self._document(block), block.cache)
            case Audio():
                if not self.profile.audio:
                    raise CannotSay("This model takes no sound", param="messages")
                yield {"type": "input_audio", "input_audio": {"data": block.data, "format": block.format}}
            case Opaque():
                self._drop(block)
                yield {"type": "text", "text": f"[{block.kind}]"}
            case _:
                pass

    def _image(self, image: Image) -> dict[str, Any]:
        if not self.profile.image:
            raise CannotSay("This model takes no pictures", param="messages")
        if image.source.file_id is not None:
            raise CannotSay(
                f"The file '{image.source.file_id}' is known to another provider only: send its content",
                param="messages",
            )
        if image.source.data is None and not self.profile.image_url:
            raise CannotSay("This model's server does not fetch pictures: send the content", param="messages")
        return {"url": media.write_url(image.source)} | ({"detail": image.detail} if image.detail else {})

    def _document(self, document: Document) -> dict[str, Any]:
        source = document.source
        if (text := media.text_in(source)) is not None:
            return {"type": "text", "text": document_text(document, text)}
        if source.data is None:
            what = f"file '{source.file_id}'" if source.file_id else "document at a URL"
            raise CannotSay(f"A {what} cannot be sent to this model: send its content", param="messages")
        if not self.profile.pdf:
            raise CannotSay("This model takes no files", param="messages")
        if document.context:
            self.memo.drops.add("messages.context")
        name = document.name or "document.pdf"
        return {"type": "file", "file": {"filename": name, "file_data": media.write_url(source)}}

    def _marked(self, part: dict[str, Any], cache: CacheMark | None) -> dict[str, Any]:
        if cache is None:
            return part
        if self.profile.cache_control:
            ttl = {"ttl": cache.ttl} if cache.ttl in ("5m", "1h") else {}
            part["cache_control"] = {"type": "ephemeral", **ttl}
        elif self.profile.cache_breakpoints:
            part["prompt_cache_breakpoint"] = {"mode": "explicit"}
            self.marked.append(part)
        return part

    def _drop(self, block: Block) -> None:
        kind = block.kind if isinstance(block, Opaque) else type(block).__name__.lower()
        self.memo.drops.add(f"messages.{kind}")


def format_of(origin: str) -> str:
    """Return the `format` of an entry of `reasoning_details`: OpenRouter's word for the dialect that made it."""
    return _FORMAT_OF.get(origin, origin) or "unknown"


def details(block: Reasoning, index: int) -> Iterator[dict[str, Any]]:
    """The `reasoning_details` of a block. Every entry has its index, or OpenAI's SDK raises."""
    form = {"format": format_of(block.origin), "index": index}
    if block.is_summary and block.text:
        yield {"type": "reasoning.summary", "summary": block.text, **form}
    elif block.text or block.signature:
        text = {"text": block.text} if block.text else {}
        yield {"type": "reasoning.text", **text, **({"signature": block.signature} if block.signature else {}), **form}
    if block.sealed:
        yield {"type": "reasoning.encrypted", "data": block.sealed, **form, **({"id": block.id} if block.id else {})}


def document_text(document: Document, text: str | None = None) -> str:
    """Return the text of a document under a header line with its name and context."""
    text = media.text_in(document.source) if text is None else text
    heads = [head for head in (document.name, document.context) if head]
    return (f"[document: {' — '.join(heads)}]\n" if heads else "[document]\n") + (text or "")


def _keep_latest(marked: Sequence[dict[str, Any]]) -> None:
    """Remove all breakpoints but the last four: OpenAI takes no more, and the last ones cover the longest prefixes."""
    for part in marked[:-_MAX_BREAKPOINTS]:
        del part["prompt_cache_breakpoint"]
