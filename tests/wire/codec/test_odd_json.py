"""JSON that the standard forbids and SDKs read all the same."""

import json
from typing import Any

import msgspec
import pytest

from gateway.wire.codec.lenient import Junk, read_object
from gateway.wire.codec.odd_json import LOST, MAX_WAITING, REFUSED, Halves, decode, decode_as, repaired

ODD = [
    (rb'{"a":"\ud83d"}', {"a": LOST}),
    (rb'{"a":"\ude00"}', {"a": LOST}),
    (rb'{"a":"\ude00\ud83d"}', {"a": LOST * 2}),
    (rb'{"a":"x\ud83dy"}', {"a": f"x{LOST}y"}),
    (rb'{"a":"\ud83d\ud83d\ude00"}', {"a": LOST + "😀"}),
    (rb'{"a":"\uD83D\uDE00 \uDFFF"}', {"a": f"😀 {LOST}"}),
    (rb'{"a":"\\ud83d \ud83d"}', {"a": rf"\ud83d {LOST}"}),
    (rb'{"a":"\\\ud83d"}', {"a": f"\\{LOST}"}),
    (rb'{"\ud83d":[{"a":"\ud83d"}]}', {LOST: [{"a": LOST}]}),
    (b'{"a":NaN}', {"a": None}),
    (b'{"a":[NaN, Infinity ,-Infinity]}', {"a": [None] * 3}),
    (rb'{"a":"NaN \"Infinity\"","b":NaN}', {"a": 'NaN "Infinity"', "b": None}),
    (b'{"a":"\xed\xa0\xbd\xed\xb8\x80"}', {"a": "😀"}),
    (b'{"a":"\xed\xa0\xbd"}', {"a": LOST}),
    (b'{"a":"x\xff"}', {"a": "x" + LOST}),
    ('{"a":"é😀","b":NaN}'.encode(), {"a": "é😀", "b": None}),
]
BROKEN = [
    b"", b"{", b'{"a":}', b"NaN,", b'{"a":NaN', b'{"a":nan}', b"{'a':NaN}", rb'{"a":"\ud83"}',
    rb'{"a":"\x \ud83d"}', b"[" * 100_000 + b"NaN", b'{"a":NaN,}', b'{"a":+Infinity}', b"<p>NaN</p>",
]  # fmt: skip


@pytest.mark.parametrize(("data", "wanted"), ODD)
def test_odd_json_is_read(data: bytes, wanted: Any) -> None:
    """Halves of pairs become U+FFFD, and what is no number null; everything else is read as it stands."""
    assert decode(data) == wanted
    assert json.loads(repaired(data)) == wanted
    assert decode_as(msgspec.json.Decoder(dict[str, Any]), data) == wanted
    assert read_object(data) == wanted and Junk().read(data) == wanted


@pytest.mark.parametrize("data", BROKEN)
def test_broken_json_stays_broken(data: bytes) -> None:
    """What no SDK reads is refused as before."""
    for read in (decode, Halves().decode, lambda data: decode_as(msgspec.json.Decoder(Any), data)):
        with pytest.raises(REFUSED):
            read(data)


@pytest.mark.parametrize("number", ["1e999", "-1e999", "1E+400", "9" * 400 + ".0"])
def test_numbers_beyond_all_bounds_are_null(number: str) -> None:
    """A number that is infinite for every SDK takes no text away."""
    assert decode(b'{"a":%s,"b":"x"}' % number.encode()) == {"a": None, "b": "x"}


def test_the_rest_keeps_its_bytes() -> None:
    """A repair changes nothing but what is odd: numbers keep their digits, and white space and escapes stay."""
    data = rb'{ "n": 1.10, "big": 12345678901234567890123, "e": "\u00e9\/\ud83d\ude00", "odd": NaN }'
    assert repaired(data) == data.replace(b"NaN", b"null")
    good = rb'{"a":"\ud83d\ude00 NaN","b":1e400}'
    assert repaired(good) == good


def said(piece: str, **place: Any) -> bytes:
    return b'{"delta":%s' % piece.encode() + b"".join(b',"%s":%d' % (n.encode(), v) for n, v in place.items()) + b"}"


@pytest.mark.parametrize(
    ("pieces", "wanted"),
    [
        ([r'"\ud83d"', r'"\ude00"'], "😀"),
        ([r'"a\ud83d"', r'"\ude00b"'], "a😀b"),
        ([r'"\ud83d"', '""', '""', r'"\ude00"'], "😀"),
        ([r'"\ud83d"', "null", r'"\ude00"'], "😀"),
        ([r'"\ud83d"', r'"\ude00\ud83d"', r'"\ude00"'], "😀😀"),
        ([r'"\ud83d"', '"x"'], LOST + "x"),
        ([r'"\ud83d"', r'"\ud83d"', r'"\ude00"'], LOST + "😀"),
        ([r'"\ude00"', '"x"'], LOST + "x"),
        ([r'"x"', r'"\ud83d"'], "x" + LOST),
    ],
)
def test_halves_are_joined_across_deltas(pieces: list[str], wanted: str) -> None:
    """The halves of a character come in two deltas, with or without others between; one that stays alone is U+FFFD."""
    halves = Halves()
    told = [halves.decode(said(piece))["delta"] or "" for piece in pieces]
    assert "".join(told) + halves.rest("delta") == wanted
    assert halves.rest("delta") == ""


@pytest.mark.parametrize("name", ["index", "output_index", "content_index", "summary_index"])
def test_each_place_has_halves_of_its_own(name: str) -> None:
    """The halves of two blocks, items, parts or calls that come in turns are not mixed up."""
    halves, told = Halves(), ["", ""]
    for place, piece in ((0, r'"\ud83d"'), (1, r'"\ud83c"'), (0, r'"\ude00"'), (1, r'"\udf0d"')):
        told[place] += halves.decode(said(piece, **{name: place}))["delta"]
    assert told == ["😀", "🌍"]


def test_calls_have_places_of_their_own() -> None:
    """Fragments of two calls are told apart by their index, wherever they stand in the array."""
    halves, told = Halves(), ["", ""]
    for index, piece in ((0, r"\ud83d"), (1, r"\ud83c"), (0, r"\ude00"), (1, r"\udf0d")):
        call = b'{"index":%d,"function":{"arguments":"%s"}}' % (index, piece.encode())
        found = halves.decode(b'{"choices":[{"index":0,"delta":{"tool_calls":[%s]}}]}' % call)
        told[index] += found["choices"][0]["delta"]["tool_calls"][0]["function"]["arguments"]
    assert told == ["😀", "🌍"]


def test_only_so_many_halves_wait() -> None:
    """A stream of halves at ever new places is not remembered without end."""
    halves = Halves()
    told = [halves.decode(said(r'"\ud83d"', index=number))["delta"] for number in range(MAX_WAITING + 5)]
    assert told[-5:] == [LOST] * 5 and set(told[:-5]) == {""}
