"""One client's question on its way to the targets: with whom it came, and where the answer goes."""

from collections.abc import Coroutine
from typing import Any, TypeVar

from aiohttp import web
from attrs import define, field

from gateway.config.schema import Seconds, Target
from gateway.policy.routes import Resolved
from gateway.proxy.client_stream import ClientStream
from gateway.proxy.context import RequestContext
from gateway.proxy.plan.choose import make_plan
from gateway.proxy.plan.record import Plan
from gateway.proxy.plan.source_request import SourceRequest
from gateway.proxy.response_recorder import ResponseRecorder
from gateway.proxy.state import Gateway
from gateway.upstream.client import Deadline
from gateway.wire.dialect import Dialect
from gateway.wire.lane import Lane

Answered = TypeVar("Answered")


@define
class ModelCall:
    """What a client asked for, ready to be put to any target."""

    gateway: Gateway
    context: RequestContext
    request: web.Request
    source: SourceRequest
    resolved: Resolved
    deadline: Deadline
    first_byte: Seconds | None  # the endpoint's or the client's own limit on the wait for the reply's head
    commit_at: float | None = None  # loop time at which a stream is opened, whatever the upstream does
    status: int = 200  # of a good answer
    recorder: ResponseRecorder | None = None  # of a response that is stored
    lane: Lane | None = field(default=None, init=False)  # of the attempt that is speaking
    _client_stream: ClientStream | None = field(default=None, init=False)

    @property
    def dialect(self) -> Dialect:
        """The client's own."""
        return self.source.dialect

    @property
    def is_stream(self) -> bool:
        """Whether the client wants a stream."""
        return self.source.is_stream

    def plan(self, target: Target) -> Plan | None:
        """How to put the question to a target; None when its provider speaks nothing that fits.

        Raises BadRequest when it cannot be said there.
        """
        snapshot = self.context.snapshot
        provider, model = snapshot.config.providers[target.provider], target.model or ""
        profile = snapshot.capabilities.profile(provider, model)
        source = self.source
        refused = self.gateway.refused_members.refused(source.owner, provider.name, model, source.monotonic)
        return make_plan(self.source, provider, model, profile, refused)

    @property
    def home(self) -> tuple[str, str]:
        """The target and the credential that have made what the conversation rests on; empty for none."""
        target, _, credential = self.source.past.home.rpartition(" ")
        return target, credential

    @property
    def client_stream(self) -> ClientStream:
        """The client's end of a stream. Most replies are whole and never need it."""
        if self._client_stream is None:
            server = self.context.snapshot.config.server
            self._client_stream = ClientStream(
                request=self.request,
                exchange=self.context.exchange,
                headers=self.context.reply_headers,
                ping=self.dialect.ping,
                keepalive=server.keepalive,
                write_timeout=server.timeouts.write,
                commit_at=self.commit_at,
                status=self.status,
            )
        return self._client_stream

    def write_to(self, client_stream: ClientStream) -> None:
        """Tell the stream to this in place of the client's connection."""
        self._client_stream = client_stream

    def patiently(self, answer: Coroutine[Any, Any, Answered]) -> Coroutine[Any, Any, Answered]:
        """What to await for an upstream's answer: with `commit_after`, the client's connection is kept alive."""
        return answer if self.commit_at is None else self.client_stream.patiently(answer)

    def make_lane(self) -> Lane:
        """A lane that has seen nothing yet, to say an error with."""
        lane = self.dialect.watch(self.source.asked)
        return lane if self.recorder is None else self.recorder.lane(lane)
