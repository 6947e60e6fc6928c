"""Everything that the gateway uses of aiohttp beyond its documentation, in one place (docs/design.md#aiohttp).

Each of these could change in any release of aiohttp 3. `tests/test_aiohttp_internals.py` covers them one by one, and
CI runs it against the newest release as well. Two more cannot stand here, because they are methods that aiohttp
calls: `web.RequestHandler.handle_error` (overridden in `server/listener`) and `web.StreamResponse.prepare` (in
`proxy/whole_response`).
"""

import asyncio

import aiohttp
import aiohttp.http_parser
from aiohttp import web
from aiohttp.client_proto import ResponseHandler
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader
from multidict import CIMultiDict
from yarl import URL

# Bytes of one header of a reply, and how many there may be: providers behind several proxies send policies and cookies
# of some ten KiB (aiohttp's own 8 KiB made such a reply one that is not valid HTTP).
MAX_REPLY_FIELD, MAX_REPLY_HEADERS = 64 * 1024, 256
_SERVED = "gateway_has_served"


def has_compiled_parser() -> bool:
    """Whether aiohttp's compiled, strict HTTP parser is in use (docs/reliability.md P22)."""
    return aiohttp.http_parser.HttpRequestParser is not aiohttp.http_parser.HttpRequestParserPy


def connection_key(
    url: URL, proxy: URL | None = None, credential: str = "", server_name: str | None = None
) -> aiohttp.ClientRequest:
    """Make the argument of a connector's `connect`: a request to that origin, which is never sent.

    `credential` is the proxy's; `server_name` stands for the host in the TLS handshake.
    """
    headers: CIMultiDict[str] | None = None
    if proxy is not None:
        # With Host: the connector would write it into these headers, whose hash is a part of the pool's key, and the
        # second request would open a second tunnel.
        headers = CIMultiDict({"Host": url.host_port_subcomponent or "", "User-Agent": "gateway"})
        if credential:
            headers["Proxy-Authorization"] = credential
    return aiohttp.ClientRequest(
        "POST",
        url.origin(),
        loop=asyncio.get_running_loop(),
        proxy=proxy,
        proxy_headers=headers,
        server_hostname=server_name,
    )


def mark_used(protocol: ResponseHandler | None) -> bool:
    """Note that a connection has carried a request. Return whether it had carried none before.

    aiohttp keeps no such count. A protocol object has a `__dict__`, so the mark lives and dies with it.
    """
    marks = vars(protocol)
    is_fresh = _SERVED not in marks
    marks[_SERVED] = True
    return is_fresh


def expect_reply(protocol: ResponseHandler, read_bufsize: int) -> None:
    """Prepare a connection for the reply to a request that was written without ClientSession."""
    protocol.set_response_params(
        read_until_eof=True,
        auto_decompress=False,
        read_bufsize=read_bufsize,
        max_line_size=MAX_REPLY_FIELD,
        max_field_size=MAX_REPLY_FIELD,
        max_headers=MAX_REPLY_HEADERS,
    )


def has_body(content: StreamReader) -> bool:
    """Whether a body may follow a reply's head; without one there is no end of a body to wait for."""
    return content is not EMPTY_PAYLOAD


def drop_idle(connector: aiohttp.BaseConnector, request: aiohttp.ClientRequest) -> None:
    """Close the idle connections that a connector keeps for a place, so that the next one is fresh."""
    for protocol, _ in connector._conns.pop(request.connection_key, ()):
        protocol.close()


def is_idle(connector: aiohttp.BaseConnector) -> bool:
    """Whether no connection of a connector is in use."""
    return not connector._acquired


def is_silent(error: aiohttp.ClientError) -> bool:
    """Whether a connection broke before any byte of the reply came.

    The `message` of ServerDisconnectedError is then a string, and otherwise the part of the head that was parsed.
    Every other error counts as silent.
    """
    return isinstance(error.message, str) if isinstance(error, aiohttp.ServerDisconnectedError) else True


def keeps_alive(response: web.StreamResponse, request: web.BaseRequest) -> bool:
    """Whether the connection stays open behind a response; settles it for aiohttp's own protocol as well."""
    if response._keep_alive is None:
        response._keep_alive = request.keep_alive
    return bool(response._keep_alive)


def forget_output(request: web.BaseRequest) -> None:
    """Reset aiohttp's count of written bytes, so that it does not take an interim `100 Continue` for a response."""
    request.writer.output_size = 0


def open_connections(handler: web.RequestHandler) -> int:
    """Return how many client connections the handler's server has open; 0 once it stops."""
    manager = handler._manager
    return len(manager.connections) if manager is not None else 0
