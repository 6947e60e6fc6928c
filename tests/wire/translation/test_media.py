"""Pictures and files are read from any way that clients write them, and written as a data URL or a link."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.neutral import Source
from gateway.wire.translation.media import PICTURES, read_base64, read_url, sniff, text_in, write_url
from tests.wire.crossings import PIXEL

JPEG = base64.b64encode(b"\xff\xd8\xff\xe0rest").decode()


@pytest.mark.parametrize(
    ("url", "source"),
    [
        ("https://x.example/a.png", Source(url="https://x.example/a.png")),
        ("http://x.example/a.png", Source(url="http://x.example/a.png")),
        ("HTTPS://X.example/A.png", Source(url="https://X.example/A.png")),
        ("Http://x.example/a.png", Source(url="http://x.example/a.png")),
        (" \n\thttps://x.example/a.png \n", Source(url="https://x.example/a.png")),
        ("https://x.example/a,b.png", Source(url="https://x.example/a,b.png")),
        (f"\n{PIXEL}", Source("image/png", PIXEL)),
        (f"data:image/png;base64,{PIXEL}", Source("image/png", PIXEL)),
        (f"  DATA:IMAGE/PNG;BASE64,{PIXEL}", Source("image/png", PIXEL)),
        (f"data:;base64,{PIXEL}", Source("image/png", PIXEL)),
        (f"data:image/png;name=a.png;base64,{PIXEL}", Source("image/png", PIXEL)),
        (f"data:image/png;base64,{JPEG}", Source("image/jpeg", JPEG)),
        ("data:Image/X-Odd;base64,AAAA", Source("image/x-odd", "AAAA")),
        (PIXEL, Source("image/png", PIXEL)),
        ("AAAA", Source("", "AAAA")),
    ],
)
def test_what_clients_write_as_a_url(url: str, source: Source) -> None:
    """Links, data URLs of any shape and bare base64 are read; the type that the bytes show wins."""
    assert read_url(url) == source


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("data:text/plain,hello", "must be base64"),
        ("data:image/png;base64,%%%", "not a link"),
        ("file:///etc/passwd", "not a link"),
        ("ftp://x.example/a", "not a link"),
        ("picture.png", "not a link"),
        ("https:/x.example/a", "not a link"),
        ("xhttps://x.example/a", "not a link"),
        ("bild-ü", "not a link"),
        ("A", "not a link"),
    ],
)
def test_other_urls_are_refused(url: str, words: str) -> None:
    """A file's path, another scheme and damaged base64 are refused, and the message says what is wanted."""
    with pytest.raises(ValueError, match=words):
        read_url(url)


@given(st.binary(max_size=200), st.booleans(), st.booleans(), st.sampled_from([0, 1, 19, 76]))
def test_base64_is_made_regular(raw: bytes, is_url_safe: bool, has_padding: bool, width: int) -> None:
    """The URL's alphabet, missing padding and line ends all become plain base64 of the same bytes."""
    data = (base64.urlsafe_b64encode if is_url_safe else base64.b64encode)(raw).decode()
    if not has_padding:
        data = data.rstrip("=")
    if width:
        data = "\r\n ".join(data[at : at + width] for at in range(0, len(data), width))
    assert read_base64(data, "x/y").data == base64.b64encode(raw).decode()


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"\x89PNG\r\n", "image/png"),
        (b"\xff\xd8\xff\xdb", "image/jpeg"),
        (b"GIF89a", "image/gif"),
        (b"%PDF-1.7", "application/pdf"),
        (b"RIFF\x00\x00\x00\x00WEBP", "image/webp"),
        (b"RIFF\x00\x00\x00\x00WAVE", ""),
        (b"<svg>", ""),
        (b"", ""),
    ],
)
def test_bytes_show_their_type(head: bytes, kind: str) -> None:
    """The four pictures that all dialects take, and PDF, are told by their first bytes."""
    assert sniff(head) == kind
    assert not kind or kind in PICTURES | {"application/pdf"}


@pytest.mark.parametrize(
    ("source", "url"),
    [
        (Source("image/png", PIXEL), f"data:image/png;base64,{PIXEL}"),
        (Source("", "AAAA"), "data:application/octet-stream;base64,AAAA"),
        (Source(url="https://x.example"), "https://x.example"),
        (Source(file_id="file_1"), None),
        (Source(text="hello"), None),
    ],
)
def test_a_source_is_written_as_a_url(source: Source, url: str | None) -> None:
    """Bytes become a data URL, a link stays one, and a file's id or a text has no URL."""
    assert write_url(source) == url


@given(st.binary(max_size=50))
def test_reading_and_writing_are_inverses(raw: bytes) -> None:
    """A data URL that was written reads back as the same source."""
    source = read_base64(base64.b64encode(raw).decode(), "image/x-any")
    assert read_url(write_url(source) or "") == source


@pytest.mark.parametrize(
    ("source", "text"),
    [
        (Source(text="hello"), "hello"),
        (Source(text=""), ""),
        (Source("text/csv", base64.b64encode("ä;b".encode()).decode()), "ä;b"),
        (Source("text/plain", base64.b64encode(b"\xff\xfe").decode()), None),
        (Source("text/plain", "A"), None),
        (Source("application/pdf", "AAAA"), None),
        (Source(url="https://x.example"), None),
    ],
)
def test_text_of_a_document(source: Source, text: str | None) -> None:
    """Only a document of text has a text; damaged data have none, and raise nothing."""
    assert text_in(source) == text
