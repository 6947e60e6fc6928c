"""What all dialects can say, in one vocabulary: requests, replies, blocks, events, usage.

A union, not an intersection: what only one dialect knows is carried (`Opaque`), never bent.
"""

from attrs import frozen


@frozen
class Usage:
    """Token counts of one reply in disjoint parts; None is unknown, never zero.

    `input` excludes what was read from or written to a cache (TRANSLATION.md 6.3); `reasoning` is a
    part of `output`. `is_estimated` marks counts that no provider has said.
    """

    input: int | None = None
    cache_read: int | None = None
    cache_write: int | None = None
    output: int | None = None
    reasoning: int | None = None
    is_estimated: bool = False

    @property
    def prompt(self) -> int | None:
        """All input tokens, cached ones included: what OpenAI calls `prompt_tokens`."""
        if self.input is None:
            return None
        return self.input + (self.cache_read or 0) + (self.cache_write or 0)
