"""Chooses the lane of a model call to a target: raw if the provider speaks the client's dialect, else translated."""

from collections.abc import Iterator, Set

from gateway.config.provider_schema import Provider
from gateway.errors import BadRequest
from gateway.policy.capabilities import makes_compactions
from gateway.proxy.plan.compaction import make_compaction_plan
from gateway.proxy.plan.raw import make_raw_plan
from gateway.proxy.plan.record import Plan
from gateway.proxy.plan.source_request import SourceRequest
from gateway.proxy.plan.translated import make_translated_plan
from gateway.wire import DIALECTS
from gateway.wire.dialect import Dialect
from gateway.wire.profile import Profile

# The dialect that some models demand in place of another, if their provider speaks both.
_LEFT_FOR = {"openai_chat": "openai_responses"}


def upstream_dialect(client: Dialect, provider: Provider) -> Dialect | None:
    """Return the dialect to speak with a provider: the client's own, else one that it can be translated into."""
    return client if client.name in provider.speaks else next(_crossings(client, provider), None)


def lost_tools(source: SourceRequest, provider: Provider, profile: Profile) -> int:
    """Count the tools that a request seeks at its provider and that this one does not run.

    Chat has no words for tools that the provider runs, so a translation into Chat loses them.
    """
    is_raw = source.dialect.name in provider.speaks
    can_say = is_raw or any(one.name not in _LEFT_FOR for one in _crossings(source.dialect, provider))
    return len(source.sought_tools - set(profile.hosted_tools if can_say else ()))


def make_plan(
    source: SourceRequest, provider: Provider, model: str, profile: Profile, without: Set[str] = frozenset()
) -> Plan | None:
    """Write a source request for one model; None if its provider speaks no dialect that fits.

    `without` are optional members that the model has refused before. Raises BadRequest, or CannotSay for what
    the upstream's dialect has no words for.
    """
    upstream = upstream_dialect(source.dialect, provider)
    if upstream is None:
        return None
    if upstream is source.dialect and _has_unknown_kinds(source, profile):
        upstream = next(_crossings(source.dialect, provider), upstream)
    elif upstream.name in _LEFT_FOR and _needs_other(source, upstream, provider, profile):
        upstream = DIALECTS[_LEFT_FOR[upstream.name]]
    is_same = source.dialect.name == upstream.name
    try:
        if source.asks_compaction and not (is_same and _makes(source, provider, profile)):
            return make_compaction_plan(source, upstream, provider, model, profile, without)
        if is_same:
            return make_raw_plan(source, provider, model, profile, without)
        return make_translated_plan(source, upstream, provider, model, profile, without)
    except RecursionError:
        raise BadRequest("The request is nested too deeply", code="invalid_value") from None


def _makes(source: SourceRequest, provider: Provider, profile: Profile) -> bool:
    """Whether what the client asks for goes to its provider as it is: it makes compactions, or nothing is edited."""
    return not source.mode.edits or makes_compactions(source.dialect.name, provider, profile)


def _crossings(client: Dialect, provider: Provider) -> Iterator[Dialect]:
    """Yield the other dialects of a provider into which a client's can be translated, in the provider's order."""
    if client.client is not None:
        others = (DIALECTS[name] for name in provider.speaks if name != client.name)
        generates = client.generates or client.compacts
        yield from (one for one in others if one.upstream is not None and one.generates == generates)


def _has_unknown_kinds(source: SourceRequest, profile: Profile) -> bool:
    """Whether a server of the client's own dialect does not know a kind of tool or item in the request."""
    if not profile.raw_kinds or not source.mode.chooses:
        return False
    known = {*profile.raw_kinds, *profile.hosted_tools}
    return not (source.tool_kinds <= known and source.item_kinds <= known)


def _needs_other(source: SourceRequest, upstream: Dialect, provider: Provider, profile: Profile) -> bool:
    """Whether a model refuses in Chat what it takes in Responses (docs/wire/pitfalls.md, docs/wire/http.md)."""
    is_fixed = not source.mode.chooses or source.dialect.client is None
    if is_fixed or _LEFT_FOR[upstream.name] not in provider.speaks:
        return False
    if profile.responses_only:
        return True
    if source.dialect.name != upstream.name and source.tool_kinds & set(profile.hosted_tools):
        return True
    if not profile.tools_need_responses:
        return False
    request = source.request()
    return bool(request.tools) and not (request.thinking.mode == "off" and "none" in profile.efforts)
