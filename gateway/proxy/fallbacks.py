"""Carries out Anthropic's `fallbacks` where the target does not: the models that may answer when another one refuses.

Anthropic tries them itself on a raw lane. On a crossing the gateway does, before any content, and as with `on_refusal`
it asks one further target at most. `default` is the next target of the route.
"""

from collections.abc import Sequence

from attrs import evolve, frozen

from gateway.config.schema import Target
from gateway.errors import Forbidden, UnknownModel
from gateway.policy.routes import check_access
from gateway.proxy.model_call import ModelCall
from gateway.proxy.plan.source_request import SourceRequest
from gateway.wire.anthropic_messages.fallbacks import with_fallback
from gateway.wire.codec.json_body import JsonBody


@frozen
class Further:
    """What may be asked after a refusal: one of these targets, else the next of the route; and the request for it."""

    targets: Sequence[Target]
    source: SourceRequest


def further_of(call: ModelCall) -> Further | None:
    """Return the first fallback that the client's key may use; None if there is none."""
    source, snapshot = call.source, call.context.snapshot
    assert isinstance(source.body, JsonBody)
    for fallback in source.asked.fallbacks:
        changed = evolve(source, body=with_fallback(source.body, fallback))
        if not fallback.model:
            return Further((), changed) if len(call.resolved.route.targets) > 1 else None
        try:
            resolved = snapshot.table.resolve(fallback.model)
            check_access(resolved, call.context.owner.key if call.context.owner is not None else None)
        except (UnknownModel, Forbidden):
            continue
        return Further(resolved.route.targets, changed)
    return None
