"""Reads the conversation of a Chat request (docs/wire/conversation.md)."""

from collections.abc import Iterator

import msgspec
from attrs import define, field

from gateway.errors import BadRequest, CannotSay
from gateway.wire.codec.lenient import is_filled
from gateway.wire.codec.node import Node, decode
from gateway.wire.neutral import (
    Audio,
    Block,
    Document,
    Image,
    Opaque,
    Reasoning,
    Refusal,
    Role,
    Source,
    Text,
    ToolCall,
    ToolResult,
    Turn,
)
from gateway.wire.openai_chat.tools import NAME, read_cache
from gateway.wire.translation import media
from gateway.wire.translation.turn_order import ERROR_MARK

# `format` of an entry of `reasoning_details`, as OpenRouter and others write it -> the dialect that made it.
FORMATS = {"anthropic-claude-v1": "anthropic_messages", "openai-responses-v1": "openai_responses"}


@define
class _Conversation:
    """A conversation that is being read. Legacy function calls have no ids: they get `call_fn_1`, `call_fn_2`, …."""

    system: list[Text] = field(factory=list)
    turns: list[Turn] = field(factory=list)
    _functions: int = field(default=0, init=False)

    def read(self, message: Node) -> None:
        """Take the next message."""
        role = message.needed_text("role")
        name = message.text("name")
        if role in ("system", "developer", "user"):
            message.check_filled("content")
        match role:
            case "system" | "developer" if not self.turns and not name:
                self._read_system(Role(role), tuple(_content(message)))
            case "system" | "developer":
                self.turns.append(Turn(Role(role), tuple(_content(message)), name))
            case "user":
                self.turns.append(Turn(Role.USER, tuple(_content(message)), name))
            case "assistant":
                blocks = tuple(self._assistant(message))
                if not blocks:
                    message.check_filled("content")
                self.turns.append(Turn(Role.ASSISTANT, blocks, name))
            case "tool":
                call_id = message.needed_text("tool_call_id")
                self.turns.append(Turn(Role.USER, (_result(call_id, _content(message)),)))
            case "function":
                self.turns.append(Turn(Role.USER, (_result(f"call_fn_{self._functions}", _content(message)),)))
            case _:
                raise message.refuse("role", f"'{message.at('role')}' must be a known role, not '{role[:50]}'")

    def _read_system(self, role: Role, blocks: tuple[Block, ...]) -> None:
        """Take a leading system message. One with a picture stays a turn, as `Request.system` holds texts only."""
        if all(isinstance(block, Text) for block in blocks):
            self.system += [block for block in blocks if isinstance(block, Text) and block.text]
        else:
            self.turns.append(Turn(role, blocks))

    def _assistant(self, message: Node) -> Iterator[Block]:
        if message.has("audio") and is_filled(message.value("audio")):
            raise CannotSay("Sound in the history cannot be sent to this model", param=message.at("audio"))
        yield from _reasoning(message)
        yield from _content(message)
        if refusal := message.text("refusal"):
            yield Refusal(refusal)
        for call in message.nodes("tool_calls"):
            yield _call(call)
        if (function := message.node("function_call")) is not None:
            self._functions += 1
            yield ToolCall(f"call_fn_{self._functions}", function.needed_text("name"), function.text("arguments") or "")


def read_messages(body: Node) -> tuple[list[Text], list[Turn]]:
    """Read `messages`: the leading system texts, and the turns. Raises BadRequest with the place."""
    body.check_filled("messages")
    conversation = _Conversation()
    for message in body.nodes("messages"):
        conversation.read(message)
    return conversation.system, conversation.turns


def _content(message: Node) -> Iterator[Block]:
    kind = message.kind("content")
    if kind == "a string":
        if text := message.text("content"):
            yield Text(text)
    elif kind != "null":
        for raw, path in message.items("content"):
            yield _part(message, raw, path)


def _part(message: Node, raw: msgspec.Raw, path: str) -> Block:
    if bytes(raw)[:1] == b'"':
        return Text(decode(raw, str, path, "a string"))
    part = message.child(raw, path)
    kind = part.needed_text("type")
    match kind:
        case "text":
            return Text(part.text("text") or "", cache=read_cache(part))
        case "refusal":
            return Refusal(part.text("refusal") or "")
        case "image_url":
            return _image(part)
        case "input_audio":
            audio = _inner(part, "input_audio")
            return Audio(audio.needed_text("data"), audio.text("format") or "wav")
        case "file":
            return _file(part, _inner(part, "file"))
        case _:
            part.take()
            return Opaque(NAME, kind, raw)


def _inner(part: Node, name: str) -> Node:
    if (node := part.node(name)) is None:
        raise part.refuse(name, f"'{part.at(name)}' is missing", "missing_required_parameter")
    return node


def _image(part: Node) -> Image:
    if part.kind("image_url") == "a string":
        url, detail, place = part.needed_text("image_url"), part.text("detail"), part.at("image_url")
    else:
        inner = _inner(part, "image_url")
        url, detail, place = inner.needed_text("url"), inner.text("detail"), inner.at("url")
    return Image(read_source(url, place), detail, read_cache(part))


def read_source(url: str, place: str) -> Source:
    """Read a link, a data URL or bare base64. Raises BadRequest with the place."""
    try:
        return media.read_url(url)
    except ValueError as error:
        raise BadRequest(f"'{place}' is {error}", param=place, code="invalid_value") from None


def _file(part: Node, file: Node) -> Document:
    name = file.text("filename")
    if (file_id := file.text("file_id")) is not None:
        return Document(Source(file_id=file_id), name, cache=read_cache(part))
    source = read_source(file.needed_text("file_data"), file.at("file_data"))
    return Document(source, name, cache=read_cache(part))


def _call(call: Node) -> ToolCall:
    extra = call.mapping("extra_content")
    if call.text("type") == "custom" or call.has("custom"):
        custom = _inner(call, "custom")
        return ToolCall(call.text("id") or "", custom.needed_text("name"), custom.text("input") or "", "custom")
    function = _inner(call, "function")
    if function.kind("arguments") == "an object":  # OpenAI wants a string; some clients send the object
        arguments = bytes(function.members["arguments"]).decode()
    else:
        arguments = function.text("arguments") or ""
    return ToolCall(call.text("id") or "", function.needed_text("name"), arguments, extra=extra)


def _result(call_id: str, content: Iterator[Block]) -> ToolResult:
    blocks = tuple(content)
    if blocks and isinstance(first := blocks[0], Text) and first.text.startswith(ERROR_MARK):
        rest = Text(first.text.removeprefix(ERROR_MARK), cache=first.cache)
        return ToolResult(call_id, (rest, *blocks[1:]), is_error=True)
    return ToolResult(call_id, blocks)


def _reasoning(message: Node) -> Iterator[Reasoning]:
    """Read the thoughts that a client sends back.

    They stand in `reasoning_details`, or as plain text in `reasoning_content` or `reasoning`. Entries of one
    index are pieces of one thought: their texts are joined.
    """
    found: dict[str, dict[str, str]] = {}
    for detail in message.nodes("reasoning_details"):
        number = detail.whole("index")
        entry = found.setdefault(f"{number}" if number is not None else f"#{len(found)}", {})
        for name in ("text", "summary", "signature", "data", "format", "id", "type"):
            if detail.kind(name) == "a string" and (text := detail.text(name)):
                entry[name] = entry.get(name, "") + text if name in ("text", "summary") else text
    yield from map(_detailed, found.values())
    if not found and (text := message.text("reasoning_content") or message.text("reasoning")):
        yield Reasoning((text,), origin=NAME)


def _detailed(entry: dict[str, str]) -> Reasoning:
    origin = FORMATS.get(entry.get("format", ""), entry.get("format", NAME))
    text = entry.get("text") or entry.get("summary")
    return Reasoning(
        parts=(text,) if text else (),
        is_summary="summary" in entry,
        signature=entry.get("signature"),
        sealed=entry.get("data"),
        origin=origin,
        id=entry.get("id"),
    )
