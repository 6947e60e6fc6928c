"""The dialects of the Chat family: Chat Completions, legacy Completions, and the worker's `/chat`.

`/completions` is only forwarded, never translated. `/chat` differs from Chat Completions only in its errors.
"""

from collections.abc import Mapping

from attrs import evolve

from gateway.wire.dialect import ClientSide, Dialect, UpstreamSide
from gateway.wire.openai_chat import raw
from gateway.wire.openai_chat.raw_calls import mend_whole
from gateway.wire.openai_chat.read_reply import ChatReader, read_reply
from gateway.wire.openai_chat.request import read_request, write_request
from gateway.wire.openai_chat.tidy import tidy
from gateway.wire.openai_chat.worker import write_worker_error
from gateway.wire.openai_chat.write_reply import ChatWriter, write_reply
from gateway.wire.openai_error import write_error
from gateway.wire.provider_error import read_declined
from gateway.wire.translation.kinds import chat_sought, chat_tools

# What a request loses on its way into this dialect, by the client's dialect (`*`: any). For people to read.
SHEDS: Mapping[str, Mapping[str, str]] = {
    "*": {
        "temperature, top_p": "dropped for reasoning models",
        "documents at a URL, file ids": "refused",
        "pictures and files in tool results": "moved into the user message behind the results",
        "reasoning in the history": "dropped unless the server wants it back",
        "strict tools": "kept where the schema is strict enough for OpenAI",
        "compactions of another provider": "sent as text; told in their place, if they are sealed",
    },
    "anthropic_messages": {
        "stop_sequences beyond what the model takes": "enforced by the gateway in what the model says",
        "top_k": "dropped where the server does not take it",
        "cache_control": "dropped, or turned into OpenAI's breakpoints where the model takes them",
        "thinking budgets": "become the nearest effort",
        "is_error of a tool result": "told as a mark before its text",
        "tools that Anthropic runs": "dropped; refused when the choice forces one",
        "deferred tools": "offered once a search has found them; references become names",
        "what Anthropic's tools did and found in the history": "told as text",
        "tools added and withdrawn in the conversation": "offered, or not offered, as of its end",
        "task_budget, between_tools, input_examples, allowed_callers, citations, and what is new": "dropped",
        "bash, text editor, memory, computer and browser tools": "offered as functions with the same arguments",
        "message threads": "refused: the SDK then sends the whole conversation",
        "edits of context_management but compaction; container, mcp_servers, inference_geo, diagnostics": "dropped",
    },
    "openai_responses": {
        "hosted tools that the model does not have": "dropped; refused when the choice forces one",
        "tool_search that the client runs": "offered as a function, and turned back; what it finds is offered",
        "local_shell, shell, apply_patch": "offered as functions, and turned back",
        "custom tools": "offered as functions with one text argument where the server has none, and turned back",
        "what OpenAI's tools did and found in the history": "told as text, a screenshot as a picture",
        "a shell in a container": "dropped, and its calls in the history told as text",
        "reasoning.mode, reasoning.context, phase, annotations, and what is new": "dropped",
        "truncation: auto, max_tool_calls, prompt_cache_retention": "dropped",
        "logprobs": "dropped where the model has none",
        "verbosity": "dropped where the model does not take it, unless it is medium",
        "service_tier": "dropped where the server has none",
        "metadata": "stays in the gateway's own reply",
    },
}

# Members that may be left out if a provider refuses them.
OPTIONAL = frozenset(
    {
        "stream_options", "temperature", "top_p", "top_k", "presence_penalty", "frequency_penalty", "seed",
        "logit_bias", "logprobs", "top_logprobs", "parallel_tool_calls", "user", "safety_identifier",
        "prompt_cache_key", "service_tier", "verbosity", "reasoning_effort", "thinking", "reasoning",
        "enable_thinking", "thinking_budget", "chat_template_kwargs", "max_tokens",
    }
)  # fmt: skip
OPENAI_CHAT = Dialect(
    name="openai_chat",
    path="/chat/completions",
    read_error=read_declined,
    write_error=write_error,
    glance=raw.glance,
    watch=raw.watch,
    ask=raw.ask,
    add_members=raw.add_members,
    prefix=raw.prefix,
    tool_kinds=chat_tools,
    sought_tools=chat_sought,
    tidy=tidy,
    mend_whole=mend_whole,
    client=ClientSide(read_request, write_reply, ChatWriter, is_sequential=False),
    upstream=UpstreamSide(write_request, read_reply, ChatReader, SHEDS, OPTIONAL),
    limit_class="chat",
    generates=True,
    probe={"messages": [{"role": "user", "content": "Say ok."}], "max_tokens": 16},
)
OPENAI_COMPLETIONS = evolve(
    OPENAI_CHAT,
    name="openai_completions",
    path="/completions",
    limit_class="default",
    probe={},
    client=None,
    upstream=None,
)
WORKER_CHAT = evolve(OPENAI_CHAT, write_error=write_worker_error)
