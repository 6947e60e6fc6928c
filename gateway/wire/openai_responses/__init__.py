"""The dialect record of OpenAI Responses."""

from collections.abc import Mapping

from gateway.wire.dialect import ClientSide, Dialect, UpstreamSide
from gateway.wire.openai_error import write_error
from gateway.wire.openai_responses import raw
from gateway.wire.openai_responses.compaction import COMPACTIONS
from gateway.wire.openai_responses.read_reply import ResponsesReader, read_reply
from gateway.wire.openai_responses.read_request import read_request
from gateway.wire.openai_responses.write_items import NAME
from gateway.wire.openai_responses.write_reply import ResponsesWriter, write_reply
from gateway.wire.openai_responses.write_request import write_request
from gateway.wire.provider_error import read_declined
from gateway.wire.translation.kinds import responses_items, responses_sought, responses_tools

__all__ = ["NAME", "OPENAI_RESPONSES", "SHEDS", "read_request"]

# What a request loses on its way to a Responses upstream, by the client's dialect (`*`: any), for docs/crossings.md.
SHEDS: Mapping[str, Mapping[str, str]] = {
    "*": {
        "stop sequences": "enforced by the gateway in what the model says",
        "top_k": "dropped",
        "temperature, top_p": "dropped for reasoning models",
        "thinking of other providers in the history": "dropped",
        "file ids of another provider": "refused",
        "compactions of another provider": "sent as text; told in their place, if they are sealed",
    },
    "openai_chat": {
        "n > 1": "refused: one answer at a time",
        "presence_penalty, frequency_penalty, seed, logit_bias": "dropped",
        "logprobs": "dropped for reasoning models",
        "names of messages": "dropped",
    },
    "anthropic_messages": {
        "thinking budgets": "become the nearest effort",
        "cache_control": "dropped, or turned into OpenAI's breakpoints where the model takes them",
        "is_error of a tool result": "told as a mark before its text",
        "tools that Anthropic runs": "dropped; refused when the choice forces one",
        "deferred tools": "offered once a search has found them; references become names",
        "what Anthropic's tools did and found in the history": "told as text",
        "tools added and withdrawn in the conversation": "offered, or not offered, as of its end",
        "task_budget, between_tools, input_examples, allowed_callers, citations, and what is new": "dropped",
        "message threads": "refused: the SDK then sends the whole conversation",
        "edits of context_management but compaction; container, mcp_servers, inference_geo, diagnostics": "dropped",
    },
}
# Members that a request can be sent again without, if the provider refuses them.
OPTIONAL = frozenset(
    {
        "temperature", "top_p", "parallel_tool_calls", "user", "safety_identifier", "prompt_cache_key",
        "service_tier", "metadata", "reasoning.effort", "reasoning.summary", "text.verbosity", "include",
        "top_logprobs", "stream_options",
    }
)  # fmt: skip
OPENAI_RESPONSES = Dialect(
    name=NAME,
    path="/responses",
    read_error=read_declined,
    write_error=write_error,
    add_members=raw.add_members,
    unsealed=raw.unsealed,
    prefix=raw.prefix,
    tool_kinds=responses_tools,
    sought_tools=responses_sought,
    item_kinds=responses_items,
    glance=raw.glance,
    watch=raw.watch,
    client=ClientSide(read_request, write_reply, ResponsesWriter),
    upstream=UpstreamSide(write_request, read_reply, ResponsesReader, SHEDS, OPTIONAL),
    compactions=COMPACTIONS,
    limit_class="responses",
    generates=True,
    probe={"input": "Say ok.", "max_output_tokens": 16},
)
