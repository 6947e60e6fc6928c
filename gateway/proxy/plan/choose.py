"""The way of a request to an upstream and of its reply back: raw between equal dialects, else crossed.

Pure: bytes in, bytes out. What the two lanes have in common is the `Way`; attempt and relay know no more.
"""

from collections.abc import Set

from gateway.config.schema import Provider
from gateway.errors import BadRequest
from gateway.proxy.plan.raw import _raw_way
from gateway.proxy.plan.record import Way
from gateway.proxy.plan.source_request import Question
from gateway.proxy.plan.translated import _crossed_way
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


def make_way(
    question: Question, provider: Provider, model: str, profile: Profile, without: Set[str] = frozenset()
) -> Way | None:
    """How to put a question to one model; None when its provider speaks nothing that fits.

    Raises BadRequest, or CannotSay for what the upstream's dialect has no words for.
    """
    upstream = spoken(question.dialect, provider, question.mode)
    if upstream is None:
        return None
    if upstream.name in _LEFT_FOR and _needs_other(question, upstream, provider, profile):
        upstream = DIALECTS[_LEFT_FOR[upstream.name]]
    if upstream is question.dialect or question.dialect.name == upstream.name:
        return _raw_way(question, provider, model, profile, without)
    try:
        return _crossed_way(question, upstream, provider, model, profile, without)
    except RecursionError:
        raise BadRequest("The request is nested too deeply", code="invalid_value") from None


def _needs_other(question: Question, upstream: Dialect, provider: Provider, profile: Profile) -> bool:
    """Whether a model has to be asked in another dialect than the one that fits (TRANSLATION.md section 0, 2)."""
    if question.mode == "pt" or question.dialect.client is None or _LEFT_FOR[upstream.name] not in provider.speaks:
        return False
    if profile.responses_only:
        return True
    if not profile.tools_need_responses:
        return False
    request = question.request()
    return bool(request.tools) and not (request.thinking.mode == "off" and "none" in profile.efforts)
