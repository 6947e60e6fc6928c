"""The way of a request to an upstream and of its reply back: raw between equal dialects, else crossed.

Pure: bytes in, bytes out. What the two lanes have in common is the `Plan`; attempt and relay know no more.
"""

from collections.abc import Set

from gateway.config.schema import Provider
from gateway.errors import BadRequest
from gateway.proxy.plan.raw import raw_plan
from gateway.proxy.plan.record import Plan
from gateway.proxy.plan.source_request import SourceRequest
from gateway.proxy.plan.translated import translated_plan
from gateway.wire import DIALECTS
from gateway.wire.dialect import Dialect
from gateway.wire.profile import Profile

# The dialect that some models demand in place of another, where their provider speaks both.
_LEFT_FOR = {"openai_chat": "openai_responses"}


def spoken(client: Dialect, provider: Provider, mode: str = "") -> Dialect | None:
    """The dialect to speak with a provider: the client's own, else one that it can be translated into."""
    if client.name in provider.speaks:
        return client
    if mode == "pt" or client.client is None:
        return None
    others = (DIALECTS[name] for name in provider.speaks)
    return next((one for one in others if one.upstream is not None and one.generates == client.generates), None)


def make_plan(
    source: SourceRequest, provider: Provider, model: str, profile: Profile, without: Set[str] = frozenset()
) -> Plan | None:
    """How to put a question to one model; None when its provider speaks nothing that fits.

    Raises BadRequest, or CannotSay for what the upstream's dialect has no words for.
    """
    upstream = spoken(source.dialect, provider, source.mode)
    if upstream is None:
        return None
    if upstream.name in _LEFT_FOR and _needs_other(source, upstream, provider, profile):
        upstream = DIALECTS[_LEFT_FOR[upstream.name]]
    if upstream is source.dialect or source.dialect.name == upstream.name:
        return raw_plan(source, provider, model, profile, without)
    try:
        return translated_plan(source, upstream, provider, model, profile, without)
    except RecursionError:
        raise BadRequest("The request is nested too deeply", code="invalid_value") from None


def _needs_other(source: SourceRequest, upstream: Dialect, provider: Provider, profile: Profile) -> bool:
    """Whether a model has to be asked in another dialect than the one that fits (TRANSLATION.md section 0, 2)."""
    if source.mode == "pt" or source.dialect.client is None or _LEFT_FOR[upstream.name] not in provider.speaks:
        return False
    if profile.responses_only:
        return True
    if not profile.tools_need_responses:
        return False
    request = source.request()
    return bool(request.tools) and not (request.thinking.mode == "off" and "none" in profile.efforts)
