"""Digests the beginning of a conversation, which is the same in each of its requests: system, tools, first user turn.

What a prompt cache holds begins like this in all three dialects. Two requests with one digest belong to one
conversation, or to conversations that begin alike, which one cache serves as well.

A client may write the same text in other ways from turn to turn: it moves its cache marks, and turns a plain text into
a list of blocks to set one. So the digest is one of texts, not of bytes.
"""

import hashlib
import re
from collections.abc import Iterator
from typing import Any

from gateway.wire.codec.first_items import first_items
from gateway.wire.codec.json_body import JsonBody, to_json
from gateway.wire.codec.odd_json import REFUSED, decode
from gateway.wire.translation.turn_order import ATTRIBUTION

# Bytes of one text that count, and items before the first user turn: a picture or a catalogue of tools may have
# megabytes, and conversations differ long before.
MAX_TEXT, MAX_ITEMS = 64 * 1024, 50
# A cache mark of a tool, with one of the commas beside it: without it the tools are what they were without a mark.
_MARK = re.compile(rb',\s*"cache_control"\s*:\s*(?:\{[^{}]*\}|null)|"cache_control"\s*:\s*(?:\{[^{}]*\}|null)\s*,\s*')


def stable_prefix(body: JsonBody) -> str:
    """Return the digest of a conversation's beginning as 32 hex digits; empty if the request has no turns."""
    digest = hashlib.blake2b(digest_size=16)
    is_found = False
    for part in _parts(body):
        is_found = True
        digest.update(b"%d:" % len(part))
        digest.update(part[:MAX_TEXT])
    return digest.hexdigest() if is_found else ""


def _parts(body: JsonBody) -> Iterator[bytes]:
    turns = body.members.get("messages", body.members.get("input"))
    if turns is None:
        return
    for name in ("system", "instructions", "tools"):
        if (raw := body.members.get(name)) is not None:
            yield name.encode()
            written = bytes(raw).strip()
            yield from _texts(written) if name != "tools" else [_unmarked(written[: 2 * MAX_TEXT])]
    yield b"turns"
    if bytes(memoryview(turns)[:8]).lstrip().startswith(b'"'):  # `input` as one text
        yield b"user"
        yield from _texts(bytes(turns).strip())
        return
    for number, item in enumerate(first_items(turns)):
        role, said = _turn(item)
        yield role
        yield from said
        if role == b"user" or number == MAX_ITEMS:
            return


def _turn(item: bytes) -> tuple[bytes, list[bytes]]:
    """Return the role of a turn, or the type of another item, with what it says."""
    try:
        turn = decode(item)
    except REFUSED:
        return b"", [item]
    if not isinstance(turn, dict):
        return b"", [item]
    role = turn.get("role")
    if not isinstance(role, str):
        return b"item", [to_json(turn)]
    return role.encode(), list(_said(turn.get("content")))


def _unmarked(tools: bytes) -> bytes:
    return _MARK.sub(b"", tools) if b'"cache_control"' in tools else tools


def _texts(written: bytes) -> Iterator[bytes]:
    """Yield the texts of a member."""
    if written.startswith((b'"', b"[")):
        try:
            yield from _said(decode(written))
            return
        except REFUSED:
            pass
    yield written


def _said(content: Any) -> Iterator[bytes]:
    """Yield the texts of a turn's content: of a block of text its text alone, of any other all but its cache mark."""
    for block in content if isinstance(content, list) else [content]:
        text = block.get("text") if isinstance(block, dict) else block
        if isinstance(text, str):
            if not text.startswith(ATTRIBUTION):  # Claude Code's line about itself differs in each request
                yield text.encode("utf-8", "replace")
        elif isinstance(block, dict):
            yield to_json({name: value for name, value in block.items() if name != "cache_control"})
        elif block is not None:
            yield to_json(block)
