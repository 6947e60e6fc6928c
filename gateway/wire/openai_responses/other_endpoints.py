"""What stands beside `/responses`: counts of its input, and conversations made short by who will go on with them."""

from attrs import evolve

from gateway.wire.openai_responses import OPENAI_RESPONSES
from gateway.wire.token_counts import counting

# SDK type InputTokenCountParams.
_COUNTED = frozenset(
    {"model", "input", "instructions", "parallel_tool_calls", "reasoning", "text", "tool_choice", "tools", "truncation"}
)
_SAID = {"object": "response.input_tokens"}  # SDK type InputTokenCountResponse

INPUT_TOKENS = counting(OPENAI_RESPONSES, "openai_input_tokens", "/responses/input_tokens", _COUNTED, _SAID)
# Carried, never crossed: what it returns is sealed.
COMPACT = evolve(
    OPENAI_RESPONSES,
    name="openai_compact",
    path="/responses/compact",
    client=None,
    upstream=None,
    generates=False,
    probe={},
)
