"""The way of a request to an upstream and of its reply back: raw, where both sides speak the same dialect.

Pure: bytes in, bytes out. What the two lanes have in common is this record; attempt and relay know no more.
"""

from collections.abc import Callable, Mapping

from attrs import frozen

from gateway.config import Provider
from gateway.wire.dialect import Asked, Dialect, Lane
from gateway.wire.json_body import Body, JsonBody, raw
from gateway.wire.neutral import Usage
from gateway.wire.profile import Profile


@frozen
class Whole:
    """A whole reply for the client."""

    body: bytes
    usage: Usage | None
    is_empty: bool


@frozen
class Way:
    """How one inquiry goes to one target. `upstream` is the dialect spoken there."""

    upstream: Dialect
    body: bytes
    stream: Callable[[], Lane]
    whole: Callable[[bytes], Whole]


def raw_way(dialect: Dialect, body: Body, asked: Asked, provider: Provider, model: str, profile: Profile) -> Way:
    """The client's own bytes, with only named top-level members edited."""
    put: dict[str, bytes] = {"model": raw(model)}
    if isinstance(body, JsonBody):
        put |= dialect.put(body, profile)
    put |= provider_members(dialect, provider)

    def whole(reply: bytes) -> Whole:
        glance = dialect.glance(reply)
        return Whole(reply, glance.usage, glance.is_empty)

    return Way(
        upstream=dialect,
        body=body.edited(put, provider.drop, provider.rename),
        stream=lambda: dialect.watch(asked),
        whole=whole,
    )


def provider_members(dialect: Dialect, provider: Provider) -> Mapping[str, bytes]:
    """The members that a provider wants in every body in which a model is asked to write."""
    return {name: raw(value) for name, value in provider.set.items()} if dialect.generates else {}
