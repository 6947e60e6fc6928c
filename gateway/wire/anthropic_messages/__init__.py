"""The dialect of Anthropic Messages."""

from collections.abc import Mapping

from gateway.wire.anthropic_messages import raw
from gateway.wire.anthropic_messages.compaction import COMPACTIONS
from gateway.wire.anthropic_messages.errors import write_error
from gateway.wire.anthropic_messages.read_messages import NAME
from gateway.wire.anthropic_messages.read_reply import MessagesReader, read_reply
from gateway.wire.anthropic_messages.request import read_request, write_request
from gateway.wire.anthropic_messages.threads import ask
from gateway.wire.anthropic_messages.write_reply import PING, MessagesWriter, resume, write_reply
from gateway.wire.dialect import ClientSide, Dialect, UpstreamSide
from gateway.wire.provider_error import read_declined
from gateway.wire.translation.kinds import messages_sought, messages_tools

__all__ = ["ANTHROPIC_MESSAGES", "SHEDS", "read_request"]

# What a request loses on its way into this dialect, by the client's dialect (`*`: any). For people to read.
SHEDS: Mapping[str, Mapping[str, str]] = {
    "*": {
        "temperature, top_p, top_k": "dropped for Claude 4.7 and later and under anthropic-version 2026-10-21",
        "temperature above 1": "lowered to 1",
        "json_object": "asked for in the system text",
        "json_schema": "keywords that Anthropic does not take are told in the schema's descriptions; name is dropped",
        "custom tools": "offered as functions with one text argument, and turned back",
        "hosted tools that the model does not have": "dropped; refused when the choice forces one",
        "forced tool choice": "becomes auto on models that refuse it",
        "detail of pictures": "dropped",
        "file ids of another provider": "refused",
        "reasoning of other providers in the history": "dropped",
        "verbosity": "dropped, unless it is medium",
        "flex and scale tiers": "dropped",
        "metadata, logprobs": "dropped",
        "compactions of another provider": "sent as text; told in their place, if they are sealed",
    },
    "openai_chat": {
        "n > 1": "refused: one answer at a time",
        "audio input and output": "refused",
        "presence_penalty, frequency_penalty, seed, logit_bias": "dropped",
        "stop sequences of white space only": "enforced by the gateway",
        "names of messages": "dropped",
        "prediction, store, moderation": "dropped",
    },
    "openai_responses": {
        "what OpenAI's tools did and found in the history": "told as text, a screenshot as a picture",
        "a shell in a container": "dropped, and its calls in the history told as text",
        "reasoning.mode, reasoning.context, phase, annotations, and what is new": "dropped",
        "truncation: auto, max_tool_calls, prompt_cache_retention": "dropped",
        "local_shell, shell, apply_patch": "offered as functions, and turned back",
        "tool_search that the client runs": "offered as a function, and turned back; what it finds is offered",
    },
}

# Members that may be left out if a provider refuses them.
OPTIONAL = frozenset(
    {"temperature", "top_p", "top_k", "service_tier", "thinking", "output_config.effort", "cache_control", "metadata"}
)
ANTHROPIC_MESSAGES = Dialect(
    name=NAME,
    path="/messages",
    read_error=read_declined,
    write_error=write_error,
    glance=raw.glance,
    watch=raw.watch,
    ask=ask,
    add_members=raw.add_members,
    prefix=raw.prefix,
    tool_kinds=messages_tools,
    sought_tools=messages_sought,
    ping=PING,
    client=ClientSide(read_request, write_reply, MessagesWriter, is_sequential=True, call_prefix="toolu_"),
    upstream=UpstreamSide(write_request, read_reply, MessagesReader, SHEDS, OPTIONAL, resume),
    compactions=COMPACTIONS,
    limit_class="messages",
    is_anthropic=True,
    generates=True,
    headers={"anthropic-version": "2023-06-01"},
    forwards=frozenset(
        {
            "idempotency-key",
            "anthropic-version",
            "anthropic-beta",
            "anthropic-workspace-id",
            "anthropic-user-profile-id",
        }
    ),
    native_header="x-api-key",
    probe={"messages": [{"role": "user", "content": "Say ok."}], "max_tokens": 16},
)
