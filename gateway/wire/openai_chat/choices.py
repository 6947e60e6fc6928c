"""Takes apart the choices of a Chat reply: which of several count, and which calls one of them holds."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Said = Mapping[str, Any]


def complementing(choices: Sequence[Said]) -> Iterator[Said]:
    """Yield the first choice of a whole reply, and each later one with text or calls if none before it had them."""
    has_text = has_calls = False
    for number, choice in enumerate(choices):
        message = choice.get("message") or choice.get("delta")
        message = message if isinstance(message, dict) else {}
        says, calls = bool(message.get("content")), bool(message.get("tool_calls"))
        if not number or (says and not has_text) or (calls and not has_calls):
            yield choice
            has_text, has_calls = has_text or says, has_calls or calls


def calls_in(delta: Said) -> Iterator[Said]:
    """Yield the entries of `tool_calls`, or the one call of the older `function_call`."""
    calls = delta.get("tool_calls")
    if isinstance(calls, list) and calls:
        yield from (call for call in calls if isinstance(call, dict))
    elif isinstance(function := delta.get("function_call"), dict):
        yield {"index": 0, "function": function}
