"""Every header rule, in both directions: which of the client's go up, which of the provider's come back.

Nothing passes that is not named here or in a dialect's `forwards` (docs/endpoints.md#headers). Values are
printable ASCII of bounded length, so that no header can carry a second one.
"""

from collections.abc import Mapping
from typing import Protocol

from gateway import __version__
from gateway.config.provider_schema import Provider
from gateway.proxy.plan.mode import Mode
from gateway.wire.codec.text import printable
from gateway.wire.dialect import Dialect

VERSION, BETA = "anthropic-version", "anthropic-beta"
# Claude Code requests a context of a million tokens by a suffix of the model's name, Anthropic's API by this beta.
LONG_CONTEXT = "context-1m-2025-08-07"
USER_AGENT = f"aiohttp-llm-gateway/{__version__}"
EVENT_STREAM = "text/event-stream"
# Headers in which a client may send its own key for a provider. Their values are blanked out of provider errors.
CLIENT_KEYS = ("x-provider-key", "authorization", "x-api-key", "api-key")
MAX_FORWARDED = 4000  # letters of one forwarded header; Claude Code's list of betas has some 600
# Reply headers of a provider that are passed on, only to clients of its own dialect.
PASSED_HEADERS = ("openai-processing-ms", "openai-version")
# The gateway's own, for pages that may read them (`cors`).
OWN_HEADERS = tuple(
    f"x-gateway-{name}"
    for name in ("origin", "provider", "model", "attempts", "dropped", "refused", "usage", "upstream-request-id")
)
REQUEST_ID_HEADERS = ("x-request-id", "request-id", "apim-request-id", "x-generation-id")
NO_HEADERS: Mapping[str, str] = {}
MAX_DROPPED = 1000  # letters of x-gateway-dropped
_MINIMAL = frozenset({VERSION})


class ClientHeaders(Protocol):
    """A case-insensitive multidict of header lines, as aiohttp's."""

    def __contains__(self, name: object, /) -> bool: ...

    def getall(self, name: str, /) -> list[str]: ...


def forwarded_headers(headers: ClientHeaders, dialect: Dialect, mode: Mode) -> Mapping[str, str]:
    """Return the client's headers that may go upstream; several lines of one name are joined by commas."""
    names = dialect.forwards if mode.forwards_betas else dialect.forwards & _MINIMAL
    found = {name: ",".join(headers.getall(name)) for name in names if name in headers}
    return {name: printable(value, MAX_FORWARDED) for name, value in found.items()} if found else found


def upstream_headers(
    upstream: Dialect, provider: Provider, forwarded: Mapping[str, str], *, wants_long_context: bool
) -> dict[str, str]:
    """Join the dialect's headers, the client's and the provider's.

    A header of the provider's settings replaces the client's, except for the API version; betas of both are sent.
    """
    if not (forwarded or provider.headers or wants_long_context):
        return dict(upstream.headers)
    configured = {name.lower(): value for name, value in provider.plain_headers.items()}
    own = {VERSION: forwarded[VERSION]} if VERSION in forwarded else {}
    betas = {BETA: configured[BETA]} if BETA in configured else {}
    headers = {**upstream.headers, **forwarded, **configured, **own}
    if BETA in forwarded and betas:
        headers[BETA] = forwarded[BETA]
        headers = join_headers(headers, betas)
    if wants_long_context and VERSION in headers:
        headers = join_headers(headers, {BETA: LONG_CONTEXT})
    return headers


def join_headers(headers: Mapping[str, str], more: Mapping[str, str]) -> dict[str, str]:
    """Return `headers` with `more` put over them; betas add up, in order, each once."""
    out = dict(headers)
    for name, value in more.items():
        if name == BETA and BETA in out:
            betas = map(str.strip, f"{out[BETA]},{value}".split(","))
            out[BETA] = ",".join(dict.fromkeys(filter(None, betas)))
        else:
            out[name] = value
    return out


def request_headers(
    content_type: str,
    headers: Mapping[str, str],
    credential: tuple[str, str],
    *,
    asks_stream: bool,
    trail: Mapping[str, str] = NO_HEADERS,
) -> dict[str, str]:
    """Return all headers of an upstream request.

    `credential` is a header's (name, value); an empty name adds none. `trail` are the ids by which it is found again.

    Each name is sent once, in whatever case the settings write it: the credential counts, then `headers`.
    """
    said = {
        "Content-Type": content_type,
        "Accept": EVENT_STREAM if asks_stream else "*/*",
        "Accept-Encoding": "identity",
        "User-Agent": USER_AGENT,
        **trail,
        **headers,
    }
    if credential[0]:
        said[credential[0]] = credential[1]
    if not headers:  # nothing that could stand there twice
        return said
    by_name = {name.lower(): (name, value) for name, value in said.items()}
    return dict(by_name.values())


def reply_headers(
    upstream: Mapping[str, str],
    provider: str,
    model: str,
    attempts: int,
    drops: str,
    *,
    is_raw: bool,
    request_id: str = "",
) -> dict[str, str]:
    """Return the headers of a reply to the client: ours, and the few of the provider's that may pass.

    `request_id` is the provider's own of the request, as `request_id_of` finds it.
    """
    out = {
        "x-gateway-provider": provider,
        "x-gateway-model": printable(model),
        "x-gateway-attempts": str(attempts),
    }
    if drops:
        out["x-gateway-dropped"] = printable(drops, MAX_DROPPED)
    if is_raw:
        for name in PASSED_HEADERS:
            if name in upstream:
                out[name] = printable(upstream[name])
    if request_id:
        out["x-gateway-upstream-request-id"] = request_id
    return out


def request_id_of(upstream: Mapping[str, str]) -> str:
    """Return a provider's own id of a request, empty if it gives none."""
    for name in REQUEST_ID_HEADERS:
        if name in upstream:
            return printable(upstream[name])
    return ""
