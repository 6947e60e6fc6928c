"""What tests of Responses requests for other upstreams share."""

from typing import Any

from gateway.wire.profile import Profile
from tests.wire.crossings import memo_of, write


def responses_request(**more: Any) -> dict[str, Any]:
    return {"model": "m", "input": "Hi"} | more


def sent(
    upstream: str = "openai_chat", profile: Profile | None = None, **more: Any
) -> tuple[dict[str, Any], list[str]]:
    """Return (what goes upstream, what was noted as lost)."""
    memo = memo_of("openai_responses", responses_request(**more), profile)
    return write(memo, upstream=upstream), memo.drops.names
