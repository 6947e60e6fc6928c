"""Finds which kinds of tools and items stand in a raw body, by their `type` alone: nothing else of them is read.

A provider that speaks the client's dialect may still not know every kind. These words say which ones a request needs.
"""

import re
from collections.abc import Set
from typing import Any

import msgspec

from gateway.wire.codec.json_body import JsonBody

NONE: frozenset[str] = frozenset()
# Anthropic's types end with a date, which is no part of the kind: `web_search_20250305`.
_DATE = re.compile(r"_\d{8}$")
# Its searches for tools have a kind each, and are one to those who run them: `tool_search_tool_bm25`, `…_regex`.
_SEARCHES = "tool_search_tool_"


# Tools that the client runs, whoever offers them.
_OWN = frozenset({"function", "custom", "namespace"})
_CHAT_TOOLS = {"tools", "web_search_options"}


class _Typed(msgspec.Struct):
    type: Any = None


_TYPED = msgspec.json.Decoder(list[_Typed])


def no_kinds(body: JsonBody) -> Set[str]:
    """Return nothing: this dialect has no kinds of tools or items, or its servers take all."""
    return NONE


def responses_tools(body: JsonBody) -> Set[str]:
    """Return the kinds of a Responses request's tools, such as function, namespace, web_search."""
    return _kinds(body, "tools", "function")


def responses_sought(body: JsonBody) -> Set[str]:
    """Return the provider's tools that a Responses request is about: the forced one, or all if there is no other.

    Codex offers a web search beside its own tools on every turn (docs/wire/tools.md#definitions), which seeks nothing.
    """
    tools = responses_tools(body)
    forced = _kinds(JsonBody.of({"choice": b"[%b]" % bytes(body.members.get("tool_choice", b""))}), "choice", "")
    return (tools & forced) - _OWN or (tools if tools.isdisjoint(_OWN) else NONE)


def messages_sought(body: JsonBody) -> Set[str]:
    """Return the kinds of tools in a Messages request that are not the client's own."""
    return messages_tools(body) - _OWN


def chat_sought(body: JsonBody) -> Set[str]:
    """Return the kinds of tools in a Chat request that are not the client's own."""
    return chat_tools(body) - _OWN if _CHAT_TOOLS & body.members.keys() else NONE


def responses_items(body: JsonBody) -> Set[str]:
    """Return the kinds of a Responses request's input items, such as message, function_call, compaction."""
    return _kinds(body, "input", "message")


def messages_tools(body: JsonBody) -> Set[str]:
    """Return the kinds of a Messages request's tools without their dates; a client's own tool is a function."""
    found = (_DATE.sub("", kind) for kind in _kinds(body, "tools", "function"))
    return frozenset(_family(kind) for kind in found)


def _family(kind: str) -> str:
    return "function" if kind == "custom" else "tool_search" if kind.startswith(_SEARCHES) else kind


def chat_tools(body: JsonBody) -> Set[str]:
    """Return the kinds of a Chat request's tools; `web_search_options` asks for a web search."""
    search = {"web_search"} if body.has("web_search_options") else NONE
    return _kinds(body, "tools", "function") | search


def _kinds(body: JsonBody, name: str, default: str) -> frozenset[str]:
    """Return the types in a list of objects; nothing if it is no such list, which whoever reads it will say."""
    value = body.members.get(name)
    if value is None or bytes(memoryview(value)[:1]) != b"[":
        return NONE
    try:
        found = _TYPED.decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return NONE
    return frozenset(one.type if isinstance(one.type, str) else default for one in found)
