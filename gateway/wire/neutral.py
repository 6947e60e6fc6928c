"""What all dialects can say, in one vocabulary: requests, replies, blocks, usage.

The vocabulary is the union of the dialects, not their intersection: a block that only one dialect knows is
carried unchanged (`Opaque`). Arguments of a tool call are always the raw text that the model wrote. The
events of a streamed reply are in `events.py`.
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
    """Why the model stopped. A reader maps each word of its dialect, new ones too, to one of these."""

    END = "end"
    STOP_SEQUENCE = "stop_sequence"
    TOOLS = "tools"
    LENGTH = "length"
    FILTERED = "filtered"  # a refusal, or the provider's policy
    COMPACTED = "compacted"  # the reply is a summary of the conversation, and nothing else
    PAUSED = "paused"  # a tool that the provider runs has not finished: the request must be continued


@frozen
class CacheMark:
    """A prompt-cache breakpoint after a block; `ttl` as the client wrote it (5m, 1h, 30m, 12h)."""

    ttl: str | None = None


@frozen
class Source:
    """The content of an image or a document, as one of `data` (base64), `url`, `file_id`, `text`."""

    media_type: str = ""
    data: str | None = field(default=None, repr=False)
    url: str | None = None
    file_id: str | None = None
    text: str | None = field(default=None, repr=False)


@frozen
class Citation:
    """The source of a passage of text. `raw` is the citation in the words of the dialect `origin`."""

    origin: str
    raw: dict[str, Any]
    url: str | None = None
    title: str | None = None


@frozen
class Logprob:
    """A token of a text, with its log probability and the likeliest others: `raw` is its JSON in OpenAI's dialects.

    `text` is what the token says in UTF-8, which may be a part of a character.
    """

    text: bytes
    raw: msgspec.Raw = field(repr=False)


@frozen
class Text:
    """Plain text."""

    text: str
    citations: tuple[Citation, ...] = ()
    cache: CacheMark | None = None
    phase: str | None = None  # of a Responses message: commentary or final_answer
    tools: tuple[
        tuple[str, str | None], ...
    ] = ()  # (name, namespace) of each tool that a search has found and this names
    logprobs: tuple[Logprob, ...] = ()


@frozen
class Image:
    """A picture."""

    source: Source
    detail: str | None = None
    cache: CacheMark | None = None


@frozen
class Audio:
    """Sound in a request. `data` is base64."""

    data: str = field(repr=False)
    format: str


@frozen
class Document:
    """A PDF, a text file, or a file that a provider holds under an id."""

    source: Source
    name: str | None = None
    context: str | None = None
    has_citations: bool = False
    cache: CacheMark | None = None


@frozen
class ToolCall:
    """A call of a tool by the model. `kind` is that of the tool: function, custom, or a built-in (local_shell)."""

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
    """The result of the tool call with the id `call_id`."""

    call_id: str
    blocks: tuple["Block", ...] = ()
    is_error: bool = False
    kind: str = "function"
    cache: CacheMark | None = None


@frozen
class Reasoning:
    """Reasoning of the model, with the state that its provider wants back in the next request.

    `parts` are texts that may be shown; only a summary has several. `signature` proves to the provider that it
    wrote the text. `sealed` is encrypted reasoning, which only the provider can read. `origin` is the dialect
    of that provider, empty if unknown.
    """

    parts: tuple[str, ...] = field(default=(), repr=False)
    is_summary: bool = False
    signature: str | None = field(default=None, repr=False)
    sealed: str | None = field(default=None, repr=False)
    origin: str = ""
    id: str | None = None

    @property
    def text(self) -> str:
        """All parts in one text."""
        return "\n\n".join(self.parts)

    @property
    def has_state(self) -> bool:
        """Whether the block has a signature or sealed reasoning."""
        return bool(self.signature or self.sealed)


@frozen
class Refusal:
    """The text with which the model declines."""

    text: str


@frozen
class Opaque:
    """A block that only the dialect `origin` knows; `raw` is its JSON as it came."""

    origin: str
    kind: str
    raw: msgspec.Raw = field(repr=False)


@frozen
class Compacted:
    """What stands in a history for the turns before it: their `summary`, None while an envelope (`sealed`) holds it.

    `is_whole`: the summary holds everything before it, also what the client still sends.
    """

    summary: str | None = field(default=None, repr=False)
    sealed: str | None = field(default=None, repr=False)
    is_whole: bool = False


Block = Text | Image | Audio | Document | ToolCall | ToolResult | Reasoning | Refusal | Opaque | Compacted


@frozen
class Turn:
    """One message of a conversation."""

    role: Role
    blocks: tuple[Block, ...]
    name: str | None = None


@frozen
class Tool:
    """A tool that the model may call. Not every dialect has every kind; `raw` is its JSON in the dialect `origin`.

    A function with `raw` stands for a built-in tool that the client runs. `is_deferred`: the model may not see it yet,
    because no search has found it.
    """

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
    is_deferred: bool = False


@frozen
class ToolChoice:
    """`mode` is auto, none, required or named; `allowed` narrows the tools without forcing one.

    `is_hosted` says whether a named tool is one that the provider runs, None if the client did not.
    """

    mode: str
    name: str | None = None
    allowed: tuple[str, ...] | None = None
    is_hosted: bool | None = None


@frozen
class Sampling:
    """Sampling parameters; None leaves a parameter to the upstream's default."""

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
    """The form of the reply; `kind` is `text`, `json_object` or `json_schema`."""

    kind: str = "text"
    name: str = "output"
    description: str | None = None
    schema: dict[str, Any] | None = None
    strict: bool | None = None


@frozen
class Thinking:
    """How much the model should think.

    `mode` is off, auto, adaptive, budget or between_tools, None if the client did not set it. `effort` is one of
    OpenAI's words, `budget` a number of tokens.
    """

    mode: str | None = None
    effort: str | None = None
    budget: int | None = None
    summary: str | None = None
    display: str | None = None


@frozen
class Compaction:
    """A request for a summary that stands for the conversation from then on.

    `threshold`: the tokens from which the conversation is summarised before the reply; None asks for the summary at
    once, in place of a reply. `instructions` say how to summarise, added to the gateway's own or, if `replaces`, in
    their place. `pauses`: the summary is all that the client wants, even at a threshold.
    """

    threshold: int | None = None
    instructions: str = ""
    replaces: bool = False
    pauses: bool = False


@define
class Request:
    """A request in no dialect. `extra` holds the members that only the dialect `origin` knows, by name."""

    origin: str
    model: str
    system: list[Text] = field(factory=list)
    turns: list[Turn] = field(factory=list)
    tools: list[Tool] = field(factory=list)
    choice: ToolChoice | None = None
    parallel: bool | None = None
    max_output: int | None = None
    is_warm_up: bool = False  # wants no reply: the upstream should only read the prompt into its cache
    sampling: Sampling = Sampling()
    stops: list[str] = field(factory=list)
    format: Format = Format()
    thinking: Thinking = Thinking()
    compaction: Compaction | None = None
    is_stream: bool = False
    wants_usage: bool = True
    n: int = 1
    cache_key: str | None = None
    user: str | None = None
    tier: str | None = None
    speed: str | None = None
    verbosity: str | None = None
    metadata: dict[str, Any] | None = None
    is_legacy: bool = False  # a Chat client that sends `functions` and reads `function_call`
    extra: dict[str, Any] = field(factory=dict)
    echo: dict[str, Any] = field(factory=dict, repr=False)  # members that a Responses reply repeats


@frozen
class Usage:
    """Token counts of one reply in disjoint parts; None is unknown, never zero.

    `input` excludes what was read from or written to a cache (docs/wire/replies.md#usage); `reasoning` and
    `output_audio` are parts of `output`, `input_audio` of all input, `cache_write_1h` of `cache_write`. `images` were
    made. `tier` is the service tier that the reply names. `is_estimated`: the gateway has estimated a count that the
    provider did not send.
    """

    input: int | None = None
    cache_read: int | None = None
    cache_write: int | None = None
    output: int | None = None
    reasoning: int | None = None
    is_estimated: bool = False
    input_audio: int | None = None
    output_audio: int | None = None
    cache_write_1h: int | None = None
    images: int | None = None
    tier: str | None = None

    @property
    def prompt(self) -> int | None:
        """All input tokens, cached ones included: what OpenAI calls `prompt_tokens`."""
        if self.input is None:
            return None
        return self.input + (self.cache_read or 0) + (self.cache_write or 0)


@frozen
class Stop:
    """How a reply ended. `sequence` is the stop sequence that was found, `explanation` the text of a refusal."""

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
