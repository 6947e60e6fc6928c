"""An output cap below what a provider takes is raised, and that is told."""

from typing import Any

import pytest

from tests.wire.crossings import chat_request, messages_request, written
from tests.wire.responses_to_others import responses_request

REQUESTS: dict[str, Any] = {
    "openai_chat": lambda most: chat_request(max_tokens=most),
    "anthropic_messages": lambda most: messages_request(max_tokens=most),
    "openai_responses": lambda most: responses_request(max_output_tokens=most),
}
NAMES = {"openai_chat": "max_tokens", "anthropic_messages": "max_tokens", "openai_responses": "max_output_tokens"}
FLOORS = {"openai_chat": 1, "anthropic_messages": 1, "openai_responses": 16}


@pytest.mark.parametrize("upstream", FLOORS)
@pytest.mark.parametrize("client", FLOORS)
@pytest.mark.parametrize("most", [0, 1, 2, 15, 16, 17])
def test_a_cap_below_the_floor_is_raised_and_told(client: str, upstream: str, most: int) -> None:
    """OpenAI's Responses take sixteen tokens at least, the others one; a cap that is high enough stays as it is."""
    if client == upstream:
        return
    out, memo = written(client, REQUESTS[client](most), upstream=upstream)
    assert out[NAMES[upstream]] == max(most, FLOORS[upstream])
    assert memo.drops.names == (["max_tokens"] if most < FLOORS[upstream] else [])
