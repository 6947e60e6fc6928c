"""One client's call, ready to be put to any target: what it wants, its bounds, and where the answer goes."""

from collections.abc import Coroutine, Mapping
from functools import cached_property
from typing import Any, TypeVar

from aiohttp import web
from attrs import frozen

from gateway.config.fields import Seconds
from gateway.policy.routes import Resolved
from gateway.proxy.client_stream import ClientStream
from gateway.proxy.context import RequestContext
from gateway.proxy.plan.source_request import SourceRequest
from gateway.proxy.response_recorder import ResponseRecorder
from gateway.proxy.state import Gateway
from gateway.upstream.client import Deadline
from gateway.wire.dialect import Dialect

Answered = TypeVar("Answered")


@frozen
class ModelCall:
    """What a client asked for. Made once, by `server/make_call`, and not changed afterwards.

    `opening` is when a reply must have begun, whatever the number of attempts; `first_byte` is the endpoint's or the
    client's own limit on the wait of one attempt for the reply's head; `trail` goes to the provider; `commit_at` is the
    loop time at which a stream is opened, whatever the upstream does; `status` that of a good answer. `headers`
    are the client's, or none if the gateway asks on its own account. `recorder` is there if the response is stored,
    `recorded_stream` if it is written to a background run.
    """

    gateway: Gateway
    context: RequestContext
    request: web.Request
    headers: Mapping[str, str]
    source: SourceRequest
    resolved: Resolved
    deadline: Deadline
    opening: Deadline
    first_byte: Seconds | None
    trail: Mapping[str, str]
    commit_at: float | None = None
    status: int = 200
    recorder: ResponseRecorder | None = None
    recorded_stream: ClientStream | None = None

    @property
    def dialect(self) -> Dialect:
        """The client's own."""
        return self.source.dialect

    @property
    def is_stream(self) -> bool:
        """Whether the answer is written as a stream."""
        return self.source.is_stream

    @cached_property
    def client_stream(self) -> ClientStream:
        """The client's end of a stream. Most replies are whole and never need it."""
        if self.recorded_stream is not None:
            return self.recorded_stream
        server = self.context.snapshot.config.server
        return ClientStream(
            request=self.request,
            exchange=self.context.exchange,
            headers=self.context.reply_headers,
            ping=self.dialect.ping,
            keepalive=server.keepalive,
            write_timeout=server.timeouts.write,
            commit_at=self.commit_at,
            status=self.status,
            is_last=lambda: self.gateway.lifecycle.is_leaving or self.gateway.lifecycle.is_draining,
        )

    def keep_alive_during(self, answer: Coroutine[Any, Any, Answered]) -> Coroutine[Any, Any, Answered]:
        """Return what to await for an upstream's answer: with `commit_after`, the client is kept alive meanwhile."""
        return answer if self.commit_at is None else self.client_stream.keep_alive_during(answer)
