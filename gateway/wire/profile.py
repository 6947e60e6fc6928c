"""What a model and its server can do, as data: no encoder ever looks at a model's name."""

from attrs import field, frozen


@frozen
class Price:
    """US dollars per million tokens; None is unknown, never free."""

    input: float | None = field(default=None, metadata={"doc": "input tokens that no cache touched"})
    output: float | None = field(default=None, metadata={"doc": "output tokens"})
    cache_read: float | None = field(default=None, metadata={"doc": "input tokens read from a cache"})
    cache_write: float | None = field(default=None, metadata={"doc": "input tokens written to a cache"})


@frozen
class Profile:
    """What one (provider, model) can do and costs: packaged data, then the preset, then providers.yaml."""

    context: int | None = field(default=None, metadata={"doc": "context length in tokens"})
    max_output: int | None = field(default=None, metadata={"doc": "most output tokens of one reply"})
    price: Price | None = field(default=None, metadata={"doc": "US dollars per million tokens"})
    capabilities: tuple[str, ...] = field(
        default=(), metadata={"doc": "words for /v1/models, such as chat, embeddings, vision"}
    )
    stream_options: bool = field(
        default=True, metadata={"doc": "takes stream_options.include_usage (else usage may be missing)"}
    )
