"""Dialects that are forwarded and never translated: embeddings, moderation, rerank, images, audio.

Replies are sent to the client unchanged; the gateway only looks for an error inside a 200, and for the usage.
"""

from typing import Any

import msgspec
from attrs import define, field

from gateway.errors import GatewayError, Unreadable
from gateway.wire.codec.lenient import count
from gateway.wire.codec.odd_json import REFUSED, decode_as
from gateway.wire.codec.sse import read_frame
from gateway.wire.dialect import Asked, Dialect, Glance
from gateway.wire.lane import Watch
from gateway.wire.neutral import Usage
from gateway.wire.openai_chat.usage import read_usage
from gateway.wire.openai_error import write_error, write_stream_error
from gateway.wire.provider_error import read_declined, read_inner


class _Reply(msgspec.Struct):
    error: Any = None
    usage: Any = None


_REPLY = msgspec.json.Decoder(_Reply)


def glance(body: bytes) -> Glance:
    """Look at a whole JSON reply. Raises UpstreamFault if it is an error or not a JSON object."""
    try:
        reply = decode_as(_REPLY, body)
    except REFUSED:
        raise Unreadable("The provider's reply is not a JSON object") from None
    if reply.error is not None:
        raise read_inner("openai_embeddings", reply.error)
    return Glance(_usage(reply.usage))


def _usage(payload: Any) -> Usage | None:
    """Read usage in Chat's words, or in those of images and audio: `input_tokens`, `output_tokens`."""
    usage = read_usage(payload)
    if usage is None and isinstance(payload, dict):
        found = count(payload.get("input_tokens")), count(payload.get("output_tokens"))
        usage = Usage(input=found[0], output=found[1]) if found != (None, None) else None
    return usage


@define
class OpaqueWatch(Watch):
    """The raw lane of a stream of events: each event with data is content, and the reply ends with the body."""

    is_empty: bool = field(default=False, init=False)

    def passes(self, chunk: bytes) -> bool:
        return False

    def feed(self, frame: bytes) -> bytes:
        data = read_frame(frame).data
        if data is None:
            return frame
        try:
            event = decode_as(_REPLY, data)
        except REFUSED:
            event = _Reply()
        if event.error is not None:
            raise read_inner("openai_embeddings", event.error)
        self.usage = _usage(event.usage) or self.usage
        self.has_content = True
        return frame

    def end(self) -> bytes:
        return b""

    def fail(self, error: GatewayError, request_id: str) -> bytes:
        return write_stream_error(error)


@define
class BytesLane(Watch):
    """The raw lane of sound and other binary replies. Each chunk is content, and an error cannot be written."""

    is_empty: bool = field(default=False, init=False)

    def passes(self, chunk: bytes) -> bool:
        return self.has_content

    def feed(self, chunk: bytes) -> bytes:
        self.has_content = True
        return chunk

    def end(self) -> bytes:
        return b""

    def fail(self, error: GatewayError, request_id: str) -> bytes:
        return b""


class Uncut:
    """Stands in for FrameCutter where a body has no frames: returns each chunk as one piece."""

    is_between = True

    def feed(self, chunk: bytes) -> list[bytes]:
        return [chunk]

    def end(self) -> bytes:
        return b""


def _watch(asked: Asked) -> OpaqueWatch:
    return OpaqueWatch()


def carried(name: str, path: str, *, is_json: bool = True, limit_class: str = "default") -> Dialect:
    """Make a dialect of OpenAI's family that is forwarded and never translated."""
    return Dialect(
        name=name,
        path=path,
        read_error=read_declined,
        write_error=write_error,
        glance=glance,
        watch=_watch,
        is_json=is_json,
        limit_class=limit_class,
    )
