"""Which dialect is spoken with a provider, and which lane follows from it."""

import pytest

from gateway.errors import BadRequest
from gateway.proxy.plan.choose import make_plan, upstream_dialect
from gateway.proxy.plan.mode import FULL, MINIMAL, PASS_THROUGH, Mode
from gateway.wire import DIALECTS
from gateway.wire.profile import Profile
from tests.proxy.plan.sources import provider, source

TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
BOTH = ("openai_chat", "openai_responses")


@pytest.mark.parametrize(
    ("client", "speaks", "spoken"),
    [
        ("openai_chat", ("anthropic_messages", "openai_chat"), "openai_chat"),
        ("openai_chat", ("anthropic_messages", "openai_responses"), "anthropic_messages"),
        ("anthropic_messages", ("openai_embeddings", "openai_chat"), "openai_chat"),
        ("anthropic_messages", ("openai_completions",), None),
        ("openai_embeddings", ("openai_chat",), None),
        ("openai_embeddings", ("openai_embeddings",), "openai_embeddings"),
        ("anthropic_count_tokens", ("openai_chat", "openai_input_tokens"), "openai_input_tokens"),
        ("anthropic_count_tokens", ("openai_chat",), None),
        ("openai_chat", (), None),
    ],
)
def test_the_clients_own_dialect_comes_first(client: str, speaks: tuple[str, ...], spoken: str | None) -> None:
    """The client's own dialect is spoken if the provider has it, else the first that it can be translated into."""
    found = upstream_dialect(DIALECTS[client], provider(*speaks))
    assert (found and found.name) == spoken


@pytest.mark.parametrize("mode", [FULL, MINIMAL, PASS_THROUGH])
def test_every_mode_translates(mode: Mode) -> None:
    """Under every prefix a provider that does not speak the client's dialect is asked in its own."""
    plan = make_plan(source("anthropic_messages", mode=mode), provider("openai_chat"), "m", Profile())
    assert plan is not None and not plan.is_raw


@pytest.mark.parametrize(
    ("client", "speaks", "is_raw"),
    [
        ("openai_chat", "openai_chat", True),
        ("openai_chat", "anthropic_messages", False),
        ("openai_responses", "openai_responses", True),
        ("openai_embeddings", "openai_embeddings", True),
    ],
)
def test_the_lane_follows_from_the_dialect(client: str, speaks: str, is_raw: bool) -> None:
    """Equal dialects take the raw lane, others the translated lane."""
    plan = make_plan(source(client), provider(speaks), "m", Profile())
    assert plan is not None
    assert (plan.is_raw, plan.upstream.name) == (is_raw, speaks)


@pytest.mark.parametrize(
    ("client", "speaks", "mode", "spoken"),
    [
        ("openai_chat", BOTH, FULL, "openai_responses"),
        ("openai_chat", BOTH, PASS_THROUGH, "openai_chat"),
        ("openai_chat", ("openai_chat",), FULL, "openai_chat"),
        ("anthropic_messages", BOTH, FULL, "openai_responses"),
        ("openai_responses", BOTH, FULL, "openai_responses"),
    ],
)
def test_a_model_without_chat_is_asked_by_responses(
    client: str, speaks: tuple[str, ...], mode: Mode, spoken: str
) -> None:
    """A model that Chat does not serve is asked by Responses, if its provider has that and the mode translates."""
    plan = make_plan(source(client, mode=mode), provider(*speaks), "m", Profile(responses_only=True))
    assert plan is not None
    assert (plan.upstream.name, plan.is_raw) == (spoken, spoken == client)


@pytest.mark.parametrize(
    ("said", "efforts", "spoken"),
    [
        ({}, ("none",), "openai_chat"),
        ({"tools": [TOOL]}, ("none",), "openai_responses"),
        ({"tools": [TOOL], "reasoning_effort": "none"}, ("none", "low"), "openai_chat"),
        ({"tools": [TOOL], "reasoning_effort": "none"}, ("low",), "openai_responses"),
    ],
)
def test_tools_may_need_responses(said: dict[str, object], efforts: tuple[str, ...], spoken: str) -> None:
    """A model whose tools need Responses is asked by Chat without tools, or if its reasoning can be turned off."""
    profile = Profile(tools_need_responses=True, efforts=efforts)
    plan = make_plan(source(said=said), provider(*BOTH), "m", profile)
    assert plan is not None
    assert plan.upstream.name == spoken


def test_an_invalid_body_is_refused_only_where_it_is_read() -> None:
    """A body that cannot be translated is a BadRequest with its place; the raw lane forwards it."""
    odd = source(said={"messages": "Hi"})
    with pytest.raises(BadRequest) as caught:
        make_plan(odd, provider("anthropic_messages"), "m", Profile())
    assert caught.value.param == "messages"
    assert make_plan(odd, provider("openai_chat"), "m", Profile()) is not None


PLAIN = Profile(raw_kinds=("message", "function"), hosted_tools=("web_search",))
SEARCH = {"type": "web_search"}
MESSAGES_SEARCH = {"type": "web_search_20250305", "name": "web_search"}


@pytest.mark.parametrize(
    ("client", "said", "is_raw"),
    [
        ("openai_responses", {}, True),
        ("openai_responses", {"tools": [{"type": "function", "name": "f"}, SEARCH]}, True),
        ("openai_responses", {"tools": [{"type": "custom", "name": "f"}]}, False),
        ("openai_responses", {"input": [{"type": "additional_tools", "tools": []}]}, False),
        ("anthropic_messages", {"tools": [{"name": "f", "input_schema": {"type": "object"}}, MESSAGES_SEARCH]}, True),
        ("anthropic_messages", {"tools": [{"type": "bash_20250124", "name": "bash"}]}, False),
    ],
)
def test_kinds_that_a_server_does_not_know_are_translated(client: str, said: dict[str, object], is_raw: bool) -> None:
    """A server of the client's own dialect is asked in Chat for what it does not know."""
    plan = make_plan(source(client, said=said), provider("openai_chat", client), "m", PLAIN)
    assert plan is not None and (plan.is_raw, plan.upstream.name) == (is_raw, client if is_raw else "openai_chat")


@pytest.mark.parametrize(
    ("speaks", "mode"), [(("openai_responses",), FULL), (("openai_chat", "openai_responses"), PASS_THROUGH)]
)
def test_unknown_kinds_pass_where_nothing_else_can_be_spoken(speaks: tuple[str, ...], mode: Mode) -> None:
    """Without another dialect, or under /pt, the provider is the authority on its kinds."""
    said = {"tools": [{"type": "custom", "name": "f"}]}
    plan = make_plan(source("openai_responses", said=said, mode=mode), provider(*speaks), "m", PLAIN)
    assert plan is not None and plan.is_raw


def test_a_search_is_asked_by_responses() -> None:
    """A provider that searches in Responses only is asked there, where Chat would lose the tool."""
    asked = source("anthropic_messages", said={"tools": [MESSAGES_SEARCH]})
    plan = make_plan(asked, provider(*BOTH), "m", Profile(hosted_tools=("web_search",)))
    assert plan is not None and plan.upstream.name == "openai_responses" and not plan.drops
    plan = make_plan(asked, provider(*BOTH), "m", Profile())
    assert plan is not None and plan.upstream.name == "openai_chat" and plan.drops == ["tools.web_search"]
