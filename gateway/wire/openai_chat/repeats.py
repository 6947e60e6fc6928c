"""Some servers send the whole message once more behind its deltas (MiniMax): tells what of it is new.

The frame has `object: chat.completion` and a `message` in the place of `delta`. Other servers send a `message` only
there, or in every chunk. So a part of a message is left out only if deltas have told its like before
(docs/wire/streaming.md#reading-a-chat-stream).
"""

from collections.abc import Mapping
from typing import Any

from attrs import define, field

# The members of a delta or a message, by what they tell.
_KINDS = {
    "content": "text",
    "reasoning": "thought",
    "reasoning_content": "thought",
    "reasoning_details": "thought",
    "refusal": "refusal",
    "tool_calls": "calls",
    "function_call": "calls",
    "annotations": "annotations",
    "images": "images",
    "audio": "audio",
}


@define
class Repeats:
    """What the deltas of one choice have told."""

    _told: set[str] = field(factory=set, init=False)

    def unsaid(self, choice: Mapping[str, Any], calls: int) -> dict[str, Any]:
        """Return what a choice adds: its delta, or its message without what the deltas have told.

        `calls` is the number of calls so far.
        """
        delta, message = choice.get("delta"), choice.get("message")
        delta = delta if isinstance(delta, dict) else {}
        kinds = {_KINDS[name] for name, value in delta.items() if value and name in _KINDS}
        if kinds or not isinstance(message, dict):
            self._told |= kinds
            return delta
        told = self._told | ({"thought"} if "text" in self._told else set())
        kept = {name: value for name, value in message.items() if _KINDS.get(name) not in told}
        more = message.get("tool_calls")
        if "calls" in told and isinstance(more, list) and len(more) > calls:
            kept["tool_calls"] = more[calls:]
        return kept
