"""The raw lane of Responses: looks at what goes by, changes nothing."""

from typing import Any

import msgspec
from attrs import define, field

from gateway.errors import Broke, GatewayError, Unreadable
from gateway.wire.dialect import Asked, Glance
from gateway.wire.fault import read_inner
from gateway.wire.neutral import Usage
from gateway.wire.openai_responses.errors import write_stream_error
from gateway.wire.openai_responses.items import NAME
from gateway.wire.openai_responses.usage import read_usage
from gateway.wire.said import Junk, read_object
from gateway.wire.sse import read_frame

_DELTA = b"event: response.output_text.delta\ndata: {"
_ENDS = frozenset({"response.completed", "response.incomplete", "response.cancelled"})
_QUIET = frozenset({"response.created", "response.in_progress", "response.queued"})


class _Said(msgspec.Struct):
    type: str = ""
    response: Any = None
    error: Any = None
    sequence_number: Any = None


_SAID = msgspec.json.Decoder(_Said)


@define
class ResponsesWatch:
    """Watches a Responses stream: first content, errors, the terminal event, usage."""

    has_content: bool = field(default=False, init=False)
    is_finished: bool = field(default=False, init=False)
    is_enough: bool = field(default=False, init=False)
    usage: Usage | None = field(default=None, init=False)
    is_empty: bool = field(default=False, init=False)
    _sequence: int = field(default=0, init=False)
    _has_begun: bool = field(default=False, init=False)
    _junk: Junk = field(factory=Junk, init=False)

    def passes(self, chunk: bytes) -> bool:
        if not (self.has_content and chunk.startswith(_DELTA) and chunk.endswith(b"}\n\n") and chunk.count(b"\n") == 3):
            return False
        self._sequence += 1
        return True

    def feed(self, frame: bytes) -> bytes:
        if self.is_finished:
            return b""
        data = read_frame(frame).data
        if data is None:
            return frame
        try:
            said = _SAID.decode(data)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return self._junk.bad(data)
        self._junk.good()
        if isinstance(said.sequence_number, int):
            self._sequence = said.sequence_number + 1
        response = said.response if isinstance(said.response, dict) else {}
        if said.type == "error" or (not said.type and said.error is not None):
            raise read_inner(NAME, said.error or msgspec.json.decode(data))
        if said.type == "response.failed" and not self.has_content:
            raise read_inner(NAME, response.get("error") or {"message": "The response failed"})
        self._note(said.type, response)
        return frame

    def _note(self, kind: str, response: dict[str, Any]) -> None:
        self._has_begun = True
        if kind in _ENDS or kind == "response.failed":
            self.is_finished = True
            self.usage = read_usage(response.get("usage"))
            self.is_empty = (
                not self.has_content and kind == "response.completed" and not (self.usage and self.usage.output)
            )
        elif kind not in _QUIET:
            self.has_content = True

    def end(self) -> bytes:
        if not self.is_finished:
            raise Broke("The provider's stream ended before the model had finished")
        return b""

    def proceed(self) -> bytes | None:
        return None

    def fail(self, error: GatewayError, request_id: str) -> bytes:
        return write_stream_error(error, self._sequence)


def watch(asked: Asked) -> ResponsesWatch:
    """Make the lane of one raw Responses stream."""
    return ResponsesWatch()


def glance(body: bytes) -> Glance:
    """Look at a whole reply. Raises UpstreamFault when it is an error or no response at all."""
    said = read_object(body)
    if said.get("error") is not None:
        raise read_inner(NAME, said["error"])
    if not isinstance(said.get("output"), list):
        raise Unreadable("The provider's reply has no output")
    usage = read_usage(said.get("usage"))
    is_empty = not said.get("output") and said.get("status") == "completed" and not (usage and usage.output)
    return Glance(usage, is_empty)
