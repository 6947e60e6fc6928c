"""Decides which tools are offered now: a deferred one only from the point at which a search has found it.

A client with hundreds of tools sends them marked `defer_loading`, and one tool that searches among them. OpenAI and
Anthropic keep deferred tools away from the model until a search has found them. Where the client runs the search, this
works with any model: the result of the search names what it found, and from then on those tools are offered.

Found tools stand behind all others, in the order in which they were found, so that the beginning of a request stays as
it was and prompt caches match (docs/wire/tools.md#tool-search).
"""

from collections.abc import Iterable, Iterator, Sequence

from attrs import evolve

from gateway.wire.neutral import Block, Request, Text, Tool, ToolCall, ToolChoice, ToolResult, Turn
from gateway.wire.profile import Profile

SEARCH = "tool_search"  # the kind of a search that the provider runs, and the name of OpenAI's that the client runs
NOTHING_FOUND = "(no tools found)"
# Tools that nobody can call: agents send one so that their list of tools is never empty (docs/wire/clients.md).
PLACEHOLDERS = frozenset({"DeferredToolPlaceholder", "__pi_deferred_placeholder__"})
_Place = tuple[str, str | None]  # name and namespace of a tool


def settled(tools: Iterable[Tool], turns: Sequence[Turn], choice: ToolChoice | None) -> list[Tool]:
    """Return `tools` without placeholders, and with those behind the others that are no longer deferred.

    These are the tools that a search in `turns` has found, that were called, or that the choice names. Where all tools
    are deferred nothing could find one, and Anthropic refuses the request: here all of them are offered.
    """
    kept = [tool for tool in tools if tool.name not in PLACEHOLDERS]
    waiting = {(tool.name, tool.namespace): tool for tool in kept if tool.is_deferred}
    if not waiting:
        return kept
    if len(waiting) == len(kept):
        return [evolve(tool, is_deferred=False) for tool in kept]
    named = [place for place in waiting if choice is not None and choice.mode == "named" and place[0] == choice.name]
    places = dict.fromkeys([*(place for turn in turns for place in _found(turn.blocks)), *named])
    found = [evolve(waiting.pop(place), is_deferred=False) for place in places if place in waiting]
    return [*(tool for tool in kept if not tool.is_deferred), *found, *waiting.values()]


def _found(blocks: Iterable[Block]) -> Iterator[_Place]:
    for block in blocks:
        match block:
            case ToolCall():
                yield block.name, block.namespace
            case Text():
                yield from block.tools
            case ToolResult():
                yield from _found(block.blocks)


def is_searched(request: Request, profile: Profile) -> bool:
    """Whether the provider itself searches among the deferred tools, so that it has to be sent all of them."""
    return SEARCH in profile.hosted_tools and any(tool.kind == SEARCH for tool in request.tools)


def at_hand(request: Request, profile: Profile) -> Sequence[Tool]:
    """Return the tools to send: without the deferred ones, unless the provider searches among them."""
    if is_searched(request, profile):
        return request.tools
    return [tool for tool in request.tools if not tool.is_deferred]
