"""Takes out of a provider's words what they quote of the request: no prompt may come into the log through an error."""

import re

MAX_WORDS = 200  # characters of an error's text in the log
MIN_QUOTE = 12  # characters that a quotation has at least; shorter ones are words that any error may have
# A request that is larger than this is not searched: then nothing of the provider's words is shown.
MAX_SEARCHED = 1024 * 1024
_CUT = "[...]"
_WORD = re.compile(r"\S+\s*")
_ESCAPED = re.compile(rb"\\(?:u00([0-7][0-9a-fA-F])|([\"\\/nrt]))")
_LETTERS = {b"n": b"\n", b"r": b"\r", b"t": b"\t"}
_SPACE = re.compile(rb"\s+")


def without_quotes(words: str, sent: bytes) -> str:
    """Return the beginning of a provider's `words`, with each run of words that stands in `sent` replaced by `[...]`.

    `sent` is the body as it was sent; JSON's escapes in it are undone, and white space counts as one space.
    """
    if len(sent) > MAX_SEARCHED:
        return _CUT
    whole = _SPACE.sub(b" ", _ESCAPED.sub(_letter, sent))
    pieces = _WORD.findall(words[: MAX_WORDS * 2])
    out: list[str] = []
    start = 0
    while start < len(pieces):
        end = _run(pieces, start, whole)
        quote = "".join(pieces[start:end])
        if end > start and len(quote.strip()) >= MIN_QUOTE:
            out.append(f"{_CUT} ")
            start = end
        else:
            out.append(pieces[start])
            start += 1
    return "".join(out).strip()[:MAX_WORDS]


def _run(pieces: list[str], start: int, whole: bytes) -> int:
    """Return the end of the longest run of words from `start` that stands in `whole`."""
    end = start
    while end < len(pieces):
        text = "".join(pieces[start : end + 1]).strip().strip("'\"`,.:;()[]{}")
        if not text or _SPACE.sub(b" ", text.encode("utf-8", "replace")) not in whole:
            break
        end += 1
    return end


def _letter(found: re.Match[bytes]) -> bytes:
    if found[1]:
        return bytes([int(found[1], 16)])
    return _LETTERS.get(found[2], found[2])
