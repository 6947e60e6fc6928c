"""Reads the conversation of a Messages request (docs/wire/conversation.md)."""

from collections.abc import Collection, Iterator

import msgspec

from gateway.wire.codec.node import Node, decode
from gateway.wire.neutral import (
    Block,
    CacheMark,
    Citation,
    Compacted,
    Document,
    Image,
    Opaque,
    Reasoning,
    Role,
    Source,
    Text,
    ToolCall,
    ToolResult,
    Turn,
)
from gateway.wire.translation import media
from gateway.wire.translation.compaction import placed
from gateway.wire.translation.tool_search import NOTHING_FOUND

NAME = "anthropic_messages"
COMPACTION = "compaction"  # the type of a block that stands for the turns before it


def read_system(body: Node) -> list[Text]:
    """Read `system`: a text, or text blocks. Raises BadRequest with the place."""
    if body.kind("system") == "a string":
        text = body.needed_text("system")
        return [Text(text)] if text else []
    return [Text(block.needed_text("text"), cache=read_cache(block)) for block in body.nodes("system")]


def read_messages(body: Node) -> list[Turn]:
    """Read `messages`. Raises BadRequest with the place."""
    body.check_filled("messages")
    return placed([_read_turn(node) for node in body.nodes("messages")])


def _read_turn(message: Node) -> Turn:
    role = message.needed_text("role")
    if role not in ("user", "assistant", "system"):
        raise message.refuse("role", f"'{message.at('role')}' must be user, assistant or system, not '{role[:50]}'")
    if role != "assistant" or message.kind("content") == "null":
        message.check_filled("content")
    return Turn(Role(role), tuple(_content(message)))


def _content(node: Node) -> Iterator[Block]:
    kind = node.kind("content")
    if kind == "a string":
        if text := node.text("content"):
            yield Text(text)
    elif kind != "null":
        for raw, path in node.items("content"):
            block = node.child(raw, path)
            if (kind := block.needed_text("type")) == COMPACTION and not block.text("content"):
                continue  # a compaction that has failed stands for nothing
            yield _block(block, kind, raw)
            yield from _pictures_in(block)


def _block(node: Node, kind: str, raw: msgspec.Raw) -> Block:
    match kind:
        case "text":
            return Text(node.text("text") or "", tuple(_citations(node)), read_cache(node))
        case "image":
            return Image(_source(node, ("base64", "url", "file")), cache=read_cache(node))
        case "document":
            return _document(node)
        case "search_result":
            return _search_result(node)
        case "tool_use":
            return _call(node)
        case "tool_result":
            return _result(node)
        case "thinking":
            thought = node.text("thinking")
            return Reasoning((thought,) if thought else (), signature=node.text("signature") or None, origin=NAME)
        case "redacted_thinking":
            return Reasoning(sealed=node.needed_text("data"), origin=NAME)
        case "tool_reference":
            name = node.needed_text("tool_name")
            return Text(name, cache=read_cache(node), tools=((name, None),))
        case "tool_search_tool_result":
            node.take("tool_use_id")
            return _tools_found(node)
        case "server_tool_use" if (node.text("name") or "").startswith("tool_search_tool"):
            node.take()
            return Text("")  # its result follows, and says all that matters of it
        case "compaction":
            node.take("signature", "encrypted_content")  # for its maker; the content says it all
            return Compacted(node.needed_text("content"), is_whole=True)
        case "tool_addition" | "tool_removal":
            node.take("tool")
            return Opaque(NAME, kind, raw)
        case _:
            node.take()
            return Opaque(NAME, kind, raw)


def _tools_found(node: Node) -> Text:
    """Read what Anthropic's own search for tools has found, or its error, as text."""
    content = node.node("content")
    if content is not None and (code := content.text("error_code")) is not None:
        return Text(f"[tool search failed: {code}]", cache=read_cache(node))
    references = content.nodes("tool_references") if content is not None else ()
    found = [one.needed_text("tool_name") for one in references]
    said = f"[tools found: {', '.join(found)}]" if found else NOTHING_FOUND
    return Text(said, cache=read_cache(node), tools=tuple((name, None) for name in found))


def _pictures_in(node: Node) -> Iterator[Block]:
    """Yield the pictures inside a document or a search result, to stand behind it: no other dialect nests them."""
    kind = node.text("type")
    inside = node.node("source") if kind == "document" else node if kind == "search_result" else None
    if inside is not None and inside.kind("content") == "an array":
        for block, raw in _inside(inside):
            if block.text("type") == "image":
                yield _block(block, "image", raw)


def read_cache(node: Node) -> CacheMark | None:
    """Read the cache breakpoint of a block."""
    mark = node.node("cache_control")
    return None if mark is None else CacheMark(mark.text("ttl"))


def _citations(node: Node) -> Iterator[Citation]:
    if node.kind("citations") == "an array":
        for raw, path in node.items("citations"):
            cited = node.child(raw, path)
            cited.take()
            yield Citation(NAME, decode(raw, dict, path, "an object"), cited.text("url"), cited.text("title"))


def _source(node: Node, kinds: Collection[str] = ("base64", "url", "file", "text", "content")) -> Source:
    source = node.node("source")
    if source is None:
        raise node.refuse("source", f"'{node.at('source')}' is missing", "missing_required_parameter")
    kind = source.needed_text("type")
    if kind not in kinds:
        raise source.refuse("type", f"'{source.at('type')}' must be one of {', '.join(kinds)}, not '{kind[:50]}'")
    match kind:
        case "base64":
            try:
                return media.read_base64(source.needed_text("data"), (source.text("media_type") or "").lower())
            except ValueError:
                raise source.refuse("data", f"'{source.at('data')}' is not base64") from None
        case "url":
            return Source(url=source.needed_text("url"))
        case "file":
            return Source(file_id=source.needed_text("file_id"))
        case "text":
            return Source("text/plain", text=source.needed_text("data"))
        case _:
            return Source("text/plain", text="\n".join(_texts(source)))


def _texts(node: Node) -> Iterator[str]:
    """Yield the texts inside a document or a search result; marks and citations in there are not read."""
    if node.kind("content") == "a string":
        yield node.needed_text("content")
    else:
        yield from (block.text("text") or "" for block, _ in _inside(node) if block.text("type") == "text")


def _inside(node: Node) -> Iterator[tuple[Node, msgspec.Raw]]:
    return ((node.child(raw, path), raw) for raw, path in node.items("content"))


def _document(node: Node) -> Document:
    citations = node.node("citations") if node.kind("citations") == "an object" else None
    is_cited = citations is not None and bool(citations.flag("enabled"))
    return Document(_source(node), node.text("title"), node.text("context"), is_cited, read_cache(node))


def _search_result(node: Node) -> Text:
    """Read a search result that the client supplies, as text under a line with its title and source."""
    head = " — ".join(part for part in (node.text("title"), node.text("source")) if part)
    return Text(f"[search result: {head}]\n" + "\n".join(_texts(node)), cache=read_cache(node))


def _call(node: Node) -> ToolCall:
    given = node.raw("input")
    return ToolCall(
        node.needed_text("id"),
        node.needed_text("name"),
        bytes(given).decode() if given is not None else "{}",
        namespace=node.text("toolset_name"),
        cache=read_cache(node),
    )


def _result(node: Node) -> ToolResult:
    return ToolResult(
        node.needed_text("tool_use_id"),
        tuple(_content(node)),
        bool(node.flag("is_error")),
        cache=read_cache(node),
    )
