"""Keeps web pages away from a gateway without keys: any page in a browser nearby could spend its money.

A page may send requests anywhere that need no preflight, and reach this machine under a name of its own (DNS
rebinding). Where keys are needed it has none; here the browser's own marks tell it from a program
(docs/endpoints.md#open-gateways-and-browsers).
"""

from aiohttp import hdrs, web

from gateway.config.server_schema import Server
from gateway.errors import Forbidden, UnsupportedMedia
from gateway.server.addresses import read_address
from gateway.wire.codec.text import media_type

# What a page may send to another site without asking first (the Fetch standard's CORS-safelisted request-header).
SIMPLE_TYPES = frozenset({"", "text/plain", "application/x-www-form-urlencoded"})
FORM = "multipart/form-data"


def refuse_pages(request: web.Request, server: Server) -> None:
    """Refuse foreign pages and foreign Host names where no key is needed. Raises Forbidden, UnsupportedMedia."""
    check_host(request, server)
    _check_site(request, server)
    if request.method == hdrs.METH_POST and request.can_read_body:
        _check_type(request)


def check_host(request: web.Request, server: Server) -> None:
    """Raise Forbidden for a Host that is no address, no localhost and not in `server.hosts`."""
    for host in request.headers.getall(hdrs.HOST, ()):
        name = host_name(host)
        if not (is_local_name(name) or read_address(name) is not None or name in server.hosts):
            raise Forbidden(
                f"This gateway has no keys, and does not answer to the name '{name[:100]}': add it to server.hosts",
                code="host_not_allowed",
            )


def is_local_name(name: str) -> bool:
    """Whether a host name always means this machine (RFC 6761 6.3)."""
    return name == "localhost" or name.endswith(".localhost")


def host_name(host: str) -> str:
    """Return a Host header without its port, in lower case."""
    if host.startswith("["):
        return host.partition("]")[0][1:]
    return (host.rpartition(":")[0] or host).lower().rstrip(".")


def _check_site(request: web.Request, server: Server) -> None:
    origins = request.headers.getall(hdrs.ORIGIN, ())
    named = server.cors.origins if server.cors is not None else ()
    own = request.headers.get(hdrs.HOST, "")
    is_known = all(origin in named or origin.partition("://")[2] == own for origin in origins)
    # A visit by a link counts as foreign, too: a page may open /test-connection again and again.
    is_foreign = request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin") and not origins
    if not is_known or is_foreign:
        raise Forbidden(
            "This gateway has no keys, and takes requests of web pages only from server.cors.origins",
            code="cross_site",
        )


def _check_type(request: web.Request) -> None:
    kind = media_type(request.headers.get(hdrs.CONTENT_TYPE, ""))
    is_from_page = hdrs.REFERER in request.headers and hdrs.ORIGIN not in request.headers
    if kind in SIMPLE_TYPES or (kind == FORM and is_from_page):
        raise UnsupportedMedia(
            "This gateway has no keys, and takes no type that any web page may send: set Content-Type: application/json"
        )
