"""The bytes with which every delta event of one part begins.

A long part is thousands of deltas that differ only in number and text, so the rest is encoded once per part.
"""

from collections.abc import Sequence

import msgspec

from gateway.wire.neutral import Logprob

_json = msgspec.json.Encoder().encode
_TEXT = b"response.output_text.delta"
_NO_LOGPROBS = b'"logprobs":[],"delta":'


def delta_head(event: bytes, item_id: str, index: int, more: bytes = b"") -> bytes:
    """Return a delta event up to its text, with `%d` for its number; `more` are the members that name the part."""
    place = b'"item_id":%s,"output_index":%d,' % (_json(item_id), index)
    tail = _NO_LOGPROBS if event == _TEXT else b'"delta":'
    return (
        b"event: " + event + b'\ndata: {"type":"' + event + b'","sequence_number":%d,' + place.replace(b"%", b"%%")
        + more + tail
    )  # fmt: skip


def with_logprobs(head: bytes, tokens: Sequence[Logprob]) -> bytes:
    """Return the head of a delta of text, numbered already, with the logprobs of its tokens."""
    written = _json([token.raw for token in tokens])
    return head.removesuffix(_NO_LOGPROBS) + b'"logprobs":' + written + b',"delta":'
