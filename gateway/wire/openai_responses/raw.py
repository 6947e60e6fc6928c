"""The raw lane of Responses: the client and the upstream both speak this dialect.

Replies pass byte for byte, except for frames that are not JSON and frames behind the terminal event. The gateway only
reads them: for the first content, errors, the end and the usage. Of a request only `input`, `instructions` and `tools`
are edited here, by `add_members`, `unsealed` and `prefix`.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from attrs import define, evolve, field

from gateway.errors import Broke, GatewayError, Unreadable
from gateway.wire.codec.json_body import JsonBody, to_json
from gateway.wire.codec.lenient import Junk, read_object
from gateway.wire.codec.odd_json import REFUSED, decode, decode_as
from gateway.wire.codec.sse import read_frame
from gateway.wire.dialect import Asked, Glance
from gateway.wire.lane import Watch
from gateway.wire.openai_responses.added_tools import MARK, lift
from gateway.wire.openai_responses.errors import write_stream_error
from gateway.wire.openai_responses.usage import read_response_usage
from gateway.wire.openai_responses.write_items import NAME
from gateway.wire.profile import Profile
from gateway.wire.provider_error import read_inner
from gateway.wire.translation.envelope import QUOTED, is_envelope
from gateway.wire.translation.memo import Drops
from gateway.wire.translation.names import LONGEST, safe_id

# How OpenAI writes a text delta. `passes` recognises a chunk that is one such frame without decoding it.
_DELTA = b"event: response.output_text.delta\ndata: {"
_ENDS = frozenset({"response.completed", "response.incomplete", "response.cancelled"})
# How item ids begin that OpenAI refuses in a history. An input that holds none of them, no envelope of ours and no id
# that is too long is sent as it came, without decoding.
_FOREIGN_IDS = ("item_", "chatcmpl-")
_FOREIGN = (*QUOTED, *(b'"' + name.encode() for name in _FOREIGN_IDS))
_LONG_ID = re.compile(rb'id": ?"[^"]{%d}' % (LONGEST + 1))
_QUIET = frozenset({"response.created", "response.in_progress", "response.queued"})


class _Said(msgspec.Struct):
    type: str = ""
    response: Any = None
    error: Any = None
    sequence_number: Any = None


_SAID = msgspec.json.Decoder(_Said)


@define
class ResponsesWatch(Watch):
    """Watches a Responses stream: first content, errors, the terminal event, usage."""

    is_empty: bool = field(default=False, init=False)
    _sequence: int = field(default=0, init=False)  # sequence_number of the next event, for an error written by `fail`
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
            payload = decode_as(_SAID, data)
        except REFUSED:
            return self._junk.bad(data)
        self._junk.good()
        if isinstance(payload.sequence_number, int):
            self._sequence = payload.sequence_number + 1
        response = payload.response if isinstance(payload.response, dict) else {}
        if payload.type == "error" or (not payload.type and payload.error is not None):
            raise read_inner(NAME, payload.error or decode(data))
        if payload.type == "response.failed" and not self.has_content:
            raise read_inner(NAME, response.get("error") or {"message": "The response failed"})
        self._note(payload.type, response)
        return frame

    def _note(self, kind: str, response: dict[str, Any]) -> None:
        if kind in _ENDS or kind == "response.failed":
            self.is_finished = True
            self.usage = read_response_usage(response)
            self.is_refusal = not self.has_content and _is_filtered(response)
            self.is_empty = (
                not self.has_content and kind == "response.completed" and not (self.usage and self.usage.output)
            )
        elif kind not in _QUIET:
            self.has_content = True

    def end(self) -> bytes:
        if not self.is_finished:
            raise Broke("The provider's stream ended before the model had finished")
        return b""

    def fail(self, error: GatewayError, request_id: str) -> bytes:
        return write_stream_error(error, self._sequence)


def watch(asked: Asked) -> ResponsesWatch:
    """Make the lane of one raw Responses stream."""
    return ResponsesWatch()


def glance(body: bytes) -> Glance:
    """Look at a whole reply. Raises UpstreamFault when it is an error or no response at all."""
    payload = read_object(body)
    if payload.get("error") is not None:
        raise read_inner(NAME, payload["error"])
    if not isinstance(payload.get("output"), list):
        raise Unreadable("The provider's reply has no output")
    usage = read_response_usage(payload)
    is_empty = not payload.get("output") and payload.get("status") == "completed" and not (usage and usage.output)
    return Glance(usage, is_empty, _is_filtered(payload) and not payload.get("output"))


def _is_filtered(response: dict[str, Any]) -> bool:
    details = response.get("incomplete_details")
    return isinstance(details, dict) and details.get("reason") == "content_filter"


def add_members(body: JsonBody, profile: Profile, drops: Drops) -> Mapping[str, bytes]:
    """Remove what OpenAI refuses from `input`: reasoning in our envelopes, and item ids that other programs made up.

    Long ids of calls are shortened, in the call and in its output alike. Tools inside the input become the request's
    `tools` where the server does not know their item.

    Return the new `input` and `tools`, or nothing if they stay as they are. Removed reasoning is noted in `drops`.
    """
    given = body.members.get("input")
    text = b"" if given is None else bytes(given)
    if not text.startswith(b"["):
        return {}
    has_tools = not profile.additional_tools and text.find(MARK) >= 0
    if not has_tools and all(text.rfind(word) < 0 for word in _FOREIGN) and not _LONG_ID.search(text):
        return {}
    items = body.get("input", list[Any], "an array") or []
    kept = [_renamed(item) for item in items if not _is_reasoning(item, is_envelope)]
    if len(kept) < len(items):
        drops.add("reasoning")
    rest, tools = lift(body, kept) if has_tools else (kept, [])
    lifted = {"tools": to_json(tools)} if len(rest) < len(kept) else {}
    return lifted | ({"input": to_json(rest)} if rest != items else {})


def unsealed(body: JsonBody) -> JsonBody:
    """Return the body without encrypted reasoning items, which only the account that made them can read."""
    given = body.members.get("input")
    if given is None or not bytes(given).startswith(b"["):
        return body
    items = body.get("input", list[Any], "an array") or []
    kept = [item for item in items if not _is_reasoning(item, bool)]
    return evolve(body, members=body.members | JsonBody.of({"input": to_json(kept)}).members)


def prefix(body: JsonBody, text: str, put: Mapping[str, bytes]) -> Mapping[str, bytes]:
    """Return `instructions` with `text` before it; return nothing if it begins with `text` already."""
    given = body.text("instructions") or ""
    if given.startswith(text):
        return {}
    return {"instructions": to_json(f"{text}\n\n{given}" if given else text)}


def _renamed(item: Any) -> Any:
    """Return an item, without its `id` if that is not a valid id of OpenAI, and with a `call_id` that is short enough.

    See docs/wire/responses.md#input-normalisation.
    """
    if not isinstance(item, dict) or item.get("type") == "item_reference":
        return item
    name, call_id = item.get("id"), item.get("call_id")
    if isinstance(name, str) and (name.startswith(_FOREIGN_IDS) or len(name) > LONGEST):
        item = {key: value for key, value in item.items() if key != "id"}
    if isinstance(call_id, str) and len(call_id) > LONGEST:
        item = item | {"call_id": safe_id(call_id)}
    return item


def _is_reasoning(item: Any, is_unreadable: Callable[[str], bool]) -> bool:
    if not isinstance(item, dict) or item.get("type") != "reasoning":
        return False
    sealed = item.get("encrypted_content")
    return isinstance(sealed, str) and is_unreadable(sealed)
