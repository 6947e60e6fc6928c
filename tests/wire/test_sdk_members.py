"""Nothing is lost in silence: every member of the SDKs' own request types is carried, mapped, or named.

The types come from the installed SDKs. A new release whose members nobody has thought of fails here if one of them is
lost without a word. `NO_LOSS` lists what needs none, each with its reason.
"""

from typing import Any

import pytest
from anthropic.types.beta.message_create_params import MessageCreateParamsNonStreaming as BetaMessages
from anthropic.types.message_create_params import MessageCreateParamsNonStreaming as Messages
from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming as Chat
from openai.types.responses.response_create_params import ResponseCreateParamsNonStreaming as Responses

from gateway.wire.profile import Profile
from tests.wire.sdk_members import is_silent, undated
from tests.wire.sdk_types import Case, cases

pytestmark = pytest.mark.slow

# A place, a member with the kind of its object, or `*.` and a member -> why no crossing has to say anything about it.
NO_LOSS = {
    "model": "is that of the target",
    "stream": "steers how the reply is written",
    "prompt_cache_key": "says where to look for a cache, which other servers find by the prefix",
    "cache_control": "asks for caching without breakpoints, which other providers do by themselves",
    "metadata": "is in the gateway's own reply",
    "response_format.json_schema.name": "is a label of the schema",
    "text.format.name": "is a label of the schema",
    "name.function": "is the name in the call that the result answers",
    "messages.content.tool.name": "is the name of a tool that is offered anyway",
    "*.media_type": "is read from the data",
    "*.id": "names an item at its own provider",
    "*.mode": "of a cache breakpoint, is always explicit",
    "cache_control.ttl": "is of a cache that other providers keep as long as they like",
    "name.web_search": "OpenAI's hosted tools have none",
    "name.code_execution": "OpenAI's hosted tools have none",
    "name.web_fetch": "OpenAI's hosted tools have none",
    "thinking.budget_tokens": "becomes the nearest effort",
    "*.defer_loading": "holds a tool back until a search has found it, unless all tools are held back",
    "tools.configs": "names single tools of a set: its members are looked at by themselves",
    "arguments.tool_search_call": "of a search that the provider has run: its output says what was found",
    "execution.tool_search_call": "says who has run the search, which is over",
    "execution.tool_search_output": "says who has run the search, which is over",
    "status.tool_search_call": "of an item of the past, which is over",
    "status.tool_search_output": "of an item of the past, which is over",
    "role.additional_tools": "is always developer",
    "tool_use_id.tool_search_tool_result": "names the search, which is over",
    "compaction": "is done by the gateway itself",
    "compaction.instructions": "goes into the request for the summary",
    "context_management.edits.instructions": "goes into the request for the summary",
    "context_management.edits.pause_after_compaction": "is done by the gateway itself",
    "context_management.edits.trigger": "is the length at which the gateway asks for the summary",
    "cache_control.tool_search_tool_result": "is of one line of names",
}
PLAIN = Profile(verbosity=True, tiers=True, safety_identifier=True, strict_tools=True, thinking="adaptive")
HOSTED = Profile(tiers=True, hosted_tools=("web_search", "code_execution", "web_fetch"))
SDKS: list[tuple[str, Any]] = [
    ("openai_chat", Chat),
    ("openai_responses", Responses),
    ("anthropic_messages", Messages),
    ("anthropic_messages", BetaMessages),
]
UPSTREAMS = ("openai_chat", "openai_responses", "anthropic_messages")


@pytest.mark.parametrize("upstream", UPSTREAMS)
@pytest.mark.parametrize(("client", "params"), SDKS, ids=["chat", "responses", "messages", "messages_beta"])
@pytest.mark.parametrize("profile", [PLAIN, HOSTED], ids=["plain", "hosted"])
def test_no_member_is_lost_in_silence(client: str, params: Any, upstream: str, profile: Profile) -> None:
    """With the member something else goes upstream than without it, or the header names it or what it stands in."""
    if client == upstream:
        pytest.skip("the body goes as it came")
    groups: dict[tuple[str, str], list[Case]] = {}
    for case in cases(params, skip=("betas",)):
        groups.setdefault((case.place, case.kinds[-1] if case.kinds else ""), []).append(case)
    silent = [
        f"{place} of {kind}" if kind else place
        for (place, kind), same in groups.items()
        if not _names(place, kind) & NO_LOSS.keys() and all(is_silent(client, upstream, one, profile) for one in same)
    ]
    assert silent == []


def _names(place: str, kind: str) -> set[str]:
    last = place.rpartition(".")[2]
    return {place, f"*.{last}", f"{last}.{undated(kind)}"}
