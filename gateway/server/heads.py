"""Refuses request heads that aiohttp's parser lets pass and that another server would read in another way."""

import re

from aiohttp import HttpVersion11, hdrs, web

from gateway.errors import BadRequest, MethodNotAllowed

INVALID = "invalid_http"
# RFC 3986 3.2.2 and 3.2.3, without user names, and without the comma, which makes lists of hosts. May be empty.
_HOST = re.compile(r"(?:\[[0-9A-Za-z:.%_~-]+\]|[0-9A-Za-z._~!$&'()*+;=%-]*)(?::[0-9]{0,5})?")


def check_head(request: web.Request) -> None:
    """Raise BadRequest for a Host that is no host and for a Transfer-Encoding that says nothing, and refuse tunnels.

    Whoever stands in front may take another host out of `a@b`, `a/b` or `a, b`, and another end of the body.
    """
    headers = request.headers
    if (host := headers.get(hdrs.HOST)) is not None and _HOST.fullmatch(host) is None:
        raise BadRequest("The Host header is not a host", code=INVALID)
    if hdrs.TRANSFER_ENCODING in headers and (
        request.version < HttpVersion11 or not all(map(str.strip, headers.getall(hdrs.TRANSFER_ENCODING)))
    ):
        raise BadRequest("The Transfer-Encoding header is empty, or not of this version of HTTP", code=INVALID)
    if request.method == hdrs.METH_CONNECT:
        raise MethodNotAllowed("This is no proxy: CONNECT is not allowed here")


def must_close(request: web.Request, code: str | None) -> bool:
    """Whether nothing that follows on the connection can be trusted to be a request."""
    return code == INVALID or request.method == hdrs.METH_CONNECT or not request.content.is_eof()
