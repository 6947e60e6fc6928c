"""Which losses change nothing that a call asks for: they are named, and `on_shed: refuse` does not refuse them."""

# Of the history: what other models have thought, and what blocks say besides their content.
_OF_HISTORY = frozenset(
    {
        "reasoning", "system", "messages.phase", "messages.cache_control", "messages.citations", "messages.caller",
        "messages.index", "messages.annotations", "messages.reasoning_details", "input.phase", "input.status",
        "input.caller", "input.annotations", "input.logprobs", "input.acknowledged_safety_checks", "input.created_by",
        "input.mcp_list_tools", "input.internal_chat_message_metadata_passthrough",
    }
)  # fmt: skip
# Caches, speed, and what is only shown or counted: the model answers the same without them.
_OF_DELIVERY = frozenset(
    {
        "cache_control", "tools.cache_control", "prompt_cache_options", "prompt_cache_retention",
        "diagnostics", "include", "stream_options.include_obfuscation", "reasoning.context",
        "reasoning.summary", "reasoning.generate_summary", "thinking.display",
        "tools.eager_input_streaming", "tools.input_examples", "tools.output_schema", "user",
    }
)  # fmt: skip
HINTS = _OF_HISTORY | _OF_DELIVERY
