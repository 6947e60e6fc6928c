"""Token estimates are near what a vocabulary counts, and quick."""

import base64
import struct

import msgspec
import pytest

from gateway.wire.neutral import (
    Audio,
    Block,
    Document,
    Image,
    Opaque,
    Reasoning,
    Request,
    Role,
    Source,
    Text,
    Tool,
    ToolCall,
    ToolResult,
    Turn,
)
from gateway.wire.translation.tokens import countable, dimensions, estimate
from tests.wire.crossings import PIXEL

# Texts with the number of tokens that o200k_base cuts them into.
KNOWN = [
    ("The quick brown fox jumps over the lazy dog. " * 10, 101),
    ("def add(a: int, b: int) -> int:\n    return a + b\n" * 10, 190),
    ("Der Überblick über die Lösung fehlt noch. " * 10, 81),
    ("网关应当正确地计算令牌数量。" * 10, 110),
]


@pytest.mark.parametrize(("text", "tokens"), KNOWN)
def test_an_estimate_is_near(text: str, tokens: int) -> None:
    """An estimate is between 0.6 and 1.5 times the real count in any script; long uniform texts are nearer."""
    assert tokens * 0.6 < estimate(text) < tokens * 1.5


def test_odd_texts() -> None:
    """An empty text is zero tokens, and a lone surrogate raises nothing."""
    assert estimate("") == 0 and estimate("\ud83d") >= 0


def jpeg(width: int, height: int) -> str:
    frame = b"\xff\xc0\x00\x11\x08" + struct.pack(">HH", height, width) + b"\x03" + b"\x00" * 9
    return base64.b64encode(b"\xff\xd8\xff\xe0\x00\x04ab" + frame).decode()


@pytest.mark.parametrize(
    ("data", "size"),
    [
        (PIXEL, (1, 1)),
        (base64.b64encode(b"GIF89a" + struct.pack("<HH", 30, 20) + b"\x00" * 4).decode(), (30, 20)),
        (jpeg(640, 480), (640, 480)),
        (base64.b64encode(b"\xff\xd8\xff").decode(), None),
        (base64.b64encode(b"RIFFxxxxWEBP").decode(), None),
        ("%%%", None),
    ],
)
def test_pictures_are_measured(data: str, size: tuple[int, int] | None) -> None:
    """PNG, GIF and JPEG headers give (width, height); anything else gives None."""
    assert dimensions(Source("image/x", data)) == size


def test_everything_counts() -> None:
    """Each kind of block, and a tool, adds to the count."""
    blocks: list[Block] = [
        Text("hello there"),
        Reasoning(("hm hm",)),
        ToolCall("i", "name", '{"a":1}'),
        ToolResult("i", (Text("result"),)),
        Image(Source("image/png", PIXEL)),
        Image(Source(url="https://x.example")),
        Document(Source("text/plain", text="words in a file")),
        Document(Source("application/pdf", "A" * 4_000_000)),
        Audio("A" * 4000, "wav"),
        Opaque("x", "y", raw=msgspec.Raw(b'{"some":"thing"}')),
    ]
    before = 0
    for number in range(len(blocks) + 1):
        request = Request("x", "m", turns=[Turn(Role.USER, tuple(blocks[:number]))])
        found = countable(request).tokens(1.0)
        assert found > before
        before = found
    with_tool = Request("x", "m", tools=[Tool("f", description="d", parameters={"type": "object"})])
    assert countable(with_tool).tokens(1.0) > countable(Request("x", "m")).tokens(1.0)
    assert countable(request).tokens(1.0, 100_000) > before


def test_a_vocabulary_that_cuts_finer_counts_more() -> None:
    """The factor applies to texts only, also to those that a tokenizer has counted, and never to pictures."""
    said = countable(Request("x", "m", turns=[Turn(Role.USER, (Text("word " * 1000), Image(Source(url="https://x"))))]))
    other = said.other
    assert said.tokens(1.5, 1000) == 1500 + other and said.tokens(1.0, 1000) == 1000 + other
    assert said.tokens(1.15) - other == pytest.approx((said.tokens(1.0) - other) * 1.15, abs=1)
