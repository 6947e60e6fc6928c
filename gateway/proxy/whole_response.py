"""A whole reply: head and body in one write, without the header objects that aiohttp builds for a response.

It saves an eighth of an exchange's CPU (docs/design.md#what-costs-what). What it leaves out: aiohttp's
`on_response_prepare` signals are not sent, and a header whose value cannot be printed is left out. Everything that is
not a whole reply to a model call is an ordinary `web.Response`.
"""

import time
from email.utils import formatdate
from functools import lru_cache

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from gateway.aiohttp_internals import keeps_alive

# Bytes of a body beyond which sending it waits until the client has read enough.
_HIGH_WATER = 65536


class WholeResponse(web.StreamResponse):
    """A whole JSON reply. `fields` are its headers, which `add_headers` may extend until it is sent."""

    def __init__(self, body: bytes, fields: dict[str, str], status: int = 200) -> None:
        super().__init__(status=status)
        self.body = body
        self.fields = fields
        self._is_sent = False

    @property
    def prepared(self) -> bool:
        return self._is_sent

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Send everything. Raises ConnectionResetError when the client has left."""
        if self._is_sent:
            return None
        self._is_sent = True
        is_kept = keeps_alive(self, request)
        transport = request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError
        start = "200 OK" if self.status == 200 else f"{self.status} {self.reason}"
        head = [f"HTTP/1.1 {start}\r\nDate: {_date(int(time.time()))}\r\nContent-Length: {len(self.body)}"]
        head += [f"{name}: {value}" for name, value in self.fields.items() if value.isprintable()]
        if not is_kept:
            head.append("Connection: close")
        elif request.version < (1, 1):
            head.append("Connection: keep-alive")
        head.append("\r\n")
        transport.write("\r\n".join(head).encode("utf-8", "replace") + self.body)
        if len(self.body) > _HIGH_WATER:
            await request.writer.drain()
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        """Do nothing: `prepare` has sent the body."""


def add_headers(answer: web.StreamResponse, headers: dict[str, str]) -> None:
    """Add headers to an answer of either kind that has not been sent."""
    if isinstance(answer, WholeResponse):
        answer.fields.update(headers)
    else:
        answer.headers.update(headers)


@lru_cache(4)
def _date(second: int) -> str:
    return formatdate(second, usegmt=True)
