"""Every header rule, in both directions: what of the client's goes up, what of the provider's comes back."""

from collections.abc import Mapping

from aiohttp import web

from gateway import __version__
from gateway.config.schema import Provider
from gateway.proxy.plan.source_request import SourceRequest
from gateway.wire.codec.text import printable
from gateway.wire.dialect import Dialect

VERSION, BETA = "anthropic-version", "anthropic-beta"


# Claude Code asks for a million tokens of context by a suffix of the model's name.
LONG_CONTEXT = "context-1m-2025-08-07"


def _headers(
    source: SourceRequest, upstream: Dialect, provider: Provider, forwarded: Mapping[str, str]
) -> dict[str, str]:
    """The dialect's, the client's, the provider's: the provider's win, except for the version that a client speaks."""
    if not (forwarded or provider.headers or source.wants_long_context):
        return dict(upstream.headers)
    configured = {name.lower(): value for name, value in provider.headers.items()}
    own = {VERSION: forwarded[VERSION]} if VERSION in forwarded else {}
    betas = {BETA: configured[BETA]} if BETA in configured else {}
    headers = _joined({**upstream.headers, **forwarded, **configured, **own}, {})
    if BETA in forwarded and betas:
        headers[BETA] = forwarded[BETA]
        headers = _joined(headers, betas)
    if source.wants_long_context and source.mode != "min" and VERSION in headers:
        headers = _joined(headers, {BETA: LONG_CONTEXT})
    return headers


def _joined(headers: Mapping[str, str], more: Mapping[str, str]) -> dict[str, str]:
    """Headers with `more` added; betas add up, in order, each once."""
    out = dict(headers)
    for name, value in more.items():
        if name == BETA and BETA in out:
            known = [beta.strip() for beta in out[BETA].split(",")]
            out[BETA] = ",".join([out[BETA], *(beta for beta in value.split(",") if beta.strip() not in known)])
        else:
            out[name] = value
    return out


EVENT_STREAM = "text/event-stream"


USER_AGENT = f"aiohttp-llm-gateway/{__version__}"


CLIENT_KEYS = ("x-provider-key", "authorization", "x-api-key", "api-key")


# The few headers of a provider that mean something to its own clients.
PASSED_HEADERS = ("openai-processing-ms", "openai-version")


MAX_LIST = 1000


REQUEST_ID_HEADERS = ("x-request-id", "request-id", "apim-request-id", "x-generation-id")


MAX_HEADER = 4000


MINIMAL = frozenset({VERSION})  # of a client's headers, under /min


def _forwarded(request: web.Request, dialect: Dialect, mode: str) -> Mapping[str, str]:
    """The client's headers that may go on; several lines of one name become one."""
    headers, names = request.headers, dialect.forwards if mode != "min" else dialect.forwards & MINIMAL
    found = {name: ",".join(headers.getall(name)) for name in names if name in headers}
    return {name: printable(value, MAX_HEADER) for name, value in found.items()} if found else found
