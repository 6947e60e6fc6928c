"""Writes for Messages clients what the tools of another provider have done: web searches, sources, pictures.

Anthropic encrypts its results and refuses foreign ones. So everything made here carries a mark, by which `is_ours`
finds it in the history when it comes back (docs/wire/replies.md#hosted-tools).
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from gateway.wire.neutral import Citation, Image, Opaque
from gateway.wire.translation.media import describe_picture
from gateway.wire.translation.memo import Memo
from gateway.wire.translation.names import mint

USE_PREFIX = "srvtoolu_gw_"  # how the ids of our blocks begin
SEALED = "gw0."  # stands where Anthropic has encrypted content
MARKS = (b'"' + USE_PREFIX.encode(), b'"' + SEALED.encode())  # how both begin in JSON


def is_ours(block: dict[str, Any]) -> bool:
    """Return whether a block of a history was made by `search_blocks`."""
    name = block.get("id") or block.get("tool_use_id")
    return isinstance(name, str) and name.startswith(USE_PREFIX)


def search_blocks(block: Opaque, memo: Memo) -> Iterator[dict[str, Any]]:
    """Yield a web search of OpenAI as `server_tool_use` and `web_search_tool_result`; nothing for other hosted tools.

    What is left out is noted in `memo`.
    """
    payload = msgspec.json.decode(block.raw)
    if block.kind != "web_search_call" or not isinstance(payload, dict):
        memo.drops.add(block.kind)
        return
    action = payload.get("action")
    action = action if isinstance(action, dict) else {}
    use = mint(USE_PREFIX, memo.seed, payload.get("id"))
    yield {"type": "server_tool_use", "id": use, "name": "web_search", "input": {"query": _query(action)}}
    found: Any = [_result(url) for url in _sources(action)]
    if payload.get("status") in ("failed", "incomplete"):
        found = {"type": "web_search_tool_result_error", "error_code": "unavailable"}
    yield {"type": "web_search_tool_result", "tool_use_id": use, "content": found}


def _query(action: dict[str, Any]) -> str:
    queries = action.get("queries")
    words = [action.get("query"), *(queries if isinstance(queries, list) else ()), action.get("url")]
    return next((word for word in words if isinstance(word, str) and word), "")


def _sources(action: dict[str, Any]) -> Iterator[str]:
    sources = action.get("sources")
    places = [*(sources if isinstance(sources, list) else ()), action]
    for place in places:
        if isinstance(place, dict) and isinstance(url := place.get("url"), str) and url:
            yield url


def _result(url: str) -> dict[str, Any]:
    return {"type": "web_search_result", "url": url, "title": url, "encrypted_content": SEALED, "page_age": None}


def location(citation: Citation) -> dict[str, Any] | None:
    """Return another dialect's citation as Anthropic's of a search result; None if it names no URL."""
    if not citation.url:
        return None
    cited = {"type": "web_search_result_location", "url": citation.url, "title": citation.title}
    return {**cited, "encrypted_index": SEALED, "cited_text": ""}


def picture_text(image: Image, memo: Memo) -> str:
    """Return a text that stands for a picture in a reply; none in front of JSON. The loss is noted in `memo`."""
    memo.drops.add("images")
    return describe_picture(image.source) if memo.request.format.kind == "text" else ""
