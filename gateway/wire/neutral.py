"""What all dialects can say, in one vocabulary: requests, replies, blocks, usage.

A union, not an intersection: what only one dialect knows is carried (`Opaque`), never bent. Arguments of
tool calls are always the raw text that the model produced. Streams of these are in `events.py`.
"""

from enum import StrEnum
from typing import Any

import msgspec
from attrs import define, field, frozen


class Role(StrEnum):
    """Who speaks in a turn. Results of tools are blocks of a user turn."""

    SYSTEM = "system"
    DEVELOPER = "developer"
    USER = "user"
    ASSISTANT = "assistant"


class StopReason(StrEnum):
    """Why the model stopped. Wire words may grow; these may not."""

    END = "end"
    STOP_SEQUENCE = "stop_sequence"
    TOOLS = "tools"
    LENGTH = "length"
    FILTERED = "filtered"  # a refusal, or the provider's policy
    PAUSED = "paused"  # a server tool wants to go on


@frozen
class CacheMark:
    """A prompt-cache breakpoint behind a block; `ttl` in the words of who set it (5m, 1h, 30m, 12h)."""

    ttl: str | None = None


@frozen
class Source:
    """Where the bytes of an image or a document are: one of `data` (base64), `url`, `file_id`, `text`."""

    media_type: str = ""
    data: str | None = field(default=None, repr=False)
    url: str | None = None
    file_id: str | None = None
    text: str | None = field(default=None, repr=False)


@frozen
class Citation:
    """Where a passage of a text comes from. `raw` is the citation as its own dialect wrote it."""

    origin: str
    raw: dict[str, Any]
    url: str | None = None
    title: str | None = None


@frozen
class Text:
    """Plain text."""

    text: str
    citations: tuple[Citation, ...] = ()
    cache: CacheMark | None = None
    phase: str | None = None  # of a Responses message: commentary or final_answer


@frozen
class Image:
    """A picture."""

    source: Source
    detail: str | None = None
    cache: CacheMark | None = None


@frozen
class Audio:
    """Sound in a request."""

    data: str = field(repr=False)
    format: str


@frozen
class Document:
    """A PDF, a text file, or what a provider knows by id."""

    source: Source
    name: str | None = None
    context: str | None = None
    has_citations: bool = False
    cache: CacheMark | None = None


@frozen
class ToolCall:
    """A call of a tool by the model. `kind` names the form in its own dialect: function, custom, local_shell."""

    id: str
    name: str
    arguments: str = field(repr=False)
    kind: str = "function"
    namespace: str | None = None
    extra: dict[str, Any] | None = field(
        default=None, repr=False
    )  # what must come back with it, such as Gemini's signature
    cache: CacheMark | None = None


@frozen
class ToolResult:
    """The answer to a call."""

    call_id: str
    blocks: tuple["Block", ...] = ()
    is_error: bool = False
    kind: str = "function"
    cache: CacheMark | None = None


@frozen
class Reasoning:
    """Thoughts of the model, with the state that its provider wants back.

    `parts` are texts that may be shown: several only for summaries. `signature` proves a text to who wrote
    it, `sealed` is wholly opaque. `origin` is the dialect that made it, or an empty text.
    """

    parts: tuple[str, ...] = field(default=(), repr=False)
    is_summary: bool = False
    signature: str | None = field(default=None, repr=False)
    sealed: str | None = field(default=None, repr=False)
    origin: str = ""
    id: str | None = None

    @property
    def text(self) -> str:
        """All that may be shown."""
        return "\n\n".join(self.parts)

    @property
    def has_state(self) -> bool:
        """Whether there is something that only its own provider can read."""
        return bool(self.signature or self.sealed)


@frozen
class Refusal:
    """The model declines, in words."""

    text: str


@frozen
class Opaque:
    """What only one dialect knows, as it was written."""

    origin: str
    kind: str
    raw: msgspec.Raw = field(repr=False)


Block = Text | Image | Audio | Document | ToolCall | ToolResult | Reasoning | Refusal | Opaque


@frozen
class Turn:
    """What one side said."""

    role: Role
    blocks: tuple[Block, ...]
    name: str | None = None


@frozen
class Tool:
    """A tool that the model may call. Not every dialect has every kind; `raw` is what it was in its own."""

    name: str
    kind: str = "function"  # function, custom, or a built-in such as web_search, local_shell, namespace
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None
    namespace: str | None = None
    grammar: dict[str, Any] | None = None  # of a custom tool
    cache: CacheMark | None = None
    origin: str = ""
    raw: dict[str, Any] | None = field(default=None, repr=False)


@frozen
class ToolChoice:
    """`mode` is auto, none, required or named; `allowed` narrows the tools without forcing one."""

    mode: str
    name: str | None = None
    allowed: tuple[str, ...] | None = None


@frozen
class Sampling:
    """Numbers that steer the dice; None is the upstream's default."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    seed: int | None = None
    logit_bias: dict[str, Any] | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None


@frozen
class Format:
    """The form of the answer: `text`, `json_object` or `json_schema`."""

    kind: str = "text"
    name: str = "output"
    description: str | None = None
    schema: dict[str, Any] | None = None
    strict: bool | None = None


@frozen
class Thinking:
    """How much the model should think.

    `mode` is off, auto, adaptive, budget or between_tools (None: not said); `effort` in OpenAI's words.
    """

    mode: str | None = None
    effort: str | None = None
    budget: int | None = None
    summary: str | None = None
    display: str | None = None


@define
class Request:
    """A request in no dialect. `extra` holds the members that only `origin` knows, by name."""

    origin: str
    model: str
    system: list[Text] = field(factory=list)
    turns: list[Turn] = field(factory=list)
    tools: list[Tool] = field(factory=list)
    choice: ToolChoice | None = None
    parallel: bool | None = None
    max_output: int | None = None
    is_warm_up: bool = False  # asked only so that the upstream has read it
    sampling: Sampling = Sampling()
    stops: list[str] = field(factory=list)
    format: Format = Format()
    thinking: Thinking = Thinking()
    is_stream: bool = False
    wants_usage: bool = True
    n: int = 1
    cache_key: str | None = None
    has_auto_cache: bool = False
    user: str | None = None
    tier: str | None = None
    speed: str | None = None
    verbosity: str | None = None
    metadata: dict[str, Any] | None = None
    is_legacy: bool = False  # a Chat client that says `functions` and wants `function_call`
    extra: dict[str, Any] = field(factory=dict)
    echo: dict[str, Any] = field(factory=dict, repr=False)  # what a Responses client is told again


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


@frozen
class Stop:
    """How a reply ended. `sequence` is the stop sequence that was met; `explanation` a refusal's words."""

    reason: StopReason
    sequence: str | None = None
    explanation: str | None = None


@frozen
class Reply:
    """A whole reply in no dialect."""

    id: str
    model: str
    blocks: tuple[Block, ...]
    stop: Stop
    usage: Usage | None = None
    tier: str | None = None
