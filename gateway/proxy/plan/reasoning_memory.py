"""Remembers for an hour the reasoning before a tool call, for clients that do not send it back.

Many Chat clients drop reasoning from the history; Claude, Gemini and DeepSeek refuse the next turn without it
(docs/wire/conversation.md#reasoning-round-trip). The memory is bounded in entries and in bytes; the oldest go first.
"""

from collections import OrderedDict
from collections.abc import Sequence
from threading import Lock
from typing import Any

from attrs import define, evolve, field, frozen

from gateway.wire.codec.json_body import to_json
from gateway.wire.neutral import Block, Reasoning, Request, Role, ToolCall

TTL = 3600.0
MAX_ENTRIES = 20_000
MAX_BYTES = 32 * 1024 * 1024
OVERHEAD = 200  # bytes of an entry beside its texts


@frozen
class _Entry:
    until: float
    thoughts: tuple[Reasoning, ...]
    extra: dict[str, Any] | None
    size: int


@define
class ReasoningMemory:
    """Reasoning by (owner, id of the tool call), so that no client gets the reasoning of another key's calls."""

    _entries: OrderedDict[tuple[str, str], _Entry] = field(factory=OrderedDict, init=False)
    size: int = field(default=0, init=False)
    _lock: Lock = field(factory=Lock, init=False)  # large replies are read in a thread

    def __len__(self) -> int:
        """Return the number of calls that are remembered."""
        return len(self._entries)

    def remember(self, owner: str, now: float, calls: Sequence[ToolCall], thoughts: Sequence[Reasoning]) -> None:
        """Remember `thoughts` and a call's own `extra` for each of `calls`. `now` is in monotonic seconds."""
        kept = tuple(thought for thought in thoughts if thought.has_state or thought.text)
        size = sum(len(t.text) + len(t.signature or "") + len(t.sealed or "") for t in kept)
        with self._lock:
            for call in calls:
                own = size + OVERHEAD + len(call.id) + (len(to_json(call.extra)) if call.extra else 0)
                self._drop((owner, call.id))
                self._entries[owner, call.id] = _Entry(now + TTL, kept, call.extra, own)
                self.size += own
            while self._entries and (len(self._entries) > MAX_ENTRIES or self.size > MAX_BYTES):
                self._drop(next(iter(self._entries)))

    def restore(self, owner: str, now: float, request: Request) -> None:
        """Put the remembered thoughts and extras back into the assistant turns that lack them, in place."""
        for index, turn in enumerate(request.turns):
            if turn.role is Role.ASSISTANT and any(isinstance(block, ToolCall) for block in turn.blocks):
                request.turns[index] = evolve(turn, blocks=self._restored(owner, now, turn.blocks))

    def _restored(self, owner: str, now: float, blocks: Sequence[Block]) -> tuple[Block, ...]:
        found: list[Block] = []
        thoughts: tuple[Reasoning, ...] = ()
        for block in blocks:
            entry = self._entries.get((owner, block.id)) if isinstance(block, ToolCall) else None
            if isinstance(block, ToolCall) and entry is not None and entry.until > now:
                thoughts = thoughts or entry.thoughts
                found.append(evolve(block, extra=block.extra or entry.extra))
            else:
                found.append(block)
        has_own = any(isinstance(block, Reasoning) for block in blocks)
        return tuple(found) if has_own else (*thoughts, *found)

    def _drop(self, place: tuple[str, str]) -> None:
        if (entry := self._entries.pop(place, None)) is not None:
            self.size -= entry.size
