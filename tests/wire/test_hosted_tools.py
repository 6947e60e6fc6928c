"""Tools that a provider runs, asked for in another dialect: what is kept, what is told, what they are called."""

from typing import Any

import pytest

from gateway.wire.profile import Profile
from tests.wire.crossings import chat_request, written
from tests.wire.responses_to_others import sent

SEARCHES = Profile(hosted_tools=("web_search",))


@pytest.mark.parametrize(
    ("options", "kept", "lost"),
    [
        ({}, {}, []),
        ({"search_context_size": "medium"}, {}, []),
        ({"search_context_size": "high"}, {}, ["tools.search_context_size"]),
        ({"search_context_size": "low", "user_location": None}, {}, ["tools.search_context_size"]),
        ({"external_web_access": True}, {}, []),
        ({"external_web_access": False}, {}, ["tools.external_web_access"]),
        ({"filters": {"allowed_domains": ["a.example"]}}, {"allowed_domains": ["a.example"]}, []),
        ({"filters": {"blocked_domains": ["a.example"]}}, {"blocked_domains": ["a.example"]}, []),
        (
            {"filters": {"allowed_domains": ["a.example"], "blocked_domains": ["b.example"]}},
            {"allowed_domains": ["a.example"]},
            ["tools.blocked_domains"],
        ),
        ({"filters": {"allowed_domains": []}}, {}, []),
        ({"search_content_types": ["image"]}, {}, ["tools.search_content_types"]),
    ],
)
def test_options_of_a_search(options: dict[str, Any], kept: dict[str, Any], lost: list[str]) -> None:
    """What Anthropic's search has no member for is told, unless it is the default; domains cross."""
    search = {"type": "web_search_20250305", "name": "web_search", **kept}
    out, drops = sent("anthropic_messages", SEARCHES, tools=[{"type": "web_search", **options}])
    assert (out["tools"], drops) == ([search], lost)


def test_options_of_a_chat_search() -> None:
    """The same members of Chat's `web_search_options` are told, too."""
    said = chat_request(web_search_options={"search_context_size": "high"})
    _, memo = written("openai_chat", said, SEARCHES)
    assert memo.drops.names == ["tools.search_context_size"]
