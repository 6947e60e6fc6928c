"""Dialects that are forwarded and never translated: embeddings, moderation, rerank, images, audio.

Replies are sent to the client unchanged; the gateway only looks for an error inside a 200, and for the usage.
"""

from collections.abc import Callable
from typing import Any

import msgspec
from attrs import define, evolve, field

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


class _Pictures(msgspec.Struct):
    data: list[msgspec.Raw]


_REPLY, _PICTURES = msgspec.json.Decoder(_Reply), msgspec.json.Decoder(_Pictures)
# The event that holds a finished picture (SDK types ImageGenCompletedEvent, ImageEditCompletedEvent).
_PICTURE_DONE = (b"image_generation.completed", b"image_edit.completed")


def glance(body: bytes) -> Glance:
    """Look at a whole JSON reply. Raises UpstreamFault if it is an error or not a JSON object."""
    try:
        reply = decode_as(_REPLY, body)
    except REFUSED:
        raise Unreadable("The provider's reply is not a JSON object") from None
    if reply.error is not None:
        raise read_inner("openai_embeddings", reply.error)
    return Glance(_usage(reply.usage))


def glance_images(body: bytes) -> Glance:
    """Look at a reply that holds pictures, and count them. Raises UpstreamFault as `glance` does."""
    found = glance(body)
    try:
        pictures = _PICTURES.decode(body).data
    except msgspec.MsgspecError:
        return found
    return evolve(found, usage=evolve(found.usage or Usage(), images=len(pictures)))


def _usage(payload: Any) -> Usage | None:
    """Read usage in Chat's words, or in those of images and audio: `input_tokens`, `output_tokens`."""
    usage = read_usage(payload)
    if usage is None and isinstance(payload, dict):
        found = count(payload.get("input_tokens")), count(payload.get("output_tokens"))
        usage = Usage(input=found[0], output=found[1]) if found != (None, None) else None
        details = payload.get("input_token_details")
        if usage is not None and isinstance(details, dict):
            usage = evolve(usage, input_audio=count(details.get("audio_tokens")))
    return usage


@define
class OpaqueWatch(Watch):
    """The raw lane of a stream of events: each event with data is content, and the reply ends with the body."""

    is_empty: bool = field(default=False, init=False)
    _pictures: int = field(default=0, init=False)

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
        if any(kind in data for kind in _PICTURE_DONE):
            self._pictures += 1
            self.usage = evolve(self.usage or Usage(), images=self._pictures)
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


def carried(
    name: str,
    path: str,
    *,
    is_json: bool = True,
    limit_class: str = "default",
    counts_tokens: bool = False,
    look: Callable[[bytes], Glance] = glance,
) -> Dialect:
    """Make a dialect of OpenAI's family that is forwarded and never translated. `look` looks at a whole reply."""
    return Dialect(
        name=name,
        path=path,
        read_error=read_declined,
        write_error=write_error,
        glance=look,
        watch=_watch,
        is_json=is_json,
        limit_class=limit_class,
        counts_tokens=counts_tokens,
    )
