"""Shared by tests of streams: cuts a text into pieces at given places."""

import itertools
from collections.abc import Iterable


def pieces(text: str, cuts: Iterable[int]) -> list[str]:
    """Return the text in pieces, cut at each place (modulo its length); at least one piece."""
    places = sorted({cut % (len(text) + 1) for cut in cuts} | {0, len(text)})
    return [text[start:stop] for start, stop in itertools.pairwise(places)] or [text]
