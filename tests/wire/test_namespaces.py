"""What a namespace says about its tools reaches models of dialects without namespaces."""

from typing import Any

import pytest

from tests.wire.responses_to_others import sent

LIST: dict[str, Any] = {"type": "function", "name": "list", "description": "Lists.", "parameters": {"type": "object"}}
SHOW: dict[str, Any] = {"type": "function", "name": "show", "parameters": {"type": "object"}}


def described(upstream: str, **namespace: Any) -> list[str | None]:
    out, drops = sent(upstream, tools=[{"type": "namespace", "name": "gh", **namespace}])
    assert drops == []
    return [one.get("function", one).get("description") for one in out["tools"]]


@pytest.mark.parametrize("upstream", ["openai_chat", "anthropic_messages"])
def test_a_namespaces_description_is_kept(upstream: str) -> None:
    """It stands once, behind the description of the first tool: a long one is not repeated for each of fifty."""
    about = "About all tools of gh: Talks to the forge."
    assert described(upstream, description="Talks to the forge.", tools=[LIST, SHOW]) == [f"Lists.\n\n{about}", None]
    assert described(upstream, description="Talks to the forge.", tools=[SHOW, LIST]) == [about, "Lists."]


@pytest.mark.parametrize("more", [{}, {"description": None}, {"description": ""}, {"description": 5}])
def test_a_namespace_without_a_description(more: dict[str, Any]) -> None:
    """Without a description, or with one that is no text, the tools stay as they are."""
    assert described("openai_chat", tools=[LIST, SHOW], **more) == ["Lists.", None]
