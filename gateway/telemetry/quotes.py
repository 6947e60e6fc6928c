"""Takes out of a provider's words what they quote of the request: no prompt may come into the log through an error.

What stands in both, letter by letter and in whatever case, is a quotation if it is long enough. JSON's escapes are
undone on both sides, and those of Python's `repr`; white space counts as one space.
"""

import re

MAX_WORDS = 200  # characters of an error's text in the log
# Characters that a quotation has at least. Shorter ones are words that any error may have; but where a sentence has few
# letters, as in Chinese, a few say much.
MIN_QUOTE, MIN_DENSE = 12, 4
# A request that is larger than this is not searched (it would stop the loop): then nothing of the words is shown.
MAX_SEARCHED = 256 * 1024
_CUT = "[...]"
_ESCAPED = re.compile(r"\\(?:u([0-9a-fA-F]{4})|([\"'\\/nrtbf]))")
_LETTERS = dict.fromkeys("nrtbf", " ")
_SPACE = re.compile(r"\s+")
_STEP = 6  # every quotation of MIN_QUOTE holds one aligned piece of this length


def without_quotes(words: str, sent: bytes) -> str:
    """Return the beginning of a provider's `words`, each quotation of `sent` (a body as it was sent) as `[...]`."""
    if len(sent) > MAX_SEARCHED:
        return _CUT
    shown = _plain(words)[: 2 * MAX_WORDS]
    low, whole = shown.lower(), _plain(sent.decode("utf-8", "replace")).lower()
    if len(low) != len(shown):  # a letter whose lower case has two
        shown = low
    out: list[str] = []
    at = 0
    for start, end in _quotations(low, whole):
        out += (shown[at:start], _CUT)
        at = end
    out.append(shown[at:])
    return "".join(out).strip()[:MAX_WORDS]


def _quotations(low: str, whole: str) -> list[tuple[int, int]]:
    """Return where (start, end) `low` quotes `whole`, in order."""
    found: list[tuple[int, int]] = []
    at = 0
    while at < len(low):
        is_dense = ord(low[at]) > 127
        size = MIN_DENSE if is_dense else _STEP
        if low[at : at + size] not in whole:
            at += 1 if is_dense else _STEP
            continue
        start, end = _grown(low, at, min(at + size, len(low)), found[-1][1] if found else 0, whole)
        quote = low[start:end]
        if len(quote) >= MIN_QUOTE or (not quote.isascii() and len(quote) >= MIN_DENSE):
            found.append((start, end))
            at = end
        else:
            at += 1 if is_dense else _STEP
    return found


def _grown(low: str, start: int, end: int, first: int, whole: str) -> tuple[int, int]:
    """Widen a piece as long as it stands in `whole`, not below `first`."""
    while start > first and low[start - 1 : end] in whole:
        start -= 1
    while end < len(low) and low[start : end + 1] in whole:
        end += 1
    return start, end


def _plain(text: str) -> str:
    """Undo escapes, and write all white space as single spaces."""
    if "\\" in text:
        text = _ESCAPED.sub(_letter, text).encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return _SPACE.sub(" ", text)


def _letter(found: re.Match[str]) -> str:
    return chr(int(found[1], 16)) if found[1] else _LETTERS.get(found[2], found[2])
