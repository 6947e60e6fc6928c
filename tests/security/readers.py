"""Every function that reads foreign bytes, behind one face for the fuzzer: bytes in, and an error only of our own."""

import gzip
import json
import zlib
from collections.abc import Callable, Sequence

from attrs import frozen

from gateway.errors import GatewayError
from gateway.wire.codec.bounds import check_bounds, check_reply
from gateway.wire.codec.json_body import JsonBody
from gateway.wire.codec.json_prefix import JsonPrefix
from gateway.wire.codec.multipart_body import MultipartBody
from gateway.wire.codec.sse import FrameCutter, read_frame
from gateway.wire.codec.unpack import StreamUnpacker, unpack, zstd
from gateway.wire.events import BlockDelta, BlockEnded, BlockStarted, Event, Finished
from gateway.wire.neutral import Stop, StopReason, Text
from gateway.wire.provider_error import read_declined
from gateway.wire.translation.stops import StopFilter
from gateway.wire.translation.think_tags import ThinkFilter

FORM_TYPE = "multipart/form-data; boundary=b"
LIMIT = 1_000_000


@frozen
class Reader:
    """One target: what it is fed with at first, and what is done with the bytes. `read` raises if a promise breaks."""

    name: str
    seeds: Sequence[bytes]
    read: Callable[[bytes], None]


def halves(data: bytes) -> list[bytes]:
    """Cut data in two at a place that the data itself decides."""
    at = sum(data[:8]) % (len(data) + 1)
    return [data[:at], data[at:]]


def read_json_body(data: bytes) -> None:
    """What was read and written again is read as the same members."""
    check_bounds(data)
    body = JsonBody.read(data)
    again = JsonBody.read(body.edited())
    assert list(again.members) == list(body.members)


def read_form(data: bytes) -> None:
    """A form that was written again has the same parts."""
    body = MultipartBody.read(data, FORM_TYPE)
    again = MultipartBody.read(body.edited(), FORM_TYPE)
    assert [(part.name, part.is_file, part.content) for part in again.parts] == [
        (part.name, part.is_file, part.content) for part in body.parts
    ]


def cut_frames(chunks: Sequence[bytes]) -> list[bytes]:
    """Return the frames of a stream that comes in these chunks."""
    cutter = FrameCutter(LIMIT)
    frames = [frame for chunk in chunks for frame in cutter.feed(chunk)]
    return [*frames, cutter.end()]


def read_stream(data: bytes) -> None:
    """The cut of the chunks does not matter, and every frame can be read."""
    frames = cut_frames([data])
    assert b"".join(frames) == b"".join(cut_frames(halves(data)))
    for frame in frames:
        read_frame(frame)
        check_reply(frame)


def read_prefix(data: bytes) -> None:
    """What the automaton takes of an object can be closed, and is an object then."""
    text = data.decode("utf-8", "replace")
    prefix = JsonPrefix()
    taken = prefix.feed(text)
    whole = text[:taken] + ("" if prefix.is_complete else prefix.closing())
    assert taken == 0 or isinstance(json.loads(whole.replace("\ufffd", "?"), strict=False), dict), whole
    pieces = JsonPrefix()
    assert sum(map(pieces.feed, text[:taken])) == taken


def read_packed(data: bytes) -> None:
    """The first byte chooses the encoding; a stream gives no more than the whole."""
    encoding = ("gzip", "deflate", "zstd")[data[0] % 3] if data else "gzip"
    try:
        whole: bytes | None = unpack(data[1:], encoding, LIMIT)
    except GatewayError:
        whole = None
    engine = StreamUnpacker(encoding)
    out = b"".join(piece for chunk in halves(data[1:]) for piece in engine.feed(chunk))
    assert whole is None or encoding == "deflate" or out == whole


def read_thoughts(data: bytes) -> None:
    """The cut of the text does not matter."""
    found = []
    text = data.decode("utf-8", "replace")
    for pieces in ([text], list(text)):
        reader = ThinkFilter()
        out = [one for piece in pieces for one in reader.feed(piece)] + list(reader.end())
        found.append(["".join(part for is_thought, part in out if is_thought is wanted) for wanted in (True, False)])
    assert found[0] == found[1]


def read_stops(data: bytes) -> None:
    """The cut of the text does not matter: the first line is the sequences, the rest the text."""
    head, _, rest = data.decode("utf-8", "replace").partition("\n")
    stops = tuple(dict.fromkeys(stop[:256] for stop in head.split(" ") if stop))[:16]
    if not stops:
        return
    found = []
    for pieces in ([rest], list(rest)):
        reader = StopFilter(stops)
        events: list[Event] = [
            BlockStarted(0, Text("")),
            *(BlockDelta(0, piece) for piece in pieces if piece),
            BlockEnded(0),
        ]
        out = [one for event in [*events, Finished(Stop(StopReason.END))] for one in reader.feed(event)]
        found.append("".join(event.text for event in out if isinstance(event, BlockDelta)))
    assert found[0] == found[1]


def read_error(data: bytes) -> None:
    """Any body of an error is read."""
    read_declined("openai_chat", 400 + data[0] % 130 if data else 500, {}, data[1:], 0.0, data)


DISPOSITION = b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nm\r\n'
FILE = (
    b'--b\r\nContent-Disposition: form-data; name="f"; filename="a\\"b"\r\nContent-Type: x\r\n\r\n\0\xff\r\n--b--\r\n'
)
READERS = [
    Reader(
        "json_body",
        [b'{"model":"m","messages":[{"role":"user","content":"a\\u00e4\\\\\\""}],"n":1.5e3}'],
        read_json_body,
    ),
    Reader("multipart", [DISPOSITION + FILE, FILE], read_form),
    Reader(
        "sse",
        [b'event: x\r\ndata: {"a":[1,2]}\r\n\r\n:c\n\ndata: a\ndata: b\n\n', b"\xef\xbb\xbfdata: [DONE]\r\r"],
        read_stream,
    ),
    Reader(
        "json_prefix", [b'{"a":[1,-2.5e3,{"b":"\\u00e4\\n"}],"c":null,"d":true}', b'{"a":{"b":[[],{}]}}'], read_prefix
    ),
    Reader(
        "unpack",
        [b"\0" + gzip.compress(b"text" * 50), b"\1" + zlib.compress(b"text" * 50), b"\2" + zstd.compress(b"text" * 50)],
        read_packed,
    ),
    Reader("think", [b" \n<think>\nwhy</think>\n\nso", b"<thin<think></thi</think>"], read_thoughts),
    Reader("stops", [b"END \xc3\xa4b abc c\nthe text ENxabcEND", b"aa aab b\naaab"], read_stops),
    Reader(
        "error",
        [b'\0{"error":{"message":"m","code":"x"}}', b'\1{"detail":[{"loc":["a",1],"msg":"m"}]}', b"\2<html>"],
        read_error,
    ),
]
