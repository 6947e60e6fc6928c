"""Text that may stand in a header, a log line or an error message, and what a header's text means."""

from functools import lru_cache


def printable(text: str, most: int = 200) -> str:
    """Return the printable ASCII among the first `most` characters of a text that somebody else wrote."""
    text = text[:most]
    if text.isascii() and text.isprintable():
        return text
    return "".join(letter for letter in text if " " <= letter <= "~")


@lru_cache(256)
def media_type(header: str) -> str:
    """Return the media type of a Content-Type header: without parameters, in lower case."""
    return header.partition(";")[0].strip().lower()
