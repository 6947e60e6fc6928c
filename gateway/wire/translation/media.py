"""Pictures and files inside JSON: data URLs, bare base64, and the media type that the bytes show."""

import base64
import binascii
import re

from gateway.wire.neutral import Source

MAX_HEAD = 1000  # characters of a data URL before its comma; real ones have some 30
_DATA_HEAD = re.compile(r"\s*data:([^;,\s]*)((?:;[^;,]*)*)", re.IGNORECASE)
_LINK = re.compile(r"\s*(https?://)", re.IGNORECASE)
_SPACE = dict.fromkeys(map(ord, " \t\r\n\v\f"))
_MAGIC = (
    (b"\x89PNG", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"%PDF", "application/pdf"),
)
# The picture types that Anthropic takes (SDK type Base64ImageSourceParam); OpenAI takes the same.
PICTURES = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})


def read_url(url: str) -> Source:
    """Read the value of a URL member: an http(s) URL, a data URL or bare base64. Raises ValueError for others."""
    comma = url.find(",", 0, MAX_HEAD)
    found = _DATA_HEAD.fullmatch(url, 0, comma) if comma >= 0 else None
    if found is not None:
        if ";base64" not in found[2].lower():
            raise ValueError("a data URL must be base64")
        return read_base64(url[comma + 1 :], found[1].lower())
    if (scheme := _LINK.match(url)) is not None:
        return Source(url=scheme[1].lower() + url[scheme.end() :].rstrip())
    return read_base64(url, "")


def read_base64(data: str, media_type: str) -> Source:
    """Normalise base64. The media type that its bytes show wins over `media_type`. Raises ValueError."""
    # A picture has megabytes: each of these calls searches at the speed of memory, and copies only if it finds.
    tidy = data.translate(_SPACE) if any(blank in data for blank in " \n\r\t\v\f") else data
    tidy = tidy.replace("-", "+").replace("_", "/")
    if len(tidy) % 4 or tidy.endswith("==="):
        tidy = tidy.rstrip("=")
        tidy += "=" * (-len(tidy) % 4)
    try:
        head = base64.b64decode(tidy[:64], validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("not a link, a data URL or base64") from None
    return Source(media_type=sniff(head) or media_type, data=tidy)


def sniff(head: bytes) -> str:
    """Return the media type that the first bytes show, or an empty text."""
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for magic, kind in _MAGIC if head.startswith(magic)), "")


def write_url(source: Source) -> str | None:
    """Write a source as a data URL or its URL; None if it has neither bytes nor a URL."""
    if source.data is not None:
        return f"data:{source.media_type or 'application/octet-stream'};base64,{source.data}"
    return source.url


def describe_picture(source: Source) -> str:
    """Return a text that stands for a picture where a reply can hold none."""
    where = f": {source.url}" if source.url else ", which this API cannot carry"
    return f"(The model sent a picture{where}.)"


def text_in(source: Source) -> str | None:
    """Return the text of a plain-text document, given as text or as base64; None for any other document."""
    if source.text is not None:
        return source.text
    if source.data is not None and source.media_type.startswith("text/"):
        try:
            return base64.b64decode(source.data).decode()
        except (binascii.Error, ValueError):
            return None
    return None
