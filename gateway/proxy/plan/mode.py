"""What a path's prefix leaves undone: nothing (`/`, `/full`), additions (`/min`), all but name and format (`/pt`)."""

from attrs import frozen


@frozen
class Mode:
    """How far a request may differ from what its client sent (docs/endpoints.md#modes).

    `chooses`: another dialect of the provider than the client's, for a model that wants it.
    `edits`: the members that the gateway or the provider's settings change.
    `injects`: what the gateway adds of its own: system prefix, cache marks, beta headers of a translation.
    `has_memory`: stored responses are joined and made.
    `forwards_betas`: the client's headers beyond the API version go upstream.
    `takes_subscriptions`: a token of a subscription may be shown, which is good for the usual way only.
    """

    name: str
    chooses: bool = True
    edits: bool = True
    injects: bool = True
    has_memory: bool = True
    forwards_betas: bool = True
    takes_subscriptions: bool = True


FULL = Mode("full")
MINIMAL = Mode("min", injects=False, forwards_betas=False, takes_subscriptions=False)
PASS_THROUGH = Mode("pt", chooses=False, edits=False, injects=False, has_memory=False, takes_subscriptions=False)
