"""The endpoints beside `/responses`: `/input_tokens` counts its input, `/compact` shortens a conversation."""

from attrs import evolve

from gateway.wire.openai_responses import OPENAI_RESPONSES
from gateway.wire.token_counts import counting

# SDK type InputTokenCountParams.
_COUNTED = frozenset(
    {"model", "input", "instructions", "parallel_tool_calls", "reasoning", "text", "tool_choice", "tools", "truncation"}
)
_SAID = {"object": "response.input_tokens"}  # SDK type InputTokenCountResponse

INPUT_TOKENS = counting(OPENAI_RESPONSES, "openai_input_tokens", "/responses/input_tokens", _COUNTED, _SAID)
# Raw lane only: the compacted conversation is encrypted, so no other provider could continue it.
COMPACT = evolve(
    OPENAI_RESPONSES,
    name="openai_compact",
    path="/responses/compact",
    limit_class="default",
    client=None,
    upstream=None,
    generates=False,
    probe={},
)
