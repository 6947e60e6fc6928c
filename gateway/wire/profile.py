"""What a model and its server can do, as data: no writer of requests ever looks at a model's name.

`capabilities.py` makes profiles from data/models.yaml, the preset and providers.yaml. The defaults suit an
unknown server that copies another provider's API (docs/wire/providers.md#capability-profile).
"""

from typing import Any

from attrs import field, frozen, validators

EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")


def doc(text: str) -> dict[str, Any]:
    """Make field metadata that holds the field's description in the reference."""
    return {"doc": text}


def one_of(*words: str) -> Any:
    """Make a validator that accepts only `words`."""
    return validators.in_(words)


MAX_DOLLARS = 1e6  # for a million tokens, or for one request
FACTOR = validators.and_(validators.ge(0), validators.le(1000))


def dollars(text: str) -> Any:
    """Make the field of a price: dollars, neither negative nor endless; None: unknown."""
    limits: Any = [validators.ge(0), validators.le(MAX_DOLLARS)]
    return field(default=None, validator=validators.optional(limits), metadata=doc(text))


@frozen
class Tier:
    """The prices of an exchange whose prompt is longer than `above`; a part that is left out costs what it does below.

    They hold for all of its tokens, also for those up to `above`.
    """

    above: int = field(validator=validators.gt(0), metadata=doc("tokens of the prompt, cached ones included"))
    input: float | None = dollars("input tokens that no cache touched")
    output: float | None = dollars("output tokens")
    cache_read: float | None = dollars("input tokens read from a cache")
    cache_write: float | None = dollars("input tokens written to a cache, for five minutes")
    cache_write_1h: float | None = dollars("input tokens written to a cache, for an hour")


@frozen
class Price:
    """US dollars per million tokens. None means unknown; a free model has 0."""

    input: float | None = dollars("input tokens that no cache touched")
    output: float | None = dollars("output tokens")
    cache_read: float | None = dollars("input tokens read from a cache")
    cache_write: float | None = dollars("input tokens written to a cache, for five minutes")
    cache_write_1h: float | None = dollars("input tokens written to a cache, for an hour")
    reasoning: float | None = dollars("reasoning tokens; absent: as output")
    audio_input: float | None = dollars("input tokens of sound")
    audio_output: float | None = dollars("output tokens of sound")
    image: float | None = dollars("US dollars for each picture made")
    per_request: float | None = dollars("US dollars for each request")
    tiers: tuple[Tier, ...] = field(
        default=(), metadata=doc("other prices for long prompts: a list of {above, input, …}")
    )
    factors: dict[str, float] = field(
        factory=dict,
        validator=validators.deep_mapping(validators.instance_of(str), FACTOR),
        metadata=doc("of the whole, by the service tier that the reply names, such as {flex: 0.5}"),
    )


@frozen
class Profile:
    """What one (provider, model) can do and costs.

    The packaged data are overridden by the provider's preset, and the preset by providers.yaml.
    """

    context: int | None = field(default=None, metadata=doc("context length in tokens"))
    max_output: int | None = field(default=None, metadata=doc("most output tokens of one reply"))
    default_max_output: int | None = field(
        default=None,
        metadata=doc("sent when a client names none and the dialect needs one; absent: min(max_output, 32000)"),
    )
    price: Price | None = field(default=None, metadata=doc("US dollars per million tokens"))
    token_factor: float = field(
        default=1.0, metadata=doc("tokens per token of OpenAI's vocabulary, for estimates of texts")
    )
    capabilities: tuple[str, ...] = field(
        default=(), metadata=doc("words for /v1/models, such as chat, embeddings, vision")
    )
    token_field: str = field(
        default="max_tokens",
        validator=one_of("max_tokens", "max_completion_tokens"),
        metadata=doc("how Chat names the output cap here"),
    )
    sampling: bool = field(default=True, metadata=doc("takes temperature, top_p and top_k"))
    top_k: bool = field(default=True, metadata=doc("takes top_k, where it takes sampling at all"))
    stream_only: bool = field(default=False, metadata=doc("answers streams only"))
    penalties: bool = field(
        default=True, metadata=doc("takes presence and frequency penalties, seed, logit_bias, logprobs")
    )
    n: bool = field(default=True, metadata=doc("takes n > 1"))
    stops: int = field(default=4, validator=validators.ge(0), metadata=doc("most stop sequences, 0 for none"))
    stream_options: bool = field(
        default=True, metadata=doc("takes stream_options.include_usage (else usage may be missing)")
    )
    obfuscation: bool = field(
        default=False, metadata=doc("pads the deltas of its streams, and takes stream_options.include_obfuscation")
    )
    safety_identifier: bool = field(default=False, metadata=doc("takes safety_identifier (else user)"))
    user: bool = field(default=True, metadata=doc("takes the end user's name"))
    tiers: bool = field(default=False, metadata=doc("takes service_tier"))
    verbosity: bool = field(default=False, metadata=doc("takes verbosity"))
    cache_key: bool = field(default=False, metadata=doc("takes prompt_cache_key"))
    cache_breakpoints: bool = field(default=False, metadata=doc("takes prompt_cache_breakpoint on parts"))
    cache_control: bool = field(default=False, metadata=doc("takes Anthropic's cache_control on parts"))
    auto_cache: bool = field(default=True, metadata=doc("Messages: takes a top-level cache_control"))

    developer_role: bool = field(default=False, metadata=doc("takes role developer"))
    mid_system: bool = field(default=True, metadata=doc("takes system turns in the middle"))
    single_system: bool = field(default=False, metadata=doc("takes one system message only, at the start"))
    string_content: bool = field(default=False, metadata=doc("takes only text content, as a plain string"))
    null_content: bool = field(default=True, metadata=doc("takes content null beside tool calls (else an empty text)"))
    names: bool = field(default=True, metadata=doc("takes name on messages"))
    prefill: bool = field(default=True, metadata=doc("takes an assistant turn at the end"))
    image: bool = field(default=True, metadata=doc("takes pictures"))
    image_url: bool = field(default=True, metadata=doc("fetches pictures from a URL"))
    pdf: bool = field(default=True, metadata=doc("takes PDF files"))
    audio: bool = field(default=True, metadata=doc("takes sound"))

    tool_choice: tuple[str, ...] = field(
        default=("auto", "none", "required", "named"), metadata=doc("tool choices that it takes")
    )
    strict_tools: bool = field(default=False, metadata=doc("takes strict on tools"))
    custom_tools: bool = field(default=False, metadata=doc("takes freeform tools"))
    parallel_flag: bool = field(default=True, metadata=doc("takes parallel_tool_calls"))
    additional_tools: bool = field(
        default=False, metadata=doc("Responses: takes the input item additional_tools (else its tools go into tools)")
    )
    hosted_tools: tuple[str, ...] = field(default=(), metadata=doc("tools that its provider runs, such as web_search"))
    raw_kinds: tuple[str, ...] = field(
        default=(),
        metadata=doc(
            "kinds of tools and input items that it takes as they come; a request with others is translated into "
            "another dialect that it speaks (empty: all)"
        ),
    )
    nine_character_ids: bool = field(default=False, metadata=doc("wants tool call ids of nine letters and digits"))
    tools_need_responses: bool = field(
        default=False, metadata=doc("refuses function tools on Chat: asked by Responses instead")
    )
    responses_only: bool = field(default=False, metadata=doc("is not served on Chat at all"))
    json_schema: bool = field(default=True, metadata=doc("takes a JSON schema for its answer"))
    json_object: bool = field(default=True, metadata=doc("takes json_object for its answer"))

    thinking: str = field(
        default="none",
        validator=one_of("none", "budget", "adaptive", "both", "always"),
        metadata=doc("Messages: how thinking is asked for (both: adaptive, budgets still taken)"),
    )
    can_disable_thinking: bool = field(default=True, metadata=doc("takes thinking off"))
    efforts: tuple[str, ...] = field(default=("low", "medium", "high"), metadata=doc("efforts that it takes"))
    knob: str = field(
        default="effort",
        validator=one_of("effort", "thinking", "enable_thinking", "reasoning", "template", "none"),
        metadata=doc("Chat: the member that steers reasoning"),
    )
    reasoning_replay: str = field(
        default="ignored",
        validator=one_of("required", "allowed", "details", "ignored", "forbidden"),
        metadata=doc("what happens to reasoning_content in history"),
    )
    compaction: bool = field(
        default=False,
        metadata=doc("Messages, Responses: makes compactions itself (else the gateway asks it for a summary)"),
    )
    reasoning_summary: bool = field(default=True, metadata=doc("Responses: takes reasoning.summary"))
    refused_blocks: tuple[str, ...] = field(
        default=(), metadata=doc("Messages: blocks of the history that its server refuses, taken out on the way")
    )
    think_tags: bool = field(default=False, metadata=doc("writes its reasoning as <think> into the content"))
    no_finish: bool = field(default=False, metadata=doc("never sends a finish reason"))
    normalize: bool = field(
        default=False, metadata=doc("its stream is put right for strict clients of its own dialect")
    )
