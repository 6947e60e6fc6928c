"""Opens the listening sockets, and adds to aiohttp's server protocol what it lacks: timers, bounds, JSON errors."""

import asyncio
import errno
import os
import resource
import socket
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web
from aiohttp.http_exceptions import LineTooLong

from gateway.aiohttp_internals import open_connections
from gateway.config.checks import split_address
from gateway.config.schema import Config
from gateway.proxy.state import GATEWAY
from gateway.server.addresses import read_address
from gateway.server.proxy_header import NotAHeader, may_begin, read_header

# Longer than a load balancer's own idle time: else the balancer could send a request on a connection that the
# gateway has just closed.
KEEPALIVE_S = 75
BACKLOG = 1024
MAX_FIELD = 16380  # bytes of one header of a request
SD_LISTEN_FDS_START = 3
UNIX_MODE = 0o660  # of a unix socket: the user and the group that the daemon runs as
_ERRORS = {
    400: ("The request is not valid HTTP", "invalid_request_error", "invalid_http"),
    414: ("The request line is longer than 8 KiB", "invalid_request_error", "uri_too_long"),
    431: (
        "A header of the request is longer than 16 KiB: a cookie of another site on this host, perhaps",
        "invalid_request_error",
        "headers_too_large",
    ),
    408: ("The request head did not arrive in time", "invalid_request_error", "request_timeout"),
    500: ("Internal error of the gateway", "server_error", "internal_error"),
}
_REPLY_408 = (
    b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n"
    b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
)


def error_json(status: int) -> bytes:
    """Write the body of an error that no middleware sees: a parser error, or a head that took too long."""
    message, kind, code = _ERRORS.get(status, _ERRORS[500])
    return msgspec.json.encode({"error": {"message": message, "type": kind, "param": None, "code": code}})


class Connection(web.RequestHandler):
    """A client's connection, which must finish each request head in time (aiohttp has no such timer).

    The connection is idle until a whole head has come, and again once that request's exchange is over and its body
    is read. While it is idle, the first byte arms a timer of `header_timeout` seconds (a new connection arms it at
    once); the outermost middleware disarms the timer through `request_begins`. When it fires, the client gets 408.
    `most` bounds the open connections of the server, `write_timeout` (seconds) how long the kernel waits for a
    client that takes no bytes. A peer that `trusts` accepts may begin with a PROXY header: `passed` is then the
    (host, port) that it names.
    """

    __slots__ = (
        "_head_end", "_header_timeout", "_is_idle", "_most", "_preface", "_received", "_timer", "_trusts",
        "_user_timeout_ms", "is_operators", "passed",
    )  # fmt: skip

    def __init__(
        self,
        *args: Any,
        header_timeout: float,
        write_timeout: float,
        most: int,
        trusts: Callable[[str], bool] = lambda peer: False,
        is_operators: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.is_operators = is_operators  # accepted by the listener of `server.expose.listen`
        self._header_timeout = header_timeout
        self._user_timeout_ms = int(write_timeout * 1000)
        self._most = most
        self._trusts = trusts
        self._preface: bytes | None = None  # the beginning of a connection that may carry a PROXY header
        self.passed: tuple[str, int] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._is_idle = True
        self._received = 0  # bytes since the present head began
        self._head_end = 0  # where that head ends in them; 0 if it is not known

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Arm the header timer; let the kernel drop a peer that takes no bytes for `write_timeout` seconds."""
        super().connection_made(transport)
        if open_connections(self) > self._most:
            self.force_close()  # half of the descriptors are for providers and files
            return
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.family != socket.AF_UNIX and hasattr(socket, "TCP_USER_TIMEOUT"):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, self._user_timeout_ms)
        peer = self.peername
        self._preface = b"" if isinstance(peer, tuple) and self._trusts(str(peer[0])) else None
        self._arm()

    def data_received(self, data: bytes) -> None:
        """Arm the timer again with the first byte of the next head."""
        if self._preface is not None:
            data = self._without_preface(self._preface + data)
            if not data:
                return
        if self._is_idle and self._timer is None:
            self._arm()
        if not self._received:
            self._head_end = data.find(b"\r\n\r\n") + 4
        self._received += len(data)
        super().data_received(data)

    def _without_preface(self, data: bytes) -> bytes:
        """Return what is behind a PROXY header at the beginning of a connection; b"" while that is not whole."""
        self._preface = None
        if not may_begin(data):
            return data
        try:
            found = read_header(data)
        except NotAHeader:
            return data  # no request either: the parser says so
        if found is None:
            self._preface = data
            return b""
        self.passed = found.client
        return data[found.size :]

    def connection_lost(self, exc: BaseException | None) -> None:
        """Disarm."""
        self.request_begins()
        super().connection_lost(exc)

    def request_begins(self) -> None:
        """Disarm the timer, because a whole head has come. The outermost middleware calls this."""
        self._is_idle = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def request_ends(self, body_length: int | None) -> None:
        """Become idle: the exchange is over and its body is read, so that the next byte begins a head."""
        self._is_idle = True
        known_end = self._head_end > 3 and body_length is not None
        has_more = known_end and self._received > self._head_end + (body_length or 0)
        self._received = self._head_end = 0
        if has_more and self._timer is None:
            self._arm()  # of what came behind the request, a half head has to become a whole one in time

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """Answer a parser error or a bug with JSON; aiohttp's own page would echo the input."""
        if isinstance(exc, LineTooLong):
            status = 414 if f"than {self.max_line_size} bytes" in exc.message else 431
        answer = web.Response(status=status, body=error_json(status), content_type="application/json")
        answer.force_close()
        return answer

    def _arm(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._header_timeout, self._give_up)

    def _give_up(self) -> None:
        self._timer = None
        if self._is_idle and self.transport is not None:
            body = error_json(408)
            self.transport.write(_REPLY_408 % (len(body), body))
            self.force_close()


def is_operators_listener(request: web.BaseRequest) -> bool:
    """Whether a request came in on the listener of `server.expose.listen`."""
    protocol = request.protocol
    return isinstance(protocol, Connection) and protocol.is_operators


def connection_factory(
    runner: web.AppRunner, config: Config, *, is_operators: bool = False
) -> Callable[[], Connection]:
    """Return the function that makes the protocol of every accepted socket."""
    loop, timeouts = asyncio.get_running_loop(), config.server.timeouts
    most = max(64, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2)
    gateway = runner.app[GATEWAY]

    def trusts(peer: str) -> bool:
        trusted = gateway.snapshot.trusted
        return bool(trusted) and (address := read_address(peer)) is not None and any(address in one for one in trusted)

    def connect() -> Connection:
        assert runner.server is not None
        return Connection(
            runner.server,
            loop=loop,
            header_timeout=timeouts.header,
            write_timeout=timeouts.write,
            most=most,
            trusts=trusts,
            is_operators=is_operators,
            access_log=None,
            keepalive_timeout=KEEPALIVE_S,
            max_field_size=MAX_FIELD,
            max_headers=100,
            auto_decompress=False,
            lingering_time=2,
            read_bufsize=65536,
        )

    return connect


async def serve(
    app: web.Application,
    config: Config,
    sockets: Sequence[socket.socket],
    operators: Sequence[socket.socket] = (),
) -> tuple[web.AppRunner, list[asyncio.Server]]:
    """Start the app on sockets, and on those that serve operators' pages without a key.

    To stop: close the servers, then `runner.cleanup()`.
    """
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=1)
    await runner.setup()
    servers = await _accept(connection_factory(runner, config), sockets)
    servers += await _accept(connection_factory(runner, config, is_operators=True), operators)
    return runner, servers


async def _accept(connect: Callable[[], Connection], sockets: Sequence[socket.socket]) -> list[asyncio.Server]:
    loop = asyncio.get_running_loop()
    servers = []
    for sock in sockets:
        if sock.family == socket.AF_UNIX:
            servers.append(await loop.create_unix_server(connect, sock=sock, backlog=BACKLOG))
        else:
            servers.append(await loop.create_server(connect, sock=sock, backlog=BACKLOG))
    return servers


class CannotListen(Exception):
    """A socket cannot be opened. The message names its address and the reason, in one line."""


def open_sockets(addresses: Sequence[str], environ: Mapping[str, str] = os.environ) -> list[socket.socket]:
    """Take the sockets that systemd hands over, else open our own. Raises CannotListen."""
    handed = handed_over(environ)
    if handed:
        return handed
    found: list[socket.socket] = []
    for address in addresses:
        try:
            found += open_unix(address[5:]) if address.startswith("unix:") else _open_tcp(address)
        except OSError as error:
            for sock in found:
                sock.close()
            raise CannotListen(f"cannot listen on {address}: {error.strerror or error}") from None
    return found


def handed_over(environ: Mapping[str, str]) -> list[socket.socket]:
    """The listening sockets of systemd's socket activation (sd_listen_fds(3))."""
    if environ.get("LISTEN_PID") != str(os.getpid()):
        return []
    count = int(environ.get("LISTEN_FDS", "0"))
    found = [socket.socket(fileno=fd) for fd in range(SD_LISTEN_FDS_START, SD_LISTEN_FDS_START + count)]
    for sock in found:
        sock.setblocking(False)
        sock.set_inheritable(False)
    return found


def _open_tcp(address: str) -> list[socket.socket]:
    host, port = split_address(address)
    found = []
    for family, kind, proto, _, place in socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    ):
        sock = socket.socket(family, kind, proto)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        try:
            sock.bind(place)
            sock.listen(BACKLOG)
        except OSError:
            sock.close()
            raise
        sock.setblocking(False)
        found.append(sock)
    return found


def open_unix(path: str, mode: int = UNIX_MODE) -> list[socket.socket]:
    """Listen on a unix socket. Raises OSError, also if somebody listens there already."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if Path(path).is_socket() and not Path(path).is_symlink():
            if sock.connect_ex(path) == 0:
                raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
            Path(path).unlink()  # left behind by a process that was killed
            sock.close()
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        os.fchmod(sock.fileno(), mode)  # before `bind`, which takes over the mode
        sock.bind(path)
        Path(path).chmod(mode)
        sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    sock.setblocking(False)
    return [sock]


def unix_paths(sockets: Sequence[socket.socket]) -> list[Path]:
    """Return the files of unix sockets, which outlive them: to be removed at the end of the process."""
    return [Path(sock.getsockname()) for sock in sockets if sock.family == socket.AF_UNIX and sock.getsockname()]
